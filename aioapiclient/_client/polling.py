"""Long-running operations: `poll` requests the URL that a server names until the operation is done.

`first_step` and `next_step` interpret a response, without I/O: poll again, fetch the result from another URL,
or use this response. Without a status field the HTTP status decides: 202 means "not yet" (RFC 9110 §15.3.3),
any other success is the result. With a status field its value decides, except that a response after a 303 is
always the result (RFC 9110 §15.4.4).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar, cast

import msgspec
from multidict import CIMultiDict
from yarl import URL

from aioapiclient._body.json import encode_json
from aioapiclient._checks import check_seconds
from aioapiclient._options import RequestOptions
from aioapiclient._response.response import AsyncAPIResponse, is_response_type
from aioapiclient._types import NOT_GIVEN, NotGiven, Pick, Timeout, as_timeout
from aioapiclient._url.links import follow_link
from aioapiclient.errors import (
    APIResponseValidationError,
    APITimeoutError,
    InvalidRequestError,
    OperationFailedError,
)

__all__ = ["Poll", "check_started", "rules"]

T = TypeVar("T")

# The first header is Azure's newer one, which other APIs use too.
_MONITORS: Final = ("Operation-Location", "Azure-AsyncOperation")
_GROWTH: Final = 1.5
_MEMBERS: Final[Any] = dict[str, msgspec.Raw] | list[msgspec.Raw]
_NO_TIME: Final = 1e-6  # seconds, instead of 0, which is not a valid limit
_MAX_RETRY_AFTER: Final = 3600.0  # seconds: poll at least once an hour, whatever the Retry-After


class Rules(msgspec.Struct, frozen=True):
    """The caller's description of an operation; the statuses are case-folded."""

    status_of: Pick | None
    """Where the status is; None for the default."""
    done: frozenset[str]
    """The statuses that mean success."""
    failed: frozenset[str]
    """The statuses that mean failure."""
    result: Pick | None
    """Where the result is; None for the default."""


class Ask(msgspec.Struct, frozen=True):
    """Not done: wait, then poll *url*."""

    url: str | URL
    """The URL to poll."""
    final: URL | None = None
    """The URL of the result, if it is known."""
    is_monitor: bool = False
    """Whether *url* reports a status instead of the resource itself."""
    retry_after: float | None = None
    """The wait in seconds that the server requested."""


class Fetch(msgspec.Struct, frozen=True):
    """Done: the result is at *url*."""

    url: URL
    """The URL of the result."""


class Done(msgspec.Struct, frozen=True):
    """Done: the result is the body of this response, a *member* of it, or *value*."""

    response: AsyncAPIResponse[Any]
    """The last response."""
    member: str | None = None
    """The name of the member of its body with the result."""
    value: Any = NOT_GIVEN
    """The result as plain data."""


Step: TypeAlias = Ask | Fetch | Done


def first_step(response: AsyncAPIResponse[Any], body: Any, rules: Rules) -> Step:
    """Return the step after the response that started the operation; *body* is its plain data, or None."""
    monitor, location = _header_url(response, *_MONITORS), _header_url(response, "Location")
    updates = response.method in {"PUT", "PATCH"}
    if monitor is not None:
        final = response.url if updates else location
        return Ask(monitor, final, is_monitor=True, retry_after=response.retry_after)
    own = response.url if updates or response.method == "GET" else None
    asked = Ask(location or own or "", retry_after=response.retry_after)
    step = asked if response.status == 202 else _step(response, body, asked, rules)
    if isinstance(step, Ask) and not step.url:
        raise response.validation_error("the operation is in progress, but no header names a URL to poll")
    return step


def next_step(response: AsyncAPIResponse[Any], body: Any, asked: Ask, rules: Rules) -> Step:
    """Return the step after the response to *asked*; *body* is its plain data, or None."""
    if response.status != 202 and any(hop.status == 303 for hop in response.history):
        return Done(response)
    return _step(response, body, asked, rules)


def _step(response: AsyncAPIResponse[Any], body: Any, asked: Ask, rules: Rules) -> Step:
    where = "status" if rules.status_of is None and asked.is_monitor else rules.status_of
    if where is None:
        return _again(response, asked) if response.status == 202 else _done(response, body, asked, rules)
    word = None if body is None else _pick(body, where)
    if word is None and response.status == 202:
        return _again(response, asked)
    if not isinstance(word, str):
        found = "missing" if word is None else f"of type {type(word).__name__}, not str"
        what = f"`{where}`" if isinstance(where, str) else "that status_of finds"
        raise response.validation_error(f"the status of the operation, {what}, is {found}")
    word = word.casefold()
    if word in rules.failed:
        raise OperationFailedError(
            f"{response.request.label}: the operation ended as {word!r}",
            status=word,
            response=response,
            request=response.request,
            body=body,
            retries_taken=response.retries_taken,
        )
    return _done(response, body, asked, rules) if word in rules.done else _again(response, asked)


