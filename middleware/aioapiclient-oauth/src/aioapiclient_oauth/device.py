"""`login_device`: a login on another device, by a code that the user types there (RFC 8628)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from yarl import URL

from aioapiclient.errors import APIConnectionError

from ._endpoint import Client, Pairs, check_endpoint, decode, post
from .auth import join_scope
from .errors import OAuthError
from .grants import Grant

if TYPE_CHECKING:
    from .auth import OAuth2
    from .stores import Tokens

__all__ = ["DevicePrompt", "login_device"]

_INTERVAL: Final = 5.0  # seconds between two polls if the server names none (RFC 8628 §3.2)
_SLOWER: Final = 5.0  # seconds added after each `slow_down` (§3.5)
_LONGEST: Final = 60.0  # the most seconds between two polls, however often the connection fails


class DevicePrompt(msgspec.Struct, frozen=True, kw_only=True):
    """The text for the user: open the page, and type the code."""

    verification_uri: str
    """The page to open."""

    user_code: str
    """The code to type there."""

    verification_uri_complete: str | None = None
    """The page with the code in it, for a link or a QR code; None if the server has none."""

    expires_in: float = 0
    """Seconds until the code expires."""


class _Device(msgspec.Struct):
    """The response of a device authorization endpoint (RFC 8628 §3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float
    verification_uri_complete: str | None = None
    interval: float | None = None

    def __repr__(self) -> str:
        return "_Device()"


class _DeviceCode(Grant):
    """The code of the device, until the user has confirmed it."""

    grant_type = "urn:ietf:params:oauth:grant-type:device_code"
    single_use = True  # by its success; each poll is sent once, and repeated after the interval

    def __init__(self, code: str) -> None:
        self._code = code

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        return {"device_code": self._code}


async def login_device(
    client: Client,
    oauth: OAuth2,
    device_url: str | URL,
    *,
    tell: Callable[[DevicePrompt], object],
    scope: str | Iterable[str] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Let the user log in on another device, and keep the tokens in the store of *oauth*.

    Args:
        client: An `AsyncAPIClient`, which sends the requests without its credential.
        oauth: The credential. Its grant should be ``RefreshToken()``, which requires a login.
        device_url: The device authorization endpoint: https, or http on loopback.
        tell: Shows the `DevicePrompt` to the user. It may be async.
        scope: The requested scope; None (the default) for that of *oauth*.
        sleep: Waits some seconds between two polls; `asyncio.sleep` by default.

    Raises:
        InvalidRequestError: *device_url* is not https.
        OAuthError: The user refused (``access_denied``) or did not log in in time (``expired_token``), or the
            server refused.
    """
    url = check_endpoint("device_url", device_url)
    device = await _begin(client, oauth, url, join_scope(scope) or oauth.scope)
    told: Any = tell(
        DevicePrompt(
            verification_uri=device.verification_uri,
            user_code=device.user_code,
            verification_uri_complete=device.verification_uri_complete,
            expires_in=device.expires_in,
        )
    )
    if hasattr(told, "__await__"):
        await told
    await oauth.log_in(await _poll(client, oauth, device, sleep))


async def _begin(client: Client, oauth: OAuth2, url: URL, scope: str) -> _Device:
    form: Pairs = [*([("scope", scope)] if scope else []), *oauth.common]
    response = await post(client, url, form, oauth.client_login)
    return decode(response, _Device, "a device authorization")


async def _poll(
    client: Client, oauth: OAuth2, device: _Device, sleep: Callable[[float], Awaitable[object]]
) -> Tokens:
    interval = _INTERVAL if device.interval is None or not device.interval > 0 else device.interval
    waited = 0.0
    while waited + interval <= device.expires_in:
        await sleep(interval)
        waited += interval
        try:
            return await oauth.ask(_DeviceCode(device.device_code), client=client)
        except OAuthError as error:
            interval += _slower(error)
        except APIConnectionError:
            interval = min(interval * 2, max(interval, _LONGEST))  # §3.5 asks for fewer polls
    raise OAuthError("the code expired before the user logged in", code="expired_token")


def _slower(error: OAuthError) -> float:
    """Return the seconds to add to the interval; raise *error* if waiting would not help."""
    is_in_trouble = not error.code and error.status is not None and error.status in (429, *range(500, 600))
    if error.code == "slow_down" or is_in_trouble:
        return max(_SLOWER, error.retry_after or 0)
    if error.code != "authorization_pending":
        raise error
    return 0.0
