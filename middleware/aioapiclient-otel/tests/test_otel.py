"""`aioapiclient_otel`: the reported data, the propagation of the context, and that calls are not affected."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from aioapiclient_otel import OpenTelemetry
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import SpanKind, StatusCode
from yarl import URL

from aioapiclient import (
    OMIT,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResponse,
    BearerAuth,
    ClientClosedError,
    InvalidRequestError,
    NotFoundError,
    RetryPolicy,
    Timeout,
    load_middleware,
    per_attempt,
    per_send,
)
from aioapiclient.contract import APIRequest, Handler
from aioapiclient.errors import RetryableError, ThrottledError
from aioapiclient.testing import FakeClock, FakeTransport, check_middleware, respond

BASE = "https://api.example.com/v1"
FINE = respond(json={})


def client(transport: Any, *middlewares: Any, **options: Any) -> AsyncAPIClient:
    """A client whose retries do not wait."""
    options.setdefault("retry", RetryPolicy(jitter=lambda wait: 0.0, budget=None))
    return AsyncAPIClient(BASE, middlewares=middlewares, transport=transport, **options)


def facts(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})


def events(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    """The events of a span, each with its attributes."""
    return [(event.name, dict(event.attributes or {})) for event in span.events]


def traceparent(span: ReadableSpan) -> str:
    """The header that names a span."""
    here = span.get_span_context()
    assert here is not None
    return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"


def renewing() -> BearerAuth:
    """A token that differs each time."""
    tokens = iter("ab")

    async def token() -> str:
        return next(tokens)

    return BearerAuth(token)


# --- a call and its sends


async def test_one_call_with_all_kinds_of_sends(telemetry: Any) -> None:
    """A 503, a 401 that is renewed, a redirect and a 200 are one trace: a call with four numbered sends."""
    transport = FakeTransport(
        respond(503), respond(401), respond(302, headers={"Location": "/v1/moved"}), FINE
    )
    async with client(transport, telemetry.make(), auth=renewing()) as api:
        await api.get("/users/{id}", path_params={"id": 7}, params={"secret": "x", "page": 2})

    (call,) = telemetry.calls
    assert call.name == "GET /users/{id}"
    assert call.instrumentation_scope.name == "aioapiclient.call"
    assert facts(call) == {
        "aioapiclient.sends": 4,
        "aioapiclient.attempts": 2,
        "aioapiclient.body.bytes": 2,
        "server.address": "api.example.com",
        "url.template": "/users/{id}",
    }
    assert [name for name, _ in events(call)] == ["retry"]
    assert [span.name for span in telemetry.sends] == ["GET /users/{id}"] * 3 + ["GET"]
    assert [facts(span).get("http.request.resend_count") for span in telemetry.sends] == [None, 1, 2, 3]
    assert [facts(span)["http.response.status_code"] for span in telemetry.sends] == [503, 401, 302, 200]
    assert [facts(span).get("error.type") for span in telemetry.sends] == ["503", "401", None, None]
    assert {span.parent.span_id for span in telemetry.sends} == {call.context.span_id}
    assert {span.context.trace_id for span in telemetry.sends} == {call.context.trace_id}
    assert facts(telemetry.sends[0])["url.full"] == f"{BASE}/users/7?secret=REDACTED&page=REDACTED"
    assert [request.headers["traceparent"] for request in transport.requests] == [
        traceparent(span) for span in telemetry.sends
    ]


async def test_what_a_send_is_called(telemetry: Any) -> None:
    """A span has the required attributes, and no attribute that was not requested."""
    async with client(FakeTransport(FINE), telemetry.make()) as api:
        await api.get("/users")

    assert facts(telemetry.sends[0]) == {
        "http.request.method": "GET",
        "server.address": "api.example.com",
        "server.port": 443,
        "url.template": "/users",
        "url.full": f"{BASE}/users",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }


async def test_a_method_that_the_conventions_do_not_know(telemetry: Any) -> None:
    """It is ``_OTHER``, with the original beside it, and the span begins with HTTP."""
    async with client(FakeTransport(FINE), telemetry.make()) as api:
        await api.request("PURGE", "/cache")

    assert telemetry.sends[0].name == "HTTP /cache"
    assert facts(telemetry.sends[0])["http.request.method"] == "_OTHER"
    assert facts(telemetry.sends[0])["http.request.method_original"] == "PURGE"
    assert telemetry.points("http.client.request.duration")[0]["http.request.method"] == "_OTHER"


async def test_the_environment_says_which_methods_are_known(
    telemetry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`` replaces the list."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "PUT, POST")
    async with client(FakeTransport(FINE, FINE), telemetry.make()) as api:
        await api.get("/a")
        await api.put("/a")

    assert [facts(span)["http.request.method"] for span in telemetry.sends] == ["_OTHER", "PUT"]


async def test_a_status_that_the_call_expects_is_not_an_error(telemetry: Any) -> None:
    """A 404 in ``ok_statuses`` leaves span and metric without an error; otherwise both have one."""
    async with client(FakeTransport(respond(404), respond(404)), telemetry.make()) as api:
        await api.get("/a", ok_statuses={404})
        with pytest.raises(NotFoundError):
            await api.get("/b")

    assert [span.status.status_code for span in telemetry.spans] == [StatusCode.UNSET] * 2 + [
        StatusCode.ERROR
    ] * 2
    errors = [point.get("error.type") for point in telemetry.points("http.client.request.duration")]
    assert errors == [None, "404"]


async def test_a_call_that_a_middleware_answers(telemetry: Any) -> None:
    """A hit of a cache outside of the sends is a call without any."""

    async def cache(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return AsyncAPIResponse.from_bytes(request, 200, {"Content-Type": "application/json"}, b"{}")

    async with client(FakeTransport(), telemetry.make(), per_attempt(cache)) as api:
        await api.get("/users")

    assert facts(telemetry.calls[0])["aioapiclient.sends"] == 0
    assert telemetry.sends == []
    assert telemetry.points("http.client.request.duration") == []


async def test_sends_without_spans_of_calls(telemetry: Any) -> None:
    """Without ``call_spans``, a send's parent is the caller's span, and resends are still counted."""
    tracer = telemetry.tracer_provider.get_tracer("the caller")
    otel = telemetry.make(call_spans=False, metrics=False)
    async with client(FakeTransport(respond(503), FINE), otel) as api:
        with tracer.start_as_current_span("the caller's", kind=SpanKind.CONSUMER) as mine:
            await api.get("/users")

    assert len(otel.middlewares()) == 1
    assert [span.parent.span_id for span in telemetry.sends] == [mine.get_span_context().span_id] * 2
    assert [facts(span).get("http.request.resend_count") for span in telemetry.sends] == [None, 1]
    assert telemetry.metrics() == {}
    telemetry.exporter.clear()


# --- failures


@pytest.mark.parametrize("phase", ["connect", "pool", "attempt", "read", "write"])
async def test_a_timeout_says_its_phase(telemetry: Any, phase: Any) -> None:
    """``error.type`` of send and call has the phase of the timeout."""
    transport = FakeTransport(APITimeoutError("late", phase=phase))
    async with client(transport, telemetry.make(), max_retries=0, retry=None) as api:
        with pytest.raises(APITimeoutError):
            await api.get("/users")

    assert [facts(span)["error.type"] for span in telemetry.spans] == [f"APITimeoutError:{phase}"] * 2


async def test_the_deadline_of_the_call(telemetry: Any) -> None:
    """A call that its deadline ends is a timeout of the phase "total", though its sends see a
    cancellation.
    """
    clock = FakeClock()

    async def hang(request: APIRequest) -> AsyncAPIResponse[Any]:
        clock.advance(31)
        await asyncio.sleep(3600)
        raise AssertionError

    with clock.install():
        async with client(hang, telemetry.make(), timeout=Timeout(total=30)) as api:
            with pytest.raises(APITimeoutError):
                await api.get("/users")

    assert [facts(span)["error.type"] for span in telemetry.spans] == ["APITimeoutError:total"] * 2


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (APIConnectionError("no such host", sent=False, reason="dns"), "APIConnectionError"),
        (LookupError("a bug"), "LookupError"),
    ],
)
async def test_a_send_without_a_response(telemetry: Any, error: Exception, name: str) -> None:
    """``error.type`` is the class of the error; neither a status nor an exception is recorded."""
    async with client(FakeTransport(error), telemetry.make(), max_retries=0, retry=None) as api:
        with pytest.raises(type(error)):
            await api.get("/users")

    (send,) = telemetry.sends
    assert facts(send)["error.type"] == facts(telemetry.calls[0])["error.type"] == name
    assert "http.response.status_code" not in facts(send)
    assert telemetry.points("http.client.request.duration")[0]["error.type"] == name


async def test_a_body_that_is_not_what_it_should_be(telemetry: Any) -> None:
    """The status of a received response is reported beside the error."""
    transport = FakeTransport(respond(body=b"<html>", headers={"Content-Type": "application/json"}))
    async with client(transport, telemetry.make()) as api:
        with pytest.raises(APIResponseValidationError):
            await api.get("/users", dict)

    assert facts(telemetry.sends[0])["http.response.status_code"] == 200
    assert facts(telemetry.sends[0])["error.type"] == "APIResponseValidationError"


async def test_a_call_that_is_cancelled(telemetry: Any) -> None:
    """A cancelled call ends its spans, and no request stays active."""
    reached = asyncio.Event()

    async def hang(request: APIRequest) -> AsyncAPIResponse[Any]:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with client(hang, telemetry.make()) as api:
        task = asyncio.create_task(api.get("/users"))
        await reached.wait()
        assert telemetry.points("http.client.active_requests")[0]["n"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert [facts(span)["error.type"] for span in telemetry.spans] == ["CancelledError"] * 2
    assert telemetry.points("http.client.active_requests")[0]["n"] == 0


# --- the events of a call


async def test_a_retry_is_an_event_of_the_call(telemetry: Any) -> None:
    """It has the number of the attempt, the time since the failure, and the failure."""
    clock = FakeClock()
    transport = FakeTransport(respond(503), APIConnectionError("reset"), FINE)
    with clock.install():

        class Client(AsyncAPIClient):
            async def _sleep_for_retry(self, seconds: float, /) -> None:
                clock.advance(1.5)

        async with Client(BASE, middlewares=[telemetry.make()], transport=transport) as api:
            await api.get("/users")

    assert events(telemetry.calls[0]) == [
        ("retry", {"aioapiclient.attempt": 1, "aioapiclient.wait": 1.5, "error.type": "503"}),
        ("retry", {"aioapiclient.attempt": 2, "aioapiclient.wait": 1.5, "error.type": "APIConnectionError"}),
    ]


async def test_throttling_is_an_event_of_the_call(telemetry: Any) -> None:
    """A 429 is throttling, and so are a 503 with Retry-After and a call refused by a throttle."""
    transport = FakeTransport(
        respond(429, headers={"Retry-After": "1"}),
        respond(503, headers={"retry-after-ms": "10"}),
        ThrottledError("not sent", retry_after=9.0),
    )

    class Client(AsyncAPIClient):
        async def _sleep_for_retry(self, seconds: float, /) -> None:
            pass

    async with Client(BASE, middlewares=[telemetry.make()], transport=transport) as api:
        with pytest.raises(ThrottledError):
            await api.get("/users")

    throttled = [attributes for name, attributes in events(telemetry.calls[0]) if name == "throttled"]
    assert throttled == [
        {"error.type": "429", "aioapiclient.retry_after": 1.0},
        {"error.type": "503", "aioapiclient.retry_after": 0.01},
        {"error.type": "ThrottledError", "aioapiclient.retry_after": 9.0},
    ]


async def test_a_second_copy_is_an_event_of_the_call(telemetry: Any) -> None:
    """Hedging gives one call two sends, one of which was cancelled."""
    loadcontrol = pytest.importorskip("aioapiclient_loadcontrol", reason="it is a separate distribution")
    hanging = asyncio.Event()

    async def hang(request: APIRequest) -> AsyncAPIResponse[Any]:
        await hanging.wait()
        raise AssertionError

    hedging = loadcontrol.HedgingMiddleware(0, budget=1)
    async with client(FakeTransport(hang, FINE), telemetry.make(), per_attempt(hedging)) as api:
        await api.get("/users")

    assert events(telemetry.calls[0]) == [("hedge", {"aioapiclient.attempt": 0})]
    assert facts(telemetry.calls[0])["aioapiclient.sends"] == 2
    assert facts(telemetry.calls[0])["aioapiclient.attempts"] == 1
    assert [facts(span).get("error.type") for span in telemetry.sends] == ["CancelledError", None]


# --- streams


async def test_a_stream_is_a_call_until_it_is_closed(telemetry: Any) -> None:
    """The send ends with the head; the call and the active request with the body."""
    transport = FakeTransport(
        respond(chunks=[b"data: 1\n\n", b"data: 2\n\n"], headers={"Content-Type": "text/event-stream"})
    )
    async with client(transport, telemetry.make()) as api, api.stream("GET", "/events", int) as stream:
        assert len(telemetry.sends) == 1
        assert telemetry.calls == []
        assert telemetry.points("http.client.active_requests")[0]["n"] == 1
        assert [event async for event in stream] == [1, 2]

    assert facts(telemetry.calls[0])["aioapiclient.body.bytes"] == 18
    assert telemetry.points("http.client.active_requests")[0]["n"] == 0
    assert telemetry.points("aioapiclient.call.duration")[0]["n"] == 1


@pytest.mark.parametrize(
    ("cut", "status", "failure"),
    [(12, 200, "APIConnectionError"), (None, 200, None), (12, 500, "500")],
    ids=["broken", "whole", "status"],
)
async def test_a_stream_that_breaks_is_a_call_that_failed(
    telemetry: Any, cut: int | None, status: int, failure: str | None
) -> None:
    """Span and metric of the call have the error that ended the stream; an error status takes precedence."""
    headers = {"Content-Type": "text/event-stream"}
    transport = FakeTransport(
        respond(status, chunks=[b"data: 1\n\n", b"data: 2\n\n"], headers=headers, cut_after=cut)
    )
    async with client(transport, telemetry.make(), max_retries=0, retry=None) as api:
        with suppress(APIError):
            async with api.stream("GET", "/events", int) as stream:
                assert [event async for event in stream] == [1, 2]

    (call,) = telemetry.calls
    assert facts(call).get("error.type") == failure
    assert (call.status.status_code is StatusCode.ERROR) == (failure is not None)
    (point,) = telemetry.points("aioapiclient.call.duration")
    assert point.get("error.type") == failure


async def test_a_stream_that_its_reader_leaves_has_no_error(telemetry: Any) -> None:
    """A break, and an exception of the reader, end the call with the same error."""
    events = respond(chunks=[b"data: 1\n\n"] * 3, headers={"Content-Type": "text/event-stream"})
    async with client(FakeTransport(default=events), telemetry.make()) as api:
        async with api.stream("GET", "/events", int) as stream:
            async for _ in stream:
                break
        with pytest.raises(LookupError):
            async with api.stream("GET", "/events", int) as stream:
                async for _ in stream:
                    raise LookupError("a mistake of the reader")

    assert [facts(span).get("error.type") for span in telemetry.calls] == [None, None]


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (APITimeoutError("late", phase="total"), "APITimeoutError:total"),
        (ClientClosedError("closed"), "ClientClosedError"),
    ],
)
async def test_a_stream_that_is_aborted(telemetry: Any, error: Exception, name: str) -> None:
    """The deadline, or the end of the client, is the error of the call."""
    api = client(FakeTransport(respond(body=b"abc")), telemetry.make())
    async with api, api.open("GET", "/a") as response:
        response.abort(error)

    assert facts(telemetry.calls[0])["error.type"] == name


async def test_an_unread_body_has_no_size(telemetry: Any) -> None:
    """A response that is closed early, or answers a HEAD, is reported with the known facts."""
    transport = FakeTransport(respond(body=b"abc"), respond(body=b"abc"), respond())
    async with client(transport, telemetry.make()) as api:
        async with api.open("GET", "/a"):
            pass
        async with api.open("GET", "/a") as response:
            await response.read()
        await api.head("/a")

    sizes = [facts(span).get("aioapiclient.body.bytes") for span in telemetry.calls]
    assert sizes == [None, 3, 0]


async def test_an_answer_that_a_retryable_error_holds(telemetry: Any) -> None:
    """The status is reported, and the request is active until the response is closed."""
    held = respond(200, json={})(APIRequest("GET", f"{BASE}/users"))

    async def again(request: APIRequest) -> AsyncAPIResponse[Any]:
        raise RetryableError("again", response=held)

    _, send = telemetry.make().middlewares()
    with pytest.raises(RetryableError):
        await send(held.request, again)
    assert telemetry.points("http.client.active_requests")[0]["n"] == 1
    await held.close()

    assert facts(telemetry.sends[0])["http.response.status_code"] == 200
    assert facts(telemetry.sends[0])["error.type"] == "RetryableError"
    assert telemetry.points("http.client.active_requests")[0]["n"] == 0


# --- metrics


async def test_the_metrics_of_a_call_with_a_retry(telemetry: Any) -> None:
    """Each send counts in the histogram of its status; the call counts once, without its query or IDs."""
    async with client(FakeTransport(respond(503), FINE), telemetry.make()) as api:
        await api.get("/users/{id}", path_params={"id": 7}, params={"q": "x"})

    where = {"http.request.method": "GET", "server.address": "api.example.com", "url.template": "/users/{id}"}
    send = {**where, "server.port": 443, "network.protocol.version": "1.1", "n": 1}
    assert telemetry.points("http.client.request.duration") == [
        {**send, "http.response.status_code": 503, "error.type": "503"},
        {**send, "http.response.status_code": 200},
    ]
    assert telemetry.points("http.client.active_requests") == [{**where, "server.port": 443, "n": 0}]
    assert telemetry.points("aioapiclient.call.duration") == [{**where, "n": 1}]


async def test_a_metric_leads_to_its_trace(telemetry: Any) -> None:
    """The duration is recorded in the context of the span, so that its exemplar names it."""
    async with client(FakeTransport(FINE), telemetry.make()) as api:
        await api.get("/users")

    (point,) = telemetry.metrics()["http.client.request.duration"].data.data_points
    assert [exemplar.span_id for exemplar in point.exemplars] == [telemetry.sends[0].context.span_id]


async def test_the_template_can_be_left_out(telemetry: Any) -> None:
    """With `template=False` neither names nor attributes contain the path."""
    async with client(FakeTransport(FINE), telemetry.make(template=False)) as api:
        await api.get("/users/7")

    assert {span.name for span in telemetry.spans} == {"GET"}
    assert all("url.template" not in facts(span) for span in telemetry.spans)
    assert "url.template" not in telemetry.points("http.client.request.duration")[0]


# --- trace context


async def test_a_foreign_origin_gets_no_context(telemetry: Any) -> None:
    """The context is sent to the client's own origin and to trusted ones; ``foreign=True`` sends it
    everywhere.
    """
    urls = ["/users", "https://files.example.com/a", "https://other.example.net/a"]
    token = context.attach(baggage.set_baggage("customer", "c-7"))
    try:
        sent: dict[bool, list[bool]] = {}
        for foreign in (False, True):
            transport = FakeTransport(default=FINE)
            trusted = ["https://files.example.com"]
            async with client(transport, telemetry.make(foreign=foreign), trusted_origins=trusted) as api:
                for url in urls:
                    await api.get(url)
            sent[foreign] = [
                {"traceparent", "baggage"} <= request.headers.keys() for request in transport.requests
            ]
    finally:
        context.detach(token)

    assert sent == {False: [True, True, False], True: [True, True, True]}


async def test_a_header_of_the_call_is_left_alone(telemetry: Any) -> None:
    """A call that sets or omits a trace header gets no other; baggage is added."""
    transport = FakeTransport(FINE, FINE, FINE)
    token = context.attach(baggage.set_baggage("customer", "c-7"))
    try:
        async with client(transport, telemetry.make()) as api:
            await api.get("/a", headers={"traceparent": "mine"})
            await api.get("/b", headers={"traceparent": OMIT})
            await api.get("/c", headers={"baggage": "mine"})
    finally:
        context.detach(token)

    first, second, third = [request.headers for request in transport.requests]
    assert (first["traceparent"], first["baggage"]) == ("mine", "customer=c-7")
    assert "traceparent" not in second
    assert (third["traceparent"], third["baggage"]) == (traceparent(telemetry.sends[2]), "mine")


async def test_a_propagator_with_several_headers_keeps_them_together(telemetry: Any) -> None:
    """If the call sets one header of a trace, the plugin adds none of the others."""

    class B3(TextMapPropagator):
        fields = frozenset({"x-b3-traceid", "x-b3-spanid"})

        def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
            raise NotImplementedError

        def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
            carrier.update({"x-b3-traceid": "1", "x-b3-spanid": "2"})

    transport = FakeTransport(FINE, FINE)
    async with client(transport, telemetry.make(propagator=B3())) as api:
        await api.get("/a", headers={"X-B3-TraceId": "mine"})
        await api.get("/b")

    assert transport.requests[0].headers["x-b3-traceid"] == "mine"
    assert "x-b3-spanid" not in transport.requests[0].headers
    assert transport.requests[1].headers["x-b3-spanid"] == "2"
    assert propagate.get_global_textmap().fields >= {"traceparent"}


async def test_code_that_asks_for_no_telemetry(telemetry: Any) -> None:
    """An exporter that sends with a client of this library creates no spans."""
    async with client(FakeTransport(default=FINE), telemetry.make()) as api:
        for key in ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY"):
            token = context.attach(context.set_value(getattr(context, key), True))
            try:
                await api.get("/users")
            finally:
                context.detach(token)

    assert telemetry.spans == []
    assert telemetry.metrics() == {}


@pytest.mark.parametrize("has_sdk", [True, False])
async def test_others_are_silent_below_a_send(telemetry: Any, has_sdk: bool) -> None:
    """The context tells instrumentors that a send is already reported, also if no SDK creates spans."""
    found: list[Any] = []

    async def look(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        found.append(context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY))
        return await handler(request)

    otel = telemetry.make() if has_sdk else OpenTelemetry(tracer_provider=trace.NoOpTracerProvider())
    async with client(FakeTransport(FINE), otel, per_send(look)) as api:
        await api.get("/users")

    assert len(found) == 1
    assert found[0]
    assert context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY) is None


async def test_a_call_inside_a_send_is_reported(telemetry: Any) -> None:
    """A call that an inner middleware makes with a separate client is a child of the send."""
    inner = client(FakeTransport(FINE), telemetry.make())

    async def ask_first(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        await inner.get("/permission")
        return await handler(request)

    async with inner, client(FakeTransport(FINE), telemetry.make(), per_send(ask_first)) as api:
        await api.get("/users")

    outer, nested = telemetry.sends
    assert [outer.name, nested.name] == ["GET /users", "GET /permission"]
    assert telemetry.calls[1].parent.span_id == outer.context.span_id


async def test_the_context_of_the_caller_is_as_before(telemetry: Any) -> None:
    """After a call, also one that fails, the caller's span is the current one."""
    async with client(FakeTransport(FINE, respond(404)), telemetry.make()) as api:
        before = context.get_current()
        await api.get("/a")
        with pytest.raises(NotFoundError):
            await api.get("/b")

        assert context.get_current() == before


