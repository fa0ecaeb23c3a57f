"""One request to an endpoint of an authorization server: client authentication, sending, and the response."""

from __future__ import annotations

import base64
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypeVar
from urllib.parse import quote_plus

import msgspec
from yarl import URL

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler, check_function, per_send
from aioapiclient.errors import APIError, APIResponseValidationError, APIStatusError, InvalidRequestError

from .errors import OAuthError, refusal

__all__ = [
    "Assertion",
    "Client",
    "ClientAuth",
    "ClientLogin",
    "Pairs",
    "check_endpoint",
    "check_text",
    "check_token_type",
    "claims",
    "decode",
    "post",
    "sign",
]

T = TypeVar("T")

ClientAuth: TypeAlias = Literal["basic", "post", "none"]
"""How a client shows its secret: in an Authorization header, in the form, or not at all."""

Assertion: TypeAlias = Callable[[Mapping[str, Any]], str | Awaitable[str]]
"""Signs claims: given them, it returns a JWT. `sign_jwt` makes one."""

Pairs: TypeAlias = Iterable[tuple[str, str]]

SECONDS = 30.0  # seconds for one response of an authorization server, whatever limit the waiting call has
MOST_BYTES = 1 << 20  # bytes of one response; a token with many claims has some 10 kB
_ASSERTION_SECONDS = 60  # seconds until a signed assertion expires: it is sent immediately
_CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Client(Protocol):
    """The methods of `AsyncAPIClient` used here; a plugin does not import its type."""

    @property
    def get(self) -> Any:
        """Its ``get``."""
        ...

    @property
    def post(self) -> Any:
        """Its ``post``."""
        ...

    def is_closed(self) -> bool:
        """Return whether the client was closed."""
        ...


