"""Redirects: each hop carries only the credentials of its own origin."""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._url.links",)

from typing import Any

from multidict import CIMultiDict

from aioapiclient._checks import check_flag, check_origins, check_whole
from aioapiclient._headers import is_personal
from aioapiclient._url.links import follow_link
from aioapiclient._url.origins import is_same_server
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import InvalidRequestError, RequestNotReplayableError, TooManyRedirectsError

__all__ = ["RedirectMiddleware"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class RedirectMiddleware:
    """Follows redirects (RFC 9110 §15.4), and withholds personal headers from foreign origins.

    A request to a foreign origin, by a redirect or by an absolute URL, keeps only its ``Accept...``,
    ``User-Agent`` and ``Content-...`` headers. An upgrade from http to https of the same host, on the
    default ports, keeps all of them. A 303, and a POST on 301 or 302, becomes a GET; 307 and 308 send the
    body again, but only to trusted origins. Attempts are counted across all hops. If a redirect changed the
    method and the call fails, a note on the error says so.

    Args:
        trusted_origins: Patterns of origins to trust besides the client's own, such as
            ``https://*.example.com``.
        max_redirects: The maximum number of hops, 10 by default.
        allow_insecure: Whether to follow a redirect from https to http. False by default.

    Raises:
        TooManyRedirectsError: The number of hops exceeded the limit, or a redirect was refused.
        RequestNotReplayableError: The redirect requires the body again, but it can be sent only once.
    """

    def __init__(
        self,
        *,
        trusted_origins: tuple[str, ...] = (),
        max_redirects: int = 10,
        allow_insecure: bool = False,
    ) -> None:
        self._trusted_origins = check_origins("trusted_origins", trusted_origins)
        self._max_redirects = check_whole("max_redirects", max_redirects)
        self._allow_insecure = check_flag("allow_insecure", allow_insecure)

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        """Handle *request*, and follow its redirects."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """Return *handler* wrapped in this middleware."""

        async def following(request: APIRequest) -> AsyncAPIResponse[Any]:
            if self._trusted_origins:
                request.trusted_origins = self._trusted_origins
            hop = request.copy()
            if not hop.is_trusted(self._trusted_origins):
                _protect(hop)
            response = await handler(hop)
            if response.status not in _REDIRECTS or not request._settings.follow_redirects:
                return response
            return await self._follow(request, response, handler)

        return following

    async def _follow(
        self, request: APIRequest, response: AsyncAPIResponse[Any], handler: Handler
    ) -> AsyncAPIResponse[Any]:
        """Follow *response* to *request*, and return the final response."""
        history: tuple[AsyncAPIResponse[Any], ...] = ()
        method, path, template = request.method, request.url.raw_path, request.template
        while response.status in _REDIRECTS and not response.ok and "Location" in response.headers:
            await response.close()
            history += (response,)
            if len(history) > self._max_redirects:
                raise TooManyRedirectsError(
                    f"{request.label}: more than {self._max_redirects} redirects", request=response.request
                )
            hop = self._next(request, response)
            hop.template = template if hop.url.raw_path == path else None
            response = await handler(hop)
            response.history = history
        if request.method != method and not response.ok:
            response.notes += (_changed(method, request, history),)
        return response

    def _next(self, request: APIRequest, response: AsyncAPIResponse[Any]) -> APIRequest:
        """Return the request of the next hop; *request* is updated for the hops that follow."""
        try:
            url = follow_link(response.url, response.headers["Location"], allow_insecure=self._allow_insecure)
        except InvalidRequestError as error:
            raise _refused(response, f"its Location {error}") from None
        if _becomes_get(response.status, request.method):
            request.method = "GET"
            _drop_body(request)
        if not request.can_be_sent:
            raise RequestNotReplayableError(
                f"{response.request.label}: status {response.status} requires the body again, "
                "but it can be sent only once",
                request=response.request,
            )
        request.url = url
        request.attempt = response.retries_taken
        hop = request.copy()
        if hop.is_trusted(self._trusted_origins):
            hop._withheld = ()
        else:
            if hop.body is not None and not is_same_server(url, response.url):
                raise _refused(
                    response, "the body would go to another origin; name it in trusted_origins to allow that"
                )
            _protect(hop)
        return hop


def _protect(hop: APIRequest) -> None:
    """Remove the personal headers: the hop goes to a foreign origin."""
    hop._withheld += tuple(dict.fromkeys(name for name in hop.headers if is_personal(name)))
    hop.headers = CIMultiDict((name, value) for name, value in hop.headers.items() if not is_personal(name))
    hop._call_headers = tuple(entry for entry in hop._call_headers if not is_personal(entry[0]))
    hop.idempotency_key = None


def _becomes_get(status: int, method: str) -> bool:
    if status == 303:
        return method not in {"GET", "HEAD"}
    return status in {301, 302} and method == "POST"


def _drop_body(request: APIRequest) -> None:
    request.body = None
    for name in [name for name in request.headers if name.lower().startswith("content-")]:
        request.headers.popall(name, None)
    request._call_headers = tuple(
        own for own in request._call_headers if not own[0].lower().startswith("content-")
    )


def _changed(method: str, request: APIRequest, history: tuple[AsyncAPIResponse[Any], ...]) -> str:
    """Return the note about a redirect that replaced *method*."""
    changes = (response for response in history if _becomes_get(response.status, response.request.method))
    changing = next(changes, history[0])
    return (
        f"A redirect (status {changing.status}) of {changing.request.label} turned the {method} into a"
        f" {request.method} without a body. To keep the method, change base_url or the path, so that the call"
        " names the final URL, not one that redirects"
    )


def _refused(response: AsyncAPIResponse[Any], why: str) -> TooManyRedirectsError:
    return TooManyRedirectsError(
        f"{response.request.label}: the redirect (status {response.status}) is refused: {why}",
        request=response.request,
    )