# --- headers and names


async def test_headers_that_were_asked_for(telemetry: Any) -> None:
    """Header attributes are lists of str, under the header's lowercase name; missing headers are omitted."""
    otel = telemetry.make(request_headers=["X-Team", "X-No"], response_headers=["Via"])
    transport = FakeTransport(respond(json={}, headers=[("Via", "a"), ("Via", "b")]))
    async with client(transport, otel, default_headers={"X-Team": "blue"}) as api:
        await api.get("/users")

    send = facts(telemetry.sends[0])
    assert send["http.request.header.x-team"] == ("blue",)
    assert send["http.response.header.via"] == ("a", "b")
    assert "http.request.header.x-no" not in send


async def test_a_name_of_ones_own(telemetry: Any) -> None:
    """``name`` sets the names of both spans."""
    otel = telemetry.make(name=lambda request: f"{request.method} users service")
    async with client(FakeTransport(FINE), otel) as api:
        await api.get("/users")

    assert [span.name for span in telemetry.spans] == ["GET users service"] * 2


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tracer_provider": object()}, TypeError, "tracer_provider must be a TracerProvider"),
        ({"meter_provider": 1}, TypeError, "meter_provider must be a MeterProvider"),
        ({"propagator": "b3"}, TypeError, "propagator must be a TextMapPropagator"),
        ({"call_spans": 1}, TypeError, "call_spans must be True or False, not 1"),
        ({"metrics": None}, TypeError, "metrics must be True or False"),
        ({"template": "no"}, TypeError, "template must be True or False"),
        ({"foreign": "no"}, TypeError, "foreign must be True or False"),
        (
            {"request_headers": "Via"},
            TypeError,
            "request_headers must be an iterable of header names, not str",
        ),
        ({"response_headers": [1]}, TypeError, "response_headers must contain str, not int"),
        ({"request_headers": ["a b"]}, InvalidRequestError, "request_headers: header name .* is not a token"),
        ({"request_headers": ["authorization"]}, InvalidRequestError, "its value is a secret"),
        ({"response_headers": ["Set-Cookie"]}, InvalidRequestError, "its value is a secret"),
        ({"name": "GET"}, TypeError, "name must be a function, not str"),
        ({"name": check_middleware}, TypeError, "name must be a plain function"),
    ],
)
def test_what_an_argument_may_not_be(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """A wrong argument is refused when the bundle is created, with its name in the message."""
    with pytest.raises(error, match=words):
        OpenTelemetry(**options)


# --- failures of telemetry


class Broken(Sampler):
    """A sampler that fails."""

    def should_sample(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the sampler is broken")

    def get_description(self) -> str:
        return "broken"


class BrokenPropagator(TextMapPropagator):
    """A propagator that fails."""

    fields = frozenset[str]()

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        raise NotImplementedError

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        raise RuntimeError("the propagator is broken")


def failing_name(request: APIRequest) -> str:
    """A name function that fails."""
    raise RuntimeError("no name")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"propagator": BrokenPropagator()}, "The propagator"),
        ({"name": failing_name}, "The function name= of OpenTelemetry"),
        ({"name": lambda request: None}, "The function name= of OpenTelemetry"),
    ],
)
async def test_a_part_that_fails_is_logged_once(
    telemetry: Any, caplog: pytest.LogCaptureFixture, options: dict[str, Any], part: str
) -> None:
    """The calls continue, the rest is reported, and one record names the failure."""
    async with client(FakeTransport(FINE, FINE), telemetry.make(**options)) as api:
        await api.get("/users")
        await api.get("/users")

    assert [span.name for span in telemetry.spans] == ["GET /users"] * 4
    (record,) = caplog.records
    assert record.name == "aioapiclient.otel"
    assert record.levelno == logging.WARNING
    assert record.message == f"{part} failed; calls go on, and further failures of it are not logged"


