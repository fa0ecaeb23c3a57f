"""Long-running operations: which URL poll requests, how long it waits, when it ends, and its result."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from helpers import BASE, Client, reply
from msgspec.structs import replace
from servers import Exchange, ok, raw_server, response, turns
from yarl import URL

from aioapiclient import (
    APIConnectionError,
    APIError,
    APIRequest,
    APIResponseValidationError,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    BearerAuth,
    CallOptions,
    ClientClosedError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    OperationFailedError,
    Timeout,
    raw_response,
)
from aioapiclient._client.polling import Ask, Done, Fetch, Rules, Step, first_step, next_step
from aioapiclient.testing import Answer, FakeClock, FakeTransport, respond

ORIGIN = "https://api.example.com"
MONITOR = f"{ORIGIN}/operations/7"

moves_time = pytest.mark.skipif(
    os.environ.get("AIOAPICLIENT_TEST_LOOP") == "uvloop", reason="a FakeClock moves asyncio's own loops only"
)


class Job(msgspec.Struct):
    """A resource with a status."""

    id: int
    state: str = ""


class Price(msgspec.Struct):
    amount: Decimal


def accepted(**headers: str) -> Answer:
    """202, with *headers*, and without a body."""
    return respond(202, headers=named(headers))


def named(headers: dict[str, str]) -> dict[str, str]:
    """Underscores are hyphens."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def start(api: AsyncAPIClient, method: str = "POST") -> AsyncAPIResponse[Any]:
    """The call that starts an operation."""
    return await api.request(method, "/jobs", AsyncAPIResponse)


def client(*answers: Answer, **options: Any) -> tuple[Client, FakeTransport]:
    """A client whose waits take no time, and the transport that gives it *answers*."""
    transport = FakeTransport(*answers)
    return Client(BASE, transport=transport, **options), transport


def urls(transport: FakeTransport) -> list[str]:
    """Method and URL of every request."""
    return [f"{request.method} {request.url}" for request in transport.requests]


# --- 202 and Location


async def test_a_location_is_asked_until_it_is_no_longer_202() -> None:
    """A 202 leads to its Location, which is requested until it answers with another status: the result."""
    api, transport = client(
        accepted(Location="/operations/7"), accepted(), accepted(), reply(json={"id": 7}), max_retries=0
    )
    async with api:
        job = await api.poll(await start(api), Job)

    assert job == Job(7)
    assert urls(transport) == [f"POST {BASE}/jobs", *[f"GET {MONITOR}"] * 3]


async def test_a_location_is_resolved_against_the_response() -> None:
    """A relative Location is resolved against the URL of its response, and a later 202 may move it."""
    api, transport = client(
        accepted(Location="jobs/7?a=%2F"), accepted(Location="7/status"), reply(json={"id": 7})
    )
    async with api:
        await api.poll(await start(api), Job)

    assert urls(transport)[1:] == [f"GET {BASE}/jobs/7?a=%2F", f"GET {BASE}/jobs/7/status"]


async def test_a_redirect_leads_to_the_result() -> None:
    """An operation that is done may redirect to its result, by 303 or 302."""
    for status in (303, 302):
        api, transport = client(
            accepted(Location="/operations/7"),
            accepted(),
            reply(status, Location="/v1/jobs/7"),
            reply(json={"id": 7}),
        )
        async with api:
            assert await api.poll(await start(api), Job) == Job(7)
        assert urls(transport)[-1] == f"GET {BASE}/jobs/7"


async def test_a_303_is_the_result_whatever_its_body_says() -> None:
    """After a 303 the body is the result, and no status is looked for in it."""
    api, _ = client(
        accepted(Operation_Location=MONITOR),
        reply(303, Location="/v1/jobs/7"),
        reply(json={"id": 7, "status": "running"}),
    )
    async with api:
        assert await api.poll(await start(api), Job) == Job(7)


async def test_a_303_to_what_is_not_there_yet() -> None:
    """A 303 that leads to a 202 is not a result yet: the URL is polled again."""
    api, _ = client(
        accepted(Location="/operations/7"),
        reply(303, Location="/v1/jobs/7"),
        accepted(),
        reply(json={"id": 7}),
    )
    async with api:
        assert await api.poll(await start(api), Job) == Job(7)


async def test_a_result_without_a_body() -> None:
    """An operation that ends with 204 is None if the type admits it, and None accepts any body."""
    for cast_to, end in ((None, respond(204)), (Job | None, respond(204)), (None, reply(json={"id": 7}))):
        api, _ = client(accepted(Location="/operations/7"), accepted(), end)
        async with api:
            assert await api.poll(await start(api, "DELETE"), cast_to) is None


async def test_a_result_of_bytes() -> None:
    """The result may be bytes of any kind, which are not searched for a status."""
    body = b'{"broken'
    end = respond(200, body=body, headers={"Content-Type": "application/json"})
    api, _ = client(accepted(Location="/operations/7"), end)
    async with api:
        assert await api.poll(await start(api), bytes) == body


