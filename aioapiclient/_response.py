"""The response: its head is known at once, its body comes from a source that speaks our errors."""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from functools import lru_cache
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar, get_args, get_origin, overload

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ._codecs.content_type import as_json, charset_of, codings_of, declared_charset, media_type
from ._codecs.decoders import DecodeError, decoder_for
from ._codecs.error_bodies import ProblemDetails, decode_error_body, error_type_for
from ._codecs.error_detail import detail_of
from ._codecs.type_check import name_of
from ._download import Digest, write_to_file
from ._progress import Progress
from ._request import APIRequest
from ._response_headers import parse_links, retry_after
from ._types import NOT_GIVEN, NotGiven
from ._url.base import resolve_reference
from .errors import (
    APIConnectionError,
    APIResponseValidationError,
    BodyTooLargeError,
    InvalidRequestError,
    StreamConsumedError,
    printable,
)

__all__ = ["AsyncAPIResponse", "BaseAPIResponse", "BodySource", "BytesSource"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_logger = logging.getLogger("aioapiclient")
_EXCERPT = 200  # characters of a body that an error keeps: a screen line or two, never a whole document


class BodySource(Protocol):
    """Where a body comes from; a transport hands one over with every response."""

    async def read(self, limit: int | None) -> bytes:
        """The whole rest; `BodyTooLargeError` past *limit* bytes, decompressed."""
        ...

    def read_nowait(self, limit: int | None) -> bytes | None:
        """The whole rest, if it is there and has at most *limit* bytes; None when `read` has to see to it."""
        ...

    async def read_chunk(self) -> bytes:
        """The next bytes, decompressed, as they come; empty at the end."""
        ...

    def close(self) -> None:
        """Give the connection back if the body has ended, else close it. Safe to call again."""
        ...

    def abort(self, error: Exception) -> None:
        """Close the connection; who reads now, or later, gets *error*."""
        ...


class BytesSource:
    """A body that is there already."""

    __slots__ = ("_body", "_error", "_request")

    def __init__(self, body: bytes, request: APIRequest | None = None) -> None:
        self._body = body
        self._request = request
        self._error: Exception | None = None

    async def read(self, limit: int | None) -> bytes:
        """The whole rest."""
        if limit is not None and len(self._body) > limit:
            raise BodyTooLargeError(
                f"The body has more than {limit} bytes", limit=limit, request=self._request
            )
        return await self.read_chunk()

    def read_nowait(self, limit: int | None) -> bytes | None:
        """All of it, if nothing is wrong with it."""
        if self._error is not None or (limit is not None and len(self._body) > limit):
            return None
        body, self._body = self._body, b""
        return body

    async def read_chunk(self) -> bytes:
        """All of it, once."""
        if self._error is not None:
            raise self._error
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """Nothing to give back."""

    def abort(self, error: Exception) -> None:
        """Who reads later gets *error*."""
        self._error = error


class BaseAPIResponse:
    """What is known of a response once its head is in."""

    history: tuple[BaseAPIResponse, ...] = ()
    """The redirects that led here, oldest first; their bodies are gone."""

    _retry_after: float | None = None

    def __init__(
        self,
        request: APIRequest,
        status: int,
        headers: CIMultiDictProxy[str],
        reason: str = "",
        url: URL | None = None,
        http_version: str = "1.1",
        elapsed: float = 0.0,
    ) -> None:
        self.request: APIRequest = request
        """The request as it was sent, with what every middleware added."""
        self.status: int = status
        """The status code (RFC 9110 §15)."""
        self.headers: CIMultiDictProxy[str] = headers
        """The headers, case-insensitive; a name may come more than once."""
        self.reason: str = reason
        """The reason phrase; may be empty."""
        self.url: URL = request.url if url is None else url
        """Where the response came from."""
        self.http_version: str = http_version
        """``"1.1"`` or ``"1.0"``."""
        self._elapsed = elapsed

    @property
    def retries_taken(self) -> int:
        """How many attempts of the call came before the one that gave this response."""
        return self.request.attempt

    @property
    def method(self) -> str:
        """The method of the request that was answered."""
        return self.request.method

    @property
    def elapsed(self) -> timedelta:
        """From the start of the call to the head of this response."""
        return timedelta(seconds=self._elapsed)

    @property
    def ok(self) -> bool:
        """Whether the status is no error: 2xx, or one that the call named in ``ok_statuses``."""
        return self.status // 100 == 2 or self.status in self.request.settings.ok_statuses

    @property
    def request_id(self) -> str | None:
        """The server's name for this request, from the header that the client names."""
        return self.headers.get(self.request.settings.request_id_header)

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; ``application/octet-stream`` without a header."""
        return media_type(self.headers.get("Content-Type")) or "application/octet-stream"

    @property
    def charset(self) -> str | None:
        """The ``charset`` that the Content-Type declares, as it is written; None without one."""
        return declared_charset(self.headers.get("Content-Type"))

    @property
    def location(self) -> URL | None:
        """The Location header, resolved against the response's URL (RFC 3986 §5.2); None without one.

        Raises:
            APIResponseValidationError: What the server sent there is not a URL.
        """
        value = self.headers.get("Location")
        try:
            return None if value is None else resolve_reference(self.url, value)
        except InvalidRequestError:
            this: Any = self
            is_whole = isinstance(self, AsyncAPIResponse)
            raise APIResponseValidationError(
                f"{self.request.label}: status {self.status}: its Location header is not a URL",
                request=self.request,
                response=this if is_whole else None,
                status=self.status,
                content_type=self.headers.get("Content-Type"),
                retries_taken=self.retries_taken,
            ) from None

    @property
    def links(self) -> Mapping[str, URL]:
        """The targets of the Link header by their relation, resolved (RFC 8288)."""
        return parse_links(self.headers.getall("Link", ()), self.url)

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before another try, as the headers say; None when they say nothing usable.

        A middleware that knows better may set it.
        """
        return retry_after(self.headers, self.status) if self._retry_after is None else self._retry_after

    @retry_after.setter
    def retry_after(self, seconds: float | None) -> None:
        self._retry_after = seconds


class AsyncAPIResponse(BaseAPIResponse, Generic[T_co]):
    """A response with its body: typed by `parse`, whole by `read`, piece by piece by the ``iter_`` methods.

    Unless the call streams, the body has been read by the time the response is handed out. Who
    drops a response that still streams closes it: ``await response.close()``, or ``async with``.
    """

    notes: tuple[str, ...] = ()
    """What the error that is raised for this response says besides (PEP 678)."""

    again: Callable[[Mapping[str, str]], Awaitable[AsyncAPIResponse[Any]]] | None = None
    """Sends the same call once more, with these headers over its own; of an unread response of a client."""

    _others: dict[Any, Any] | None = None
    _aborted = False
    _on_chunk: Callable[[int], object] | None = None

    def __init__(  # pyright: ignore[reportMissingSuperCall]
        self,
        request: APIRequest,
        status: int,
        headers: CIMultiDictProxy[str],
        source: BodySource,
        reason: str = "",
        url: URL | None = None,
        http_version: str = "1.1",
        elapsed: float = 0.0,
    ) -> None:
        # Every call makes one: what the base class does is done here, without the price of calling it. What
        # every call reads is set here too, for a default of the class is slow to find.
        self.request: APIRequest = request
        self.status: int = status
        self.headers: CIMultiDictProxy[str] = headers
        self.reason: str = reason
        self.url: URL = request.url if url is None else url
        self.http_version: str = http_version
        self._elapsed = elapsed
        self._source: BodySource | None = source
        self._body: bytes | None = None
        self._taken = False
        self.value: Any = NOT_GIVEN
        """What `parse` gave, or was told to give; `NOT_GIVEN` before."""
        self._on_close: list[Callable[[], object]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if request.stream and request.scope is not None and request.scope.opened is not None:
            request.scope.opened.append(self)

    @classmethod
    def from_bytes(
        cls,
        request: APIRequest,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> AsyncAPIResponse[Any]:
        """An answer made on the spot: for a middleware that does not call its handler, and for tests."""
        head = CIMultiDictProxy(CIMultiDict(headers or {}))
        response: AsyncAPIResponse[Any] = AsyncAPIResponse(request, status, head, BytesSource(body, request))
        if not request.stream:
            response._body = body
            response._source = None
        return response

    def __repr__(self) -> str:
        return f"<AsyncAPIResponse {self.status} {self.request.label}>"

    async def __aenter__(self) -> AsyncAPIResponse[T_co]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # --- the life of the body

    @property
    def parses_later(self) -> bool:
        """Whether the caller asked for the response itself, to parse it when they like."""
        return _asked_for(self.request.cast_to)[0]

    def take_raw(self) -> Any:
        """The `aiohttp.ClientResponse` behind it, of a call that asked for that type; it is the caller's now.

        Raises `TypeError` when the transport has none to give.
        """
        raw = getattr(self._source, "raw", None)
        if raw is None:
            raise TypeError(
                "There is no aiohttp.ClientResponse here: it takes an AiohttpTransport, and a call that asks"
            )
        if self._timer is not None:
            self._timer.cancel()
        # Its caller closes aiohttp's response, and not this one: whoever counts must be told all the same.
        connection = getattr(raw, "connection", None)  # a mock may have none
        if connection is None:
            self._end()
        else:
            connection.add_callback(self._end)
        return raw

    @property
    def is_closed(self) -> bool:
        """Whether the connection is no longer held: the body was read, or given up."""
        return self._source is None or self._aborted

    @property
    def body(self) -> bytes:
        """The whole body, once it was read; `StreamConsumedError` before."""
        if self._body is None:
            raise StreamConsumedError(
                f"{self.request.label}: the body was not read; await response.read() first"
            )
        return self._body

    async def read(self) -> bytes:
        """The whole body, decompressed, kept for every later use.

        Raises `BodyTooLargeError` past the call's ``max_body`` bytes and `StreamConsumedError` when
        the body was streamed away or the response closed.
        """
        if self._body is None:
            source = self._take()
            try:
                self._body = await source.read(self.request.settings.max_body)
            except BodyTooLargeError as error:
                error.status = self.status
                raise
            finally:
                self._release()
        return self._body

    def read_nowait(self) -> bytes | None:
        """The whole body, if it has arrived by now; None when only `read` can tell what becomes of it."""
        source = self._source
        if self._body is None and source is not None and not self._taken:
            self._body = source.read_nowait(self.request.settings.max_body)
            if self._body is not None:
                self._source = None  # the connection is free already: the body has ended
                self._end()
        return self._body

    async def read_error(self) -> None:
        """Read the body of an error; one that cannot be read as a whole counts as empty, and a note says so.

        That is one that breaks off, cannot be decompressed, or is larger than ``max_body``. The status is
        known, and says more than a failure to read what came with it.

        Raises:
            BodyTooLargeError: It belongs to a redirect that would be followed: no status error is hidden.

        """
        try:
            await self.read()
        except (APIConnectionError, APIResponseValidationError, BodyTooLargeError) as error:
            if isinstance(error, BodyTooLargeError) and self._leads_on:
                raise
            self._body = b""
            self.notes += (f"The body of the error response could not be read: {error}",)

    @property
    def _leads_on(self) -> bool:
        return (
            self.status // 100 == 3 and self.request.settings.follow_redirects and "Location" in self.headers
        )

    async def close(self) -> None:
        """Give the connection back; a body that has not ended closes it. Safe to call again."""
        self._release()

    async def aclose(self) -> None:
        """Call `close`; `contextlib.aclosing` asks for this name."""
        await self.close()

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call *callback* once the connection is no longer held: at once, if that is so already."""
        if self.is_closed:
            callback()
        elif self._on_close is None:
            self._on_close = [callback]
        else:
            self._on_close.append(callback)

    def on_chunk(self, callback: Callable[[int], object]) -> None:
        """Call *callback* with the size of each piece of a body that is read in pieces.

        A middleware that counts what is streamed registers here before it returns the response. A body
        that was read whole has no pieces: its size is ``len(response.body)``.

        Args:
            callback: Is called with a number of bytes, decompressed, each time a piece is handed over.

        """
        first = self._on_chunk
        self._on_chunk = callback if first is None else _in_turn(first, callback)

    def abort(self, error: Exception) -> None:
        """Close the connection now; whoever reads the body, or will, gets *error*."""
        if self._source is not None:
            self._source.abort(error)
            self._aborted = True
            self._end()

    def abort_at(self, deadline: float, make_error: Callable[[], Exception]) -> None:
        """`abort` when the loop's clock reaches *deadline*, unless the response is closed by then."""
        if self._source is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(deadline, lambda: self.abort(make_error()))

    def _take(self) -> BodySource:
        if self._source is None or self._taken:
            why = "was streamed away" if self._taken else "is gone: the response is closed"
            raise StreamConsumedError(f"{self.request.label}: the body {why}; read() it before, or ask again")
        self._taken = True
        return self._source

    def _release(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()
            self._end()

    def _end(self) -> None:
        """The connection is no longer held: stop the timer, and tell those who want to know."""
        if self._timer is not None:
            self._timer.cancel()
        if self._on_close is not None:
            callbacks, self._on_close = self._on_close, None
            for callback in callbacks:
                callback()

    # --- the body in pieces

    async def iter_bytes(self) -> AsyncGenerator[bytes, None]:
        """The body, decompressed, in pieces as they come; no piece is empty."""
        read_chunk = self.take_chunks()
        try:
            while chunk := await read_chunk():
                yield chunk
        finally:
            self._release()

    def take_chunks(self) -> Callable[[], Awaitable[bytes]]:
        """What `iter_bytes` reads with: the next piece each time, empty at the end. Whoever takes it closes.

        Raises `StreamConsumedError` when the body was streamed away or the response closed.
        """
        if self._body is not None:
            return BytesSource(self._body).read_chunk
        read_chunk = self._take().read_chunk
        return read_chunk if self._on_chunk is None else _told(read_chunk, self._on_chunk)

    async def iter_text(self) -> AsyncGenerator[str, None]:
        """The body as text, in pieces as they come; what is no text becomes U+FFFD."""
        decoder = codecs.getincrementaldecoder(charset_of(self.headers.get("Content-Type")))("replace")
        async with aclosing(self.iter_bytes()) as chunks:
            async for chunk in chunks:
                if text := decoder.decode(chunk):
                    yield text
        if text := decoder.decode(b"", final=True):
            yield text

    async def iter_lines(self) -> AsyncGenerator[str, None]:
        """The lines of the body without their ends, which are CRLF, LF or CR.

        Raises `BodyTooLargeError` for one line of more than the call's ``max_body``, in characters.
        """
        pending = ""
        parts: list[str] = []
        size = 0
        async with aclosing(self.iter_text()) as texts:
            async for text in texts:
                *lines, rest = _split_lines(pending + text)
                for line in lines:
                    yield "".join((*parts, line))
                    parts.clear()
                    size = 0
                # A CR at the very end may be half of a CRLF: it waits for what comes next.
                pending = "\r" if rest.endswith("\r") else ""
                parts.append(rest[: len(rest) - len(pending)])
                size += len(rest)
                self._check_line(size)
        last = "".join(parts)
        if last or pending:
            yield last

    def _check_line(self, size: int) -> None:
        limit, request = self.request.settings.max_body, self.request
        if limit is not None and size > limit:
            message = f"{request.label}: a line of the response body has more than {limit} characters"
            raise BodyTooLargeError(message, request=request, limit=limit, status=self.status)

    async def write_to_file(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        digest: Digest = None,
        resume: bool = True,
        max_resumes: int = 5,
    ) -> int:
        """Write the body to *path* and return the number of bytes; a file gets all of them, or none.

        They are written beside the target, which is replaced when they are whole; a device or a FIFO
        takes them as they come. Symbolic links are followed. A body that breaks is
        resumed where it broke, up to *max_resumes* times (5), if its server gave a strong ETag or a
        Last-Modified and the response is an unread one of a client (RFC 9110 §14). *progress* is
        told of the bytes as they come. *digest* is ``"sha256:<hex>"``, a function of the response
        that gives such a text, or True for its own ``Repr-Digest`` or ``Content-Digest`` (RFC 9530).

        Raises what breaks the body where it cannot be resumed, `APIResponseValidationError` for
        another digest or a wrong part, and `OSError` as the system has it.
        """
        return await write_to_file(
            self, path, progress=progress, digest=digest, resume=resume, max_resumes=max_resumes
        )

    # --- the body as something

    async def text(self) -> str:
        """The whole body as text, by the charset of its Content-Type, else UTF-8."""
        return (await self.read()).decode(charset_of(self.headers.get("Content-Type")), "replace")

    async def json(self) -> Any:
        """The whole body as plain data, whatever its Content-Type says."""
        await self.read()
        return self.decode_as(Any, as_json(self.headers.get("Content-Type")))

    @overload
    async def parse(self) -> T_co: ...
    @overload
    async def parse(self, *, to: type[T]) -> T: ...
    @overload
    async def parse(self, *, to: Any) -> Any: ...
    async def parse(self, *, to: Any = NOT_GIVEN) -> Any:
        """The body as what the call asked for, or as *to*; the same object each time for one type.

        Raises `APIResponseValidationError`, with the place, when the body does not fit.
        """
        if not isinstance(to, NotGiven):
            return await self._parse_as(to)
        if self.value is NOT_GIVEN:
            await self.read()
            self.value = self.decode_as(result_type(self.request.cast_to))
        return self.value

    def decode(self) -> None:
        """Make the body that was read into what the call asked for, so that `parse` has it ready.

        Not for who asked for the response itself, to parse it when they like. Raises as `parse` does,
        and `StreamConsumedError` when the body was not read.
        """
        asked, target = _asked_for(self.request.cast_to)
        if not asked and self.value is NOT_GIVEN:
            self.value = self.decode_as(target)

    async def _parse_as(self, target: Any) -> Any:
        if _key(target) == _key(result_type(self.request.cast_to)):
            return await self.parse()
        others = self._others = {} if self._others is None else self._others
        key = _key(target)
        if key not in others:
            await self.read()
            others[key] = self.decode_as(target)
        return others[key]

    def error_body(self) -> Any:
        """The body of an error, decoded: by ``error_types``, as problem details, as plain data, as text.

        Never raises; None when the body was not read, or is empty. A body that does not fit its type
        leaves a note, and a record at DEBUG.
        """
        return self._error_body_as(error_type_for(self.status, self.request.settings.error_types))

    def error_detail(self, body: Any) -> str | None:
        """Return what an error says to people, as one printable line; *body* is what `error_body` gave.

        None where it says nothing to them, and with the client's ``error_detail=False``.
        """
        if not self.request.settings.error_detail:
            return None
        media = media_type(self.headers.get("Content-Type"))
        is_problem = media == "application/problem+json" or isinstance(body, ProblemDetails)
        detail = detail_of(body, self.request, is_problem=is_problem)
        if detail is None and error_type_for(self.status, self.request.settings.error_types) is not None:
            # The type need not have the members that are meant for people.
            plain = self._error_body_as(None)
            detail = detail_of(plain, self.request, is_problem=isinstance(plain, ProblemDetails))
        return detail

    def _error_body_as(self, target: Any) -> Any:
        if not self._body:
            return None
        settings = self.request.settings

        def tell(reason: str) -> None:
            note = f"The body does not fit {name_of(target)}, which error_types names: {reason}"
            if note not in self.notes:
                self.notes += (note,)
                _logger.debug("%s: status %d: %s", self.request.label, self.status, note)

        return decode_error_body(
            self._body,
            self.headers.get("Content-Type"),
            target,
            strict=settings.strict,
            dec_hook=settings.dec_hook,
            decoders=settings.decoders,
            tell=tell,
        )

    def decode_as(self, target: Any, content_type: str | None = None) -> Any:
        """Return the body that was read as *target*, and keep nothing of it; *content_type* replaces its own.

        Raises:
            APIResponseValidationError: The body does not fit.
            StreamConsumedError: The body was not read.

        """
        settings = self.request.settings
        body = self.body if self._body is None else self._body
        if content_type is None:
            content_type = self.headers.get("Content-Type")
        try:
            return decoder_for(target, content_type, settings.strict, settings.dec_hook, settings.decoders)(
                body
            )
        except DecodeError as error:
            if not settings.decompress and (codings := self._codings):
                raise self.validation_error(
                    f"decompress=False left the body as {codings[0][:20]!r}"
                ) from None
            raise self.validation_error(error.reason, error.path) from error.cause

    @property
    def _codings(self) -> list[str]:
        return codings_of(self.headers.getall("Content-Encoding", ()))

    def validation_error(self, reason: str, path: str = "$") -> APIResponseValidationError:
        """The error for a body that is not what was asked for, with a bounded excerpt as attribute."""
        content_type = self.headers.get("Content-Type")
        label = printable(content_type or "no content type")
        message = f"{self.request.label}: status {self.status}, {label}: {reason}"
        return APIResponseValidationError(
            message if path == "$" else f"{message} at {path}",
            path=path,
            response=self,
            request=self.request,
            status=self.status,
            content_type=content_type,
            excerpt=(self._body or b"")[: 4 * _EXCERPT].decode("utf-8", "replace")[:_EXCERPT],
            retries_taken=self.retries_taken,
        )


def _in_turn(first: Callable[[int], object], second: Callable[[int], object]) -> Callable[[int], object]:
    def call_both(size: int) -> None:
        first(size)
        second(size)

    return call_both


def _told(
    read_chunk: Callable[[], Awaitable[bytes]], callback: Callable[[int], object]
) -> Callable[[], Awaitable[bytes]]:
    """Return *read_chunk*, with *callback* told the size of each piece."""

    async def read() -> bytes:
        chunk = await read_chunk()
        if chunk:
            callback(len(chunk))
        return chunk

    return read


def _split_lines(text: str) -> list[str]:
    # Not str.splitlines: U+2028, form feeds and others are part of a line here.
    ends_in_cr = text.endswith("\r")
    lines = (text[:-1] if ends_in_cr else text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if ends_in_cr:
        lines[-1] += "\r"
    return lines


def _key(target: Any) -> Any:
    try:
        hash(target)
    except TypeError:
        return repr(target)
    return target


def is_response_type(cast_to: Any) -> bool:
    """Whether the caller asked for the response itself: `AsyncAPIResponse`, or one of some type."""
    return _asked_for(cast_to)[0]


def result_type(cast_to: Any) -> Any:
    """What the body is decoded to: T for `AsyncAPIResponse` of T, else *cast_to* itself."""
    return _asked_for(cast_to)[1]


def _asked_for(cast_to: Any) -> tuple[bool, Any]:
    try:
        return _cached_asked_for(cast_to)
    except TypeError:  # not hashable, such as Annotated with a list
        return _cached_asked_for.__wrapped__(cast_to)


@lru_cache(maxsize=1024)
def _cached_asked_for(cast_to: Any) -> tuple[bool, Any]:
    if not _is_response(get_origin(cast_to) or cast_to):
        return False, cast_to
    for base in (cast_to, *getattr(cast_to, "__orig_bases__", ())):
        arguments = get_args(base)
        if arguments and _is_response(get_origin(base)):
            return True, arguments[0]
    return True, Any


def _is_response(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, AsyncAPIResponse)
