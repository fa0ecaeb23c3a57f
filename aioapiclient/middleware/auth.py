"""Credentials: added to each attempt, for trusted origins only, and renewed once after a challenge."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from multidict import CIMultiDict

from aioapiclient._checks import check_origins
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Auth, Handler, Token, TokenCache
from aioapiclient.errors import InvalidRequestError

__all__ = ["APIKeyAuth", "AuthMiddleware", "BasicAuth", "BearerAuth"]

_REFRESHED = "aioapiclient.auth.refreshed"
_IDENTITY = "aioapiclient.identity"
_CREDENTIALS = "aioapiclient.credentials"
_AUTHORIZATION = frozenset({"authorization"})
_NOT_AGAIN = (
    "Not sent again with the renewed credential: the body can be sent only once, and sending it had begun;"
    " later calls use the new credential"
)


class AuthMiddleware:
    """Adds a credential to each attempt, so that every attempt carries a valid token or signature.

    The credential goes to the client's own origin and to *trusted_origins* only. After a challenge it is
    renewed and the request is sent once more, at most once per call, even with ``max_retries=0``. If the body
    can be sent only once, the request is not repeated, and later calls use the new credential. Headers of the
    call itself override those of the credential. ``auth=`` of a call replaces *auth*; None disables it.

    The principal (`Auth.identity`) is stored in ``request.extensions["aioapiclient.identity"]``, and the
    names of the headers that the `Auth` set in ``request.extensions["aioapiclient.credentials"]``, a
    frozenset in lower case. An exception raised by the `Auth` ends the call.

    Args:
        auth: The credential. None, the default, sends none unless the call or a hook sets one.
        trusted_origins: Patterns of other origins that may receive the credential, such as
            ``https://*.example.com``.

    Raises:
        TypeError: *trusted_origins* is not an iterable of str.
    """

    def __init__(self, auth: Auth | None = None, *, trusted_origins: tuple[str, ...] = ()) -> None:
        self.auth: Auth | None = auth
        """The credential; the client binds and closes it."""
        self._trusted_origins = check_origins("trusted_origins", trusted_origins)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with its credential."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """Return *handler* wrapped in this middleware, which adds no coroutine without a credential."""

        def authenticated(request: APIRequest) -> Awaitable[AsyncAPIResponse[Any]]:
            auth = request._settings.auth_or(self.auth)
            if auth is None:
                return handler(request)
            if not request.is_trusted(self._trusted_origins):
                request.extensions.pop(_IDENTITY, None)  # set by an earlier hop
                request.extensions.pop(_CREDENTIALS, None)
                request._withheld = ("the credential", *request._withheld)
                return handler(request)
            if _is_renewable(auth):
                return self._send_renewable(request, handler, auth)
            return self._send(request, handler, auth)

        return authenticated

    async def _send(self, request: APIRequest, handler: Handler, auth: Auth) -> AsyncAPIResponse[Any]:
        """Send *request* once, without a copy, because it is not sent again."""
        await _authenticate(auth, request)
        return await handler(request)

    async def _send_renewable(
        self, request: APIRequest, handler: Handler, auth: Auth
    ) -> AsyncAPIResponse[Any]:
        """Send *request*, and send it once more if the server refuses it and the credential was renewed."""
        send = request.copy()
        await _authenticate(auth, send)
        response = await handler(send.copy())
        if response.status not in auth.challenge_statuses or _REFRESHED in request.extensions:
            return response
        await response.read_error()
        request.extensions[_REFRESHED] = True
        try:
            renewed = await auth.refresh(send, response)
        except Exception as error:
            _mark_final(error)
            raise
        if not renewed:
            return response
        if not request.can_be_sent:
            response.notes += (_NOT_AGAIN,)
            return response
        await response.close()
        await _authenticate(auth, request)
        return await handler(request)


def _is_renewable(auth: Auth) -> bool:
    return type(auth).refresh is not Auth.refresh and bool(auth.challenge_statuses)


async def _authenticate(auth: Auth, request: APIRequest) -> None:
    before = None if type(auth) in _BY_AUTHORIZATION else request.headers.copy()
    try:
        await auth.authenticate(request)
        identity = _identity_of(auth)
    except Exception as error:
        _mark_final(error)
        raise
    if identity is not None:
        request.extensions[_IDENTITY] = identity
    request.extensions[_CREDENTIALS] = _AUTHORIZATION if before is None else _names_set(request, before)
    request.restore_call_headers()


def _names_set(request: APIRequest, before: CIMultiDict[str]) -> frozenset[str]:
    """Return the names of the headers of *request* that differ from those in *before*."""
    headers = request.headers
    return frozenset(name.lower() for name in headers if headers.getall(name) != before.getall(name, None))


def _identity_of(auth: Auth) -> str | None:
    # Objects that do not subclass Auth need not have this method.
    tell = getattr(auth, "identity", None)
    identity: Any = None if tell is None else tell()
    if identity is not None and not isinstance(identity, str):
        raise TypeError(
            f"identity() of {type(auth).__name__} must return a str or None, not {type(identity).__name__}"
        )
    return identity


def _mark_final(error: Exception) -> None:
    """Exclude the exception of an `Auth` from retries."""
    with suppress(AttributeError):
        error.final = True  # type: ignore[attr-defined]


class BearerAuth(Auth):
    """Sends ``Authorization: Bearer ...`` (RFC 6750 §2.1).

    Args:
        token: The token, or an async function without arguments that returns a str or a `Token` with its
            lifetime. The function is called once, however many calls wait; again ahead of expiry; and again
            if the server refuses the token (401).
        cache: The cache for the tokens of the function; a new `TokenCache` by default.

    Raises:
        TypeError: *token* is neither a str nor callable.
        InvalidRequestError: The token is empty, not printable ASCII, or contains white space.
    """

    def __init__(
        self, token: str | Callable[[], Awaitable[Token | str]], *, cache: TokenCache | None = None
    ) -> None:
        self._provider: Callable[[], Awaitable[Token | str]] | None = None
        self._header = ""
        if isinstance(token, str):
            self._header = f"Bearer {_checked(token, 'token')}"
            self.challenge_statuses: frozenset[int] = frozenset()
        elif callable(token):
            self._provider = token
        else:
            raise TypeError(f"token must be a str or an async function, not {type(token).__name__}")
        self._cache = cache or TokenCache()

    def __repr__(self) -> str:
        return f"BearerAuth({'<token>' if self._provider is None else '<provider>'})"

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the Authorization header.

        Args:
            request: The request of one send.

        Raises:
            TypeError: The function is not async, or returned neither a str nor a `Token`.
            InvalidRequestError: The token of the function cannot be sent in a header.
        """
        if self._provider is None:
            request.headers["Authorization"] = self._header
            return
        token = await self._cache.get(self, self._provider)
        request.headers["Authorization"] = f"Bearer {_checked(token.value, 'token')}"

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        """Fetch a new token, unless another call has already fetched one.

        Args:
            request: The request that the server refused.
            response: The challenge.

        Returns:
            True if a new token was fetched. False for a token given as a str, and if the call sets the
            Authorization header itself.
        """
        if self._provider is None or request.call_sets("Authorization"):
            return False
        rejected = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await self._cache.refresh(self, rejected, self._provider)

    async def close(self) -> None:
        """Cancel a background renewal."""
        await self._cache.close()