async def test_an_operation_that_was_done_at_once() -> None:
    """A response that is not a 202 and names no monitor is the result, without another request."""
    api, transport = client(reply(201, json={"id": 7}, Location="/v1/jobs/7"))
    async with api:
        assert await api.poll(await start(api), Job) == Job(7)
    assert len(transport.requests) == 1


async def test_a_202_without_a_place() -> None:
    """A 202 to a PUT without Location is requested at its own URL; one to a POST is an error that explains
    it.
    """
    api, transport = client(accepted(), reply(json={"id": 7}), accepted())
    async with api:
        assert await api.poll(await start(api, "PUT"), Job) == Job(7)
        assert urls(transport)[1] == f"GET {BASE}/jobs"
        with pytest.raises(APIResponseValidationError, match="is in progress, but no header names"):
            await api.poll(await start(api), Job)
    assert len(transport.requests) == 3


async def test_a_path_is_asked_at_once() -> None:
    """A path with its parameters, or a URL, is requested without a wait, again and again with its
    parameters.
    """
    api, transport = client(accepted(), reply(json={"id": 7}), accepted(), reply(json={"id": 7}))
    async with api:
        for started, filled in (("/operations/{id}", {"id": 7}), (URL(f"{BASE}/operations/7"), None)):
            job = await api.poll(started, Job, path_params=filled, options={"params": {"v": "1"}})
            assert job == Job(7)
        assert len(api.waits) == 2

    assert urls(transport) == [f"GET {BASE}/operations/7?v=1"] * 4
    assert transport.requests[1].template == "/operations/{id}"


# --- Operation-Location


@pytest.mark.parametrize("header", ["Operation-Location", "Azure-AsyncOperation"])
async def test_a_monitor_tells_by_its_status(header: str) -> None:
    """A monitor is polled until its status is final, in any case; then the Location is the result."""
    api, transport = client(
        respond(202, headers={header: MONITOR, "Location": "/v1/jobs/7"}),
        reply(json={"status": "NotStarted"}),
        reply(202, {"status": "Running"}),
        reply(json={"status": "Succeeded"}),
        reply(json={"id": 7}),
    )
    async with api:
        assert await api.poll(await start(api), Job) == Job(7)
        assert len(api.waits) == 3

    assert urls(transport)[1:] == [*[f"GET {MONITOR}"] * 3, f"GET {BASE}/jobs/7"]


async def test_a_resource_location() -> None:
    """The resourceLocation of the last body is the result, before any Location."""
    api, transport = client(
        accepted(Operation_Location=MONITOR, Location="/v1/other"),
        reply(json={"status": "succeeded", "resourceLocation": "../v1/jobs/7"}),
        reply(json={"id": 7}),
    )
    async with api:
        assert await api.poll(await start(api), Job) == Job(7)
    assert urls(transport)[2] == f"GET {BASE}/jobs/7"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_was_put_is_the_result(method: str) -> None:
    """After a PUT or PATCH the result is the resource itself, although its body has a status."""
    api, transport = client(
        reply(201, json={"id": 7, "status": "failed"}, Azure_AsyncOperation=MONITOR),
        reply(json={"status": "Succeeded"}),
        reply(json={"id": 7}),
    )
    async with api:
        assert await api.poll(await start(api, method), Job) == Job(7)
    assert urls(transport)[2] == f"GET {BASE}/jobs"


async def test_a_monitor_that_is_the_result() -> None:
    """Without another location, the last body of the monitor is the result."""
    api, _ = client(accepted(Operation_Location=MONITOR), reply(json={"status": "succeeded", "id": 7}))
    async with api:
        assert await api.poll(await start(api), Job) == Job(7)


async def test_nothing_is_fetched_for_none() -> None:
    """None as cast_to discards the result, and so does not fetch it."""
    api, transport = client(
        accepted(Operation_Location=MONITOR, Location="/v1/jobs/7"), reply(json={"status": "succeeded"})
    )
    async with api:
        assert await api.poll(await start(api), None) is None
    assert len(transport.requests) == 2


async def test_a_member_that_holds_the_result() -> None:
    """A result that is a member of the last body is decoded from its very bytes."""
    body = b'{"status": "succeeded", "result": {"amount": 1.00000000000000000001}}'
    api, _ = client(
        accepted(Operation_Location=MONITOR),
        respond(200, body=body, headers={"Content-Type": "application/json"}),
    )
    async with api:
        price = await api.poll(await start(api), Price, result="result")
    assert price.amount == Decimal("1.00000000000000000001")


async def test_a_member_that_is_missing() -> None:
    """A last body without the member that the caller named is an error with its name."""
    api, _ = client(accepted(Operation_Location=MONITOR), reply(json={"status": "succeeded"}))
    async with api:
        with pytest.raises(APIResponseValidationError, match="is done, but the body has no member 'result'"):
            await api.poll(await start(api), Job, result="result")


