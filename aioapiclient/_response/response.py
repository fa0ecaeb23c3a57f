"""`AsyncAPIResponse`: the head, and a body that is read, decoded, iterated over or written to a file."""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = (
    "aioapiclient._codecs.error_detail",
    "aioapiclient._codecs.failures",
)

import asyncio
import codecs
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_origin, overload

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aioapiclient._codecs.content_type import as_json, charset_of, codings_of, media_type
from aioapiclient._codecs.decoders import decoder_for
from aioapiclient._codecs.error_bodies import ProblemDetails, decode_error_body, error_type_for
from aioapiclient._codecs.error_detail import detail_of
from aioapiclient._codecs.failures import DecodeError
from aioapiclient._codecs.type_check import name_of
from aioapiclient._progress import Progress
from aioapiclient._request import APIRequest
from aioapiclient._types import NOT_GIVEN, NotGiven
from aioapiclient.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BodyTooLargeError,
    StreamConsumedError,
    printable,
)

from .head import BaseAPIResponse
from .source import BodySource, BytesSource, in_turn, told

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["AsyncAPIResponse", "is_response_type", "result_type"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_logger = logging.getLogger("aioapiclient")
_EXCERPT = 200  # characters of a body that an error keeps: one or two lines on a screen


class AsyncAPIResponse(BaseAPIResponse, Generic[T_co]):
    """A response with its body: `parse` decodes it, `read` returns the bytes, the ``iter_`` methods stream
    it.

    Unless the call streams, the body has been read by the time you receive the response. Close a streaming
    response that you discard: ``await response.close()``, or use ``async with``.

    Args:
        request: The request that was sent.
        status: The status code.
        headers: The headers, case-insensitive.
        source: The source of the body.
        reason: The reason phrase. Empty by default.
        url: The URL that answered. That of *request* by default.
        http_version: ``"1.1"`` (the default) or ``"1.0"``.
        elapsed: Seconds from the start of the call to the response head. 0.0 by default.
    """

    notes: tuple[str, ...] = ()
    """Notes for the error that is raised for this response (PEP 678)."""

    error: BaseException | None = None
    """The exception that ended the body early; None if the body is complete, or if its reader closed it.

    It is set before the callbacks of `on_close` run. The cause may be a broken connection, a limit of time or
    size, a cancellation, content that a stream cannot read, or the error passed to `abort`.
    """

    _again: Callable[[Mapping[str, str]], Awaitable[AsyncAPIResponse[Any]]] | None = None
    """Sends the same call again, with the given headers over its own.

    None unless a client returned the response unread.
    """

    _others: dict[Any, Any] | None = None
    _aborted = False
    _on_chunk: Callable[[int], object] | None = None

    def __init__(
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
        super().__init__(request, status, headers, reason, url, http_version, elapsed)
        # Attributes that every call reads are set here, because a class default is slower to find.
        self._source: BodySource | None = source
        self._body: bytes | None = None
        self._taken = False
        self._value: Any = NOT_GIVEN
        """The result of `parse`, or a value for it to return; `NOT_GIVEN` before."""
        self._on_close: list[Callable[[], object]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if request.stream and request._scope is not None and request._scope.opened is not None:
            request._scope.opened.append(self)

    @classmethod
    def from_bytes(
        cls,
        request: APIRequest,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> AsyncAPIResponse[Any]:
        """Create a response from bytes: for a middleware that does not call its handler, and for tests.

        Args:
            request: The request to answer.
            status: The status code. 200 by default.
            headers: The headers. None by default.
            body: The body, decompressed. Empty by default.

        Returns:
            The response. Its body is read already, unless the request asks for a stream.
        """
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

    def _as_response(self) -> AsyncAPIResponse[Any]:
        return self

    # --- lifecycle of the body

    @property
    def _parses_later(self) -> bool:
        """Whether the caller requested the response itself and decides when to parse it."""
        return _asked_for(self.request.cast_to)[0]

    def _take_raw(self) -> Any:
        """Return the `aiohttp.ClientResponse`, if the call requested that type. The caller must close it.

        Raises:
            TypeError: The transport has none.
        """
        raw = getattr(self._source, "raw", None)
        if raw is None:
            raise TypeError(
                "no aiohttp.ClientResponse: use AiohttpTransport and cast_to=aiohttp.ClientResponse"
            )
        if self._timer is not None:
            self._timer.cancel()
        # The caller closes aiohttp's response, not this one, but the on_close callbacks must still run.
        connection = getattr(raw, "connection", None)  # a mock may have none
        if connection is None:
            self._end()
        else:
            connection.add_callback(self._end)
        return raw

    @property
    def is_closed(self) -> bool:
        """Whether the connection has been released: the body was read, or the response was closed."""
        return self._source is None or self._aborted

    @property
    def body(self) -> bytes:
        """The complete body, after it was read.

        Raises:
            StreamConsumedError: The body was not read.
        """
        if self._body is None:
            raise StreamConsumedError(
                f"{self.request.label}: the body was not read; await response.read() first"
            )
        return self._body

    async def read(self) -> bytes:
        """Read the complete body, decompressed, and return it. Later calls return the same bytes.

        Raises:
            BodyTooLargeError: The body has more than the call's ``max_body`` bytes.
            StreamConsumedError: The body was streamed, or the response was closed.
            APIConnectionError: The connection broke.
        """
        if self._body is None:
            source = self._take()
            try:
                self._body = await source.read(self.request._settings.max_body)
            except BaseException as error:
                if isinstance(error, BodyTooLargeError):
                    error.status = self.status
                self._note_error(error)
                raise
            finally:
                self._release()
        return self._body

    def _read_nowait(self) -> bytes | None:
        """Return the complete body if it has already arrived, else None, in which case `read` must be
        called.
        """
        source = self._source
        if self._body is None and source is not None and not self._taken:
            self._body = source.read_nowait(self.request._settings.max_body)
            if self._body is not None:
                self._source = None  # the body has ended, so the connection is already free
                self._end()
        return self._body

    async def read_error(self) -> None:
        """Read the body of an error response. A body that cannot be read counts as empty, and a note says so.

        This covers a truncated body, one that cannot be decompressed, and one larger than ``max_body``. The
        status is known and more useful than the failure to read the body.

        Raises:
            BodyTooLargeError: The body belongs to a redirect that would be followed.
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
            self.status // 100 == 3 and self.request._settings.follow_redirects and "Location" in self.headers
        )

    async def close(self) -> None:
        """Release the connection; close it if the body has not ended. Safe to call again."""
        self._release()

    async def aclose(self) -> None:
        """Call `close`, under the name that `contextlib.aclosing` expects."""
        await self.close()

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call *callback* when the connection is released, or immediately if it has been released.

        In the callback, `error` is the reason if the body ended early.

        Args:
            callback: A function without arguments.
        """
        if self.is_closed:
            callback()
        elif self._on_close is None:
            self._on_close = [callback]
        else:
            self._on_close.append(callback)

    def on_chunk(self, callback: Callable[[int], object]) -> None:
        """Call *callback* with the size of each chunk of a body that is read in chunks.

        A middleware that counts streamed bytes registers here before it returns the response. A body that was
        read at once has no chunks: its size is ``len(response.body)``.

        Args:
            callback: Receives the number of decompressed bytes of each chunk that is read.

        """
        first = self._on_chunk
        self._on_chunk = callback if first is None else in_turn(first, callback)

    def abort(self, error: Exception) -> None:
        """Close the connection now. Pending and later reads of the body raise *error*.

        Args:
            error: The error to raise.
        """
        self._note_error(error)
        self._stop(error)

    def _note_error(self, error: BaseException) -> None:
        """Record the reason why the body ends early, unless it has already ended."""
        if self.error is None and not self.is_closed:
            self.error = error

    def _stop(self, error: Exception) -> None:
        """Act like `abort` without recording an error, for a reader that does not need the rest of the
        body.
        """
        if self._source is not None and not self._aborted:
            self._source.abort(error)
            self._aborted = True
            self._end()

    def _abort_at(self, deadline: float, make_error: Callable[[], Exception]) -> None:
        """Call `abort` at a point in time, unless the response is closed by then.

        Args:
            deadline: The time on the event loop's clock, in seconds.
            make_error: Creates the error to raise.
        """
        if self._source is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(deadline, lambda: self.abort(make_error()))

    def _take(self) -> BodySource:
        if self._source is None or self._taken:
            why = "was already streamed" if self._taken else "is not available: the response is closed"
            raise StreamConsumedError(
                f"{self.request.label}: the body {why}; read() it before, or send the call again"
            )
        self._taken = True
        return self._source

    def _release(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()
            self._end()

    def _end(self) -> None:
        """Stop the timer and call the callbacks: the connection has been released."""
        if self._timer is not None:
            self._timer.cancel()
        if self._on_close is not None:
            callbacks, self._on_close = self._on_close, None
            for callback in callbacks:
                callback()

    # --- the body in chunks

    async def iter_bytes(self) -> AsyncGenerator[bytes, None]:
        """Iterate over the body, decompressed, in chunks as they arrive. No chunk is empty.

        Raises:
            StreamConsumedError: The body was streamed before, or the response was closed.
            APIConnectionError: The connection broke.
        """
        read_chunk = self._take_chunks()
        try:
            while chunk := await read_chunk():
                yield chunk
                chunk = b""  # nothing is kept while the next chunk is awaited
        except (Exception, asyncio.CancelledError) as error:
            self._note_error(error)
            raise
        finally:
            self._release()

    def _take_chunks(self) -> Callable[[], Awaitable[bytes]]:
        """Return the async function that `iter_bytes` reads with: each call returns the next chunk, empty
        at the end.

        The caller must close the response.

        Raises:
            StreamConsumedError: The body was streamed before, or the response was closed.
        """
        if self._body is not None:
            return BytesSource(self._body).read_chunk
        read_chunk = self._take().read_chunk
        return read_chunk if self._on_chunk is None else told(read_chunk, self._on_chunk)

    async def iter_text(self) -> AsyncGenerator[str, None]:
        """Iterate over the body as text, in chunks as they arrive. Undecodable bytes become U+FFFD.

        Raises:
            StreamConsumedError: The body was streamed before, or the response was closed.
            APIConnectionError: The connection broke.
        """
        decoder = codecs.getincrementaldecoder(charset_of(self.headers.get("Content-Type")))("replace")
        async with aclosing(self.iter_bytes()) as chunks:
            async for chunk in chunks:
                text = decoder.decode(chunk)
                chunk = b""  # as in `iter_bytes`
                if text:
                    yield text
                text = ""
        if text := decoder.decode(b"", final=True):
            yield text

    async def iter_lines(self) -> AsyncGenerator[str, None]:
        """Iterate over the lines of the body, without their line ends (CRLF, LF or CR).

        Raises:
            BodyTooLargeError: A line has more than the call's ``max_body`` characters.
            StreamConsumedError: The body was streamed before, or the response was closed.
            APIConnectionError: The connection broke.
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
                # A CR at the very end may be half of a CRLF, so it is held back until the next chunk.
                pending = "\r" if rest.endswith("\r") else ""
                parts.append(rest[: len(rest) - len(pending)])
                size += len(rest)
                self._check_line(size)
        last = "".join(parts)
        if last or pending:
            yield last

    def _check_line(self, size: int) -> None:
        limit, request = self.request._settings.max_body, self.request
        if limit is not None and size > limit:
            message = f"{request.label}: a line of the response body has more than {limit} characters"
            error = BodyTooLargeError(message, request=request, limit=limit, status=self.status)
            self._note_error(error)
            raise error

    async def write_to_file(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        digest: str | bool | Callable[[AsyncAPIResponse[Any]], str] | None = None,
        resume: bool = True,
        max_resumes: int = 5,
    ) -> int:
        """Write the body to a file. The file receives the complete body, or does not change.

        The bytes go into a temporary file beside the target, which then replaces the target. A device or a
        FIFO receives them as they arrive.

        Args:
            path: The target: a file to create or replace, a device or a FIFO. Symbolic links are followed.
            progress: An object with ``update(n)``, n in bytes, such as a ``tqdm`` bar. None by default.
            digest: The expected digest: ``"sha256:<hex>"`` with any fixed-length algorithm of hashlib, or a
                function of the response that returns such a string. True requires and checks the response's
                own ``Repr-Digest`` or ``Content-Digest`` (RFC 9530). None (the default) checks nothing.
            resume: Whether to resume a body that breaks off, by a range request (RFC 9110 §14). True by
                default. This needs an unread response of a client, and a strong ETag or a Last-Modified from
                the server.
            max_resumes: The maximum number of range requests, 5 by default.

        Returns:
            The number of bytes written.

        Raises:
            APIConnectionError: The connection broke, and the body could not be resumed.
            APIResponseValidationError: The digest differs, or a resumed part does not fit.
            APIError: The resumed request failed.
            InvalidRequestError: *digest* is malformed, or *max_resumes* is negative.
            OSError: The target cannot be written. If it cannot be opened, the body is not read.
            TypeError: An argument has the wrong type.
        """
        from aioapiclient._download.download import write_to_file

        return await write_to_file(
            self, path, progress=progress, digest=digest, resume=resume, max_resumes=max_resumes
        )

    # --- the body decoded

    async def text(self) -> str:
        """Read the body and return it as text, by the charset of its Content-Type, else UTF-8.

        Raises:
            APIError: The body cannot be read; see `read`.
        """
        return (await self.read()).decode(charset_of(self.headers.get("Content-Type")), "replace")

    async def json(self) -> Any:
        """Read the body and return it decoded as JSON, whatever its Content-Type.

        Raises:
            APIResponseValidationError: The body is not JSON.
            APIError: The body cannot be read; see `read`.
        """
        await self.read()
        return self._decode_as(Any, as_json(self.headers.get("Content-Type")))

    @overload
    async def parse(self) -> T_co: ...
    @overload
    async def parse(self, *, to: TypeForm[T]) -> T: ...
    async def parse(self, *, to: Any = NOT_GIVEN) -> Any:
        """Read the body and return it decoded. Repeated calls with one type return the same object.

        Args:
            to: The type to decode to. The type that the call requested by default.

        Raises:
            APIResponseValidationError: The body does not fit the type; ``path`` is the position.
            APIError: The body cannot be read; see `read`.
        """
        if not isinstance(to, NotGiven):
            return await self._parse_as(to)
        if self._value is NOT_GIVEN:
            await self.read()
            self._value = self._decode_as(result_type(self.request.cast_to))
        return self._value

    def _decode(self) -> None:
        """Decode the body that was read to the type that the call requested, so that `parse` has it ready.

        Does nothing if the caller requested the response itself.

        Raises:
            APIResponseValidationError: The body does not fit the type.
            StreamConsumedError: The body was not read.
        """
        asked, target = _asked_for(self.request.cast_to)
        if not asked and self._value is NOT_GIVEN:
            self._value = self._decode_as(target)

    async def _parse_as(self, target: Any) -> Any:
        if _key(target) == _key(result_type(self.request.cast_to)):
            return await self.parse()
        others = self._others = {} if self._others is None else self._others
        key = _key(target)
        if key not in others:
            await self.read()
            others[key] = self._decode_as(target)
        return others[key]

    def _error_body(self) -> Any:
        """Return the decoded body of an error: by ``error_types``, as problem details, as plain data, or as
        text.

        Never raises. None if the body is empty or was not read. A body that does not fit its type adds a
        note to the error and logs a record at DEBUG.
        """
        return self._error_body_as(error_type_for(self.status, self.request._settings.error_types))

    def _error_detail(self, body: Any) -> str | None:
        """Return the message for people in an error body, as one printable line.

        Args:
            body: The body, as `_error_body` returned it.

        Returns:
            The text; None if the body has no such message, or with the client's ``error_detail=False``.
        """
        if not self.request._settings.error_detail:
            return None
        media = media_type(self.headers.get("Content-Type"))
        is_problem = media == "application/problem+json" or isinstance(body, ProblemDetails)
        detail = detail_of(body, self.request, is_problem=is_problem)
        if detail is None and error_type_for(self.status, self.request._settings.error_types) is not None:
            # The type need not have the members with the message for people.
            plain = self._error_body_as(None)
            detail = detail_of(plain, self.request, is_problem=isinstance(plain, ProblemDetails))
        return detail

    def _error_body_as(self, target: Any) -> Any:
        if not self._body:
            return None
        settings = self.request._settings

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

    def _decode_as(self, target: Any, content_type: str | None = None) -> Any:
        """Return the body that was read, decoded to a type. Nothing is cached.

        Args:
            target: The type to decode to.
            content_type: A Content-Type to use in place of the response's own.

        Raises:
            APIResponseValidationError: The body does not fit the type.
            StreamConsumedError: The body was not read.
        """
        settings = self.request._settings
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
        """Create the error for a body that does not match the requested type.

        Args:
            reason: The reason, for the message.
            path: The JSON path of the mismatch. ``$``, the whole body, by default.

        Returns:
            The error, with the first 200 characters of the body as ``excerpt``.
        """
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
    """Return whether the caller requested the response itself: `AsyncAPIResponse`, with or without a type."""
    return _asked_for(cast_to)[0]


def result_type(cast_to: Any) -> Any:
    """Return the type to decode the body to: T for ``AsyncAPIResponse[T]``, else *cast_to* itself."""
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
