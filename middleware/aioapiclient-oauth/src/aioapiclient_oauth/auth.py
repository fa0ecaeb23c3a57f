"""`OAuth2`: a credential that requests, keeps and renews an access token."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn

import msgspec
from yarl import URL

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Auth, Token, TokenCache, check_seconds
from aioapiclient.errors import APIClientError, APIResponseValidationError

from ._endpoint import (
    Assertion,
    Client,
    ClientAuth,
    ClientLogin,
    Pairs,
    check_endpoint,
    check_token_type,
    claims,
    decode,
    post,
)
from .errors import OAuthError
from .grants import ClientCredentials, Grant, RefreshToken
from .stores import MemoryStore, Tokens, TokenStore

__all__ = ["OAuth2"]

_BEGAN = "aioapiclient_oauth.began"
# A stored token that expires sooner is renewed: it may expire on its way to the server.
_LEAST_SECONDS = 1.0


class _Answer(msgspec.Struct):
    """The response of a token endpoint (RFC 6749 §5.1)."""

    access_token: str
    token_type: str = "Bearer"
    expires_in: Any = None
    refresh_token: str | None = None
    scope: str | None = None

    def __repr__(self) -> str:
        return "_Answer()"


class OAuth2(Auth):
    """``Authorization: Bearer ...`` with an access token of an OAuth 2 server (RFC 6749).

    The first call requests the token; concurrent calls share that request. It is renewed ahead of its expiry
    and after a 401, and kept in *store*. One object is one principal: for another principal, pass another
    object to ``auth=`` of the call.

    Tokens are requested through the client that uses this object: with the same session, without a
    credential, without redirects, in at most 30 s. A refresh token or a code, which may be valid for one use
    only, is never sent again once it may have arrived.

    Args:
        token_url: The token endpoint: https, or http on loopback.
        client_id: The client's id.
        client_secret: Its secret; None (the default) for a public client.
        grant: The grant; `ClientCredentials` by default.
        scope: The requested scope, as one text or several. None by default.
        audience: The API that the token is for, if the server has this parameter. None by default.
        resource: The resources that the token is for, as absolute URLs (RFC 8707). None by default.
        client_auth: Where the secret goes: ``"basic"`` (the default) for a header, ``"post"`` for the
            form, ``"none"`` for no secret.
        assertion: Signs claims for a client that has a key instead of a secret (RFC 7523 §2.2); see
            `sign_jwt`.
        extra: Other parameters that the server expects. None by default.
        store: The store of the tokens: a `MemoryStore` by default, a `FileStore` to share them.
        leeway: Seconds to subtract from the lifetime of a token, for clocks that differ; 0 by default. At
            most half of it is subtracted.
        cache: A `TokenCache`, to set its clock in tests. A new one by default.

    Raises:
        TypeError: An argument is of the wrong type, or two of them exclude each other.
        InvalidRequestError: A value is refused, such as a *token_url* that is not https.
    """

    def __init__(
        self,
        token_url: str | URL,
        client_id: str,
        client_secret: str | None = None,
        *,
        grant: Grant | None = None,
        scope: str | Iterable[str] | None = None,
        audience: str | None = None,
        resource: str | Iterable[str] | None = None,
        client_auth: ClientAuth = "basic",
        assertion: Assertion | None = None,
        extra: Mapping[str, str] | None = None,
        store: TokenStore | None = None,
        leeway: float = 0.0,
        cache: TokenCache | None = None,
    ) -> None:
        self._url = check_endpoint("token_url", token_url)
        self._login = ClientLogin(client_id, client_secret, client_auth, assertion)
        self._grant = _checked_grant(grant)
        self._scope = join_scope(scope)
        self._common = [*_pairs(audience, resource), *_extra_pairs(extra)]
        self._store: TokenStore = MemoryStore() if store is None else store
        self._leeway = check_seconds("leeway", leeway)
        self._cache = TokenCache() if cache is None else cache
        self._clients: list[Client] = []
        # The current token: its value, and the time of its request (None if another process requested it).
        self._held: tuple[str, float | None] | None = None
        self._login_number = 0

    def __repr__(self) -> str:
        return f"OAuth2({str(self._url)!r}, {self._login.client_id!r}, grant={self._grant!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("OAuth2 holds secrets: it cannot be pickled or copied")

    def bind(self, client: Client) -> None:
        """Receive a view of the client, which requests the tokens; the client calls this."""
        self._clients = [*(bound for bound in self._clients if not bound.is_closed()), client]

    async def authenticate(self, request: APIRequest, /) -> None:
        """Set the Authorization header."""
        request.extensions.setdefault(_BEGAN, time.monotonic())
        token = await self._cache.get(self._key, self._fetch)
        request.headers["Authorization"] = f"Bearer {token.value}"

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        """Request another token, unless this call itself requested the refused one."""
        if request.call_sets("Authorization"):
            return False
        rejected = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._requested_since(request.extensions.get(_BEGAN, math.inf), rejected):
            return False  # another token would be refused as well, call after call
        return await self._cache.refresh(self._key, rejected, self._fetch)

    def _requested_since(self, began: float, token: str) -> bool:
        """Return whether *token* is the current one, and was issued after *began*."""
        value, asked = self._held or ("", None)
        return value == token and asked is not None and asked >= began

    async def close(self) -> None:
        """Cancel a renewal that no call waits for; the client calls this."""
        await self._cache.close()

    @property
    def _key(self) -> tuple[OAuth2, int]:
        # A login replaces the cached token.
        return self, self._login_number

    async def _fetch(self) -> Token:
        """Return a token other than the current one."""
        asked: float | None = None
        async with self._store.locked():
            tokens = await self.stored()
            if tokens is None or not self._has_changed(tokens):
                asked = time.monotonic()
                tokens = await self._renew(tokens)
                await self._store.save(tokens)
        self._held = tokens.access_token, asked
        left = tokens.seconds_left()
        return Token(tokens.access_token, None if left is None else left - min(self._leeway, left / 2))

    def _has_changed(self, tokens: Tokens) -> bool:
        """Return whether another process, or a login, has stored a token that may work."""
        left = tokens.seconds_left()
        is_held = self._held is not None and self._held[0] == tokens.access_token
        return not is_held and (left is None or left > _LEAST_SECONDS)

    async def _renew(self, tokens: Tokens | None) -> Tokens:
        if tokens is not None and tokens.refresh_token is not None:
            grant = RefreshToken(tokens.refresh_token)
            try:
                return await self.ask(grant, kept=tokens.refresh_token)
            except OAuthError as error:
                if error.code != "invalid_grant":
                    raise
                await self._forget(tokens)
                if not self._grant.can_repeat:
                    raise
        return await self.ask(self._grant, [("scope", self._scope)] if self._scope else [])

    async def _forget(self, refused: Tokens) -> None:
        """Remove *refused* from the store, if it is still there: a store may lack a lock."""
        now = await self._store.load()
        if now is not None and now.refresh_token == refused.refresh_token:
            await self._store.save(None)

    # --- for the logins

    @property
    def owner(self) -> str:
        """The key of this client's tokens in a store."""
        return f"{self._url} {self._login.client_id}"

    @property
    def scope(self) -> str:
        """The requested scope; empty for the server's default."""
        return self._scope

    @property
    def client_login(self) -> ClientLogin:
        """The client authentication."""
        return self._login

    @property
    def common(self) -> Pairs:
        """The parameters of every token request."""
        return self._common

    async def stored(self) -> Tokens | None:
        """Return the tokens that the store has for this client."""
        tokens = await self._store.load()
        return tokens if tokens is not None and tokens.owner == self.owner else None

    async def ask(
        self,
        grant: Grant,
        more: Pairs = (),
        *,
        kept: str | None = None,
        client: Client | None = None,
    ) -> Tokens:
        """Exchange *grant* for tokens; *kept* is the refresh token to keep if the response has none."""
        form = await grant.form(claims(self._login.client_id, str(self._url)))
        pairs = [("grant_type", grant.grant_type), *form.items(), *more, *self._common]
        sender = self._bound_client() if client is None else client
        began = time.time()
        response = await post(sender, self._url, pairs, self._login, once=grant.single_use)
        answer = decode(response, _Answer, "a token response")
        check_token_type(answer.token_type, response)
        if not _is_sendable(answer.access_token):
            raise APIResponseValidationError(
                f"{response.request.label}: the access token is empty, or holds more than printable ASCII",
                path="$.access_token",
                status=response.status,
                final=True,
            )
        life = _seconds(answer.expires_in)
        return Tokens(
            access_token=answer.access_token,
            refresh_token=answer.refresh_token or kept,
            expires_at=None if life is None else began + life,
            scope=answer.scope,
            owner=self.owner,
        )

    async def replace_login(self, make: Callable[[Tokens | None], Awaitable[Tokens | None]]) -> None:
        """Store the result of *make* for the stored tokens, and drop the current token."""
        async with self._store.locked():
            before = await self.stored()
            after = await make(before)
            if after is not before:
                await self._store.save(after)
        self._login_number += 1

    async def log_in(self, tokens: Tokens) -> None:
        """Store *tokens* of a login in place of the earlier ones."""

        async def take(before: Tokens | None) -> Tokens:
            return tokens

        await self.replace_login(take)

    def _bound_client(self) -> Client:
        for client in reversed(self._clients):
            if not client.is_closed():
                return client
        raise APIClientError("OAuth2 is not bound to an open client: pass it to one as auth=")


