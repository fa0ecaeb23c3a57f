"""Sending plain requests on a connection of the connector, without `ClientSession._request`.

That method follows redirects, sends again, and handles cookies, netrc, proxies, traces and middlewares. A
request that uses none of these, without a body or with a small one, needs only a connection, a write and the
wait for the head. The request is a copy of an earlier one to the same origin, with its own URL, headers and
body, and is written at once. This saves 810 of the 4,400 bytecodes of a typed GET, and 0.19 of the CPU time
of a GET on plain aiohttp: 0.06 of it by the copy, and 0.04 by the write. Of a typed POST of 1 kB it saves
0.14 to 0.29.

All other requests go through `ClientSession._request`. So do plain requests if that method was replaced (by a
mock or a tracing tool), if the version of aiohttp is unknown, and if more than URL, headers and body would
differ from the copied request.

Hooks: the session's `_request`, `_middlewares`, `_loop`, `_response_class` and `_read_bufsize`; the
connector's `_timeout_ceil_threshold`; the attributes, `_timer`, `_body`, `update_body_from_data` and `send`
of a request; the constructor and `start` of a response; the protocol's `start_timeout` and `writing_paused`;
`http_writer._serialize_headers`.
"""

from __future__ import annotations

import inspect
from typing import Any, Final, TypeAlias, cast

import aiohttp
from aiohttp import client, http_writer
from multidict import CIMultiDict
from yarl import URL

from .connector import LINE, Limits

__all__ = ["Direct", "make_direct"]

# The versions whose `ClientSession._request` was compared with this module.
_KNOWN: Final = ("3.12.", "3.13.", "3.14.")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_UNFRAMED: Final = frozenset({"GET", "HEAD"})  # without a body they have no Content-Length
_LARGEST_BODY: Final = 32 << 10  # bytes: half of what asyncio buffers before a writer has to wait
_MOST_PATTERNS: Final = 64  # redirects to many origins must not exhaust memory

_serialize_headers: Final[Any] = vars(http_writer).get("_serialize_headers")

# A mock or a tool may have replaced it before this module was imported.
_REQUEST: Final[Any] = vars(aiohttp.ClientSession).get("_request")

_Attributes: TypeAlias = dict[str, Any]
_Key: TypeAlias = tuple[str, str, str, bool]  # method, scheme, authority, whether there is a body


class _Written:
    """Stands in for the writer of a request that has been written: aiohttp 3.14.5 reads its size."""

    output_size = 0


def make_direct(session: Any, request_class: Any) -> Direct | None:
    """Return the sender for our own *session*, or None if `_request` must send all its requests."""
    is_own = getattr(_REQUEST, "__globals__", None) is vars(client) and _serialize_headers is not None
    if not is_own or not aiohttp.__version__.startswith(_KNOWN) or session._middlewares:
        return None
    return Direct(session, request_class)


