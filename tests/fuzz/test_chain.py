"""The order of the chain, held to a model of a few lines: an onion, of middlewares of every bad habit."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from helpers import BASE, Client
from hypothesis import example, given
from hypothesis import strategies as st

from aioapiclient import (
    APIRequest,
    APIStatusError,
    AsyncAPIResponse,
    Handler,
    RetryableError,
    RetryPolicy,
    per_attempt,
    per_send,
)
from aioapiclient.testing import FakeTransport, respond


class Bug(Exception):
    """An exception raised by a middleware's own bug."""


HABITS = ["pass", "raise before", "raise after", "retry before", "retry after", "answer", "twice", "swallow"]
PLACES: dict[str, Callable[[Any], Any]] = {
    "call": lambda link: link,
    "attempt": per_attempt,
    "send": per_send,
}
Links = list[tuple[str, str]]
LINKS = st.lists(st.tuples(st.sampled_from(sorted(PLACES)), st.sampled_from(HABITS)), max_size=6)


def link(name: int, habit: str, notes: list[str]) -> Any:
    """A middleware that records when it is entered and left, and has one habit."""

    async def middleware(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        notes.append(f"+{name}")
        try:
            return await behave(habit, request, handler)
        finally:
            notes.append(f"-{name}")

    return middleware


async def behave(habit: str, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """Call the handler once."""
    if habit == "raise before":
        raise Bug
    if habit == "retry before":
        raise RetryableError from Bug()
    if habit == "answer":
        return AsyncAPIResponse.from_bytes(request, 202)
    if habit == "twice":
        await (await handler(request.copy())).close()
    try:
        response = await handler(request.copy())
    except Bug:
        if habit == "swallow":
            return AsyncAPIResponse.from_bytes(request, 203)
        raise
    if habit == "raise after":
        await response.close()
        raise Bug
    if habit == "retry after":
        raise RetryableError(response=response)
    return response


class Model:
    """The behaviour of a chain of these links as plain recursion: it returns a status or raises one."""

    def __init__(self, links: Links, statuses: list[int], retries: int) -> None:
        self.notes: list[str] = []
        self.statuses = itertools.chain(statuses, itertools.repeat(200))
        self.retries = retries
        numbered = [(number, *one) for number, one in enumerate(links)]
        self.zones = [[one for one in numbered if one[1] == place] for place in PLACES]

    def run(self) -> str:
        """How the call ends: a status, or the name of the exception."""
        try:
            return str(self.pass_links(self.zones[0], self.retry))
        except Bug:
            return "Bug"
        except Again:
            return "RetryableError"  # raised outside the retries: it is not retried

    def retry(self) -> int:
        """The attempts, each through the inner middlewares; an outer one that calls twice restarts the
        retries.
        """
        for taken in itertools.count():
            again: Again | None = None
            try:
                status = self.pass_links(self.zones[1] + self.zones[2], lambda: next(self.statuses))
            except Again as error:
                status, again = error.status, error
            if not again and status < 500:
                return status
            if taken >= self.retries:
                if again and not status:
                    raise Bug
                return status
        raise AssertionError("the attempts have no end")

    def pass_links(self, links: list[tuple[int, str, str]], inner: Callable[[], int]) -> int:
        """The first of *links*, around the others."""
        if not links:
            return inner()
        (name, _, habit), *others = links
        self.notes.append(f"+{name}")
        try:
            return self.habit(habit, lambda: self.pass_links(others, inner))
        finally:
            self.notes.append(f"-{name}")

    def habit(self, habit: str, handler: Callable[[], int]) -> int:
        """The same as `behave`."""
        if habit == "raise before":
            raise Bug
        if habit == "retry before":
            raise Again(0)
        if habit == "answer":
            return 202
        if habit == "twice":
            handler()
        try:
            status = handler()
        except Bug:
            if habit == "swallow":
                return 203
            raise
        if habit == "raise after":
            raise Bug
        if habit == "retry after":
            raise Again(status)
        return status


class Again(Exception):
    """`RetryableError` in the model: the status that it carries, 0 for the bug that it was raised from."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@example(links=[("attempt", "retry after")], statuses=[200, 200], retries=1)
@example(links=[("call", "twice")], statuses=[500, 200, 500], retries=1)
@given(LINKS, st.lists(st.sampled_from([200, 404, 500, 503]), max_size=8), st.integers(0, 2))
def test_any_chain_does_what_the_model_does(links: Links, statuses: list[int], retries: int) -> None:
    """Middlewares are entered and left like an onion, whatever they do, and every response is closed once."""
    model = Model(links, statuses, retries)
    expected = model.run()
    notes: list[str] = []
    closed: list[int] = []
    made: list[int] = []

    def answer(request: APIRequest) -> AsyncAPIResponse[Any]:
        assert sorted(closed) == made, "what is dropped is closed before the next send"
        number = len(made)
        made.append(number)
        status = statuses[number] if number < len(statuses) else 200
        response = respond(status, chunks=[b"{}"])(request)
        response.on_close(lambda: closed.append(number))
        return response

    async def call() -> str:
        transport = FakeTransport(default=answer)
        middlewares = [
            PLACES[place](link(number, habit, notes)) for number, (place, habit) in enumerate(links)
        ]
        policy = RetryPolicy(max_retries=retries, budget=None)
        async with Client(BASE, middlewares=middlewares, retry=policy, transport=transport) as api:
            try:
                # Left unread, so that only the chain reads the responses that it drops.
                async with api.open("GET", "/") as response:
                    end = str(response.status)
            except APIStatusError as error:
                end = str(error.status)
            except (Bug, RetryableError) as error:
                end = type(error).__name__
            assert transport.open_responses == 0
        return end

    assert asyncio.run(call()) == expected
    assert notes == model.notes
    assert sorted(closed) == made
