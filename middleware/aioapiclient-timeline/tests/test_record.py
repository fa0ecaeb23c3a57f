"""The record of a call: its sends, waits, failures and streams, and when it is complete."""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import Any

import msgspec
import pytest
from aioapiclient_loadcontrol import HedgingMiddleware
from aioapiclient_timeline import Call, Send, Timeline, log_calls, prometheus, trace_config, waterfall
from helpers import BASE, Client, Script, reply
from prometheus_client import CollectorRegistry, generate_latest
from servers import close, hang, in_turn, ok, raw_server, refusing_port, respond, response

from aioapiclient import (
    AiohttpTransport,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    AsyncAPIClient,
    BearerAuth,
    NotFoundError,
    RetryPolicy,
    per_attempt,
)
from aioapiclient.testing import FakeClock, FakeTransport, check_middleware
from aioapiclient.testing import respond as answer


async def test_a_call_with_a_retry_a_renewal_and_a_redirect_is_four_sends() -> None:
    """503, 401 with a new token, 302 and 200 are sends of one record, each with its attempt and status."""
    tokens = iter(["old", "new"])
    moved = response("302 Found", b"", Location="/ok")
    script = in_turn(
        respond(response("503 Service Unavailable", b"", retry_after_ms="1")),
        respond(response("401 Unauthorized")),
        respond(moved),
        respond(ok()),
    )
    calls: list[Call] = []

    async def token() -> str:
        return next(tokens)

    async with (
        raw_server(script) as server,
        AsyncAPIClient(server.url, auth=BearerAuth(token), middlewares=[Timeline(calls.append)]) as api,
    ):
        await api.get("/users/{id}", path_params={"id": 7})

    (call,) = calls
    assert [(send.attempt, send.status) for send in call.sends] == [(0, 503), (1, 401), (1, 302), (1, 200)]
    assert [send.template for send in call.sends] == ["/users/{id}"] * 3 + [None]
    assert [send.url for send in call.sends] == [f"{server.url}/users/7"] * 3 + [f"{server.url}/ok"]
    assert (call.method, call.template, call.origin) == ("GET", "/users/{id}", server.url)
    assert (call.status, call.error, call.attempts, call.dropped) == (200, None, 2, 0)
    assert not any(send.hedged for send in call.sends)
    ends = [send.ended for send in call.sends]
    assert all(send.began <= (send.head or -1) <= (send.ended or -1) <= call.seconds for send in call.sends)
    assert all(end is not None for end in ends)
    assert 0 < call.waited < call.seconds


async def test_what_fails_is_recorded_by_its_class_and_its_reason() -> None:
    """A refused connection, a timeout, an error status and an invalid body are recorded by class and
    reason.
    """
    calls: list[Call] = []
    # By path, not in turn: on a busy machine the limit may run out before /slow reaches the server.
    answers = {"/slow": hang(), "/missing": respond(response("404 Not Found")), "/list": respond(ok(b"[1]"))}
    async with (
        raw_server(lambda exchange: answers[exchange.request.target](exchange)) as server,
        Client(server.url, middlewares=[Timeline(calls.append)], max_retries=0) as api,
    ):
        with pytest.raises(APIConnectionError):
            await api.get(f"http://127.0.0.1:{refusing_port()}/x")
        with pytest.raises(APITimeoutError):
            await api.get("/slow", timeout=0.05)
        with pytest.raises(NotFoundError):
            await api.get("/missing")
        with pytest.raises(APIResponseValidationError):
            await api.get("/list", dict[str, int])

    assert [(call.status, call.error, call.reason) for call in calls] == [
        (None, "APIConnectionError", "refused"),
        (None, "APITimeoutError", "total"),
        (404, None, None),
        (200, "APIResponseValidationError", None),
    ]
    assert calls[0].template is None