class Direct:
    """Sends plain requests of one session; created by `make_direct`."""

    def __init__(self, session: Any, request_class: Any) -> None:
        self._session = session
        self._connector = session.connector
        self._traces: list[Any] = session.trace_configs
        self._closes: bool = session.connector.force_close
        self._class = request_class
        takes_writer = "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters
        self._writer: dict[str, Any] = {"stream_writer": _Written()} if takes_writer else {}
        self._patterns: dict[_Key, _Attributes | None] = {}
        self._params: dict[str, Any] = {
            "read_until_eof": True,
            "auto_decompress": False,
            "read_bufsize": session._read_bufsize,
            "timeout_ceil_threshold": session.connector._timeout_ceil_threshold,
            "max_line_size": LINE,
            "max_field_size": LINE,
        }

    def prepare(self, method: str, url: URL, headers: CIMultiDict[str], body: Any = None) -> Any:
        """Return the request for `send`, or None if `ClientSession._request` must send it."""
        session = self._session
        if body is not None and (type(body) is not bytes or len(body) > _LARGEST_BODY):
            return None
        if getattr(session._request, "__func__", None) is not _REQUEST or self._traces or session.closed:
            return None
        key = (method, url.scheme, url.raw_authority, body is not None)
        try:
            pattern = self._patterns[key]
        except KeyError:
            pattern = self._learn(key, url, headers, body)
        return None if pattern is None else self._copy(pattern, url, headers, body)

    async def send(self, request: Any, limits: Limits, body: bytes | None = None) -> aiohttp.ClientResponse:
        """Send *request* with *body*, and return the response when its head has arrived."""
        try:
            connection = await self._connector.connect(request, traces=[], timeout=limits)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        try:
            connection.protocol.set_response_params(
                timer=request._timer,
                skip_payload=request.method == "HEAD",
                read_timeout=limits.sock_read,
                **self._params,
            )
            response: aiohttp.ClientResponse | None = self._write(request, connection, body)
            if response is None:
                if body is not None:
                    request.update_body_from_data(body)
                response = cast("aiohttp.ClientResponse", await request.send(connection))
            try:
                await response.start(connection)
            except BaseException:
                response.close()
                raise
        except BaseException:
            connection.close()
            raise
        return response

    def _write(self, request: Any, connection: Any, body: bytes | None) -> Any:
        """Write *request* at once, and return its response; None if the write may have to wait.

        `ClientRequest.send` creates a writer for this and keeps it for the response.
        """
        protocol = connection.protocol
        transport = protocol.transport
        if protocol.writing_paused or transport is None or transport.is_closing() or self._closes:
            return None
        line = f"{request.method} {request.url.raw_path_qs} HTTP/1.1"
        protocol.start_timeout()
        head = _serialize_headers(line, request.headers)
        transport.write(head + body if body else head)
        return request.response_class(
            request.method,
            request.url,
            writer=None,
            continue100=None,
            timer=request._timer,
            request_info=request.request_info,
            traces=[],
            loop=request.loop,
            session=self._session,
            **self._writer,
        )

    def _copy(self, pattern: _Attributes, url: URL, headers: CIMultiDict[str], body: bytes | None) -> Any:
        request = self._class.__new__(self._class)
        own = pattern["headers"].copy()
        own.extend(headers)
        if body is not None or pattern["method"] not in _UNFRAMED:
            own["Content-Length"] = str(len(body or b""))
        request.__dict__ = {**pattern, "url": url, "original_url": url, "headers": own}
        return request

    def _learn(
        self, key: _Key, url: URL, headers: CIMultiDict[str], body: bytes | None
    ) -> _Attributes | None:
        """Return the pattern for a method and an origin; None if copies would not be exact."""
        if len(self._patterns) >= _MOST_PATTERNS:
            self._patterns.clear()
        pattern = self._patterns[key] = self._pattern(key[0], url, headers, body)
        return pattern

    def _pattern(
        self, method: str, url: URL, headers: CIMultiDict[str], body: bytes | None
    ) -> _Attributes | None:
        is_allowed = url.scheme in self._connector.allowed_protocol_schema_set and url.raw_host
        if method not in _METHODS or not is_allowed or url.raw_user or url.raw_password:
            return None
        bare = self._build(method, url, CIMultiDict(), None, None)
        bare.headers.popall("Content-Length", None)
        pattern: _Attributes = {**vars(bare)}
        elsewhere = url.with_path("/elsewhere")
        built = self._build(method, elsewhere, headers, body, bare._timer)
        if body is not None:
            built._body = None
        return pattern if vars(self._copy(pattern, elsewhere, headers, body)) == vars(built) else None

    def _build(self, method: str, url: URL, headers: CIMultiDict[str], body: bytes | None, timer: Any) -> Any:
        """Return a request as `ClientSession._request` builds it."""
        session = self._session
        return self._class(
            method,
            url,
            headers=headers,
            data=body,
            loop=session._loop,
            response_class=session._response_class,
            timer=timer,
            session=session,
            traces=[],
        )