async def test_a_result_of_the_wrong_shape() -> None:
    """A result that does not match its type raises, with the place."""
    api, _ = client(
        accepted(Operation_Location=MONITOR), reply(json={"status": "succeeded", "result": {"id": "seven"}})
    )
    async with api:
        with pytest.raises(APIResponseValidationError) as caught:
            await api.poll(await start(api), Job, result="result")
    assert caught.value.path == "$.id"


# --- a status field


async def test_a_status_field_of_a_resource() -> None:
    """A resource is requested until its status, found by a function, is one of the caller's values."""
    states = ["validating", "In_Progress", "Done"]
    api, transport = client(*(reply(json={"id": 7, "meta": {"state": state}}) for state in states))
    async with api:
        job = await api.poll("/jobs/7", Job, status_of=lambda body: body["meta"]["state"], done={"DONE"})
        assert len(api.waits) == 2
    assert job == Job(7)
    assert urls(transport) == [f"GET {BASE}/jobs/7"] * 3


async def test_a_status_field_by_its_name() -> None:
    """A status is also found by the name of its member, even in the response that started the operation."""
    api, transport = client(
        reply(201, {"id": 7, "state": "queued"}, Location="/v1/jobs/7"),
        reply(json={"id": 7, "state": "running"}),
        reply(json={"id": 7, "state": "completed"}),
        reply(201, {"id": 8, "state": "completed"}),
    )
    async with api:
        assert await api.poll(await start(api), Job, status_of="state") == Job(7, "completed")
        assert await api.poll(await start(api), Job, status_of="state") == Job(8, "completed")
    assert urls(transport)[1:3] == [f"GET {BASE}/jobs/7"] * 2


@pytest.mark.parametrize(
    ("status_of", "body"),
    [
        ("job.state", {"job": {"state": "running"}}),
        ("jobs.-1.state", {"jobs": [{"state": "done"}, {"state": "running"}]}),
        ("job.state", {"job": {"state": "wrong"}, "job.state": "running"}),
    ],
)
async def test_the_status_may_lie_deep_down(status_of: str, body: dict[str, Any]) -> None:
    """Dots in status_of refer to nested members, and to arrays by index; a name that contains dots comes
    first.
    """
    ready = json.loads(json.dumps(body).replace("running", "completed"))
    transport = FakeTransport(reply(200, body), reply(200, ready))
    async with Client(BASE, transport=transport) as api:
        assert await api.poll("/jobs/7", status_of=status_of, interval=0.001) == ready
    assert len(transport.requests) == 2


@pytest.mark.parametrize("body", [{"job": {}}, {"job": None}, {"job": "running"}, {"job": []}, {}])
async def test_a_status_that_is_not_there_deep_down_is_named(body: dict[str, Any]) -> None:
    """Where the path leads nowhere the error names it."""
    async with Client(BASE, transport=FakeTransport(reply(200, body))) as api:
        with pytest.raises(APIResponseValidationError, match=r"`job\.state`, is missing"):
            await api.poll("/jobs/7", status_of="job.state")


async def test_the_result_may_lie_deep_down() -> None:
    """Dots in result refer to nested members as well, down to the bytes: a Decimal keeps its digits."""
    text = b'{"state": "completed", "a.b": {"amount": 2.50}, "a": {"found": [{"price": {"amount": 1.10}}]}}'
    answer = respond(200, body=text, headers={"Content-Type": "application/json"})
    for result, amount in (("a.found.0.price", "1.10"), ("a.b", "2.50")):
        async with Client(BASE, transport=FakeTransport(answer)) as api:
            found = await api.poll("/jobs/7", Price, status_of="state", result=result)
        assert found == Price(Decimal(amount))
        assert str(found.amount) == amount
    for result in ("a.found.1.price", "a.nothing", "nothing.at.all"):
        async with Client(BASE, transport=FakeTransport(answer)) as api:
            with pytest.raises(APIResponseValidationError, match=f"has no member '{result}'"):
                await api.poll("/jobs/7", Price, status_of="state", result=result)
    async with Client(BASE, transport=FakeTransport(answer)) as api:
        with pytest.raises(APIResponseValidationError):
            await api.poll("/jobs/7", Price, status_of="state", result="state.price")


async def test_an_envelope_with_the_result_or_the_error_in_it() -> None:
    """An operation with done, response and error, like Google's, needs a function and a name."""

    def status_of(operation: dict[str, Any]) -> str:
        if "error" in operation:
            return "failed"
        return "completed" if operation.get("done") else "running"

    api, _ = client(
        reply(json={"name": "operations/7"}),
        reply(json={"name": "operations/7", "done": True, "response": {"id": 7}}),
        reply(json={"name": "operations/8", "done": True, "error": {"code": 9, "message": "no"}}),
    )
    async with api:
        assert await api.poll("/operations/7", Job, status_of=status_of, result="response") == Job(7)
        with pytest.raises(OperationFailedError) as caught:
            await api.poll("/operations/8", Job, status_of=status_of, result="response")
    assert caught.value.code == "9"


