"""Cancel scopes: the end of a wait, the error it raises, and how other cancellations are kept apart."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from aioapiclient._cancel_scope import Scope, Timers


class OutOfTime(Exception):
    """The error that the tests fire scopes with."""


class Outer(Exception):
    """The error that the tests fire a second scope with."""


@pytest.fixture
async def timers() -> Iterator[Timers]:
    """Shared timers, gone after the test."""
    queues = Timers()
    yield queues
    queues.cancel()


def live_timers() -> int:
    """How many timers wait in the loop."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", None)
    if scheduled is None:
        pytest.skip("this loop does not show its timers")
    return sum(not handle.cancelled() for handle in scheduled)


async def test_a_scope_without_a_deadline_does_nothing() -> None:
    """A scope that is not fired changes nothing."""
    with Scope() as scope:
        await asyncio.sleep(0)
    assert not scope.is_free
    assert scope.deadline is None


async def test_a_fired_scope_raises_its_error() -> None:
    """The wait of the task ends with the error that the scope was fired with."""
    scope = Scope()
    asyncio.get_running_loop().call_soon(scope.fire, OutOfTime)
    with pytest.raises(OutOfTime), scope:
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_first_fire_counts() -> None:
    """A scope fires once, and a second error is not heard."""
    scope = Scope()
    loop = asyncio.get_running_loop()
    loop.call_soon(scope.fire, OutOfTime)
    loop.call_soon(scope.fire, Outer)
    with pytest.raises(OutOfTime), scope:
        await asyncio.Event().wait()


async def test_a_scope_that_was_left_is_deaf() -> None:
    """Firing a scope after its end cancels nothing."""
    with Scope() as scope:
        pass
    scope.fire(OutOfTime)
    await asyncio.sleep(0)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_scope_belongs_to_a_task() -> None:
    """A scope outside a task raises an error that names the missing task."""
    failures: list[BaseException] = []

    def callback() -> None:
        try:
            Scope().__enter__()
        except RuntimeError as error:
            failures.append(error)

    asyncio.get_running_loop().call_soon(callback)
    await asyncio.sleep(0)
    assert "inside an asyncio task" in str(failures[0])


async def test_the_scope_keeps_no_cause() -> None:
    """The error that a scope raises does not drag the cancellation along."""
    scope = Scope()
    asyncio.get_running_loop().call_soon(scope.fire, OutOfTime)
    with pytest.raises(OutOfTime) as caught, scope:
        await asyncio.Event().wait()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_another_error_of_the_work_is_not_replaced() -> None:
    """An error that the block raises while it is cancelled replaces the scope's."""
    scope = Scope()
    asyncio.get_running_loop().call_soon(scope.fire, OutOfTime)
    with pytest.raises(LookupError), scope:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LookupError from None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_order_of_nested_scopes_does_not_matter() -> None:
    """The error of the outer scope is raised if the inner one has none."""
    inner, outer = Scope(), Scope()
    asyncio.get_running_loop().call_soon(outer.fire, Outer)
    with pytest.raises(Outer), outer, inner:
        await asyncio.Event().wait()


async def test_in_the_same_tick_the_outer_scope_wins() -> None:
    """Where both fire in one tick, in whichever order, the call ends with the outer one's error."""
    for first, second in itertools.permutations((0, 1)):
        outer, inner = Scope(), Scope()
        fires = [(outer, Outer), (inner, OutOfTime)]
        loop = asyncio.get_running_loop()
        for number in (first, second):
            scope, error = fires[number]
            loop.call_soon(scope.fire, error)
        with pytest.raises(Outer), outer, inner:
            await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


@pytest.mark.parametrize("scope_first", [True, False])
async def test_a_cancel_of_the_caller_in_the_same_tick_is_never_lost(scope_first: bool) -> None:
    """A caller's cancel in the tick of the deadline is a `CancelledError`, 20 times of 20."""
    for _ in range(20):
        scope = Scope()

        async def work(scope: Scope = scope) -> None:
            with scope:
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        steps: list[Callable[[], object]] = [lambda s=scope: s.fire(OutOfTime), task.cancel]  # type: ignore[misc]
        for step in steps if scope_first else reversed(steps):
            step()
        await asyncio.wait([task])
        assert task.cancelled()


@pytest.mark.parametrize("scope_first", [True, False])
async def test_a_timeout_of_the_caller_in_the_same_tick_is_the_callers(scope_first: bool) -> None:
    """The caller's ``asyncio.timeout`` in the tick of the deadline is theirs, 20 times of 20."""
    loop = asyncio.get_running_loop()
    for _ in range(20):
        # Already due: uvloop rounds each wait to a millisecond, and so may separate two that end together.
        when = loop.time()
        scope = Scope()
        if scope_first:
            scope.expire_at(when, OutOfTime)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(when):
                with scope:
                    if not scope_first:
                        scope.expire_at(when, OutOfTime)
                    await asyncio.Event().wait()