def check_endpoint(name: str, url: object) -> URL:
    """Return *url* of the argument *name*, which must be https, or http on loopback.

    Raises:
        TypeError: *url* is neither a str nor a URL.
        InvalidRequestError: *url* is not absolute, not https, or contains a user or a fragment.
    """
    if not isinstance(url, str | URL):
        raise TypeError(f"{name} must be a str or a URL, not {type(url).__name__}")
    try:
        parsed = URL(url)
    except ValueError:
        raise InvalidRequestError(f"{name} must be a URL") from None
    if parsed.raw_user is not None or parsed.raw_password is not None or parsed.raw_fragment:
        raise InvalidRequestError(f"{name} must not contain a user, a password or a fragment")
    if parsed.scheme != "https" and not (parsed.scheme == "http" and _is_loopback(parsed.host)):
        raise InvalidRequestError(
            f"{name} must be an https URL, or http on 127.0.0.1, ::1 or localhost, not {parsed.scheme}://"
            f"{parsed.host or ''}: a secret is sent there"
        )
    if not parsed.host:
        raise InvalidRequestError(f"{name} must contain a host")
    return parsed


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def check_text(name: str, value: object) -> None:
    """Raise unless *value*, of the argument *name*, is a str that is not empty."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value:
        raise InvalidRequestError(f"{name} must not be empty")


class ClientLogin:
    """How a client authenticates: by its id alone, a secret, or a signed assertion (RFC 7523 §2.2)."""

    def __init__(
        self, client_id: str, secret: str | None, client_auth: ClientAuth, assertion: Assertion | None
    ) -> None:
        check_text("client_id", client_id)
        if secret is not None:
            check_text("client_secret", secret)
        if client_auth not in ("basic", "post", "none"):
            raise InvalidRequestError(
                f"client_auth must be 'basic', 'post' or 'none', not {str(client_auth)[:32]!r}"
            )
        if assertion is not None:
            check_function("assertion", assertion, may_be_async=True)
        if secret is not None and (assertion is not None or client_auth == "none"):
            raise TypeError("client_secret is not used with an assertion, or with client_auth='none'")
        if client_auth == "post" and secret is None:
            raise TypeError("client_auth='post' needs a client_secret")
        self.client_id = client_id
        self.has_assertion = assertion is not None
        self._secret = secret
        self._client_auth = client_auth
        self._assertion = assertion

    def __repr__(self) -> str:
        return f"ClientLogin({self.client_id!r})"

    @property
    def header(self) -> str | None:
        """The Authorization header, with quoted id and secret (RFC 6749 §2.3.1), or None."""
        if self._secret is None or self._client_auth != "basic":
            return None
        both = f"{quote_plus(self.client_id)}:{quote_plus(self._secret)}"
        return "Basic " + base64.b64encode(both.encode()).decode()

    async def form(self, audience: str) -> list[tuple[str, str]]:
        """Return the form parameters of the client; *audience* is the recipient of its assertion."""
        if self._assertion is not None:
            signed = await sign(self._assertion, claims(self.client_id, audience))
            return [
                ("client_id", self.client_id),
                ("client_assertion_type", _CLIENT_ASSERTION),
                ("client_assertion", signed),
            ]
        if self._secret is None:
            return [("client_id", self.client_id)]
        if self._client_auth == "post":
            return [("client_id", self.client_id), ("client_secret", self._secret)]
        return []


def claims(client_id: str, audience: str) -> dict[str, Any]:
    """Return the claims of an assertion that is valid for a minute (RFC 7523 §3)."""
    now = int(time.time())
    return {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + _ASSERTION_SECONDS,
    }


async def sign(assertion: Assertion, about: Mapping[str, Any]) -> str:
    """Return the JWT that *assertion* makes from the claims *about*."""
    signed: Any = assertion(about)
    if hasattr(signed, "__await__"):
        signed = await signed
    if not isinstance(signed, str):
        raise TypeError(f"assertion must return a str, not {type(signed).__name__}")
    return signed


async def post(
    client: Client, url: URL, form: Pairs, login: ClientLogin, *, once: bool = False
) -> AsyncAPIResponse[bytes]:
    """Send *form* to *url*, authenticated by *login*, and return a successful response.

    Args:
        client: An `AsyncAPIClient`, which sends the request without its credential and follows no redirect.
        url: The endpoint.
        form: The parameters of the request.
        login: The client authentication.
        once: Whether the request must not be sent again once it may have arrived, because a refresh token may
            be valid for one use. Otherwise it is retried like an idempotent request.

    Raises:
        OAuthError: The response is an error, or a redirect.
        APIError: No response arrived, or it is too large.
    """
    header = login.header

    async def send(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        # Set here, because a client removes the call's headers from a request to another origin.
        if header is not None and _is_same(request.url, url):
            request.headers["Authorization"] = header
        return await (_send_once(request, handler) if once else handler(request))

    try:
        answer: AsyncAPIResponse[bytes] = await client.post(
            url,
            AsyncAPIResponse[bytes],
            data=[*form, *await login.form(str(url))],
            headers={"Accept": "application/json"},  # otherwise GitHub answers with a form
            auth=None,
            idempotent=not once,
            follow_redirects=False,
            max_body=MOST_BYTES,
            timeout=SECONDS,
            middlewares=[per_send(send)],
        )
    except APIStatusError as error:
        if error.response is None:
            raise
        raise refusal(error.response) from None
    return answer


async def _send_once(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    # `idempotent=False` is not enough: a retry policy, an idempotency key or a header of the server may still
    # allow a retry.
    try:
        response = await handler(request)
    except APIError as error:
        if getattr(error, "sent", None) is not False:
            error.final = True
        raise
    if response.status >= 300:
        raise refusal(response)
    return response


def _is_same(url: URL, endpoint: URL) -> bool:
    return url.origin() == endpoint.origin() and url.raw_path == endpoint.raw_path


def decode(response: AsyncAPIResponse[bytes], shape: type[T], what: str) -> T:
    """Return the body of *response* as a *shape*; *what* names it in an error.

    Raises:
        OAuthError: The body is an error, which GitHub sends with status 200.
        APIResponseValidationError: The body is anything else.
    """
    error = refusal(response)
    if error.code:
        raise error
    try:
        return msgspec.json.decode(response.body, type=shape)
    except (msgspec.DecodeError, RecursionError) as cause:
        reason = "JSON of another shape" if isinstance(cause, msgspec.ValidationError) else "no JSON"
    # Neither the body nor the cause is kept: they may contain a token.
    raise APIResponseValidationError(
        f"{response.request.label}: {response.status}, {reason} where {what} was expected",
        status=response.status,
        content_type=response.headers.get("Content-Type"),
        request=response.request,
        final=True,
    )


def check_token_type(token_type: str, response: AsyncAPIResponse[bytes]) -> None:
    """Raise `OAuthError` unless *token_type* is Bearer, in upper or lower case (RFC 6749 §7.1)."""
    if token_type.lower() != "bearer":
        raise OAuthError(
            f"{response.request.label}: the token is not a Bearer token, and cannot be used as one",
            code="unsupported_token_type",
            status=response.status,
            request=response.request,
        )
