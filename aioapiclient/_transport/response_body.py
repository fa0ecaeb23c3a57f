"""The body of one response on the wire: complete, decompressed and limited in size, or an error."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import aiohttp
from aiohttp import http_exceptions

from aioapiclient._request import APIRequest
from aioapiclient.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BodyTooLargeError,
    ClientClosedError,
)

from .decompression import CodingError, Decoder, TruncatedError, decoder_for

__all__ = ["WireBody"]

_STEP: Final = 256 << 10  # bytes of one decompression step: the most that a bomb can use beyond the limit

# aiohttp joins the data that arrived while a reader was busy. Large pieces are taken without that copy, with
# which a download to a file took about 1.15 times the CPU time (CPython 3.11).
_LARGE: Final = 64 << 10
_GIVES_PIECES: Final = hasattr(aiohttp.StreamReader, "_read_nowait_chunk")


class WireBody:
    """A `BodySource` on aiohttp's stream.

    On any error, including a cancellation, the connection is closed, because after a partial read it must not
    return to the pool. After a complete read, aiohttp has already returned it.
    """

    # Most bodies need none of these; as class attributes they cost nothing per body.
    _error: Exception | None = None
    _decoder: Decoder | None = None
    _coded = False
    _plain = True
    _closing_error: Callable[[], BaseException | None] | None = None
    _tls: ssl.SSLObject | None = None
    _borrowed: aiohttp.ClientSession | None = None

    raw: aiohttp.ClientResponse | None = None
    """aiohttp's response, if the caller requested it; aiohttp decompresses it."""

    def __init__(
        self,
        raw: aiohttp.ClientResponse,
        headers: Mapping[str, str],
        request: APIRequest,
        failure: Callable[[Exception], BaseException],
    ) -> None:
        self._raw = raw
        self._content = raw.content
        self._request = request
        self._failure = failure
        if request.cast_to is aiohttp.ClientResponse:
            self.raw = getattr(raw, "given", raw)
        if "Content-Encoding" in headers and _is_decoded(raw.status, request):
            # aiohttp has decompressed its own response, unless that was disabled.
            self._coded = self.raw is None or not request._settings.decompress
            self._plain = False
        if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
            self._watch_end()

    def _watch_end(self) -> None:
        """Track the end of the connection, which ends the body. Hook: ``raw._protocol``."""
        protocol = getattr(self._raw, "_protocol", None)
        if protocol is None or self._content is aiohttp.EMPTY_PAYLOAD:
            return
        self._plain = False
        self._closing_error = protocol.exception
        if protocol.transport is not None:
            self._tls = protocol.transport.get_extra_info("ssl_object")

    def watch_connection(self, session: aiohttp.ClientSession) -> None:
        """Wake the reader when a connection of a borrowed *session* closes, which aiohttp does not always do.

        aiohttp does not wake it if the session closes or a chunk is invalid. Our own connections wake their
        readers.
        """
        self._borrowed = session
        content, connection = self._content, self._raw.connection
        if content.is_eof() or connection is None or connection.protocol is None:
            return
        protocol = connection.protocol
        closed = protocol.closed
        if closed is None:
            return

        def wake(_: asyncio.Future[None]) -> None:
            if not content.is_eof() and content.exception() is None:
                reason = protocol.exception()
                if not isinstance(reason, http_exceptions.HttpProcessingError):
                    reason = aiohttp.ClientConnectionError("Connection lost")
                content.set_exception(reason)

        closed.add_done_callback(wake)

        def forget() -> None:
            closed.remove_done_callback(wake)

        content.on_eof(forget)
        # Python reports a future whose exception is never retrieved, even after the body has ended.
        closed.remove_done_callback(_look)
        closed.add_done_callback(_look)

    def read_nowait(self, limit: int | None) -> bytes | None:
        """Return the rest if it has arrived, is not encoded and does not exceed *limit*; else None."""
        content = self._content
        if not self._plain or self._error is not None or not content.is_eof():
            return None
        if limit is not None and content.total_bytes > limit:
            return None
        return content.read_nowait()

    async def read(self, limit: int | None) -> bytes:
        """Return the rest; raise `BodyTooLargeError` if it exceeds *limit* bytes, decompressed."""
        try:
            return await self._collect(limit)
        except BaseException as error:
            failure = self._fail(error)
            if failure is error:
                raise
        raise failure

    async def read_chunk(self) -> bytes:
        """Return the next bytes, decompressed, as they arrive; empty at the end."""
        try:
            if self._plain and self._error is None:
                return await self._read_some()
            return await self._next(_STEP)
        except BaseException as error:
            failure = self._fail(error)
            if failure is error:
                raise
        raise failure

    async def _read_some(self) -> bytes:
        """Return the next bytes. Hooks: `_read_nowait`, because aiohttp drops unread bytes before an error;
        `_buffer` and `_read_nowait_chunk`.
        """
        content: Any = self._content
        if content.exception() is not None:
            rest: bytes = content._read_nowait(-1)
            if rest:
                return rest
        elif _GIVES_PIECES:
            pieces: Any = getattr(content, "_buffer", ())  # an empty body has none, and a mock may lack it
            if len(pieces) > 1 and len(pieces[0]) >= _LARGE:
                piece: bytes = content._read_nowait_chunk(-1)
                return piece
        chunk: bytes = await content.readany()
        return chunk

    def close(self) -> None:
        """Close the connection unless the body has ended. Safe to call again."""
        if not self._content.is_eof():
            self._drop()

    def abort(self, error: Exception) -> None:
        """Close the connection; current and later reads raise *error*."""
        self._error = error
        self._drop()

    async def _collect(self, limit: int | None) -> bytes:
        length = None if self._coded else self._raw.content_length
        if limit is not None and length is not None and length > limit:
            raise self._too_large(limit)
        pieces: list[bytes] = []
        size = 0
        try:
            while chunk := await self._next(_STEP if limit is None else min(_STEP, limit - size + 1)):
                size += len(chunk)
                if limit is not None and size > limit:
                    raise self._too_large(limit)
                pieces.append(chunk)
            return b"".join(pieces)
        finally:
            # The traceback of an error keeps this frame alive, also while the call waits and is tried again.
            pieces.clear()
            chunk = b""

    async def _next(self, most: int) -> bytes:
        while True:
            if self._error is not None:
                raise self._error
            decoder = self._decoder
            if decoder is not None and decoder.pending:
                # Let other tasks run during a long decompression.
                await asyncio.sleep(0)
                data = b""
            else:
                data = await self._read_some()
                if not data:
                    self._check_end()
                    return b""
            if self._coded and decoder is None:
                decoder = self._choose_decoder()
            output = data if decoder is None else decoder.decode(data, most)
            if output:
                return output

    def _choose_decoder(self) -> Decoder | None:
        # Only after the first byte, because an empty body needs no decoder, whatever the header.
        self._decoder = decoder_for(self._raw.headers.getall("Content-Encoding"))
        self._coded = self._decoder is not None
        return self._decoder

    def _check_end(self) -> None:
        """Check that the body is complete, because a connection may end without a proper end of TCP or
        TLS.
        """
        if self._decoder is not None:
            self._decoder.finish()
        if self._closing_error is None:
            return
        error = self._closing_error()
        if error is not None and not isinstance(error, aiohttp.ServerDisconnectedError):
            raise TruncatedError("the connection was reset before its end")
        if self._tls is not None and not _was_closed_by_peer(self._tls):
            raise TruncatedError("the TLS connection was cut before its end")
        if self._borrowed is not None and self._borrowed.closed:
            raise ClientClosedError(f"{self._request.label}: the session was closed")

    def _drop(self) -> None:
        connection = self._raw.connection
        self._raw.close()
        if connection is not None and connection.protocol is not None:
            # If the loop has ended, aiohttp fails to release the connection, and would warn about it later.
            with suppress(RuntimeError):
                connection.release()

    def _fail(self, error: BaseException) -> BaseException:
        """Close the connection, and return the error for the caller, which may be *error* itself."""
        self._drop()
        if not isinstance(error, Exception):
            return error
        if self._error is not None:
            return self._error
        if isinstance(error, CodingError):
            return self._invalid(str(error))
        if isinstance(error, TruncatedError):
            return self._truncated(str(error))
        return self._failure(error)

    def _truncated(self, reason: str) -> APIConnectionError:
        request = self._request
        message = f"{request.label}: the response body was truncated: {reason}"
        return APIConnectionError(message, reason="truncated", request=request, retries_taken=request.attempt)

    def _invalid(self, reason: str) -> APIResponseValidationError:
        request, raw = self._request, self._raw
        return APIResponseValidationError(
            f"{request.label}: status {raw.status}: {reason}",
            request=request,
            status=raw.status,
            content_type=raw.headers.get("Content-Type"),
            retries_taken=request.attempt,
        )

    def _too_large(self, limit: int) -> BodyTooLargeError:
        request = self._request
        return BodyTooLargeError(
            f"{request.label}: the response body has more than {limit} bytes",
            request=request,
            limit=limit,
            status=self._raw.status,
            retries_taken=request.attempt,
        )


def _is_decoded(status: int, request: APIRequest) -> bool:
    """Return whether the body is decompressed; those of errors always are, because the client reads them
    itself.
    """
    settings = request._settings
    return settings.decompress or not (status // 100 == 2 or status in settings.ok_statuses)


def _look(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()


def _was_closed_by_peer(connection: ssl.SSLObject) -> bool:
    """Return whether the peer's close_notify has arrived (RFC 8446 §6.1)."""
    try:
        return connection.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False