async def test_a_function_picks_the_result() -> None:
    """A function of the last body returns the result as plain data, or its URL."""
    done = {"state": "completed", "items": [{"id": 7}], "file": "f1"}
    api, transport = client(reply(json=done), reply(json=done), respond(200, body=b"zip"))
    async with api:
        job = await api.poll("/jobs/7", Job, status_of="state", result=lambda body: body["items"][0])
        content = await api.poll(
            "/jobs/7", bytes, status_of="state", result=lambda body: URL(f"/files/{body['file']}/content")
        )
    assert (job, content) == (Job(7), b"zip")
    assert urls(transport)[-1] == f"GET {BASE}/files/f1/content"


async def test_a_status_that_is_none() -> None:
    """A body without its status member, or with one of another type, is an error."""
    for body, found in (({}, "missing"), ({"state": 3}, "of type int, not str"), ([], "missing")):
        api, _ = client(reply(json=body))
        async with api:
            with pytest.raises(APIResponseValidationError, match=f"the operation, `state`, is {found}"):
                await api.poll("/jobs/7", Job, status_of="state")


async def test_a_status_is_not_needed_while_it_is_202() -> None:
    """A 202 continues the poll whatever its body: empty, text, or JSON without a status."""
    texts: list[Answer] = [
        accepted(),
        respond(202, text="<p>Accepted"),
        respond(202, body=b"{", headers={"Content-Type": "application/json"}),
        reply(202),
        reply(json={"status": "succeeded", "id": 7}),
    ]
    api, _ = client(accepted(Operation_Location=MONITOR), *texts)
    async with api:
        assert await api.poll(await start(api), Job) == Job(7)


async def test_a_status_that_cannot_be_read() -> None:
    """A body that is not JSON is an error unless the status is 202."""
    api, _ = client(
        accepted(Operation_Location=MONITOR),
        respond(200, body=b"{", headers={"Content-Type": "application/json"}),
    )
    async with api:
        with pytest.raises(APIResponseValidationError, match=r"malformed|truncated"):
            await api.poll(await start(api), Job)


async def test_what_a_function_raises_passes() -> None:
    """An error in the caller's own function is the caller's, and is not wrapped."""
    api, _ = client(reply(json={}))
    async with api:
        with pytest.raises(KeyError, match="state"):
            await api.poll("/jobs/7", Job, status_of=lambda body: body["state"])


# --- failure


@pytest.mark.parametrize("word", ["Failed", "canceled", "Cancelled", "EXPIRED"])
async def test_a_failed_operation(word: str) -> None:
    """A failed operation raises OperationFailedError with its status, its body and the code in it."""
    body = {"status": word, "error": {"code": "Quota", "message": "secret"}}
    api, transport = client(accepted(Operation_Location=MONITOR), reply(json=body, x_request_id="r1"))
    async with api:
        with pytest.raises(OperationFailedError) as caught:
            await api.poll(await start(api), Job)
        assert transport.open_responses == 0
    error = caught.value
    assert isinstance(error, APIError)
    assert (error.status, error.body, error.code) == (word.casefold(), body, "Quota")
    assert error.response is not None
    assert error.response.request_id == "r1"
    assert str(error) == f"GET {MONITOR}: the operation ended as {word.casefold()!r}"


async def test_a_failure_is_pickled_without_its_response() -> None:
    """A pickled OperationFailedError keeps status and body; users can create one for their tests."""
    error = OperationFailedError("no", status="failed", body={"error": {"code": "Quota"}})
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(twin), twin.status, twin.code) == ("no", "failed", "Quota")
    assert OperationFailedError().status == "failed"


async def test_words_of_the_callers_own() -> None:
    """With custom statuses the usual ones have no meaning."""
    api, _ = client(reply(json={"state": "failed"}), reply(json={"state": "broken"}))
    async with api:
        with pytest.raises(OperationFailedError) as caught:
            await api.poll("/jobs/7", Job, status_of="state", done={"ok"}, failed={"BROKEN"})
    assert caught.value.status == "broken"


async def test_a_status_error_of_a_request() -> None:
    """An error status of a request means the same as anywhere: after its retries it ends the poll."""
    api, transport = client(accepted(Location="/operations/7"), reply(404))
    async with api:
        with pytest.raises(NotFoundError):
            await api.poll(await start(api), Job)
    api, transport = client(accepted(Location="/operations/7"), *[reply(500)] * 3)
    async with api:
        with pytest.raises(InternalServerError):
            await api.poll(await start(api), Job)
    assert len(transport.requests) == 4


async def test_each_request_has_its_retries() -> None:
    """A request that fails is retried by the chain, and the poll continues."""
    api, transport = client(
        accepted(Location="/operations/7"), reply(503), accepted(), APIConnectionError, reply(json={"id": 7})
    )
    async with api:
        assert await api.poll(await start(api), Job) == Job(7)
    assert [request.attempt for request in transport.requests] == [0, 0, 1, 0, 1]


