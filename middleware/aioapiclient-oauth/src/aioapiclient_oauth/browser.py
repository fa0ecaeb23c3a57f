"""`login_browser`: a login in the local browser, with PKCE (RFC 8252 and RFC 7636)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import secrets
import webbrowser
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from yarl import URL

from aioapiclient.errors import InvalidRequestError

from ._endpoint import Client, check_endpoint
from .auth import join_scope
from .errors import OAuthError, error_of
from .grants import Grant

if TYPE_CHECKING:
    from aiohttp import web

    from .auth import OAuth2

__all__ = ["login_browser"]

_PATH = "/callback"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Code(Grant):
    """The code from the redirect."""

    grant_type = "authorization_code"
    single_use = True

    def __init__(self, code: str, redirect_uri: str, verifier: str) -> None:
        self._form = {"code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}

    async def form(self, claims: Mapping[str, Any], /) -> Mapping[str, str]:
        return self._form


async def login_browser(
    client: Client,
    oauth: OAuth2,
    authorize_url: str | URL,
    *,
    scope: str | Iterable[str] | None = None,
    issuer: str | None = None,
    params: Mapping[str, str] | None = None,
    open_page: Callable[[str], object] = webbrowser.open,
    port: int = 0,
    timeout: float = 300.0,
) -> None:
    """Let the user log in in the local browser, and keep the tokens in the store of *oauth*.

    A server on 127.0.0.1 waits for the redirect to ``/callback``. A request with a wrong ``state`` is
    refused, and the wait continues.

    Args:
        client: An `AsyncAPIClient`, which exchanges the code without its credential.
        oauth: The credential. Its grant should be ``RefreshToken()``, which requires a login.
        authorize_url: The authorization page: https, or http on loopback.
        scope: The requested scope; None (the default) for that of *oauth*.
        issuer: The server's issuer, which the redirect must contain (RFC 9207); None (the default) if the
            server does not support this.
        params: Other parameters of the page, such as ``{"prompt": "consent"}``.
        open_page: Opens the page for the user: ``webbrowser.open`` by default. It may be async; it returns
            False if the machine has no browser.
        port: The port of the local server; 0 (the default) for any free port.
        timeout: The seconds within which the user must log in; 300 by default.

    Raises:
        InvalidRequestError: *authorize_url* is not https, or *port* or *timeout* is out of range.
        OAuthError: The user refused (``access_denied``) or did not log in in time (``timeout``), no browser
            was found (``no_browser``), another server answered (``invalid_issuer``), or the server refused.
    """
    page = check_endpoint("authorize_url", authorize_url)
    _check_numbers(port, timeout)
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    callback = _Callback(state, issuer)
    async with _listening(callback, port) as redirect_uri:
        own = [
            ("response_type", "code"),
            ("client_id", oauth.client_login.client_id),
            ("redirect_uri", redirect_uri),
            ("state", state),
            ("code_challenge", challenge_of(verifier)),
            ("code_challenge_method", "S256"),
            ("scope", join_scope(scope) or oauth.scope),
        ]
        query = [*(params or {}).items(), *oauth.common, *(pair for pair in own if pair[1])]
        await _open(open_page, str(page.extend_query(query)))
        code = await callback.wait(timeout)
    await oauth.log_in(await oauth.ask(_Code(code, redirect_uri, verifier), client=client))


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of *verifier* (RFC 7636 §4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _check_numbers(port: object, timeout: object) -> None:
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise InvalidRequestError(f"port must be 0 to 65535, not {port}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if not timeout > 0:
        raise InvalidRequestError(f"timeout must be more than 0 seconds, not {timeout}")


async def _open(open_page: Callable[[str], object], url: str) -> None:
    if open_page is webbrowser.open:
        opened: Any = await asyncio.to_thread(open_page, url)  # a browser in a terminal would block the loop
    else:
        opened = open_page(url)
    if hasattr(opened, "__await__"):
        opened = await opened
    if opened is False:
        raise OAuthError("no browser to log in with was found", code="no_browser")


class _Callback:
    """The target of the redirect: it accepts the first request with the right state."""

    def __init__(self, state: str, issuer: str | None) -> None:
        self._state = state.encode()
        self._issuer = issuer
        self._code: asyncio.Future[str | OAuthError] = asyncio.get_running_loop().create_future()

    async def wait(self, seconds: float) -> str:
        """Return the code that arrives within *seconds*."""
        try:
            async with asyncio.timeout(seconds):
                outcome = await self._code
        except TimeoutError:
            raise OAuthError(f"the user did not log in within {seconds:g} s", code="timeout") from None
        if isinstance(outcome, OAuthError):
            raise outcome
        return outcome

    async def handle(self, request: web.Request) -> web.Response:
        """Answer the browser."""
        answer = request.query
        # Any program on this machine can send a request here; only the browser of this login knows the state.
        if not secrets.compare_digest(answer.get("state", "").encode(), self._state) or self._code.done():
            return _page(400, "This login is not the expected one.")
        error = self._refusal(answer)
        if error is not None:
            self._code.set_result(error)
            return _page(400, "The login has failed. You can close this page.")
        self._code.set_result(answer["code"])
        return _page(200, "The login is complete here. You can close this page.")

    def _refusal(self, answer: Mapping[str, str]) -> OAuthError | None:
        if self._issuer is not None and answer.get("iss") != self._issuer:
            return OAuthError("the redirect came from another server", code="invalid_issuer")
        if "error" in answer or not answer.get("code"):
            return error_of(answer, "the login was refused")
        return None


def _page(status: int, text: str) -> web.Response:
    from aiohttp import web

    body = f"<!doctype html><meta charset=utf-8><title>Login</title><p>{html.escape(text)}"
    return web.Response(status=status, text=body, content_type="text/html", headers=_HEADERS)


@asynccontextmanager
async def _listening(callback: _Callback, port: int) -> AsyncGenerator[str, None]:
    """Serve *callback* on 127.0.0.1; yield its URL."""
    from aiohttp import web

    app = web.Application()
    app.router.add_get(_PATH, callback.handle, allow_head=False)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)  # an access log would contain the code
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{_PATH}"
    finally:
        await runner.cleanup()
