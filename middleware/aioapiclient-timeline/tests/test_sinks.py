"""The sinks: a call in logs, rendered by structlog, and in Prometheus's text."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from aioapiclient_timeline import Call, Phase, Send, Timeline, log_calls, prometheus
from helpers import BASE, Client, Script, reply
from prometheus_client import CollectorRegistry, generate_latest

from aioapiclient import APIStatusError, AsyncAPIClient, InvalidRequestError, load_middleware

ORIGIN = "https://api.example.com"


def recorded(**facts: Any) -> Call:
    """Return a call of two attempts, 503 and 200, with a wait between them."""
    sends = [
        Send(0, ORIGIN, f"{ORIGIN}/users/7", "/users/{id}", 0.0, 0.04, 0.05, 503),
        Send(1, ORIGIN, f"{ORIGIN}/users/7", "/users/{id}", 0.15, 0.19, 0.2, 200, reused=True),
    ]
    sends[0].phases.append(Phase("connect", 0.0, 0.01))
    given: dict[str, Any] = {"status": 200, "attempts": 2, "sends": sends, "seconds": 0.2, **facts}
    return Call("GET", "/users/{id}", ORIGIN, 1_800_000_000.0, **given)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The output of structlog's handler for the logger ``aioapiclient.calls``."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logger = logging.getLogger("aioapiclient.calls")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_structlog_renders_a_call_as_json(lines: io.StringIO) -> None:
    """The line has the message, the level, and all facts as plain values under ``http``."""
    log_calls()(recorded(request_id="r-1"))

    assert json.loads(lines.getvalue()) == {
        "event": "GET /users/{id} 200 in 200 ms, 2 attempts",
        "level": "info",
        "http": {
            "method": "GET",
            "template": "/users/{id}",
            "origin": ORIGIN,
            "status": 200,
            "error": None,
            "reason": None,
            "request_id": "r-1",
            "ms": 200.0,
            "attempts": 2,
            "waited_ms": 100.0,
            "sends": [
                {
                    "attempt": 0,
                    "url": f"{ORIGIN}/users/7",
                    "status": 503,
                    "error": None,
                    "began_ms": 0.0,
                    "ms": 50.0,
                    "connect_ms": 10.0,
                },
                {
                    "attempt": 1,
                    "url": f"{ORIGIN}/users/7",
                    "status": 200,
                    "error": None,
                    "began_ms": 150.0,
                    "ms": 50.0,
                },
            ],
        },
    }


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        ({}, logging.INFO),
        ({"status": 404}, logging.INFO),
        ({"status": 429}, logging.WARNING),
        ({"status": 500}, logging.WARNING),
        ({"status": None, "error": "APIConnectionError"}, logging.WARNING),
        ({"status": None, "error": "CancelledError"}, logging.INFO),
        ({"seconds": 1.0}, logging.WARNING),
        ({"seconds": 9.0, "streamed": True}, logging.INFO),
    ],
)
def test_what_is_a_warning(facts: dict[str, Any], level: int, caplog: pytest.LogCaptureFixture) -> None:
    """Failures, 429, 500 and above, and slow calls are warnings; a cancelled call or a stream with a fast
    head is not.
    """
    caplog.set_level(logging.INFO)
    log_calls()(recorded(**facts))

    assert [record.levelno for record in caplog.records] == [level]


def test_a_level_that_is_off_costs_no_record(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, calls are not logged if the logger is at INFO, but a failure is."""
    caplog.set_level(logging.INFO)
    sink = log_calls("my.calls", level=logging.DEBUG, slow=math.inf)
    sink(recorded(seconds=1000.0))
    sink(recorded(status=503))

    assert [(record.name, record.levelname) for record in caplog.records] == [("my.calls", "WARNING")]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"slow": -1}, InvalidRequestError),
        ({"slow": math.nan}, InvalidRequestError),
        ({"slow": "1"}, TypeError),
        ({"slow": True}, TypeError),
        ({"level": "INFO"}, TypeError),
        ({"logger": 7}, TypeError),
    ],
)
def test_bad_arguments_of_the_log_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    """Arguments are checked when the sink is created, not at the first call."""
    with pytest.raises(error, match=next(iter(arguments))):
        log_calls(**arguments)