def _checked_grant(grant: object) -> Grant:
    if grant is None:
        return ClientCredentials()
    if not isinstance(grant, Grant):
        hint = ", without the parentheses of a call" if isinstance(grant, type) else ""
        raise TypeError(f"grant must be a Grant such as RefreshToken(...), not {type(grant).__name__}{hint}")
    return grant


def join_scope(scope: object) -> str:
    """Return *scope*, one text or several, as one text."""
    return " ".join(_texts("scope", scope))


def _pairs(audience: object, resource: object) -> list[tuple[str, str]]:
    if audience is not None and not isinstance(audience, str):
        raise TypeError(f"audience must be a str, not {type(audience).__name__}")
    return [("audience", text) for text in _texts("audience", audience)] + [
        ("resource", text) for text in _texts("resource", resource)
    ]


def _texts(name: str, value: object) -> list[str]:
    if value is None:
        return []
    several: Any = [value] if isinstance(value, str) else value
    texts: list[Any] = [*several] if hasattr(several, "__iter__") else [several]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a str or several of them, not {type(text).__name__}")
    return [text for text in texts if text]


def _extra_pairs(extra: object) -> list[tuple[str, str]]:
    if extra is None:
        return []
    if not isinstance(extra, Mapping):
        raise TypeError(f"extra must be a mapping of str to str, not {type(extra).__name__}")
    pairs: list[tuple[Any, Any]] = list(extra.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType, reportUnknownMemberType]
    for text in (text for pair in pairs for text in pair):
        if not isinstance(text, str):
            raise TypeError(f"extra must contain str, not {type(text).__name__}")
    return pairs


def _is_sendable(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _seconds(expires_in: object) -> float | None:
    """Return the lifetime of a token; None if it is unknown: omitted, 0 or less (some mean "never"), or not a
    number.
    """
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str):
        return None
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 and math.isfinite(seconds) else None