# --- waits


async def test_retry_after_is_obeyed() -> None:
    """It waits for the time in Retry-After, first that of the response that started it."""
    api, _ = client(
        accepted(Location="/operations/7", Retry_After="7"), accepted(Retry_After="2"), reply(json={"id": 7})
    )
    async with api:
        await api.poll(await start(api), Job, interval=60)
        assert api.waits == [7.0, 2.0]


async def test_own_waits_grow_with_jitter() -> None:
    """Without Retry-After a wait is from half of its step to all of it, and steps grow by half to a bound."""
    api, _ = client(*[accepted()] * 6, reply(json={"id": 7}))
    async with api:
        await api.poll("/operations/7", Job, interval=2.0, max_interval=8.0)
        steps = [2.0, 3.0, 4.5, 6.75, 8.0, 8.0]
        assert all(step / 2 <= wait <= step for wait, step in zip(api.waits, steps, strict=True))


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan"])
async def test_an_invalid_retry_after(value: str) -> None:
    """A Retry-After of zero, or an invalid one, leaves the wait to the interval."""
    api, _ = client(accepted(Retry_After=value), reply(json={"id": 7}))
    async with api:
        await api.poll("/operations/7", Job, interval=4.0)
        assert 2.0 <= api.waits[0] <= 4.0


async def test_a_retry_after_beyond_an_hour() -> None:
    """After a Retry-After of a year, the next poll follows in an hour."""
    api, _ = client(accepted(Retry_After="31536000"), reply(json={"id": 7}))
    async with api:
        await api.poll("/operations/7", Job, timeout=None)
        assert api.waits == [3600.0]


async def test_an_interval_above_the_longest() -> None:
    """An interval that is longer than max_interval is the longest itself."""
    api, _ = client(*[accepted()] * 3, reply(json={"id": 7}))
    async with api:
        await api.poll("/operations/7", Job, interval=100.0)
        assert all(50.0 <= wait <= 100.0 for wait in api.waits)


# --- timeouts


class Paced(AsyncAPIClient):
    """A client whose waits move a fake clock."""

    def __init__(self, clock: FakeClock, *answers: Answer, **options: Any) -> None:
        self.transport = FakeTransport(*answers[:-1], default=answers[-1])
        super().__init__(BASE, transport=self.transport, **options)
        self.clock = clock

    async def _sleep_for_retry(self, seconds: float, /) -> None:
        await self.clock.sleep(seconds)


@moves_time
async def test_it_is_out_of_time() -> None:
    """A poll ends with a total timeout that reports the last status, and uses nearly all of its time."""
    clock = FakeClock()
    with clock.install():
        async with Paced(clock, reply(json={"state": "running"})) as api:
            with pytest.raises(APITimeoutError) as caught:
                await api.poll("/jobs/7", Job, status_of="state", timeout=60)
    error = caught.value
    assert error.phase == "total"
    assert error.body == {"state": "running"}
    assert "not done within 60 s (total): a wait of" in str(error)
    assert 59.0 <= sum(clock.sleeps) < 60.0


async def test_no_wait_begins_that_the_time_cannot_cover() -> None:
    """A Retry-After beyond the time left ends the poll immediately, with that wait on the error."""
    api, transport = client(accepted(Location="/operations/7", Retry_After="120"))
    async with api:
        with pytest.raises(APITimeoutError) as caught:
            await api.poll(await start(api), Job, timeout=60)
        assert api.waits == []
    assert (caught.value.phase, caught.value.retry_after) == ("total", 120.0)
    assert len(transport.requests) == 1


@moves_time
async def test_the_default_time_is_the_clients() -> None:
    """Without a timeout the client's total limits the whole poll; None removes it."""
    clock = FakeClock()
    with clock.install():
        async with Paced(clock, accepted(Retry_After="50"), timeout=120) as api:
            with pytest.raises(APITimeoutError):
                await api.poll("/operations/7")
            assert clock.sleeps == [50.0, 50.0]
        answers = [*[accepted(Retry_After="50")] * 9, reply(json=7)]
        async with Paced(clock, *answers, timeout=120) as api:
            assert await api.poll("/operations/7", int, timeout=None) == 7
        async with Paced(clock, *answers, timeout=None) as api:
            assert await api.poll("/operations/7", int) == 7


@moves_time
async def test_a_request_that_hangs() -> None:
    """A request gets the poll's time left, and its error states that it was part of a poll."""
    clock = FakeClock()

    async def hang(request: APIRequest) -> AsyncAPIResponse[Any]:
        assert request.time_left() == pytest.approx(20.0)
        clock.advance(20.5)
        await asyncio.Event().wait()
        raise AssertionError

    with clock.install():
        async with Paced(clock, accepted(Location="/operations/7", Retry_After="10"), hang) as api:
            with pytest.raises(APITimeoutError) as caught:
                await api.poll(await start(api), Job, timeout=30)
    assert caught.value.phase == "total"
    assert caught.value.__notes__ == ["This was request 1 of a poll"]


