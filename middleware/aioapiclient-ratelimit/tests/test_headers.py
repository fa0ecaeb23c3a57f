"""Rate limit headers: each known dialect, and that invalid values are ignored."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import http_sf
import pytest
from aioapiclient_ratelimit import Window, parse_limits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

NOW = 1_800_000_000.0
CASES = json.loads(Path(__file__).with_name("ratelimit_headers.json").read_text())["cases"]


def said(value: Any) -> Any:
    """A value of the vectors, with bytes given as text."""
    if isinstance(value, str) and value.startswith("<bytes "):
        text = value.removeprefix("<bytes ").removesuffix(">")
        return text.encode() if text == "trial121323" else base64.b64decode(text)
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["value"])
def test_the_vectors(case: Any) -> None:
    """The examples of the draft are parsed as the vectors specify, and become windows."""
    expected = [(name, {key: said(value) for key, value in facts.items()}) for name, facts in case["parsed"]]
    headers = {case["field"]: case["value"]}

    assert http_sf.parse(case["value"].encode(), tltype="list") == expected
    windows = [Window(name, None, facts["r"], facts.get("t")) for name, facts in expected if "r" in facts]
    assert parse_limits(headers, now=NOW) == windows


@pytest.mark.parametrize(
    ("headers", "windows"),
    [
        pytest.param(
            {"RateLimit": '"api";r=4;t=2', "RateLimit-Policy": '"api";q=5;w=2;pk=:cHsdsRa894==:'},
            [Window("api", 5, 4, 2)],
            id="draft 8",
        ),
        pytest.param(
            {"RateLimit": "limit=5, remaining=4, reset=2", "RateLimit-Policy": "5;w=2"},
            [Window("default", 5, 4, 2)],
            id="draft 7",
        ),
        pytest.param(
            {
                "RateLimit-Limit": "5, 5;w=2, 100;w=60",
                "RateLimit-Remaining": "4",
                "RateLimit-Reset": "2",
                "RateLimit-Policy": "5;w=2",
            },
            [Window("default", 5, 4, 2)],
            id="draft 6",
        ),
        pytest.param(
            {"RateLimit": '"api";r=0', "RateLimit-Policy": '"api";q=5;w=60'},
            [Window("api", 5, 0, 60)],
            id="draft 8, the length of the window in place of its end",
        ),
        pytest.param(
            {
                "X-RateLimit-Limit": "5000",
                "X-RateLimit-Remaining": "4999",
                "X-RateLimit-Reset": "1800000090",
                "X-RateLimit-Used": "1",
                "X-RateLimit-Resource": "core",
            },
            [Window("core", 5000, 4999, 90)],
            id="GitHub",
        ),
        pytest.param(
            {
                "X-RateLimit-Limit": "5",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": "1800000000.125",
                "X-RateLimit-Reset-After": "0.625",
                "X-RateLimit-Bucket": "abcd1234",
            },
            [Window("abcd1234", 5, 0, 0.625)],
            id="Discord",
        ),
        pytest.param(
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            [Window("requests", 60, 59, 1), Window("tokens", 150000, 149984, 360)],
            id="OpenAI",
        ),
        pytest.param(
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:07Z",
                "anthropic-ratelimit-input-tokens-limit": "50000",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2027-01-15T10:00:09.5+02:00",
            },
            [Window("requests", 50, 49, 7), Window("input-tokens", 50000, 0, 9.5)],
            id="Anthropic",
        ),
        pytest.param(
            {
                "X-Rate-Limit-Limit": "600",
                "X-Rate-Limit-Remaining": "599",
                "X-Rate-Limit-Reset": "1800000060",
            },
            [Window("default", 600, 599, 60)],
            id="Okta, X",
        ),
        pytest.param(
            {"X-Ratelimit-Remaining": "598.0", "X-Ratelimit-Used": "2", "X-Ratelimit-Reset": "120"},
            [Window("default", None, 598, 120)],
            id="Reddit",
        ),
        pytest.param(
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000001500"},
            [Window("default", None, 0, 1.5)],
            id="milliseconds since 1970",
        ),
        pytest.param(
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "Fri, 15 Jan 2027 08:00:30 GMT"},
            [Window("default", None, 0, 30)],
            id="HTTP date",
        ),
        pytest.param(
            {"X-RateLimit-Limit-Minute": "20", "X-RateLimit-Remaining-Minute": "19"},
            [Window("minute", 20, 19, 60)],
            id="Kong",
        ),
        pytest.param(
            {"x-ms-ratelimit-remaining-subscription-reads": "11999"},
            [Window("subscription-reads", None, 11999, None)],
            id="Azure",
        ),
        pytest.param(
            {
                "RateLimit": "limit=100, remaining=40, reset=30",
                "X-RateLimit-Remaining": "39",
                "X-RateLimit-Reset": "1800000031",
            },
            [Window("default", 100, 40, 30), Window("default", None, 39, 31)],
            id="several at once",
        ),
    ],
)
def test_a_dialect(headers: dict[str, str], windows: list[Window]) -> None:
    """Each dialect becomes windows, whatever the case of the names."""
    assert parse_limits(headers, now=NOW) == windows
    assert parse_limits({name.upper(): value for name, value in headers.items()}, now=NOW) == windows
    assert parse_limits(CIMultiDict(headers), now=NOW) == windows


def test_fields_of_one_name_are_one_list() -> None:
    """A list split over several fields is read as one."""
    headers = CIMultiDict([("RateLimit", '"hour";r=1;t=7'), ("RateLimit", '"day";r=100;t=36000')])

    assert parse_limits(headers, now=NOW) == [Window("hour", None, 1, 7), Window("day", None, 100, 36000)]


@given(
    name=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    remaining=st.integers(-3, 10**16),
    reset=st.integers(-3, 10**16),
    spaces=st.sampled_from(["", " ", "  "]),
)
def test_the_common_form_is_read_as_the_parser_of_structured_fields_reads_it(
    name: str, remaining: int, reset: int, spaces: str
) -> None:
    """One policy with ``r`` and ``t`` takes a shortcut to the same window as in a list of two."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    item = f'"{quoted}";{spaces}r={remaining};{spaces}t={reset}'
    alone = parse_limits({"RateLimit": item}, now=NOW)

    assert alone == parse_limits({"RateLimit": f'{item}, "other";t=1'}, now=NOW)
    assert alone == parse_limits({"RateLimit": f"{item};x"}, now=NOW)


