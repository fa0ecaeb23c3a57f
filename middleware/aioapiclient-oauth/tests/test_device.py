"""`login_device` against the rude provider: how it waits, and when it ends."""

from __future__ import annotations

from typing import Any

import pytest
from aioapiclient_oauth import DevicePrompt, MemoryStore, OAuth2, OAuthError, RefreshToken, login_device
from aiohttp import web

from aioapiclient import AsyncAPIClient, RetryPolicy
from aioapiclient.errors import APIError, APIResponseValidationError, InvalidRequestError
from aioapiclient.testing import FakeClock

DEVICE = {
    "device_code": "s3cr3t-canary",
    "user_code": "AB-CD",
    "verification_uri": "https://idp.example.com/device",
    "expires_in": 100,
    "interval": 2,
}
PENDING = (400, {"error": "authorization_pending"})


def abort(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def log_in(provider: Any, service: Any, answers: list[Any], **options: Any) -> tuple[Any, ...]:
    """Log in and call the API; return the waits, the output and the response."""
    provider.answers = answers
    clock, told = FakeClock(), list[DevicePrompt]()
    oauth = OAuth2(f"{provider.url}/token", "me", grant=RefreshToken(), store=MemoryStore(), scope="read")
    policy = RetryPolicy(retry_unsafe=True, jitter=lambda _: 0.0)
    async with AsyncAPIClient(service.url, auth=oauth, retry=policy) as api:
        url = f"{provider.url}/device"
        await login_device(api, oauth, url, tell=told.append, sleep=clock.sleep, **options)
        return clock.sleeps, told, await api.get("/")


async def test_a_person_comes_in_time(provider: Any, service: Any) -> None:
    """The user receives page and code; the token is requested after each interval, and `slow_down` adds 5
    s.
    """
    slow = (400, {"error": "slow_down"})
    sleeps, told, answer = await log_in(provider, service, [DEVICE, PENDING, slow, PENDING])

    assert sleeps == [2, 2, 7, 7]
    assert [(p.verification_uri, p.user_code) for p in told] == [("https://idp.example.com/device", "AB-CD")]
    assert provider.paths == ["/device"] + ["/token"] * 4
    assert provider.forms[0] == {"client_id": "me", "scope": "read"}
    assert provider.forms[1] == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "s3cr3t-canary",
        "client_id": "me",
    }
    assert answer == {"token": "at-5"}
    assert "s3cr3t-canary" not in repr(told)


async def test_trouble_on_the_way_is_waited_out(provider: Any, service: Any) -> None:
    """A broken connection doubles the interval, a 503 adds to it; the login continues."""
    sleeps, _, _ = await log_in(provider, service, [DEVICE, abort, (503, {}), PENDING])

    assert sleeps == [2, 4, 9, 9]


async def test_a_scope_of_the_login(provider: Any, service: Any) -> None:
    """The login may request a separate scope, and the server may omit the interval."""
    device = {name: value for name, value in DEVICE.items() if name != "interval"}
    sleeps, *_ = await log_in(provider, service, [device], scope=["a", "b"])

    assert provider.forms[0]["scope"] == "a b"
    assert sleeps == [5]


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([DEVICE, (400, {"error": "access_denied"})], "access_denied"),
        ([DEVICE, (400, {"error": "expired_token"})], "expired_token"),
        ([DEVICE | {"expires_in": 7}, *[PENDING] * 9], "expired_token"),
        ([(401, {"error": "invalid_client"})], "invalid_client"),
    ],
)
async def test_a_login_that_fails(answers: list[Any], code: str, provider: Any, service: Any) -> None:
    """A refusal by the user or the provider, and a user who does not respond, end the login with a code."""
    with pytest.raises(OAuthError) as caught:
        await log_in(provider, service, answers)

    assert caught.value.code == code
    assert len(provider.forms) <= 4
    assert service.tokens == []


@pytest.mark.parametrize("device", [{}, DEVICE | {"expires_in": None}, []])
async def test_an_answer_of_another_shape(device: Any, provider: Any, service: Any) -> None:
    """An answer that is not a device authorization ends the login."""
    with pytest.raises(APIResponseValidationError, match="a device authorization was expected"):
        await log_in(provider, service, [device])


async def test_https_is_required(service: Any) -> None:
    """The device code is a secret: plain http is refused."""
    oauth = OAuth2("https://idp.example.com/token", "me")
    async with AsyncAPIClient(service.url, auth=oauth) as api:
        with pytest.raises(InvalidRequestError, match="device_url must be an https URL"):
            await login_device(api, oauth, "http://idp.example.com/device", tell=print)


async def test_a_login_replaces_the_one_before(provider: Any, service: Any) -> None:
    """After a login of another user, calls use the new token."""
    oauth = OAuth2(f"{provider.url}/token", "me", grant=RefreshToken("r"))
    async with AsyncAPIClient(service.url, auth=oauth) as api:
        await api.get("/")
        provider.answers = [DEVICE]

        async def tell(prompt: DevicePrompt) -> None:
            assert prompt.expires_in == 100

        await login_device(api, oauth, f"{provider.url}/device", tell=tell, sleep=FakeClock().sleep)
        await api.get("/")

    assert service.tokens == ["at-1", "at-3"]


async def test_an_exception_of_tell_is_raised(provider: Any, service: Any) -> None:
    """An error of the user's own function is theirs."""
    provider.answers = [DEVICE]
    oauth = OAuth2(f"{provider.url}/token", "me")

    def tell(_: DevicePrompt) -> None:
        raise LookupError("no terminal")

    async with AsyncAPIClient(service.url, auth=oauth) as api:
        with pytest.raises(LookupError) as caught:
            await login_device(api, oauth, f"{provider.url}/device", tell=tell)

    assert not isinstance(caught.value, APIError)