@moves_time
async def test_a_request_that_is_out_of_its_own_time() -> None:
    """A request may reach its own limit, of another phase, and that is the error then."""
    clock = FakeClock()

    async def hang(request: APIRequest) -> AsyncAPIResponse[Any]:
        clock.advance(3)
        await asyncio.Event().wait()
        raise AssertionError

    options: CallOptions = {"timeout": Timeout(attempt=2), "max_retries": 0}
    with clock.install():
        async with Paced(clock, accepted(), hang) as api:
            with pytest.raises(APITimeoutError) as caught:
                await api.poll("/operations/7", options=options)
    assert caught.value.phase == "attempt"


@moves_time
async def test_a_retry_that_the_time_cannot_cover() -> None:
    """A wait between attempts that would pass the end of the poll is not begun."""
    clock = FakeClock()
    with clock.install():
        async with Paced(clock, accepted(), reply(503, Retry_After="25")) as api:
            with pytest.raises(InternalServerError):
                await api.poll("/operations/7", interval=15, timeout=30)
    assert len(clock.sleeps) == 1


async def test_limits_of_each_request() -> None:
    """The timeout in the options is that of each request, the keyword one that of the whole poll."""
    api, transport = client(accepted(Location="/operations/7"), reply(json={"id": 7}))
    async with api:
        await api.poll(await start(api), Job, timeout=60, options={"timeout": Timeout(total=5, read=2)})
    limits = transport.requests[1].timeout
    assert (limits.total, limits.read, limits.connect) == (5, 2, 5.0)


# --- origins


async def test_a_foreign_monitor_sees_no_credential() -> None:
    """A monitor on another origin is requested without credential, default header or parameter."""
    api, transport = client(
        accepted(Operation_Location="https://monitor.example.net/7"),
        reply(json={"status": "succeeded", "resourceLocation": f"{BASE}/jobs/7"}),
        reply(json={"id": 7}),
        auth=BearerAuth("secret"),
        default_headers={"X-Tenant": "t"},
        default_params={"key": "k"},
    )
    async with api:
        job = await api.poll(
            await start(api), Job, options={"headers": {"X-Mine": "m"}, "params": {"api-version": "1"}}
        )
    _, foreign, own = transport.requests
    assert job == Job(7)
    assert str(foreign.url) == "https://monitor.example.net/7"
    assert {"Authorization", "X-Tenant", "X-Mine"}.isdisjoint(foreign.headers)
    assert own.headers["Authorization"] == "Bearer secret"
    assert own.headers["X-Mine"] == "m"
    assert str(own.url) == f"{BASE}/jobs/7"


async def test_a_trusted_monitor_sees_them() -> None:
    """A monitor on a trusted origin is requested with the credential."""
    api, transport = client(
        accepted(Operation_Location="https://monitor.example.com/7"),
        reply(json={"status": "succeeded", "id": 7}),
        auth=BearerAuth("secret"),
        trusted_origins=["https://*.example.com"],
    )
    async with api:
        await api.poll(await start(api), Job)
    assert transport.requests[1].headers["Authorization"] == "Bearer secret"


async def test_a_link_that_is_not_followed() -> None:
    """A link to no web page, to nowhere, or from https to http is refused; userinfo in one is dropped."""
    for link, why in (
        ("ftp://api.example.com/7", "not an http or https URL"),
        ("http://[::1", "not an http or https URL"),
        ("http://api.example.com/operations/7", "leads from https to http"),
    ):
        api, transport = client(accepted(Location=link))
        async with api:
            with pytest.raises(APIResponseValidationError, match=why):
                await api.poll(await start(api), Job)
        assert len(transport.requests) == 1
    api, transport = client(accepted(Location="https://me:secret@api.example.com/7#x"), reply(json={"id": 7}))
    async with api:
        await api.poll(await start(api), Job)
    assert str(transport.requests[1].url) == f"{ORIGIN}/7"


# --- return values


async def test_plain_data_without_a_type() -> None:
    """Without cast_to the result is plain data."""
    api, _ = client(accepted(), reply(json={"id": 7}))
    async with api:
        assert await api.poll("/operations/7") == {"id": 7}


async def test_the_response_of_the_result() -> None:
    """AsyncAPIResponse[T] returns the last response itself, wherever the result is."""
    api, _ = client(accepted(), reply(json={"id": 7}, X_Cost="3"))
    async with api:
        answer = await api.poll("/operations/7", AsyncAPIResponse[Job])
        assert (answer.headers["X-Cost"], await answer.parse()) == ("3", Job(7))
    api, _ = client(reply(200, {"id": 7}, X_Cost="4"))
    async with api:
        answer = await api.poll(await start(api), AsyncAPIResponse[Job])
        assert (answer.headers["X-Cost"], await answer.parse()) == ("4", Job(7))
    api, _ = client(reply(json={"state": "completed", "job": {"id": 7}}))
    async with api:
        answer = await api.poll("/jobs/7", AsyncAPIResponse[Job], status_of="state", result="job")
        assert (answer.body, await answer.parse()) == (b'{"id":7}', Job(7))
    api, _ = client(
        accepted(Operation_Location=MONITOR, Location="/v1/jobs/7"),
        reply(json={"status": "succeeded"}),
        reply(json={"id": 7}, X_Cost="5"),
    )
    async with api:
        answer = await api.poll(await start(api), AsyncAPIResponse[Job])
        assert (answer.headers["X-Cost"], await answer.parse()) == ("5", Job(7))


