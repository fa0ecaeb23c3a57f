"""The soak's main scenario: tens of thousands of calls, 500 concurrent, a fifth of their attempts faulty."""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import faults
from faults import KINDS, PLAIN, RETRY_AFTER, SILENCE, Kind, Plan, kind_of
from faulty_server import Item, Record
from soaking import (
    MIB,
    Check,
    Client,
    Left,
    Server,
    Size,
    at_least,
    at_most,
    at_once,
    by_chance,
    exactly,
    growth,
    left,
    short_waits,
)

from aioapiclient import APIRequest, AsyncAPIResponse, Handler, RetryBudget, Timeout, per_attempt

TITLE = "Many calls, 500 at once, with a fault in every fifth attempt"
AT_ONCE = 500
_WARM_UP = 10_000  # calls at least, or half of all: buffers and the pool grow to their size
_LIMITS = Timeout(total=300, attempt=60, connect=60)
_IN_SILENCE = 2.0  # seconds
# A retry holds its cost until it has succeeded. The budget has one for each concurrent call, so that it does
# not decide; successful first attempts return the cost that a fifth of faults takes.
_TOKENS = 14 * AT_ONCE

VALUE = "its value"
WRONG_VALUE = "another value"


class Calls:
    """The calls, and how each of them ended; its size does not depend on their number."""

    def __init__(self, client: Client, plan: Plan, number: int) -> None:
        self.number = number
        self.plan = plan
        self.ends = _touched(number)
        self.attempts = _touched(number)
        self.warm_up = max(number // 5, min(number // 2, _WARM_UP))
        self.left: list[Left] = []
        self._results = _touched(number)
        self._names = [VALUE]
        self._api = client.api
        self._plain = client.api.with_options(idempotency_header=None)

    def result(self, call: int) -> str:
        """The outcome of *call*: the name of its error's class, or `VALUE`."""
        return self._names[self._results[call]]

    async def run(self, parts: int) -> None:
        """Run all calls, in that many parts after the first, with a quiet moment after each."""
        bounds = [
            0,
            *(self.warm_up + (self.number - self.warm_up) * part // parts for part in range(parts + 1)),
        ]
        for start, end in itertools.pairwise(bounds):
            await at_once(AT_ONCE, range(start, end), self._call)
            self.left.append(left())

    async def _call(self, call: int) -> None:
        try:
            response = await self._send(kind_of(call), call)
            item = await response.parse()
        except Exception as error:
            self._end(call, type(error).__name__, getattr(error, "retries_taken", -1))
        else:
            right = item.id == call and item.attempt == response.retries_taken
            self._end(call, VALUE if right else WRONG_VALUE, response.retries_taken)

    async def _send(self, kind: Kind, call: int) -> AsyncAPIResponse[Item]:
        api = self._plain if kind is PLAIN else self._api
        options: Any = {} if kind.method == "GET" else {"json": {"order": call}}
        if any(self.plan.fault(call, attempt) is SILENCE for attempt in range(kind.retries + 1)):
            options["middlewares"] = [per_attempt(self._limit)]
        return await api.request(
            kind.method,
            "/items/{id}",
            AsyncAPIResponse[Item],
            path_params={"id": call},
            max_retries=kind.retries,
            **options,
        )

    async def _limit(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        """Wait less for answers that never come; the others may be slow on a busy machine."""
        if self.plan.fault(int(request.url.name), request.attempt) is SILENCE:
            # Not of the attempt: one that ran out before it was sent would be answered as its successor.
            request.timeout = Timeout(read=_IN_SILENCE).over(request.timeout)
        return await handler(request)

    def _end(self, call: int, result: str, retries: int) -> None:
        if result not in self._names:
            self._names.append(result)
        self._results[call] = self._names.index(result)
        self.attempts[call] = retries + 1
        self.ends[call] += 1


def _touched(number: int) -> bytearray:
    """*number* zeros, in memory from the start: a page first written to later would look like a leak."""
    return bytearray(b"\1" * number).replace(b"\1", b"\0")


async def scenario(server: Server, seed: int, size: Size) -> list[Check]:
    """Checks of L1 to L6."""
    async with Client(
        server.base,
        retry=short_waits(budget=RetryBudget(capacity=_TOKENS)),
        timeout=_LIMITS,
        idempotency_header="Idempotency-Key",
    ) as client:
        calls = Calls(client, Plan(seed), size.calls)
        await calls.run(size.parts)
        in_use = client.connections_in_use
    log = await server.order("take_log", list[Record])
    return [
        *_endings(calls),
        *_requests(calls, log),
        exactly("connections in use when all calls have ended", in_use, 0),
        *_memory(calls, size.memory),
    ]


def _endings(calls: Calls) -> list[Check]:
    number = calls.number
    otherwise = [call for call in range(number) if not _as_planned(calls, call)]
    for call in otherwise[:5]:
        end = f"{calls.result(call)} after {calls.attempts[call]} attempts"
        print(f"call {call}: {end}, expected {calls.plan.ending(call)}", file=sys.stderr)
    checks = [
        exactly("calls that ended exactly once", calls.ends.count(1), number),
        exactly(
            "calls that returned the value of another call or attempt",
            sum(calls.result(call) == WRONG_VALUE for call in range(number)),
            0,
        ),
        exactly(
            "calls whose value, error or number of attempts differs from the plan",
            len(otherwise),
            0,
        ),
    ]
    for kind in KINDS:
        of_kind = [call for call in range(number) if kind_of(call) is kind]
        lost = sum(calls.result(call) != VALUE for call in of_kind)
        promise = f"calls that failed, of {len(of_kind):,}: {kind.name}"
        checks.append(by_chance(promise, lost, len(of_kind), kind.expected_losses))
    return checks


def _as_planned(calls: Calls, call: int) -> bool:
    attempts, fault = calls.plan.ending(call)
    return (calls.attempts[call], calls.result(call)) == (attempts, VALUE if fault is None else fault.error)


def _requests(calls: Calls, log: Iterable[Record]) -> list[Check]:
    by_call: defaultdict[int, list[Record]] = defaultdict(list)
    for record in log:
        by_call[record.call].append(record)
    wire = sum(map(len, by_call.values()))
    counted = sum(calls.attempts)
    differ = sum(len(by_call[call]) != calls.attempts[call] for call in range(calls.number))
    over = sum(len(records) > kind_of(call).retries + 1 for call, records in by_call.items())
    twice = sum(_acted(records) > 1 for call, records in by_call.items() if kind_of(call) is PLAIN)
    broken = sum(not record.intact for records in by_call.values() for record in records)
    return [
        exactly("requests on the wire, for the attempts that the calls counted", wire, counted),
        exactly("calls with more or fewer requests than attempts", differ, 0),
        exactly("calls with more attempts than allowed", over, 0),
        exactly("POSTs without a key on which the server may have acted twice", twice, 0),
        *_keys(by_call),
        exactly("request bodies that arrived truncated, or with another call", broken, 0),
        at_least(
            f"shortest wait after Retry-After: {RETRY_AFTER}", _shortest_wait(by_call), RETRY_AFTER, " s"
        ),
    ]


def _acted(records: Iterable[Record]) -> int:
    refusals = {fault.name for fault in faults.FAULTS if fault.refused}
    return sum(record.answer not in refusals for record in records)


def _keys(by_call: dict[int, list[Record]]) -> list[Check]:
    keys: defaultdict[int, set[str | None]] = defaultdict(set)
    for call, records in by_call.items():
        keys[call].update(record.key for record in records)
    keyed = [key for call, found in keys.items() if kind_of(call).keyed for key in found]
    stray = sum(found != {None} for call, found in keys.items() if not kind_of(call).keyed)
    calls = sum(kind_of(call).keyed for call in keys)
    return [
        exactly("idempotency keys, for calls that have one", len(keyed), calls),
        exactly("of these, different keys", len({key for key in keyed if key}), calls),
        exactly("other calls that sent a key", stray, 0),
    ]


def _shortest_wait(by_call: dict[int, list[Record]]) -> float:
    return min(
        later.time - earlier.time
        for records in by_call.values()
        for earlier, later in itertools.pairwise(records)
        if earlier.answer == faults.BUSY.name
    )


def _memory(calls: Calls, most: float) -> list[Check]:
    before, after = calls.left[0], calls.left[-1]
    number = calls.number - calls.warm_up
    grown = after.objects - before.objects
    blocks = (after.blocks - before.blocks) / number
    named = ", ".join(f"{count} {name}" for name, count in grown.most_common(3))
    # An object takes a block at least. Another idle connection, or a cancelled timer that still exists, takes
    # some too, so the difference is not exactly zero.
    return [
        at_most(
            "memory growth over 100,000 calls, after the warm-up",
            growth([each.memory for each in calls.left], number),
            most,
            " MiB",
            f"of {after.memory / MIB:.0f}",
        ),
        at_most("blocks of memory that a call leaves behind", blocks, 0.5),
        exactly("objects created by calls that remain", sum(grown.values()), 0, named),
    ]