class BasicAuth(Auth):
    """Sends ``Authorization: Basic ...`` with user and password, encoded as UTF-8 (RFC 7617).

    Args:
        user: The user name, without a colon.
        password: The password.

    Raises:
        TypeError: An argument is not a str.
        InvalidRequestError: An argument contains a control character or a lone surrogate, or *user* a colon.
    """

    def __init__(self, user: str, password: str) -> None:
        texts: list[tuple[str, object]] = [("user", user), ("password", password)]
        for name, value in texts:
            if not isinstance(value, str):
                raise TypeError(f"BasicAuth {name} must be a str, not {type(value).__name__}")
            if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
                raise InvalidRequestError(f"BasicAuth {name} contains a control character (RFC 7617 §2)")
            if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
                raise InvalidRequestError(f"BasicAuth {name} cannot be encoded as UTF-8: lone surrogate")
        if ":" in user:
            raise InvalidRequestError("BasicAuth user must not contain a colon (RFC 7617 §2)")
        self._header = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"

    def __repr__(self) -> str:
        return "BasicAuth(<user>, <password>)"

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the Authorization header.

        Args:
            request: The request of one send.
        """
        request.headers["Authorization"] = self._header


class APIKeyAuth(Auth):
    """Sends an API key, in a header or in a query parameter.

    Every proxy in between may log a key in the query; prefer the header.

    Args:
        key: The API key: printable ASCII.
        header: The name of the header, ``X-API-Key`` by default.
        param: The name of a query parameter, to use instead of a header.

    Raises:
        TypeError: Both *header* and *param* are given, or an argument is not a str.
        InvalidRequestError: The key or a name cannot be sent.
    """

    def __init__(self, key: str, *, header: str | None = None, param: str | None = None) -> None:
        if header is not None and param is not None:
            raise TypeError("APIKeyAuth takes header or param, not both")
        self._key = _checked(key, "key")
        self._header = "X-API-Key" if header is None else header
        self._param = None if param is None else _checked_param(param)
        if param is None:
            # Check the name here, not at the first call.
            APIRequest("GET", "http://localhost", headers={self._header: self._key})

    def __repr__(self) -> str:
        place = f"header={self._header!r}" if self._param is None else f"param={self._param!r}"
        return f"APIKeyAuth(<key>, {place})"

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the header or the query parameter; a parameter that the call sets itself is kept.

        Args:
            request: The request of one send.
        """
        if self._param is None:
            request.headers[self._header] = self._key
        elif self._param not in request.url.query:
            request.add_params({self._param: self._key})


def _checked_param(param: object) -> str:
    if not isinstance(param, str):
        raise TypeError(f"APIKeyAuth param must be a str, not {type(param).__name__}")
    if not param:
        raise InvalidRequestError("APIKeyAuth param must be the name of a query parameter, not empty")
    return param


def _checked(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    if what == "token" and " " in value.strip():
        raise InvalidRequestError(
            "token must not contain white space; omit the 'Bearer' prefix, which BearerAuth adds"
        )
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise InvalidRequestError(
            f"{what} must be printable ASCII without surrounding white space; it is empty, or contains "
            "another character (a line end, if it was read from a file)"
        )
    return value


# These set one known header. For others, the headers before and after are compared, which costs more.
_BY_AUTHORIZATION = (BearerAuth, BasicAuth)
