"""Downloads: write a body to a file, completely or not at all, and resume after a broken connection.

`targets` resolves the path. For a file, the bytes go into a temporary file with an unguessable name beside
it, which replaces it when all bytes are on the disk.

A broken body is resumed by ``Range`` and ``If-Range`` (RFC 9110 §13.1.5, §14.2). This needs a strong
validator, and a body without content coding, because ranges count coded bytes. A 206 is checked against its
Content-Range (§14.4), a 200 means that the content has changed and starts again, and any other response ends
the download.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from aioapiclient._checks import check_flag, check_whole
from aioapiclient._codecs.content_type import codings_of
from aioapiclient._patterns import lazily
from aioapiclient._progress import Meter, Progress
from aioapiclient._response_headers import parse_http_date
from aioapiclient.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    InvalidRequestError,
    RequestNotReplayableError,
)

from .targets import Target, find_target

if TYPE_CHECKING:
    from aioapiclient._response.response import AsyncAPIResponse

__all__ = ["ContentRange", "Digest", "expected_digest", "parse_content_range", "write_to_file"]

Digest: TypeAlias = "str | bool | Callable[[AsyncAPIResponse[Any]], str] | None"
"""``"sha256:<hex>"``, a function of the response that returns such a string, or True for the response's
own.
"""


async def write_to_file(
    response: AsyncAPIResponse[Any],
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    digest: Digest = None,
    resume: bool = True,
    max_resumes: int = 5,
) -> int:
    """Write the body of *response* to a file: see `AsyncAPIResponse.write_to_file`.

    A new file gets the permissions of the umask. A target that cannot be replaced is overwritten at the
    end. A device, a FIFO or ``/dev/stdout`` receives the bytes as they arrive. Disk writes and digests run
    in a thread, while the next bytes arrive.
    """
    check_flag("resume", resume)
    _check_arguments(digest, max_resumes)
    meter = Meter(progress)
    try:
        target = await find_target(path)
        download = _Download(response, target, meter, digest, max_resumes if resume else 0)
        try:
            await target.open()
            await download.run()
            await target.commit()
        except BaseException:
            await target.discard()
            raise
    except asyncio.CancelledError:
        await response.close()  # the cancellation may have come before the first byte was requested
        raise
    return download.size


def _check_arguments(digest: object, max_resumes: object) -> None:
    check_whole("max_resumes", max_resumes)
    check_digest(digest)


class _Download:
    """The download of one body to a file, over as many responses as necessary."""

    def __init__(
        self,
        response: AsyncAPIResponse[Any],
        target: Target,
        meter: Meter,
        digest: Digest,
        resumes: int,
    ) -> None:
        self.size = 0
        """The number of bytes so far."""
        self._first = response
        self._again = response._again
        self._target = target
        self._meter = meter
        self._digest = digest
        self._resumes = resumes
        self._pending: list[bytes] = []
        self._waiting = 0
        self._begin(response)

    def _begin(self, response: AsyncAPIResponse[Any]) -> None:
        """Set the expectations for the body, from the head of the first response or of one that starts
        over.
        """
        is_plain = response.method == "GET" and not is_coded(response)
        span = None
        if is_plain and response.status == 206:
            span = parse_content_range(response.headers.get("Content-Range"))
        self._is_whole = response.status != 206
        self._headers = response.headers
        # The start and the end of the file within the representation.
        self._start = 0 if span is None else span.first
        self._end = None if span is None else span.last + 1
        if is_plain and response.status == 200:
            self._end = _length(response)
        # The end of the current body.
        self._stop = self._end
        self._validator = None
        if span is not None or (is_plain and response.status == 200):
            self._validator = _strong_validator(response.headers)
        self._expected = expected_digest(self._digest, response)
        self._hash = None if self._expected is None else hashlib.new(self._expected.algorithm)
        self._pending.clear()
        self._waiting = self.size = 0

    @property
    def _position(self) -> int:
        return self._start + self.size

    async def run(self) -> None:
        """Write the complete body, and check it."""
        response: AsyncAPIResponse[Any] | None = self._first
        while response is not None:
            response = await self._receive(response)
        await self._pass_on()
        await self._target.flush()
        if self._expected is not None and self._hash is not None:
            found = self._hash.digest()
            if found != self._expected.value:
                raise self._first.validation_error(
                    f"the {self._expected.algorithm} of the body is {found.hex()},"
                    f" expected {self._expected.value.hex()}"
                )

    async def _receive(self, response: AsyncAPIResponse[Any]) -> AsyncAPIResponse[Any] | None:
        """Write the body of *response* and return the response with the rest; None if it is complete."""
        chunks: Any = response.iter_bytes()
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    await self._take(chunk)
        except APIConnectionError as error:
            broken = error
        else:
            if self._stop is not None and self._position != self._stop:
                raise response.validation_error(
                    f"the body ends at byte {self._position}, expected {self._stop}"
                )
            if self._end is None or self._position >= self._end:
                return None
            message = f"{response.request.label}: only part of the rest arrived"
            broken = APIConnectionError(message, reason="truncated")
        return await self._resume(broken)

    async def _take(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._waiting += len(chunk)
        self._pending.append(chunk)
        self._meter.add(len(chunk))
        if self._waiting >= self._target.batch:
            await self._pass_on()

    async def _pass_on(self) -> None:
        chunks, self._pending, self._waiting = self._pending, [], 0
        await self._target.write(chunks, self._hash)

    # --- resuming

    async def _resume(self, broken: APIConnectionError) -> AsyncAPIResponse[Any] | None:
        """Request the rest and return its response, or None if nothing is missing; raise *broken* if
        impossible.
        """
        if self._resumes == 0 or self._validator is None or self._again is None or broken.final:
            raise broken
        self._resumes -= 1
        last = "" if self._is_whole or self._end is None else self._end - 1
        headers = {"Range": f"bytes={self._position}-{last}", "If-Range": self._validator}
        response: AsyncAPIResponse[Any] | None
        try:
            response = await self._again(headers)
        except RequestNotReplayableError:
            response = None
        except APIError as failure:
            if self._has_all(failure):
                return None
            failure.add_note(f"This ended the attempt to resume a download at byte {self._position}")
            raise
        if response is None:
            raise broken
        try:
            return await self._continue_with(response, broken)
        except BaseException:
            await response.close()
            raise

    async def _continue_with(
        self, response: AsyncAPIResponse[Any], broken: APIConnectionError
    ) -> AsyncAPIResponse[Any]:
        if response.status == 206:
            wrong = self._take_part(response)
            if wrong is not None:
                raise response.validation_error(f"the download cannot continue with this part: {wrong}")
        elif response.status == 200 and self._is_whole:
            if not await self._target.restart():
                broken.add_note("The content has changed, and the bytes already written cannot be removed")
                raise broken
            self._meter.restart()
            self._begin(response)
        else:
            broken.add_note(
                f"The download could not be resumed: the server answered with status {response.status}"
            )
            raise broken
        return response

    def _take_part(self, response: AsyncAPIResponse[Any]) -> str | None:
        """Continue with a 206 if it is the missing rest; otherwise return the reason why it is not."""
        span = parse_content_range(response.headers.get("Content-Range"))
        if span is None:
            return "it has no valid Content-Range"
        if span.first != self._position:
            return f"it begins at byte {span.first}, expected {self._position}"
        if is_coded(response):
            return "it is content-coded"
        total = span.total if self._is_whole else self._end
        if self._end is not None and total is not None and total != self._end:
            return f"its total is {total} bytes, expected {self._end}"
        end = self._end if total is None else total
        if end is not None and span.last >= end:
            return f"it ends at byte {span.last} of {end}"
        name = "ETag" if "ETag" in self._headers else "Last-Modified"
        if response.headers.get(name, self._validator) != self._validator:
            return f"its {name} has changed"
        self._end = end
        self._stop = span.last + 1
        return None

    def _has_all(self, failure: APIError) -> bool:
        """Return whether *failure* is a 416 that confirms that the file is complete (RFC 9110 §15.5.17)."""
        response = failure.response if isinstance(failure, APIStatusError) else None
        if response is None or response.status != 416 or not self._is_whole:
            return False
        return response.headers.get("Content-Range", "").strip() == f"bytes */{self._position}"


# --- the headers


class ContentRange(NamedTuple):
    """The range of bytes in a 206 (RFC 9110 §14.4)."""

    first: int
    """The position of the first byte."""
    last: int
    """The position of the last byte, which is included."""
    total: int | None
    """The size of the complete representation; None if it is unknown."""


_CONTENT_RANGE = lazily(r"bytes (\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)", re.ASCII | re.IGNORECASE)


def parse_content_range(value: str | None) -> ContentRange | None:
    """Return the range in a Content-Range; None if it has none or is inconsistent."""
    match = _CONTENT_RANGE.fullmatch((value or "").strip())
    if match is None:
        return None
    first, last, total = int(match[1]), int(match[2]), None if match[3] is None else int(match[3])
    if last < first or (total is not None and total <= last):
        return None
    return ContentRange(first, last, total)


# Visible ASCII in quotes; a weak tag has W/ before the quotes (RFC 9110 §8.8.3).
_STRONG_ETAG = lazily(r'"[\x21\x23-\x7e]*"')
_SETTLED: Final = 60  # seconds that a file must be unchanged before its date identifies its content


def _strong_validator(headers: Mapping[str, str]) -> str | None:
    """Return a validator of exactly this content, for If-Range: a strong ETag, or a sufficiently old date.

    A date is used only without any ETag (RFC 9110 §13.1.5), and only if it is strong (§8.8.2.2): content that
    changed within the last minute may change again within the same second, on clocks that differ.
    """
    if headers.get("Accept-Ranges", "").strip().lower() == "none":
        return None
    etag = headers.get("ETag")
    if etag is not None:
        return etag if _STRONG_ETAG.fullmatch(etag) else None
    modified = headers.get("Last-Modified", "")
    then, now = parse_http_date(modified), parse_http_date(headers.get("Date", ""))
    if then is None or now is None or (now - then).total_seconds() < _SETTLED:
        return None
    return modified


def _length(response: AsyncAPIResponse[Any]) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isascii() and value.isdigit() else None


# --- digests, from the caller or from the response's own headers (RFC 9530)


def check_digest(digest: object) -> None:
    """Raise `TypeError` or `InvalidRequestError` if *digest* is not a `Digest`."""
    if isinstance(digest, str):
        _parse_digest(digest)
    elif digest is not None and not isinstance(digest, bool) and not callable(digest):
        raise TypeError(f"digest must be a str such as 'sha256:...', not {type(digest).__name__}")


def is_coded(response: AsyncAPIResponse[Any]) -> bool:
    """Return whether the body was content-coded on the wire, so that the bytes read are not those sent."""
    decompressed = response.request._settings.decompress
    return decompressed and bool(codings_of(response.headers.getall("Content-Encoding", ())))


class Expected(NamedTuple):
    """The expected digest of a complete body."""

    algorithm: str
    """The name of the algorithm in hashlib."""
    value: bytes
    """The digest."""


_ALGORITHMS: Final = {"sha-512": "sha512", "sha-256": "sha256"}  # RFC 9530 §5: all others are insecure
_MEMBER = lazily(r"(?:^|,)[ \t]*([a-z0-9-]+)=:([A-Za-z0-9+/=]*):")


def expected_digest(digest: Digest, response: AsyncAPIResponse[Any]) -> Expected | None:
    """Return the expected digest of the body of *response*; None without one."""
    if digest is None or digest is False:
        return None
    if digest is True:
        return _own_digest(response)
    text: Any = digest if isinstance(digest, str) else digest(response)
    if not isinstance(text, str):
        raise TypeError(f"digest returned a {type(text).__name__}, not a str such as 'sha256:...'")
    return _parse_digest(text)


def _own_digest(response: AsyncAPIResponse[Any]) -> Expected:
    """Return the digest in the response's headers. It covers the bytes as sent, not a decoded body."""
    # Repr-Digest covers the complete representation, and a 206 has only a part of it.
    names = ("Content-Digest",) if response.status == 206 else ("Repr-Digest", "Content-Digest")
    if not is_coded(response):
        for name in names:
            members = dict(_MEMBER.findall(",".join(response.headers.getall(name, ()))))
            for theirs, ours in _ALGORITHMS.items():
                with suppress(binascii.Error, KeyError):
                    return Expected(ours, base64.b64decode(members[theirs], validate=True))
    raise response.validation_error(f"no usable {' or '.join(names)} header to check the content against")


def _parse_digest(text: str) -> Expected:
    algorithm, _, value = text.partition(":")
    algorithm = algorithm.strip().lower()
    try:
        size = hashlib.new(algorithm).digest_size
        expected = bytes.fromhex(value)
    except ValueError:
        size, expected = 0, b""
    if size == 0 or len(expected) != size:
        raise InvalidRequestError(
            f"digest must be a hashlib algorithm, a colon and the digest in hex, not {text[:200]!r}"
        )
    return Expected(algorithm, expected)
