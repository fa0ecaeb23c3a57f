"""`durations`: how long a caller waits, read from and written to headers."""

from __future__ import annotations

import pytest
from aioapiclient_web.durations import read_duration, write_duration
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("header", "text", "expected"),
    [
        ("X-Request-Timeout", "0.3", 0.3),
        ("X-Request-Timeout", "0.3s", 0.3),
        ("X-Request-Timeout", " 5 s\t", 5.0),
        ("X-Request-Timeout", "300ms", 0.3),
        ("X-Request-Timeout", "0", 0.0),
        ("X-Request-Timeout", "999999999999", 999999999999.0),
        ("grpc-timeout", "1H", 3600.0),
        ("grpc-timeout", "2M", 120.0),
        ("grpc-timeout", "1S", 1.0),
        ("grpc-timeout", "300m", 0.3),
        ("grpc-timeout", "500u", 0.0005),
        ("grpc-timeout", "1000n", 0.000001),
        ("X-Envoy-Expected-Rq-Timeout-Ms", "250", 0.25),
        ("X-Request-Timeout-MS", "2s", 2.0),
    ],
)
def test_what_a_header_names(header: str, text: str, expected: float) -> None:
    """Seconds, milliseconds and gRPC's units are read; without a unit the header's name decides."""
    assert read_duration(header, text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "nan", "inf", "-1", "+1", "1e3", "1_000", "0x10", "1,5", "1.", ".5", "1 hour", "5d", "m"),
        *("٣", "½", "1\x00", "1\n2", "\udcff", "1; DROP", "1" * 13, "9" * 100_000, "1.1234567891"),
    ],
)
def test_what_names_nothing(text: str) -> None:
    """Any other text is not a duration, and raises nothing."""
    assert read_duration("X-Request-Timeout", text) is None


@given(st.text())
def test_any_text_is_a_time_or_none(text: str) -> None:
    """Any text is a finite duration of 0 or more seconds, or None."""
    found = read_duration("X-Request-Timeout", text)
    assert found is None or 0 <= found < 1e16


@pytest.mark.parametrize(
    ("header", "seconds", "expected"),
    [
        ("X-Request-Timeout", 0.25, "0.250"),
        ("X-Request-Timeout", 1.9999, "1.999"),
        ("X-Request-Timeout", 0.0, "0.000"),
        ("X-Request-Timeout-Ms", 0.25, "250"),
        ("grpc-timeout", 0.25, "250m"),
        ("Grpc-Timeout", 1e9, "99999999m"),
    ],
)
def test_what_is_written(header: str, seconds: float, expected: str) -> None:
    """The time is rounded down, in the form that is usual for the header, and reads back."""
    assert write_duration(header, seconds) == expected
    read = read_duration(header, expected)
    assert read is not None
    assert read <= seconds
