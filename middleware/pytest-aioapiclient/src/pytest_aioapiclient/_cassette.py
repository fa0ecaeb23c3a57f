"""`Cassette`: a transport that records a server's responses, and replays them without the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec
from multidict import CIMultiDict, MultiMapping

from aioapiclient.contract import APIRequest, AsyncAPIResponse, Handler
from aioapiclient.errors import ClientClosedError, InvalidRequestError
from aioapiclient.testing import FakeClock, FakeTransport, SentRequest, respond

from ._differences import difference
from ._secrets import DEFAULT_SECRETS, Secrets
from ._takes import Played, StoredRequest, Take, read_takes, stored_request, stored_response

__all__ = ["Cassette", "Mode"]

Mode: TypeAlias = Literal["none", "once", "new", "all", "loop"]
"""The behaviour of a cassette for a request: see `Cassette`."""

_MATCH: Final = ("method", "path", "params", "body")
_MATCHABLE: Final = (*_MATCH, "origin")
_BODIES: Final = ("json", "form", "text", "digest")
_MOST_LISTED: Final = 10  # the most takes in a message


class Recording:
    """A request and its response, as sent and received, until the cassette is saved."""

    def __init__(self, request: SentRequest) -> None:
        self.request = request
        self.status = 0
        self.headers: MultiMapping[str] = CIMultiDict()
        self.chunks: list[bytes] = []


class Cassette:
    """A transport that replays the responses in a file, and records them with another transport.

    The file has one line of JSON for each request and its response, a take. Among the takes that match a
    request, each is played once, in the order of the file. A request without a take raises an
    `AssertionError`, which no client retries. No secret enters the file; see `DEFAULT_SECRETS`.

    Args:
        path: The file.
        inner: The transport to record with, such as ``AiohttpTransport()``. It is closed with the cassette.
        mode: ``none`` (the default) only plays. ``once`` records if the file does not exist, otherwise only
            plays. ``new`` plays the takes in the file, and records the rest. ``all`` records everything, and
            replaces the file. ``loop`` only plays, and repeats the takes of a request after the last one.
        match: The parts of a request that must be the same: ``method``, ``path``, ``params`` and ``body`` by
            default, and ``origin`` if you name it.
        scrub: A function that changes each take after the secrets were blanked, before it is written.
        secrets: Parts of the names of secrets, in any case, with or without ``-`` and ``_``: names of
            headers, parameters, path parameters, form fields and JSON members. `DEFAULT_SECRETS` by default.
        clock: The clock that the waits between attempts advance during playback. Without it they take no
            time.

    Raises:
        InvalidRequestError: *mode* or *match* contains an unknown word.
        TypeError: *match* or *secrets* is a str.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        inner: Handler | None = None,
        *,
        mode: Mode = "none",
        match: Collection[str] = _MATCH,
        scrub: Callable[[Take], object] | None = None,
        secrets: Iterable[str] = DEFAULT_SECRETS,
        clock: FakeClock | None = None,
    ) -> None:
        _check_words(mode, match, secrets)
        self.path: Path = Path(path)
        """The file."""
        self.inner: Handler | None = inner
        """The transport to record with."""
        self.unexpected: list[str] = []
        """The messages about requests without a take. The fixture fails a test that leaves any here."""
        self._mode: Mode = mode
        self._match = frozenset(match)
        self._scrub = scrub
        self._secrets = Secrets(secrets)
        self._clock = clock
        self._before: bytes | None = None
        self._stored: list[Take] | None = None
        self._played: set[int] = set()
        self._recordings: list[Recording] = []
        self._transport = FakeTransport(default=self._answer)

    def __repr__(self) -> str:
        return f"<Cassette {self.path.name}, mode {self._mode}, {len(self._recordings)} recorded>"

    @property
    def recorded(self) -> int:
        """The number of takes recorded so far."""
        return len(self._recordings)

    @property
    def unplayed(self) -> int:
        """The number of takes in the file that were not played."""
        return len(self._takes()) - len(self._played)

    # --- as a transport

    async def __call__(self, request: APIRequest, /) -> AsyncAPIResponse[Any]:
        """Answer *request*."""
        return await self._transport(request)

    async def sleep(self, seconds: float, /) -> None:
        """Wait before another attempt of a client, but only while recording.

        Args:
            seconds: The time to wait.
        """
        if self._recordings:
            await asyncio.sleep(seconds)
        elif self._clock is not None:
            await self._clock.sleep(seconds)

    async def close(self) -> None:
        """Save what was recorded, end open streams, and close the transport to record with."""
        await self._end_streams()
        self.save()
        close = getattr(self.inner, "close", None)
        if close is not None:
            await close()

    async def _end_streams(self) -> None:
        ending, self._transport = self._transport, FakeTransport(default=self._answer)
        await ending.close()

    async def _answer(self, request: SentRequest) -> Any:
        takes = self._takes()
        wanted = self._stored_request(request)
        number = self._find(wanted, takes)
        if number is not None:
            self._played.add(number)
            return Played(takes[number].response)
        if self._records:
            return await self._record(request)
        message = self._refusal(request, wanted, takes)
        self.unexpected.append(message)
        raise AssertionError(message)

    # --- playing

    def _takes(self) -> list[Take]:
        """Return the takes that were in the file when the first request arrived."""
        if self._stored is None:
            self._before = None if self._mode == "all" else self._content()
            self._stored = read_takes(self._before or b"", str(self.path))
        return self._stored

    def _find(self, wanted: StoredRequest, takes: list[Take]) -> int | None:
        fitting = [number for number, take in enumerate(takes) if self._misfit(take.request, wanted) is None]
        if self._mode == "loop" and self._played.issuperset(fitting):
            self._played.difference_update(fitting)
        return next((number for number in fitting if number not in self._played), None)

    def _misfit(self, stored: StoredRequest, wanted: StoredRequest) -> str | None:
        """Return the first difference between *wanted* and *stored*."""
        for part in _MATCHABLE:
            if part in self._match:
                fields = _BODIES if part == "body" else (part,)
                for field in fields:
                    found = _field_difference(field, getattr(stored, field), getattr(wanted, field))
                    if found is not None:
                        return found
        return None

    def _refusal(self, request: SentRequest, wanted: StoredRequest, takes: list[Take]) -> str:
        lines = [f"{request.label} is not on {self.path}; record it with {self._hint}"]
        if not takes:
            lines.append("  the file does not exist" if not self.path.exists() else "  the file is empty")
        for number, take in enumerate(takes[:_MOST_LISTED]):
            misfit = self._misfit(take.request, wanted) or "it was already played; mode='loop' repeats"
            lines.append(f"  {number + 1}. {take.request.method} {take.request.path}: {misfit}")
        if len(takes) > _MOST_LISTED:
            lines.append(f"  and {len(takes) - _MOST_LISTED} more")
        return "\n".join(lines)

    # --- recording

    _hint = "mode='new'"

    @property
    def _records(self) -> bool:
        return self._mode in ("new", "all") or (self._mode == "once" and not self._takes())

    def _inner_transport(self) -> Handler:
        if self.inner is None:
            raise InvalidRequestError(f"{self!r} records, and needs inner=, such as AiohttpTransport()")
        return self.inner

    async def _record(self, request: SentRequest) -> AsyncAPIResponse[Any]:
        recording = Recording(request)
        inner = self._inner_transport()
        # Before any await, so that the takes are in the order of the requests.
        self._recordings.append(recording)
        try:
            response = await inner(request.copy())
            recording.status, recording.headers = response.status, response.headers
            pieces: Any = recording.chunks
            if request.stream:
                pieces = self._pieces(response, recording)
            else:
                recording.chunks.append(await response.read())
        except BaseException:
            self._recordings.remove(recording)
            raise
        heard = respond(response.status, headers=response.headers.items(), chunks=pieces)(request)
        heard.on_close(lambda: _abort(response))
        return heard

    async def _pieces(
        self, response: AsyncAPIResponse[Any], recording: Recording
    ) -> AsyncGenerator[bytes, None]:
        """Pass on the pieces of a stream as they arrive."""
        try:
            async for piece in response.iter_bytes():
                recording.chunks.append(piece)
                yield piece
        except Exception:
            self._recordings.remove(recording)
            raise

    def _stored_request(self, request: SentRequest) -> StoredRequest:
        return stored_request(request, self._secrets, origin="origin" in self._match)

    def _new_takes(self) -> list[Take]:
        for recording in self._recordings:
            self._take(recording)  # a later take may show that a value in an earlier one is secret
        takes = [self._take(recording) for recording in self._recordings]
        if self._scrub is not None:
            for take in takes:
                self._scrub(take)
        return takes

    def _take(self, recording: Recording) -> Take:
        request = recording.request
        response = stored_response(
            recording.status,
            recording.headers,
            recording.chunks,
            self._secrets,
            method=request.method,
            stream=request.stream,
        )
        return Take(self._stored_request(request), response)

    def save(self) -> None:
        """Write the file, if anything was recorded. Closing the client does the same.

        Raises:
            FileExistsError: The file was changed since it was read; nothing is overwritten.
        """
        if not self._recordings:
            return
        if self._mode != "all" and self._content() != self._before:
            raise FileExistsError(f"{self.path} was changed while it was recorded; nothing was written")
        lines = b"".join(take.line() for take in [*self._takes(), *self._new_takes()])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            part.write_bytes(lines)
            os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)
        self._before = lines

    def _content(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None


def _abort(response: AsyncAPIResponse[Any]) -> None:
    """Close the connection of a stream that was not read to its end."""
    if not response.is_closed:
        response.abort(ClientClosedError("the stream was closed while it was recorded"))


def _field_difference(field: str, stored: Any, wanted: Any) -> str | None:
    if stored == wanted:
        return None
    if wanted is msgspec.UNSET:
        return "the request has no such body"
    if stored is msgspec.UNSET:
        return f"the request has a body ({field})"
    if field in ("method", "path", "origin"):
        return f"the {field} is {wanted}"
    return difference(stored, wanted, field)


def _check_words(mode: object, match: Collection[str], secrets: Iterable[str]) -> None:
    if mode not in get_args(Mode):
        raise InvalidRequestError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
    for name, value in (("match", match), ("secrets", secrets)):
        if isinstance(value, str):
            raise TypeError(f"{name} must be a tuple of words, not one str")
    unknown = [word for word in match if word not in _MATCHABLE]
    if unknown:
        raise InvalidRequestError(f"match must be of {', '.join(_MATCHABLE)}, and not have {unknown[0]!r}")
