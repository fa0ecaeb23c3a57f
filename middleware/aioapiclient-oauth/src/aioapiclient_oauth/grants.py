"""Grants: what a client exchanges for an access token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final, NoReturn, TypeAlias

from aioapiclient.contract import check_function

from ._endpoint import Assertion, check_text, sign
from .errors import OAuthError

__all__ = ["ClientCredentials", "Grant", "JWTBearer", "Password", "RefreshToken", "TokenExchange"]

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"

Secret: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A secret, or a function that returns it each time, for example from a file that is replaced."""


class Grant:
    """A grant that is exchanged for an access token. Subclass it for other grants.

    It contains a secret, so its ``repr`` shows none, and it cannot be pickled or copied.
    """

    grant_type: ClassVar[str]
    """The ``grant_type`` of the request."""

    single_use: ClassVar[bool] = False
    """Whether the server may accept the grant only once, so that it must not be sent again."""

    can_repeat: bool = True
    """Whether the grant gets a new login after the refresh token of the last one was refused."""

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        """Return the parameters of the grant; one that signs an assertion starts from *claims*."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret: it cannot be pickled or copied")


class ClientCredentials(Grant):
    """The client itself, by its id and secret (RFC 6749 §4.4)."""

    grant_type = "client_credentials"


class RefreshToken(Grant):
    """A refresh token from an earlier login (RFC 6749 §6).

    A refresh token in the store comes first: servers that rotate them accept the one given here only once.

    Args:
        token: The refresh token. None (the default) uses the one in the store: from a login, or from
            another process. Without one, calls raise `OAuthError` with the code ``login_required``.
    """

    grant_type = "refresh_token"
    single_use = True
    can_repeat = False

    def __init__(self, token: str | None = None) -> None:
        if token is not None:
            check_text("token", token)
        self._token = token

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        """Return the token."""
        if self._token is None:
            raise OAuthError("no login is stored: log in first", code="login_required")
        return {"refresh_token": self._token}


class JWTBearer(Grant):
    """A signed assertion that names the subject of the token (RFC 7523 §2.1), for service accounts and a
    team's users.

    Args:
        assertion: Signs claims, and may be async. It receives ``iss``, ``sub`` (both the client id), ``aud``
            (the token endpoint), ``jti``, ``iat`` and ``exp`` (in a minute), and may change them, as does
            ``sign_jwt(key, "RS256", sub="ada@example.com")``.

    Raises:
        TypeError: *assertion* is not a function.
    """

    grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer"

    def __init__(self, assertion: Assertion) -> None:
        check_function("assertion", assertion, may_be_async=True)
        self._assertion = assertion

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        """Return a new assertion."""
        return {"assertion": await sign(self._assertion, claims)}


class TokenExchange(Grant):
    """Exchanges another party's token for a new one (RFC 8693): delegation or impersonation.

    Args:
        subject_token: The token of the subject, or a function, async or not, that returns it.
        subject_token_type: Its type; an access token by default.
        actor_token: The token of the party that acts for the subject. None by default.
        actor_token_type: Its type; an access token by default.
        requested_token_type: The requested type; None (the default) leaves it to the server.

    Raises:
        TypeError: An argument is of the wrong type.
        InvalidRequestError: A token or a type is empty.
    """

    grant_type = "urn:ietf:params:oauth:grant-type:token-exchange"

    def __init__(
        self,
        subject_token: Secret,
        subject_token_type: str = ACCESS_TOKEN,
        *,
        actor_token: Secret | None = None,
        actor_token_type: str = ACCESS_TOKEN,
        requested_token_type: str | None = None,
    ) -> None:
        self._subject = _checked_secret("subject_token", subject_token)
        self._actor = None if actor_token is None else _checked_secret("actor_token", actor_token)
        check_text("subject_token_type", subject_token_type)
        check_text("actor_token_type", actor_token_type)
        self._types = {"subject_token_type": subject_token_type}
        if actor_token is not None:
            self._types["actor_token_type"] = actor_token_type
        if requested_token_type is not None:
            check_text("requested_token_type", requested_token_type)
            self._types["requested_token_type"] = requested_token_type

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        """Return the tokens and their types."""
        form = {"subject_token": await _read("subject_token", self._subject), **self._types}
        if self._actor is not None:
            form["actor_token"] = await _read("actor_token", self._actor)
        return form


class Password(Grant):
    """A user's name and password (RFC 6749 §4.3). Legacy: OAuth 2.1 has removed it.

    Use it only for a server that supports no other grant.

    Args:
        user: The user's name.
        password: The password, or a function, async or not, that returns it.

    Raises:
        TypeError: An argument is of the wrong type.
        InvalidRequestError: An argument is empty.
    """

    grant_type = "password"

    def __init__(self, user: str, password: Secret) -> None:
        check_text("user", user)
        self._user = user
        self._password = _checked_secret("password", password)

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        """Return name and password."""
        return {"username": self._user, "password": await _read("password", self._password)}


def _checked_secret(name: str, value: Secret) -> Secret:
    if not callable(value):
        check_text(name, value)
    return value


async def _read(name: str, secret: Secret) -> str:
    value: Any = secret
    if callable(value):
        value = value()
        if hasattr(value, "__await__"):
            value = await value
    check_text(name, value)
    text: str = value
    return text
