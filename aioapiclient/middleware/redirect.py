"""Redirects, each hop with the credentials of its own origin and no other."""

from __future__ import annotations

from typing import Any

from multidict import CIMultiDict
from yarl import URL

from aioapiclient._checks import check_flag, check_origins, check_whole
from aioapiclient._headers import is_personal
from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import (
    APIResponseValidationError,
    RequestNotReplayableError,
    TooManyRedirectsError,
)

__all__ = ["RedirectMiddleware"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class RedirectMiddleware:
    """Follows redirects (RFC 9110 §15.4), and keeps everything personal from foreign origins.

    A request to another origin than the client's own and *trusted_origins*, by a redirect or by an
    absolute URL in the first place, keeps only ``Accept...``, ``User-Agent`` and ``Content-...``
    headers; from http to https of one host, on the default ports, it keeps all. 303, and POST on 301
    and 302, becomes GET; 307 and 308 send the body again, to trusted origins only. At most
    *max_redirects* hops (10: twice what real services chain). From https to http only with
    *allow_insecure*. Attempts count on over all hops. An error after a redirect that changed the
    method has a note that says so.

    Raises `TooManyRedirectsError` for one hop too many and for one that is refused, and
    `RequestNotReplayableError` when a body that can be sent once would have to go again.
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
        """Handle *request*, and what it leads to."""
        return await self._join(handler)(request)

    def _join(self, handler: Handler) -> Handler:
        """The handler that this makes of *handler*."""

        async def following(request: APIRequest) -> AsyncAPIResponse[Any]:
            if self._trusted_origins:
                request.trusted_origins = self._trusted_origins
            hop = request.copy()
            if not hop.is_trusted(self._trusted_origins):
                _protect(hop)
            response = await handler(hop)
            if response.status not in _REDIRECTS or not request.settings.follow_redirects:
                return response
            return await self._follow(request, response, handler)

        return following

    async def _follow(
        self, request: APIRequest, response: AsyncAPIResponse[Any], handler: Handler
    ) -> AsyncAPIResponse[Any]:
        """What *response* to *request*, and the hops from there on, lead to."""
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
        """The hop that *response* asks for; *request* is changed to what is left of it."""
        url = _target(response)
        if url.scheme != "https" and response.url.scheme == "https" and not self._allow_insecure:
            raise _refused(response, f"it leads from https to {url.scheme}")
        if _becomes_get(response.status, request.method):
            request.method = "GET"
            _drop_body(request)
        if not request.can_be_sent:
            raise RequestNotReplayableError(
                f"{response.request.label}: status {response.status} asks for the body again, "
                "and it can be sent only once",
                request=response.request,
            )
        request.url = url
        request.attempt = response.retries_taken
        hop = request.copy()
        if hop.is_trusted(self._trusted_origins):
            hop.withheld = ()
        else:
            if hop.body is not None and not _is_same_server(url, response.url):
                raise _refused(
                    response, "the body would go to another origin; name it in trusted_origins to allow that"
                )
            _protect(hop)
        return hop


def _protect(hop: APIRequest) -> None:
    """Take off what is personal: the hop goes to a foreign origin."""
    hop.withheld += tuple(dict.fromkeys(name for name in hop.headers if is_personal(name)))
    hop.headers = CIMultiDict((name, value) for name, value in hop.headers.items() if not is_personal(name))
    hop.call_headers = tuple(entry for entry in hop.call_headers if not is_personal(entry[0]))
    hop.idempotency_key = None


def _is_same_server(url: URL, other: URL) -> bool:
    """Whether both have one origin, or *url* is https where *other* is http, on the default ports."""
    schemes = [(url.scheme, url.port), (other.scheme, other.port)]
    return url.raw_host == other.raw_host and (
        schemes[0] == schemes[1] or schemes == [("https", 443), ("http", 80)]
    )


def _becomes_get(status: int, method: str) -> bool:
    if status == 303:
        return method not in {"GET", "HEAD"}
    return status in {301, 302} and method == "POST"


def _drop_body(request: APIRequest) -> None:
    request.body = None
    for name in [name for name in request.headers if name.lower().startswith("content-")]:
        request.headers.popall(name, None)
    request.call_headers = tuple(
        own for own in request.call_headers if not own[0].lower().startswith("content-")
    )


def _changed(method: str, request: APIRequest, history: tuple[AsyncAPIResponse[Any], ...]) -> str:
    """Tell that a redirect made another method of *method*."""
    changes = (response for response in history if _becomes_get(response.status, response.request.method))
    changing = next(changes, history[0])
    return (
        f"A redirect (status {changing.status}) of {changing.request.label} made a {request.method} of the"
        f" {method}, without its body. To keep the method, change base_url or the path: the call must name"
        " the URL that answers, not one that redirects"
    )


def _target(response: AsyncAPIResponse[Any]) -> URL:
    try:
        url = response.location
    except APIResponseValidationError:
        raise _refused(response, "its Location is not a URL") from None
    if url is None or url.scheme not in {"http", "https"} or not url.raw_host:
        raise _refused(response, "its Location is not an http or https URL")
    # What a server writes there must not become a credential (userinfo), and is never sent (fragment).
    return url.with_user(None).with_fragment(None) if "@" in url.raw_authority or url.raw_fragment else url


def _refused(response: AsyncAPIResponse[Any], why: str) -> TooManyRedirectsError:
    return TooManyRedirectsError(
        f"{response.request.label}: the redirect (status {response.status}) is refused: {why}",
        request=response.request,
    )
