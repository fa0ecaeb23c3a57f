"""`login_browser` with a browser played by the test: the URL it opens, and the answers it accepts."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aioapiclient_oauth import MemoryStore, OAuth2, OAuthError, RefreshToken, browser, login_browser
from yarl import URL

from aioapiclient import AsyncAPIClient
from aioapiclient.errors import InvalidRequestError

PKCE = json.loads((Path(__file__).parent / "auth_vectors.json").read_text())["pkce"]

Visit = Callable[[URL, "Callable[..., Awaitable[int]]"], Awaitable[None]]


class Browser:
    """Opens a page by visiting its callback with *visit*, in a separate task."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.pages: list[URL] = []
        self.task: asyncio.Task[None] | None = None

    def open(self, url: str) -> bool:
        self.pages.append(URL(url))
        self.task = asyncio.create_task(self._go(URL(url)))
        return True

    async def _go(self, page: URL) -> None:
        async with aiohttp.ClientSession() as session:

            async def back(**answer: str) -> int:
                async with session.get(URL(page.query["redirect_uri"]).with_query(answer)) as response:
                    return response.status

            await self.visit(page, back)


async def log_in(provider: Any, service: Any, visit: Visit, **options: Any) -> Browser:
    """Log in with a browser that does *visit*, and call the API."""
    tab = Browser(visit)
    oauth = OAuth2(
        f"{provider.url}/token", "me", grant=RefreshToken(), store=MemoryStore(), resource=["u:1", "u:2"]
    )
    async with AsyncAPIClient(service.url, auth=oauth, max_retries=0) as api:
        await login_browser(
            api, oauth, f"{provider.url}/authorize?a=b", scope="x y", open_page=tab.open, **options
        )
        assert tab.task is not None
        await tab.task
        await api.get("/")
    return tab


def test_the_challenge_of_the_rfc() -> None:
    """RFC 7636 appendix B."""
    assert browser.challenge_of(PKCE["verifier"]) == PKCE["challenge"]


async def test_a_person_logs_in(provider: Any, service: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The page has all required parameters; the code is exchanged with the verifier; neither is logged."""
    caplog.set_level(logging.DEBUG)

    async def visit(page: URL, back: Any) -> None:
        assert await back(code="c0de", state=page.query["state"]) == 200

    tab = await log_in(provider, service, visit, params={"prompt": "consent"})

    query = tab.pages[0].query
    form = provider.forms[0]
    assert query["a"] == "b"
    assert query["prompt"] == "consent"
    assert query["scope"] == "x y"
    assert query.getall("resource") == ["u:1", "u:2"]
    assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
    assert query["redirect_uri"].startswith("http://127.0.0.1:")
    assert (form["grant_type"], form["code"]) == ("authorization_code", "c0de")
    assert form["redirect_uri"] == query["redirect_uri"]
    assert browser.challenge_of(form["code_verifier"]) == query["code_challenge"]
    assert service.tokens == ["at-1"]
    assert not [secret for secret in ("c0de", form["code_verifier"], query["state"]) if secret in caplog.text]


async def test_a_wrong_state_is_not_the_login(provider: Any, service: Any) -> None:
    """Callbacks with a wrong or missing state are refused, and the login continues to wait; each is
    handled once.
    """
    statuses: list[int] = []

    async def visit(page: URL, back: Any) -> None:
        statuses.append(await back(code="evil", state="wrong"))
        statuses.append(await back(code="evil", state="\N{SNOWMAN}"))
        statuses.append(await back(code="evil"))
        statuses.append(await back(error="access_denied"))
        statuses.append(await back(code="good", state=page.query["state"]))

    await log_in(provider, service, visit)

    assert statuses == [400, 400, 400, 400, 200]
    assert [form["code"] for form in provider.forms] == ["good"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"error": "access_denied", "error_description": "no"}, "access_denied"),
        ({}, ""),
        ({"code": "c", "iss": "https://evil.example"}, "invalid_issuer"),
        ({"code": "c"}, "invalid_issuer"),
    ],
)
async def test_a_login_that_fails(answer: dict[str, str], code: str, provider: Any, service: Any) -> None:
    """A refusal, an empty answer, and the answer of another server (RFC 9207) end the login."""

    async def visit(page: URL, back: Any) -> None:
        await back(state=page.query["state"], **answer)

    with pytest.raises(OAuthError) as caught:
        await log_in(
            provider, service, visit, issuer="https://idp.example.com" if code == "invalid_issuer" else None
        )

    assert caught.value.code == code
    assert provider.forms == []


async def test_the_right_issuer(provider: Any, service: Any) -> None:
    """A redirect that names the issuer is accepted."""

    async def visit(page: URL, back: Any) -> None:
        await back(code="c", iss="https://idp.example.com", state=page.query["state"])

    await log_in(provider, service, visit, issuer="https://idp.example.com")

    assert service.tokens == ["at-1"]


async def test_a_login_that_is_not_completed(provider: Any, service: Any) -> None:
    """After the timeout the login ends, and its server with it."""
    pages: list[str] = []
    oauth = OAuth2(f"{provider.url}/token", "me")
    async with AsyncAPIClient(service.url, auth=oauth) as api:
        with pytest.raises(OAuthError, match=r"within 0\.01 s") as caught:
            await login_browser(api, oauth, provider.url, open_page=pages.append, timeout=0.01)

    assert caught.value.code == "timeout"
    redirect = URL(URL(pages[0]).query["redirect_uri"])
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(redirect)


async def test_no_browser(provider: Any, service: Any) -> None:
    """Where no page can be opened the login does not wait."""
    oauth = OAuth2(f"{provider.url}/token", "me")

    async def fail(url: str) -> bool:
        return False

    async with AsyncAPIClient(service.url, auth=oauth) as api:
        with pytest.raises(OAuthError) as caught:
            await login_browser(api, oauth, provider.url, open_page=fail)

    assert caught.value.code == "no_browser"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"port": "80"}, TypeError, "port must be an int"),
        ({"port": 70_000}, InvalidRequestError, "port must be 0 to 65535"),
        ({"timeout": None}, TypeError, "timeout must be a number"),
        ({"timeout": 0}, InvalidRequestError, "timeout must be more than 0"),
        (
            {"authorize_url": "http://idp.example.com"},
            InvalidRequestError,
            "authorize_url must be an https URL",
        ),
    ],
)
async def test_what_is_refused(options: Any, error: type[Exception], message: str, service: Any) -> None:
    """Arguments are checked before the page is opened."""
    oauth = OAuth2("https://idp.example.com/token", "me")
    async with AsyncAPIClient(service.url, auth=oauth) as api:
        given = {"authorize_url": "https://idp.example.com/", **options}
        with pytest.raises(error, match=message):
            await login_browser(api, oauth, open_page=pytest.fail, **given)
