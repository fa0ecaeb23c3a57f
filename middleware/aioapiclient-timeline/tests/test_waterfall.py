"""The waterfall: the content of each bar, and its width."""

from __future__ import annotations

import pytest
from aioapiclient_timeline import Call, Phase, Send, waterfall

from aioapiclient import InvalidRequestError

ORIGIN = "https://api.example.com"


def call_of(*sends: Send, **facts: object) -> Call:
    """Return a call of one second with *sends*."""
    call = Call("GET", "/users/{id}", ORIGIN, 0.0, seconds=1.0, status=200, attempts=2)
    call.sends = [*sends]
    for name, value in facts.items():
        setattr(call, name, value)
    return call


def send(began: float, head: float | None, ended: float, status: int | None = 200, attempt: int = 0) -> Send:
    """Return a send."""
    return Send(attempt, ORIGIN, f"{ORIGIN}/users/7", "/users/{id}", began, head, ended, status)


def test_each_send_is_a_bar_of_its_phases() -> None:
    """Queue, connect with DNS in it, the wait for the head, and the body, each to scale."""
    first, second = send(0.0, 0.4, 0.5, 503), send(0.75, 0.95, 1.0, attempt=1)
    first.phases = [Phase("queue", 0.0, 0.1), Phase("dns", 0.1, 0.15), Phase("connect", 0.1, 0.25)]
    second.reused = True

    assert waterfall(call_of(first, second), 60, ascii=True).splitlines() == [
        "GET /users/{id} 200 in 1000 ms, 2 attempts, waited 250 ms",
        "#1 qqqdddcccc------====                    503 500 ms",
        "#2                              --------== 200 250 ms reused",
    ]


def test_a_hop_to_another_url_is_named() -> None:
    """The redirect's target is above its bar."""
    hop = send(0.5, 0.9, 1.0)
    hop.url = f"{ORIGIN}/moved"

    lines = waterfall(call_of(send(0.0, 0.4, 0.5, 302), hop)).splitlines()
    assert lines[2].strip() == f"→ {ORIGIN}/moved"
    assert "▒" in lines[3]
    assert "█" in lines[3]


def test_what_failed_says_why() -> None:
    """A limit by its phase, a connection by its reason, others by their class; a second copy has ``+``."""
    failed = [send(0.0, None, 0.2, None), send(0.2, None, 0.5, None), send(0.5, None, 1.0, None)]
    failed[0].error, failed[0].reason = "APITimeoutError", "read"
    failed[1].error, failed[1].reason = "APIConnectionError", "refused"
    failed[2].error, failed[2].hedged = "CancelledError", True

    lines = waterfall(call_of(*failed)).splitlines()
    assert lines[1].endswith("timeout (read) 200 ms")
    assert lines[2].endswith("refused 300 ms")
    assert lines[3].endswith("CancelledError 500 ms")
    assert lines[3].startswith("#1+ ")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_asked(width: int) -> None:
    """Long texts are cut: a template, a URL, an error."""
    long = send(0.0, 0.4, 0.5)
    long.error, long.url = "AnErrorWithAVeryLongNameThatSomebodyChose", f"{ORIGIN}/{'x' * 300}"
    call = call_of(send(0.0, 0.1, 0.2), long, template="/" + "y" * 300)

    assert max(map(len, waterfall(call, width).splitlines())) <= width


@pytest.mark.parametrize("seconds", [0.0, 1e-7])
def test_a_call_of_no_time_is_drawn(seconds: float) -> None:
    """A call from a cache, or with a clock that stands still, is drawn; one without sends has a summary
    only.
    """
    assert len(waterfall(call_of(send(0.0, 0.0, 0.0), seconds=seconds)).splitlines()) == 2
    assert waterfall(call_of(seconds=seconds, attempts=1)) == "GET /users/{id} 200 in 0 ms, 1 attempt"


def test_the_ascii_form_is_ascii() -> None:
    """For a terminal that has no block characters."""
    assert waterfall(call_of(send(0.0, 0.4, 1.0)), ascii=True).isascii()
    assert not waterfall(call_of(send(0.0, 0.4, 1.0))).isascii()


def test_a_width_below_40_is_refused() -> None:
    """A bar would have no room."""
    with pytest.raises(InvalidRequestError, match="width must be 40 columns or more, not 39"):
        waterfall(call_of(), 39)