def test_a_point_in_time_counts_from_the_date_of_the_response() -> None:
    """The clocks of client and server may differ: the response's own ``Date`` is the server's clock."""
    headers = {
        "Date": "Fri, 15 Jan 2027 08:00:00 GMT",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1800000010",
    }

    assert parse_limits(headers, now=NOW + 3600) == [Window("default", None, 0, 10)]
    assert parse_limits({**headers, "Date": "today"}, now=NOW) == [Window("default", None, 0, 10)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Length": "5", "X-Limit": "7"},
        {"RateLimit": '"api";r=-1;t=2'},
        {"RateLimit": '"api";r=4;t=-2'},
        {"RateLimit": '"api";r=4;t=86401'},
        {"RateLimit": '"api";r=4.5;t=2'},
        {"RateLimit": '"api";r=?1;t=2'},
        {"RateLimit": '"api";r=4;t="2"'},
        {"RateLimit": '"api";r=4;t=2,'},
        {"RateLimit": '5;r=4;t=2, ("a" "b");r=4;t=2'},
        {"RateLimit": "limit=5, remaining=4, reset=soon"},
        {"RateLimit": "limit=5, remaining=(1 2), reset=1"},
        {"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"api";q=5;qu="concurrent-requests"'},
        {"RateLimit": "☃"},
        {"RateLimit-Remaining": "-1", "RateLimit-Reset": "2"},
        {"RateLimit-Remaining": "nan", "RateLimit-Reset": "2"},
        {"RateLimit-Remaining": "1e3", "RateLimit-Reset": "2"},
        {"RateLimit-Remaining": "٤", "RateLimit-Reset": "2"},
        {"RateLimit-Remaining": "4", "RateLimit-Reset": "nan"},
        {"RateLimit-Remaining": "4", "RateLimit-Reset": "inf"},
        {"RateLimit-Remaining": "4", "RateLimit-Reset": "-2"},
        {"RateLimit-Remaining": "4", "RateLimit-Reset": "90000"},
        {"RateLimit-Remaining": "4", "RateLimit-Reset": ""},
        {"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "1700000000"},
        {"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "2027-01-15T08:00:07"},
        {"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "9999-12-31T23:59:59Z"},
        {"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "1h 5m"},
        {"X-RateLimit-Limit": "4", "X-RateLimit-Reset": "5"},
    ],
)
def test_what_makes_no_sense_is_left_out(headers: dict[str, str]) -> None:
    """Values below 0, above a day, or that are not numbers are ignored."""
    assert parse_limits(headers, now=NOW) == []


_NAMES = st.sampled_from(
    [
        "RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
        "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Reset-After", "Date",
    ]
)  # fmt: skip
_TEXTS = st.text(max_size=40) | st.text('"apirt0123456789=;:,.-() TZGMTdhms', max_size=40)


@settings(max_examples=300, derandomize=True, deadline=None)
@example({"Date": "Mon, 99 Jan 9999999999 00:00:00 GMT", "X-RateLimit-Remaining": "1"})
@example({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "Mon, 01 Jan 0000 00:00:00 GMT"})
@example({"RateLimit": "(" * 5000})
@example({"RateLimit": f'"{"n" * 300}"; r=1; t=1, "m";r=1;t=1'})
@given(st.dictionaries(_NAMES, _TEXTS))
def test_no_server_can_make_it_fail(headers: dict[str, str]) -> None:
    """Whatever the headers contain, the result is a list of valid windows."""
    for window in parse_limits(headers, now=NOW):
        assert window.remaining >= 0
        assert window.resets_in is None or 0 <= window.resets_in <= 86400
        assert len(window.name) <= 100