async def test_a_tracer_that_fails(telemetry: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Calls continue without spans, the caller's context is sent, and metrics are reported."""
    telemetry.tracer_provider.sampler = Broken()
    transport = FakeTransport(FINE, FINE)
    mine = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    token = context.attach(trace.set_span_in_context(mine))
    try:
        async with client(transport, telemetry.make()) as api:
            await api.get("/users")
            await api.get("/users")
    finally:
        context.detach(token)

    assert telemetry.spans == []
    assert telemetry.points("http.client.request.duration")[0]["n"] == 2
    assert transport.requests[0].headers["traceparent"].split("-")[2] == f"{2:016x}"
    assert len(caplog.records) == 1


async def test_a_span_that_cannot_end(telemetry: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of a processor at the end of a span reaches no call, and is logged once."""

    class Full(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("the disk is full")

    telemetry.tracer_provider.add_span_processor(Full())
    async with client(FakeTransport(FINE, FINE), telemetry.make()) as api:
        await api.get("/users")
        await api.get("/users")

    assert [record.message.split(" failed")[0] for record in caplog.records] == ["A tracer"]


async def test_a_meter_that_fails(
    telemetry: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls and spans continue without metrics."""
    otel = telemetry.make()
    shared = otel._send._settings

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the meter is broken")

    for instrument in (shared.active, shared.send_duration, shared.call_duration):
        monkeypatch.setattr(instrument, "add", fail, raising=False)
        monkeypatch.setattr(instrument, "record", fail, raising=False)
    async with client(FakeTransport(FINE, FINE), otel) as api:
        await api.get("/users")
        await api.get("/users")

    assert len(telemetry.spans) == 4
    assert [record.message.split(" failed")[0] for record in caplog.records] == ["A meter"]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("metrics", [True, False])
async def test_the_promises_are_kept(telemetry: Any, place: int, metrics: bool) -> None:
    """Both middlewares keep the six promises, with and without metrics."""
    await check_middleware(lambda: telemetry.make(metrics=metrics).middlewares()[place])


async def test_it_is_found_by_its_name(telemetry: Any) -> None:
    """``middlewares=["otel"]`` and `load_middleware` make it, and `explain` shows both of its links."""
    async with client(FakeTransport(), "otel") as api:
        assert [line.strip() for line in api.explain().splitlines()][2] == "CallTelemetry"
        assert "SendTelemetry" in api.explain()

    assert isinstance(load_middleware("otel", metrics=False), OpenTelemetry)
    with pytest.raises(TypeError, match="bundle"):
        per_attempt(telemetry.make())


def test_a_client_on_a_second_event_loop(telemetry: Any) -> None:
    """The bundle is not bound to the event loop of its first use."""
    otel = telemetry.make()

    async def ask() -> None:
        async with client(FakeTransport(FINE), otel) as api:
            await api.get("/users")

    asyncio.run(ask())
    asyncio.run(ask())

    assert len(telemetry.sends) == 2


# --- the cost of a span that is not recorded


async def test_what_does_not_record_is_not_described(telemetry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace that is sampled out has its context sent, and no URL is redacted for it."""
    telemetry.tracer_provider.sampler = ALWAYS_OFF

    described: list[APIRequest] = []
    monkeypatch.setattr("aioapiclient_otel._sends.url_full", described.append)
    transport = FakeTransport(FINE)
    async with client(transport, telemetry.make()) as api:
        await api.get("/users")

    assert telemetry.spans == []
    assert described == []
    assert int(transport.requests[0].headers["traceparent"][-2:], 16) & 1 == 0


# --- secrets

CANARY = "c4n4ry"


async def test_no_secret_is_reported(telemetry: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A canary in every position of a secret appears in no span, metric, log record or repr."""
    caplog.set_level(logging.DEBUG)
    transport = FakeTransport(
        respond(503, json={"error": CANARY}, headers={"Set-Cookie": CANARY}),
        respond(302, headers={"Location": f"https://u:{CANARY}@api.example.com/v1/x?{CANARY}#{CANARY}"}),
        APIConnectionError(f"failed with {CANARY}", reason="reset"),
        default=respond(404, json={"detail": CANARY}),
    )
    otel = telemetry.make(propagator=BrokenPropagator())
    options: dict[str, Any] = {
        "auth": BearerAuth(CANARY),
        "default_headers": {"X-API-Key": CANARY, "Cookie": CANARY},
        "default_params": {"api_key": CANARY},
    }
    async with client(transport, otel, **options) as api:
        for method in ("GET", "PUT"):
            with pytest.raises(APIError):
                await api.request(
                    method,
                    "/users/{id}",
                    path_params={"id": 7},
                    params={"q": [CANARY, CANARY]},
                    headers={"X-Secret": CANARY},
                    content=None if method == "GET" else CANARY,
                    extensions={"mine": CANARY},
                )

    assert len(telemetry.sends) >= 4
    assert CANARY not in telemetry.reported()
    assert CANARY not in "".join(map(repr, [otel, *otel.middlewares()]))
    ours = [record for record in caplog.records if record.name == "aioapiclient.otel"]
    assert ours
    assert all(CANARY not in logging.Formatter().format(record) for record in ours)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h/a?k=v#f", "https://h/a?k=REDACTED"),
        ("https://h/a?token", "https://h/a?REDACTED"),
        ("https://h/a?a=1&a=2&b", "https://h/a?a=REDACTED&a=REDACTED&REDACTED"),
        ("https://h/a?k=v=w", "https://h/a?k=REDACTED"),
        ("https://h:8443/a%2Fb", "https://h:8443/a%2Fb"),
    ],
)
async def test_how_a_url_is_shown(telemetry: Any, url: str, shown: str) -> None:
    """Without userinfo and fragment, with the names of the query and without its values."""
    _, send = telemetry.make().middlewares()
    request = APIRequest("GET", "https://h")
    request.url = URL(url, encoded=True)  # as a middleware may set it
    await send(request, FakeTransport(FINE))

    assert facts(telemetry.sends[0])["url.full"] == shown


async def test_a_query_without_an_end(telemetry: Any) -> None:
    """A long query set by a server is truncated."""
    _, send = telemetry.make().middlewares()
    await send(APIRequest("GET", "https://h/?" + "&".join(["name=1"] * 9000)), FakeTransport(FINE))

    assert len(facts(telemetry.sends[0])["url.full"]) < 3000