def _again(response: AsyncAPIResponse[Any], asked: Ask) -> Ask:
    """Return the next poll, at the URL that this response names."""
    moved, location = _header_url(response, *_MONITORS), _header_url(response, "Location")
    if asked.is_monitor:
        return Ask(
            moved or asked.url, asked.final or location, is_monitor=True, retry_after=response.retry_after
        )
    moved = moved or (location if response.status == 202 else None)
    return msgspec.structs.replace(asked, url=moved or asked.url, retry_after=response.retry_after)


def _done(response: AsyncAPIResponse[Any], body: Any, asked: Ask, rules: Rules) -> Step:
    """Locate the result: where the caller says, at ``resourceLocation`` or the final URL, or in this
    response.
    """
    if isinstance(rules.result, str):
        return Done(response, member=rules.result)
    if rules.result is not None:
        value = rules.result(body)
        return Fetch(value) if isinstance(value, URL) else Done(response, value=value)
    there = _pick(body, "resourceLocation") if asked.is_monitor else None
    if isinstance(there, str):
        return Fetch(_target(response, there))
    return Done(response) if asked.final is None else Fetch(asked.final)


def _pick(body: Any, pick: Pick) -> Any:
    if not isinstance(pick, str):
        return pick(body)
    found = _member(body, pick)  # the name itself may contain dots
    if found is not None or "." not in pick:
        return found
    for name in pick.split("."):
        body = _member(body, name)
    return body