async def test_a_cancelled_call_is_recorded() -> None:
    """The caller's cancellation ends the record, and passes."""
    calls: list[Call] = []
    async with (
        raw_server(hang()) as server,
        AsyncAPIClient(server.url, middlewares=[Timeline(calls.append)]) as api,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await api.get("/slow")

    assert [call.error for call in calls] == ["CancelledError"]
    assert [send.error for send in calls[0].sends] == ["CancelledError"]


async def test_a_stream_is_recorded_when_it_is_closed() -> None:
    """A stream is recorded at its end, not at its head."""
    calls: list[Call] = []
    clock = FakeClock()
    timeline = Timeline(calls.append, clock=clock.time)
    events = ok(b'data: {"n": 1}\n\ndata: {"n": 2}\n\n', "text/event-stream")
    async with (
        raw_server(respond(events)) as server,
        AsyncAPIClient(server.url, middlewares=[timeline]) as api,
        api.stream("GET", "/events") as stream,
    ):
        await anext(aiter(stream))
        clock.advance(5)
        assert calls == []

    (call,) = calls
    assert call.streamed
    assert (call.status, call.seconds) == (200, 5.0)
    assert [send.ended for send in call.sends] == [5.0]
    assert call.answered < 5


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
async def test_a_stream_that_breaks_is_recorded_with_its_error(
    status: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Call and send have the error and its reason, and the log has a warning; an error status takes
    precedence.
    """
    calls: list[Call] = []
    registry = CollectorRegistry()
    timeline = Timeline(calls.append, log_calls(), prometheus(registry))
    head = response(status, None, Content_Type="text/event-stream", Content_Length="99")
    async with (
        raw_server(close(head + b"data: 1\n\n")) as server,
        AsyncAPIClient(server.url, middlewares=[timeline], max_retries=0) as api,
    ):
        with pytest.raises(APIError):
            async with api.stream("GET", "/events", int) as stream:
                async for _ in stream:
                    pass

    (call,) = calls
    failure = ("APIConnectionError", "truncated") if status == "200 OK" else (None, None)
    assert [(record.error, record.reason) for record in (call, *call.sends)] == [failure] * 2
    assert call.status == int(status[:3])
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    outcome = failure[0] or call.status
    assert f'outcome="{outcome}",template="/events"}} 1.0' in generate_latest(registry).decode()


async def test_a_stream_that_its_reader_leaves_has_no_error() -> None:
    """Neither leaving a stream early nor an exception of the reader is a failure."""
    calls: list[Call] = []
    events = answer(chunks=[b"data: 1\n\n"] * 3, headers={"Content-Type": "text/event-stream"})
    async with AsyncAPIClient(
        BASE, transport=FakeTransport(default=events), middlewares=[Timeline(calls.append)]
    ) as api:
        async with api.stream("GET", "/events", int) as stream:
            async for _ in stream:
                break
        with pytest.raises(LookupError):
            async with api.stream("GET", "/events", int) as stream:
                async for _ in stream:
                    raise LookupError("a mistake of the reader")

    assert [record.error for call in calls for record in (call, *call.sends)] == [None] * 4


async def test_closing_the_client_completes_the_record_of_an_open_stream() -> None:
    """A stream that stays open is recorded with that error when the client is closed."""
    calls: list[Call] = []
    head = response("200 OK", None, Content_Type="text/event-stream")
    async with raw_server(hang(head + b"data: 1\n\n")) as server:
        api = AsyncAPIClient(server.url, middlewares=[Timeline(calls.append)])
        async with api.stream("GET", "/events") as stream:
            await anext(aiter(stream))
            await api.close()
            assert [(call.status, call.error) for call in calls] == [(200, "ClientClosedError")]

    assert len(calls) == 1


async def test_a_second_copy_is_marked_as_hedged() -> None:
    """Of two concurrent sends of one attempt, the later one is hedged; time on the wire is counted once."""
    calls: list[Call] = []
    script = in_turn(hang(), respond(ok()))
    async with (
        raw_server(script) as server,
        AsyncAPIClient(
            server.url,
            middlewares=[Timeline(calls.append), per_attempt(HedgingMiddleware(0.02, budget=1))],
        ) as api,
    ):
        await api.get("/x")

    (call,) = calls
    assert [(send.hedged, send.status, send.error) for send in call.sends] == [
        (False, None, "CancelledError"),
        (True, 200, None),
    ]
    assert 0 <= call.waited < 0.02


async def test_the_waits_are_what_no_send_covers() -> None:
    """Of a call of 10 s with a send from 1 to 3, and two that overlap from 4 to 8, 4 s are waits."""
    call = Call("GET", "/x", BASE, 0.0, seconds=10.0)
    for began, ended in ((1.0, 3.0), (4.0, 7.0), (5.0, 8.0)):
        call.sends.append(Send(0, BASE, BASE, None, began, ended=ended))

    assert call.waited == 4.0


async def test_at_most_100_sends_are_kept() -> None:
    """A call of 121 sends keeps the first 100, and counts the rest."""
    calls: list[Call] = []
    script = Script(*[reply(503)] * 120, reply())
    async with Client(BASE, transport=script, max_retries=150, middlewares=[Timeline(calls.append)]) as api:
        await api.get("/x", retry=RetryPolicy(max_retries=150, budget=None))

    (call,) = calls
    assert (len(call.sends), call.dropped, call.attempts) == (100, 21, 121)
    assert "and 21 more" in waterfall(call)


async def test_a_sink_that_fails_reaches_neither_the_call_nor_another_sink(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its first failure is logged, and the other sinks get every record."""
    calls: list[Call] = []

    def broken(call: Call) -> None:
        raise RuntimeError("disk full")

    async with AsyncAPIClient(BASE, transport=Script(), middlewares=[Timeline(broken, calls.append)]) as api:
        await api.get("/a")
        await api.get("/b")

    assert [call.template for call in calls] == ["/a", "/b"]
    assert [record.name for record in caplog.records] == ["aioapiclient.timeline"]


async def test_two_timelines_have_a_record_each() -> None:
    """Neither writes into the other's record."""
    first: list[Call] = []
    second: list[Call] = []
    async with AsyncAPIClient(
        BASE, transport=Script(), middlewares=[Timeline(first.append), Timeline(second.append)]
    ) as api:
        await api.get("/x")

    assert [len(call.sends) for call in (*first, *second)] == [1, 1]
    assert first[0] is not second[0]


def test_a_timeline_outlives_an_event_loop() -> None:
    """The same timeline records calls on a second loop."""
    calls: list[Call] = []
    timeline = Timeline(calls.append)

    async def run() -> None:
        async with AsyncAPIClient(BASE, transport=Script(), middlewares=[timeline]) as api:
            await api.get("/x")

    asyncio.run(run())
    asyncio.run(run())

    assert [call.status for call in calls] == [200, 200]


async def test_both_links_keep_the_six_promises() -> None:
    """`check_middleware` passes for both middlewares, that of the call and that of the send."""
    await check_middleware(lambda: Timeline().call)
    await check_middleware(lambda: Timeline().send)


@pytest.mark.parametrize("sink", [None, "log", 7])
def test_a_sink_must_be_a_function(sink: Any) -> None:
    """It would fail at the end of the first call."""
    with pytest.raises(TypeError, match="a sink must be a function, not"):
        Timeline(sink)


def test_an_async_sink_is_refused() -> None:
    """A sink that is a coroutine function is refused, because it would never be awaited."""

    async def sink(call: Call) -> None: ...

    with pytest.raises(TypeError, match="a sink must be a plain function"):
        Timeline(sink)


async def test_no_secret_gets_into_the_record_or_what_is_made_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """Token, headers, query values and bodies are in no record, log line, metric, waterfall or pickle."""
    caplog.set_level(logging.INFO)
    calls: list[Call] = []
    registry = CollectorRegistry()
    transport = FakeTransport(
        answer(503, body=b"hush-answer", headers={"retry-after-ms": "0", "Set-Cookie": "hush-cookie"}),
        answer(302, headers={"Location": "https://user:hush-user@api.example.com/ok?code=hush-code"}),
        answer(json={"hush-json": 1}),
    )
    timeline = Timeline(calls.append, log_calls(), prometheus(registry))
    async with Client(
        BASE, auth=BearerAuth("hush-token"), transport=transport, middlewares=[timeline]
    ) as api:
        await api.post(
            "/x?a=hush-path",
            json={"p": "hush-body"},
            params={"k": "hush-query"},
            headers={"X-Key": "hush-header"},
            idempotent=True,
        )

    (call,) = calls
    assert [send.status for send in call.sends] == [503, 302, 200]
    shown = [
        repr(call),
        repr(timeline),
        waterfall(call),
        caplog.text,
        generate_latest(registry).decode(),
        repr(pickle.dumps(call)),
        msgspec.json.encode(call).decode(),
        *(repr(vars(record)) for record in caplog.records if record.name == "aioapiclient.calls"),
    ]
    assert [text for text in shown if "hush" in text] == []


async def test_a_template_forges_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """A line end in a hand-formatted path is escaped."""
    caplog.set_level(logging.INFO)
    async with AsyncAPIClient(BASE, transport=Script(), middlewares=[Timeline(log_calls())]) as api:
        await api.get("/a\u2028ERROR forged")

    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("GET /a\\u2028ERROR forged 200 in")


async def test_a_record_pickles_and_encodes() -> None:
    """A pickled record is equal to the original; JSON restores it."""
    calls: list[Call] = []
    async with (
        raw_server(respond(ok())) as server,
        AsyncAPIClient(
            transport=AiohttpTransport(trace_configs=[trace_config()]),
            base_url=server.url,
            middlewares=[Timeline(calls.append)],
        ) as api,
    ):
        await api.get("/x")

    (call,) = calls
    assert pickle.loads(pickle.dumps(call)) == call
    assert msgspec.json.decode(msgspec.json.encode(call), type=Call) == call
