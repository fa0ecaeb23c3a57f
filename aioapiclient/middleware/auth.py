"""Credentials: applied to each attempt, to the client's own origin only, renewed once after a challenge."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aioapiclient._checks import check_origins
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Auth, Handler, Token, TokenCache
from aioapiclient.errors import InvalidRequestError

__all__ = ["APIKeyAuth", "AuthMiddleware", "BasicAuth", "BearerAuth"]

_REFRESHED = "aioapiclient.auth.refreshed"
_IDENTITY = "aioapiclient.identity"
_NOT_AGAIN = (
    "Not sent again with the renewed credential: the body can be sent only once, and had begun to leave;"
    " the calls that follow use that credential"
)


class AuthMiddleware:
    """Puts *auth* on each attempt, so that it always carries a token or signature that is still valid.

    Only for the client's own origin and *trusted_origins*. After a challenge the credential is
    renewed, at most once per call, with ``max_retries=0`` too, and the request sent once more. A body
    that can be sent only once is not: then the renewed credential serves the calls that follow. The
    call's own headers have the last word. ``auth=`` of a call replaces *auth*, None switches it off.

    What tells this principal from another (`Auth.identity`) is put on the request, as
    ``request.extensions["aioapiclient.identity"]``.

    What an `Auth` raises ends the call.
    """

    def __init__(self, auth: Auth | None = None, *, trusted_origins: tuple[str, ...] = ()) -> None:
        self.auth: Auth | None = auth
        """The credential; the client binds and closes it."""
        self._trusted_origins = check_origins("trusted_origins", trusted_origins)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request* with its credential."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """The handler that this makes of *handler*; without a credential there is nothing in between."""

        def authenticated(request: APIRequest) -> Awaitable[AsyncAPIResponse[Any]]:
            auth = request.settings.auth_or(self.auth)
            if auth is None:
                return handler(request)
            if not request.is_trusted(self._trusted_origins):
                request.extensions.pop(_IDENTITY, None)  # of a hop before this one
                request.withheld = ("the credential", *request.withheld)
                return handler(request)
            if _is_renewable(auth):
                return self._send_renewable(request, handler, auth)
            return self._send(request, handler, auth)

        return authenticated

    async def _send(self, request: APIRequest, handler: Handler, auth: Auth) -> AsyncAPIResponse[Any]:
        """Send *request* once: it needs no copy to be sent again."""
        await _authenticate(auth, request)
        return await handler(request)

    async def _send_renewable(
        self, request: APIRequest, handler: Handler, auth: Auth
    ) -> AsyncAPIResponse[Any]:
        """Send *request*, and once more if it is refused and there is another credential."""
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
    try:
        await auth.authenticate(request)
        identity = _identity_of(auth)
    except Exception as error:
        _mark_final(error)
        raise
    if identity is not None:
        request.extensions[_IDENTITY] = identity
    request.restore_call_headers()


def _identity_of(auth: Auth) -> str | None:
    # An auth that does not subclass Auth need not have it.
    tell = getattr(auth, "identity", None)
    identity: Any = None if tell is None else tell()
    if identity is not None and not isinstance(identity, str):
        raise TypeError(
            f"identity() of {type(auth).__name__} must return a str or None, not {type(identity).__name__}"
        )
    return identity


def _mark_final(error: Exception) -> None:
    """Keep what an `Auth` raised from being tried again."""
    with suppress(AttributeError):
        error.final = True  # type: ignore[attr-defined]


class BearerAuth(Auth):
    """``Authorization: Bearer ...`` (RFC 6750 §2.1).

    *token* is a string, or an async function that gives a string or a `Token` with its time to
    live. A function is asked once however many calls wait, ahead of expiry, and again when the
    server refuses what it gave (401).
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
            raise TypeError(f"BearerAuth takes a str or an async function, not {type(token).__name__}")
        self._cache = cache or TokenCache()

    def __repr__(self) -> str:
        return f"BearerAuth({'<token>' if self._provider is None else '<provider>'})"

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the Authorization header."""
        if self._provider is None:
            request.headers["Authorization"] = self._header
            return
        token = await self._cache.get(self, self._provider)
        request.headers["Authorization"] = f"Bearer {_checked(token.value, 'token')}"

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        """Ask the provider for another token, unless somebody has done so already."""
        if self._provider is None or request.call_sets("Authorization"):
            return False
        rejected = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await self._cache.refresh(self, rejected, self._provider)

    async def close(self) -> None:
        """End a renewal that nobody waits for."""
        await self._cache.close()


class BasicAuth(Auth):
    """``Authorization: Basic ...`` with user and password, as UTF-8 (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        texts: list[tuple[str, object]] = [("user", user), ("password", password)]
        for name, value in texts:
            if not isinstance(value, str):
                raise TypeError(f"BasicAuth {name} must be a str, not {type(value).__name__}")
            if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
                raise InvalidRequestError(f"BasicAuth {name} holds a control character (RFC 7617 §2)")
            if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
                raise InvalidRequestError(f"BasicAuth {name} holds a lone surrogate, which UTF-8 cannot say")
        if ":" in user:
            raise InvalidRequestError("BasicAuth user must not hold a colon (RFC 7617 §2)")
        self._header = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"

    def __repr__(self) -> str:
        return "BasicAuth(<user>, <password>)"

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the Authorization header."""
        request.headers["Authorization"] = self._header


class APIKeyAuth(Auth):
    """An API key, in a header (``X-API-Key`` by default) or in a query parameter.

    A key in the query ends up in the logs of every proxy on the way; take the header where there is
    a choice.
    """

    def __init__(self, key: str, *, header: str | None = None, param: str | None = None) -> None:
        if header is not None and param is not None:
            raise TypeError("APIKeyAuth takes a header or a param, not both")
        self._key = _checked(key, "key")
        self._header = "X-API-Key" if header is None else header
        self._param = None if param is None else _checked_param(param)
        if param is None:
            # Refused here, where the name is written, and not at the first call.
            APIRequest("GET", "http://localhost", headers={self._header: self._key})

    def __repr__(self) -> str:
        place = f"header={self._header!r}" if self._param is None else f"param={self._param!r}"
        return f"APIKeyAuth(<key>, {place})"

    async def authenticate(self, request: APIRequest, /) -> None:
        """Put the key where it goes; a parameter that the call gave itself stays."""
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
        raise TypeError(f"The {what} must be a str, not {type(value).__name__}")
    if what == "token" and " " in value.strip():
        raise InvalidRequestError(
            "The token must not hold white space: give it without 'Bearer', which BearerAuth adds"
        )
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise InvalidRequestError(
            f"The {what} must be printable ASCII without space around it; it is empty, or holds "
            "something else (a line end, when it was read from a file)"
        )
    return value
