"""Long-running operations: a server says "later" and where to ask; `poll` asks until it is done.

`first_step` and `next_step` decide without I/O what a response means: ask again, fetch the result
from somewhere, or take it from here. There are two ways to tell. Without a status field it is the
HTTP status: 202 is "not yet" (RFC 9110 §15.3.3), anything else is the result. With one, the word in
it decides; an answer that came by a 303 is the result all the same (RFC 9110 §15.4.4).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar, cast, overload

import msgspec
from multidict import CIMultiDict
from yarl import URL

from ._codecs import check_cast_to, encode_json
from ._response import AsyncAPIResponse, is_response_type, result_type
from ._scope import Scope
from ._types import NOT_GIVEN, CallOptions, NotGiven, RequestOptions, as_timeout
from ._url import check_url, resolve_reference, without_userinfo
from ._verbs import Verbs
from .errors import APITimeoutError, InvalidRequestError, OperationFailedError

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from ._config import Config
    from ._lifecycle import Lifecycle

__all__ = ["Polling"]

T = TypeVar("T")

Pick: TypeAlias = str | Callable[[Any], Any]
"""The name of a member of the body, or a function of the body as plain data."""

DONE: Final = frozenset({"succeeded", "completed"})
FAILED: Final = frozenset({"failed", "canceled", "cancelled", "expired"})

# Azure has both, in its newer and its older services; others took over the first.
_MONITORS: Final = ("Operation-Location", "Azure-AsyncOperation")
_GROWTH: Final = 1.5
_LONGEST_WISH: Final = 3600.0  # seconds; asking once an hour harms nobody, whatever Retry-After says


class Rules(NamedTuple):
    """How one operation is told: where its status is, what the words mean, where the result is."""

    status_of: Pick | None = None
    done: Collection[str] = DONE
    failed: Collection[str] = FAILED
    result: Pick | None = None


class Ask(NamedTuple):
    """Not yet: wait, and ask there. *wish* is the wait that the server names, in seconds."""

    url: str | URL
    final: URL | None = None
    is_monitor: bool = False
    wish: float | None = None


class Fetch(NamedTuple):
    """Done: the result is over there."""

    url: URL


class Done(NamedTuple):
    """Done: the result is this response, or *part* of it, encoded, if that is not None."""

    response: AsyncAPIResponse[Any]
    part: bytes | None = None
    content_type: str | None = None


Step: TypeAlias = Ask | Fetch | Done


def first_step(response: AsyncAPIResponse[Any], body: Any, rules: Rules) -> Step:
    """What to do after the response that started the operation; *body* is it as plain data, or None."""
    monitor = _header_url(response, *_MONITORS)
    location = _header_url(response, "Location")
    updates = response.method in {"PUT", "PATCH"}
    if monitor is not None:
        final = response.url if updates else location
        return Ask(monitor, final, is_monitor=True, wish=response.retry_after)
    place = location or (response.url if updates or response.method in {"GET", "HEAD"} else None)
    step: Step
    if response.status == 202:
        step = Ask(place or "", wish=response.retry_after)
    else:
        step = _step(response, body, Ask(place or ""), rules)
    if isinstance(step, Ask) and not step.url:
        raise response.validation_error("the operation goes on, and no header says where to ask for it")
    return step


def next_step(response: AsyncAPIResponse[Any], body: Any, asked: Ask, rules: Rules) -> Step:
    """What to do after a response to *asked*."""
    if response.status != 202 and any(hop.status == 303 for hop in response.history):
        return Done(response)
    return _step(response, body, asked, rules)


def _step(response: AsyncAPIResponse[Any], body: Any, asked: Ask, rules: Rules) -> Step:
    word: str | None = None
    status_of = "status" if rules.status_of is None and asked.is_monitor else rules.status_of
    if status_of is not None and (body is not None or response.status != 202):
        word = _word(response, body, status_of)
        if word is None and response.status != 202:
            raise response.validation_error("the operation has no status")
    if word is None:
        return _again(response, asked) if response.status == 202 else _result(response, body, asked, rules)
    if word in rules.failed:
        raise _failed(response, body, word)
    return _result(response, body, asked, rules) if word in rules.done else _again(response, asked)


def _again(response: AsyncAPIResponse[Any], asked: Ask) -> Ask:
    """The same again, but for what the server moved."""
    moved = _header_url(response, *_MONITORS)
    location = _header_url(response, "Location")
    if moved is None and response.status == 202 and not asked.is_monitor:
        moved, location = location, None
    final = asked.final or (location if asked.is_monitor else None)
    return Ask(moved or asked.url, final, asked.is_monitor, response.retry_after)


def _result(response: AsyncAPIResponse[Any], body: Any, asked: Ask, rules: Rules) -> Step:
    if callable(rules.result):
        picked = rules.result(body)
        if isinstance(picked, URL):
            return Fetch(picked)
        return Done(response, encode_json(picked), "application/json")
    if rules.result is not None:
        members = response.parse_now(dict[str, msgspec.Raw])
        if rules.result not in members:
            raise response.validation_error(f"the operation is done, and has no {rules.result!r}")
        return Done(response, bytes(members[rules.result]), response.content_type)
    if not asked.is_monitor:
        return Done(response)
    there = _pick(body, "resourceLocation")
    if isinstance(there, str):
        return Fetch(_target(response, there))
    return Done(response) if asked.final is None else Fetch(asked.final)