async def test_a_method_that_polls_can_be_wrapped() -> None:
    """raw_response of a method that starts and polls returns the last response, and parse() the result."""

    class Jobs(Client):
        """An SDK with an operation."""

        async def run(self) -> Job:
            return await self.poll(await self.post("/jobs", AsyncAPIResponse), Job)

    transport = FakeTransport(
        accepted(Location="/operations/7"), accepted(), reply(json={"id": 7}, X_Cost="3")
    )
    async with Jobs(BASE, transport=transport) as api:
        answer = await raw_response(api.run)()
        assert (answer.headers["X-Cost"], await answer.parse()) == ("3", Job(7))


async def test_an_unread_start() -> None:
    """A response that was opened unread can start a poll: it is read for it."""
    api, transport = client(respond(202, text="later", headers={"Location": "/7"}), reply(json={"id": 7}))
    async with api:
        async with api.open("POST", "/jobs") as started:
            assert await api.poll(started, Job) == Job(7)
        assert transport.open_responses == 0


# --- cancellation


async def test_a_cancelled_poll() -> None:
    """A cancellation in a wait is a CancelledError immediately, and nothing is requested any more."""
    transport = FakeTransport(accepted(Retry_After="50"))
    async with AsyncAPIClient(BASE, transport=transport) as api:
        task = asyncio.create_task(api.poll("/operations/7"))
        await turns(20)
        assert not transport.open_responses
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(transport.requests) == 1


async def test_a_client_that_closes() -> None:
    """Closing the client ends a poll that waits, with ClientClosedError."""
    transport = FakeTransport(accepted(Retry_After="50"))
    api = AsyncAPIClient(BASE, transport=transport)
    task = asyncio.create_task(api.poll("/operations/7"))
    await turns(20)
    await api.close()
    with pytest.raises(ClientClosedError):
        await task
    assert len(transport.requests) == 1


# --- invalid input