def _member(value: Any, name: str) -> Any:
    """Return the member *name* of an object, or the item at that index of an array; None if absent."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).get(name)
    if isinstance(value, list) and name.removeprefix("-").isdecimal():
        items, index = cast("Sequence[Any]", value), int(name)
        return items[index] if -len(items) <= index < len(items) else None
    return None


def _header_url(response: AsyncAPIResponse[Any], *names: str) -> URL | None:
    for name in names:
        if value := response.headers.get(name, "").strip():
            return _target(response, value)
    return None


def _target(response: AsyncAPIResponse[Any], reference: str) -> URL:
    try:
        return follow_link(response.url, reference)
    except InvalidRequestError as error:
        raise response.validation_error(f"the link to the operation {error}") from None


class Poll:
    """One `poll` in progress: its waits, its deadline and its state."""

    def __init__(
        self,
        ask: Callable[[str | URL, Any, RequestOptions], Awaitable[Any]],
        pause: Callable[[float], Awaitable[object]],
        rules: Rules,
        options: RequestOptions,
        *,
        interval: float,
        max_interval: float,
        timeout: float | NotGiven | None,
        defaults: Timeout,
    ) -> None:
        self._ask = ask
        self._pause = pause
        self._rules = rules
        self._options = options
        self._each = as_timeout(options["timeout"]).over(defaults) if "timeout" in options else defaults
        total = defaults.total if isinstance(timeout, NotGiven) else Timeout(total=timeout).total
        self._timeout = None if isinstance(total, NotGiven) else total
        self._interval = self._own_wait = check_seconds("interval", interval, positive=True)
        self._max_interval = max(interval, check_seconds("max_interval", max_interval, positive=True))
        self._loop = asyncio.get_running_loop()
        self._deadline = math.inf if self._timeout is None else self._loop.time() + self._timeout
        self._requests = 0
        self._body: Any = None

    async def run(self, started: AsyncAPIResponse[Any] | str | URL, cast_to: Any) -> Any:
        """Poll until the operation is done. Options apply to each request, parameters only to *started*."""
        options = self._options
        wire = cast_to if is_response_type(cast_to) else AsyncAPIResponse
        elsewhere = options.copy()
        elsewhere.pop("params", None)
        elsewhere.pop("path_params", None)
        if isinstance(started, AsyncAPIResponse):
            response: AsyncAPIResponse[Any] = started
            step = first_step(response, await self._data(response, None), self._rules)
        else:
            response = await self._get(started, wire, options)
            asked = Ask(started)
            step = next_step(response, await self._data(response, asked), asked, self._rules)
        while isinstance(step, Ask):
            asked = step
            await self._wait(response, asked.retry_after)
            response = await self._get(asked.url, wire, options if asked.url is started else elsewhere)
            step = next_step(response, await self._data(response, asked), asked, self._rules)
        if cast_to is None:
            return None
        if isinstance(step, Fetch):
            return await self._get(step.url, cast_to, elsewhere)
        return await _decoded(step, cast_to)

    async def _data(self, response: AsyncAPIResponse[Any], asked: Ask | None) -> Any:
        """Return the body as plain data; None if it is not needed or empty."""
        self._body = None
        needs_body = self._rules.status_of is not None or callable(self._rules.result)
        if await response.read() and (needs_body or (asked is not None and asked.is_monitor)):
            try:
                self._body = await response.parse(to=Any)
            except APIResponseValidationError:
                # A 202 may have any body; for any other status the body must be decodable.
                if response.status != 202:
                    raise
        return self._body

    async def _get(self, url: str | URL, cast_to: Any, options: RequestOptions) -> Any:
        timeout, left = self._each, self._deadline - self._loop.time()
        if left < math.inf:
            total = timeout.total if isinstance(timeout.total, float | int) else math.inf
            timeout = msgspec.structs.replace(timeout, total=max(min(left, total), _NO_TIME))
        self._requests += 1
        try:
            return await self._ask(url, cast_to, {**options, "timeout": timeout})
        except APITimeoutError as error:
            if error.phase == "total":
                error.body = self._body
                error.add_note(f"This was request {self._requests} of a poll")
            raise

    async def _wait(self, response: AsyncAPIResponse[Any], retry_after: float | None) -> None:
        left = self._deadline - self._loop.time()
        if retry_after:  # 0 is ignored, because it would only keep the server busy
            seconds = min(retry_after, _MAX_RETRY_AFTER)
        else:
            # Shorter waits towards the end, because one long wait would leave much of the time unused.
            most = min(self._own_wait, max(self._interval, left / 2))
            seconds = random.uniform(most / 2, most)
            self._own_wait = min(self._own_wait * _GROWTH, self._max_interval)
        if seconds >= left:
            raise APITimeoutError(
                f"{response.request.label}: not done within {self._timeout:g} s (total): "
                f"a wait of {seconds:.2f} s after request {self._requests} would pass it",
                phase="total",
                request=response.request,
                body=self._body,
                retry_after=retry_after,
            )
        await self._pause(seconds)


async def _decoded(step: Done, cast_to: Any) -> Any:
    """Return the result of *step* as *cast_to*."""
    response = step.response
    is_part = step.member is not None or step.value is not NOT_GIVEN
    wants_response = is_response_type(cast_to)
    if not is_part and not (wants_response and response.request.cast_to != cast_to):
        return response if wants_response else await response.parse(to=cast_to)
    headers, body = CIMultiDict(response.headers), response.body
    if step.member is not None:
        body = await _bytes_at(response, step.member)
    elif is_part:
        headers["Content-Type"] = "application/json"
        body = encode_json(step.value)
    request = response.request.copy()
    request.cast_to, request.stream = cast_to, False
    part = AsyncAPIResponse.from_bytes(request, response.status, headers, body)
    return part if wants_response else await part.parse()


async def _bytes_at(response: AsyncAPIResponse[Any], path: str) -> bytes:
    """Return the bytes of the member *path* unchanged, so that a Decimal keeps its digits."""
    is_name = _member(await response.parse(to=_MEMBERS), path) is not None
    part = response
    for name in [path] if is_name else path.split("."):
        found = _member(await part.parse(to=_MEMBERS), name)
        if found is None:
            raise response.validation_error(f"the operation is done, but the body has no member {path!r}")
        part = AsyncAPIResponse.from_bytes(response.request, response.status, response.headers, bytes(found))
    return part.body


def check_started(started: object, path_params: object) -> None:
    """Raise `TypeError` if *started* cannot start a poll, or if *path_params* have no path to fill."""
    if not isinstance(started, AsyncAPIResponse | str | URL):
        raise TypeError(
            f"started must be a response, a path or a URL, not {type(started).__name__}: "
            "pass AsyncAPIResponse as cast_to of the call that starts it"
        )
    if isinstance(started, AsyncAPIResponse) and path_params is not None:
        raise TypeError("path_params need a path, but started is a response")


def rules(
    status_of: Pick | None, done: Collection[str], failed: Collection[str], result: Pick | None
) -> Rules:
    """Check the arguments of `poll` and return them as `Rules`.

    Args:
        status_of: Where the status is; None for the default.
        done: The statuses that mean success.
        failed: The statuses that mean failure.
        result: Where the result is; None for the default.

    Raises:
        InvalidRequestError: A name is empty, *done* is empty, or *done* and *failed* share a status.
        TypeError: An argument has the wrong type.
    """
    for name, pick in (("status_of", status_of), ("result", result)):
        if not (pick is None or isinstance(pick, str) or callable(pick)):
            raise TypeError(f"{name} must be the name of a member or a function, not {type(pick).__name__}")
        if pick == "":
            raise InvalidRequestError(f"{name} must be the name of a member, not empty")
    ends = _folded_words("done", done), _folded_words("failed", failed)
    if not ends[0]:
        raise InvalidRequestError("done must name at least one status, or no operation could end")
    if both := ends[0] & ends[1]:
        raise InvalidRequestError(f"done and failed both name {', '.join(sorted(both))}")
    return Rules(status_of, *ends, result)


def _folded_words(name: str, words: Any) -> frozenset[str]:
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise TypeError(f"{name} must be a collection of str, not {type(words).__name__}")
    listed: list[Any] = [*words]
    for word in listed:
        if not isinstance(word, str):
            raise TypeError(f"{name} must contain str, not {type(word).__name__}")
    return frozenset(word.casefold() for word in listed)