async def test_the_name_timeline_logs(caplog: pytest.LogCaptureFixture) -> None:
    """``middlewares=["timeline"]`` is a timeline that logs; its keywords are those of `log_calls`."""
    caplog.set_level(logging.DEBUG)
    assert isinstance(load_middleware("timeline", slow=2.0), Timeline)
    async with AsyncAPIClient(BASE, transport=Script(), middlewares=["timeline"]) as api:
        await api.get("/users/{id}", path_params={"id": 7})

    assert [m for m in caplog.messages if m.startswith("GET /users/{id} 200 in ")]


def text_of(registry: CollectorRegistry) -> list[str]:
    """Return the lines of Prometheus's text that count."""
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_count" in line or "retries_total{" in line]


async def test_calls_sends_and_retries_in_prometheus_text() -> None:
    """A call of two attempts is one call, two sends and one retry, by method, endpoint and outcome."""
    registry = CollectorRegistry()
    script = Script(reply(503, retry_after_ms="1"), reply(), reply(404))
    async with Client(BASE, transport=script, middlewares=[Timeline(prometheus(registry))]) as api:
        await api.get("/users/{id}", path_params={"id": 7})
        with pytest.raises(APIStatusError):
            await api.get("/users/{id}", path_params={"id": 8})

    where = 'method="GET",origin="https://api.example.com"'
    end = 'template="/users/{id}"} 1.0'
    assert sorted(text_of(registry)) == [
        f'aioapiclient_call_seconds_count{{{where},outcome="200",{end}',
        f'aioapiclient_call_seconds_count{{{where},outcome="404",{end}',
        'aioapiclient_retries_total{origin="https://api.example.com",template="/users/{id}"} 1.0',
        f'aioapiclient_send_seconds_count{{{where},outcome="200",{end}',
        f'aioapiclient_send_seconds_count{{{where},outcome="404",{end}',
        f'aioapiclient_send_seconds_count{{{where},outcome="503",{end}',
    ]


def test_two_sinks_for_one_registry_share_their_metrics() -> None:
    """Two clients of a process count into the same metrics; other buckets for them are refused."""
    registry = CollectorRegistry()
    for sink in (prometheus(registry), prometheus(registry)):
        sink(recorded())

    assert [line[-3:] for line in text_of(registry) if "call_seconds_count" in line] == ["2.0"]
    with pytest.raises(InvalidRequestError, match="buckets must be those of the first sink"):
        prometheus(registry, buckets=(1, 2))
    prometheus(registry, namespace="other", buckets=(1, 2))(recorded())
    assert any(line.startswith("other_call_seconds_count") for line in text_of(registry))


def test_the_labels_are_bounded() -> None:
    """Beyond 1,000 endpoints all are one, and so are methods that HTTP does not register."""
    registry = CollectorRegistry()
    sink = prometheus(registry, buckets=(1,))
    for number in range(1500):
        call = Call(f"X{number}", None, f"https://h{number}.example.com", 0.0, status=200)
        sink(call)

    lines = [line for line in text_of(registry) if "call_seconds_count" in line]
    assert len(lines) == 1001
    assert all('method="_OTHER"' in line for line in lines)
    assert next(line for line in lines if 'origin="_OTHER"' in line).endswith(" 500.0")


def test_a_stream_is_observed_until_its_head() -> None:
    """An hour of events is not a slow call."""
    registry = CollectorRegistry()
    prometheus(registry)(recorded(seconds=3600.0, streamed=True))

    text = generate_latest(registry).decode()
    assert "aioapiclient_call_seconds_sum{" in text
    assert " 0.19\n" in text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"namespace": "a-b"}, InvalidRequestError),
        ({"namespace": 7}, TypeError),
        ({"registry": object()}, TypeError),
        ({"buckets": ()}, InvalidRequestError),
        ({"buckets": (2, 1)}, InvalidRequestError),
        ({"buckets": (0, 1)}, InvalidRequestError),
        ({"buckets": (math.nan,)}, InvalidRequestError),
        ({"buckets": ("1",)}, TypeError),
    ],
)
def test_bad_arguments_of_the_metrics_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    """Arguments are checked when the sink is created, not at the first call."""
    given = {"registry": CollectorRegistry(), **arguments}
    with pytest.raises(error, match=next(iter(arguments))):
        prometheus(**given)