@pytest.mark.parametrize(
    ("started", "options", "error", "message"),
    [
        ({"id": 7}, {}, TypeError, "started must be a response, a path or a URL, not dict"),
        (None, {}, TypeError, "not NoneType: pass AsyncAPIResponse as cast_to"),
        (
            "/jobs/7",
            {"status_of": 7},
            TypeError,
            "status_of must be the name of a member or a function, not int",
        ),
        (
            "/jobs/7",
            {"result": ["a"]},
            TypeError,
            "result must be the name of a member or a function, not list",
        ),
        ("/jobs/7", {"done": "completed"}, TypeError, "done must be a collection of str, not str"),
        ("/jobs/7", {"failed": 7}, TypeError, "failed must be a collection of str, not int"),
        ("/jobs/7", {"failed": {7}}, TypeError, "failed must contain str, not int"),
        ("/jobs/7", {"done": ()}, InvalidRequestError, "done must name at least one status"),
        ("/jobs/7", {"done": {"Failed", "ok"}}, InvalidRequestError, "done and failed both name failed"),
        ("/jobs/7", {"interval": "1"}, TypeError, "interval must be a number of seconds, not str"),
        ("/jobs/7", {"interval": True}, TypeError, "interval must be a number of seconds, not bool"),
        ("/jobs/7", {"interval": 0}, InvalidRequestError, "interval must be above 0 seconds, not 0"),
        (
            "/jobs/7",
            {"interval": float("nan")},
            InvalidRequestError,
            "interval must be above 0 seconds, not nan",
        ),
        (
            "/jobs/7",
            {"max_interval": -1},
            InvalidRequestError,
            "max_interval must be above 0 seconds, not -1",
        ),
        ("/jobs/7", {"timeout": 0}, InvalidRequestError, "total must be above 0 seconds, not 0"),
        (
            "/jobs/7",
            {"timeout": Timeout(total=3)},
            TypeError,
            "total must be a number of seconds, not Timeout; None removes the limit",
        ),
        ("/jobs/7", {"options": {"colour": 1}}, TypeError, "unknown option"),
        ("/jobs/7", {"options": {"timeout": "x"}}, TypeError, "must be a number of seconds"),
        ("/jobs/7", {"cast_to": AsyncAPIClient}, TypeError, "cast_to AsyncAPIClient cannot be decoded"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(
    started: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Invalid arguments are refused immediately, by name."""
    api, transport = client()
    async with api:
        with pytest.raises(error, match=message):
            await api.poll(started, **options)
    assert transport.requests == []


async def test_path_params_of_a_response() -> None:
    """path_params fill a path: with a response they are refused."""
    api, transport = client(accepted(Location="/operations/7"))
    async with api:
        with pytest.raises(TypeError, match="started is a response"):
            await api.poll(await start(api), Job, path_params={"id": 7})
    assert len(transport.requests) == 1


# --- the core, without I/O


RULES = Rules(None, frozenset({"succeeded"}), frozenset({"failed"}), None)
STATED = replace(RULES, status_of="status")


def answer(status: int = 200, method: str = "GET", **headers: str) -> AsyncAPIResponse[Any]:
    """A response to *method* of a URL."""
    return AsyncAPIResponse.from_bytes(APIRequest(method, MONITOR), status, named(headers))


@pytest.mark.parametrize(
    ("response", "body", "rules", "step"),
    [
        (answer(202, "POST", Location="/a"), None, RULES, Ask(URL(f"{ORIGIN}/a"))),
        (
            answer(202, "POST", Location="/a", Retry_After="3"),
            None,
            RULES,
            Ask(URL(f"{ORIGIN}/a"), retry_after=3.0),
        ),
        (
            answer(200, "POST", Location="/a", Operation_Location="/b"),
            {"status": "failed"},
            STATED,
            Ask(URL(f"{ORIGIN}/b"), URL(f"{ORIGIN}/a"), is_monitor=True),
        ),
        (
            answer(202, "PUT", Location="/a", Azure_AsyncOperation="/b", Operation_Location=" "),
            None,
            RULES,
            Ask(URL(f"{ORIGIN}/b"), URL(MONITOR), is_monitor=True),
        ),
        (answer(200), {"status": "running"}, STATED, Ask(URL(MONITOR))),
        (answer(201, "POST", Location="/a"), {"status": "new"}, STATED, Ask(URL(f"{ORIGIN}/a"))),
    ],
)
def test_the_first_step(response: AsyncAPIResponse[Any], body: Any, rules: Rules, step: Step) -> None:
    """The first response determines the monitor, the location of the result, and the wait."""
    assert first_step(response, body, rules) == step


HERE = Ask("/here")
WATCH = Ask("/watch", is_monitor=True)


@pytest.mark.parametrize(
    ("response", "body", "asked", "step"),
    [
        (answer(202), None, HERE, HERE),
        (answer(202, Retry_After="3"), None, HERE, replace(HERE, retry_after=3.0)),
        (answer(202, Location="/a"), None, HERE, Ask(URL(f"{ORIGIN}/a"))),
        (answer(202, Operation_Location="/a"), None, HERE, Ask(URL(f"{ORIGIN}/a"))),
        (answer(200, Location="/a"), {"status": "new"}, WATCH, replace(WATCH, final=URL(f"{ORIGIN}/a"))),
        (
            answer(200, Operation_Location="/a"),
            {"status": "new"},
            WATCH,
            replace(WATCH, url=URL(f"{ORIGIN}/a")),
        ),
        (answer(200), {"status": "SUCCEEDED"}, replace(WATCH, final=URL("/f")), Fetch(URL("/f"))),
        (
            answer(200),
            {"status": "succeeded", "resourceLocation": "/r"},
            replace(WATCH, final=URL("/f")),
            Fetch(URL(f"{ORIGIN}/r")),
        ),
    ],
)
def test_the_next_step(response: AsyncAPIResponse[Any], body: Any, asked: Ask, step: Step) -> None:
    """The steps after each response are decided without a connection."""
    assert next_step(response, body, asked, RULES) == step


def test_the_last_step() -> None:
    """A response that is the result is returned unchanged."""
    last = answer(200)
    assert next_step(last, None, HERE, RULES) == Done(last)
    assert next_step(last, {"status": "succeeded"}, WATCH, RULES) == Done(last)


# --- a real server


async def test_a_real_server() -> None:
    """Over a real wire: started, polled twice, redirected to its result, on one connection."""

    async def script(exchange: Exchange) -> None:
        target = exchange.request.target
        if target == "/v1/jobs":
            await exchange.send(response("202 Accepted", Location="/operations/7"))
        elif target == "/operations/7" and exchange.index < 3:
            await exchange.send(response("202 Accepted", Retry_After="0.01"))
        elif target == "/operations/7":
            await exchange.send(response("303 See Other", Location="/v1/jobs/7"))
        else:
            await exchange.send(ok(json.dumps({"id": 7}).encode()))

    async with raw_server(script) as server, AsyncAPIClient(f"{server.url}/v1") as api:
        started = await api.post("/jobs", AsyncAPIResponse, json={"size": 3})
        assert await api.poll(started, Job, interval=0.01) == Job(7)

    assert [request.target for request in server.requests] == [
        "/v1/jobs",
        *["/operations/7"] * 3,
        "/v1/jobs/7",
    ]
    assert server.connections == 1