async def test_a_task_that_was_cancelled_before_still_hears_a_scope() -> None:
    """Cleanup after a cancellation can have a separate limit."""
    ends: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            scope = Scope()
            try:
                with scope:
                    scope.expire_after(0.001, OutOfTime)
                    await asyncio.Event().wait()
            except OutOfTime:
                ends.append("out of time")
            raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert ends == ["out of time"]
    assert task.cancelled()


async def test_a_settled_scope_is_settled_once() -> None:
    """A cancellation that was settled inside is not settled again at the scope's end."""
    scope = Scope()
    asyncio.get_running_loop().call_soon(scope.fire, OutOfTime)
    with scope:
        with pytest.raises(OutOfTime):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                scope.settle(error)
                raise
        await asyncio.sleep(0)


async def test_a_disarmed_scope_does_not_expire() -> None:
    """A removed deadline ends nothing, and leaves no timer."""
    before = live_timers()
    with Scope() as scope:
        scope.expire_after(0.001, OutOfTime)
        assert not scope.is_free
        scope.disarm()
        await asyncio.sleep(0.01)
    assert live_timers() == before


# --- shared timers


async def test_scopes_of_one_duration_share_one_timer(timers: Timers) -> None:
    """A thousand scopes of one duration are one timer of the loop."""
    before = live_timers()
    scopes = [Scope() for _ in range(1000)]
    for scope in scopes:
        scope.timers = timers
        scope.expire_after(60, OutOfTime)
    assert live_timers() == before + 1
    for scope in scopes:
        scope.disarm()
    assert live_timers() <= before + 1


async def test_each_scope_of_a_queue_expires_at_its_own_time(timers: Timers) -> None:
    """Scopes that share a timer expire one after the other, as if each had its own."""
    ends: list[int] = []

    async def work(number: int) -> None:
        scope = Scope()
        with pytest.raises(OutOfTime), scope:
            scope.timers = timers
            scope.expire_after(0.02, OutOfTime)
            await asyncio.Event().wait()
        ends.append(number)

    tasks: list[asyncio.Task[None]] = []
    for number in range(5):
        tasks.append(asyncio.create_task(work(number)))
        await asyncio.sleep(0.003)
    await asyncio.gather(*tasks)
    assert ends == [0, 1, 2, 3, 4]


async def test_one_that_leaves_does_not_keep_the_others_waiting(timers: Timers) -> None:
    """The timer of a scope that ended early serves later ones."""
    first = Scope()
    first.timers = timers
    first.expire_after(0.02, OutOfTime)
    second = Scope()
    with pytest.raises(OutOfTime), second:
        second.timers = timers
        second.expire_after(0.02, OutOfTime)
        first.disarm()
        await asyncio.Event().wait()


async def test_no_timer_is_left_when_they_are_cancelled() -> None:
    """Cancelled queues leave no timer in the loop."""
    before = live_timers()
    queues = Timers()
    for number in range(20):
        Scope(timers=queues).expire_after(60 + number, OutOfTime)
    assert live_timers() > before
    queues.cancel()
    # Durations beyond the bound have separate timers, which live as long as their scopes.
    assert live_timers() == before + 20 - Timers.MOST


async def test_the_number_of_queues_is_bounded(timers: Timers) -> None:
    """Durations that occur once do not fill the memory: each of their scopes has a separate timer."""
    before = live_timers()
    for number in range(1000):
        with Scope() as scope:
            scope.timers = timers
            scope.expire_after(60 + number, OutOfTime)
    assert len(timers._queues) <= Timers.MOST
    assert live_timers() <= before + Timers.MOST


async def test_a_duration_that_comes_again_gets_a_queue_when_others_are_idle(timers: Timers) -> None:
    """Idle queues are dropped for durations that are in use."""
    for number in range(Timers.MOST):
        with Scope() as scope:
            scope.timers = timers
            scope.expire_after(100 + number, OutOfTime)
    one, other = Scope(), Scope()
    one.timers = timers
    one.expire_after(7, OutOfTime)
    assert timers.queue(7) is not None
    before = live_timers()
    other.timers = timers
    other.expire_after(7, OutOfTime)
    assert live_timers() == before


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("cancel", [None, "before", "after"])
async def test_deadline_and_attempt_in_one_tick(timers: Timers, shared: bool, cancel: str | None) -> None:
    """Two limits that run out in one tick end as the outer one, and with a caller's cancel as that."""
    for _ in range(20):

        async def work() -> None:
            loop, own = asyncio.get_running_loop(), asyncio.current_task()
            assert own is not None
            outer, inner = Scope(), Scope()
            with outer:
                outer.timers = timers if shared else None
                outer.expire_after(0.001, Outer)
                with inner:
                    inner.timers = timers if shared else None
                    inner.expire_after(0.001, OutOfTime)
                    if cancel is not None:
                        loop.call_later(0.0005 if cancel == "before" else 0.002, own.cancel)
                    _block(loop, 0.003)  # everything above is due in the same tick
                    await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.wait([task])
        if cancel is None:
            assert isinstance(task.exception(), Outer)
        else:
            assert task.cancelled()


def _block(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    end = loop.time() + seconds
    while loop.time() < end:
        pass
