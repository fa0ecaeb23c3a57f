"""The wait that a response requests: every form of Retry-After, and values that only resemble one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aioapiclient import APIRequest, AsyncAPIResponse, RateLimitError
from aioapiclient._response_headers import parse_http_date, retry_after

CASES = Path(__file__).parent / "cases"
VECTORS = json.loads((CASES / "retry_after_httpdate.json").read_text())
RATELIMIT = json.loads((CASES / "ratelimit_headers.json").read_text())


def wait(value: str | None = None, *, status: int = 429, **headers: str) -> float | None:
    """Return the wait that a response with these headers requests."""
    named = CIMultiDict({name.replace("_", "-"): text for name, text in headers.items()})
    if value is not None:
        named["Retry-After"] = value
    return retry_after(named, status)


def http_date(moment: datetime) -> str:
    """*moment* as an IMF-fixdate."""
    return format_datetime(moment, usegmt=True)


def date_of(unix: float) -> str:
    """A point in time as an IMF-fixdate."""
    return http_date(datetime.fromtimestamp(unix, UTC))


# --- the vectors


@pytest.mark.parametrize("case", VECTORS["rfc9110_dates"], ids=lambda case: case["form"])
def test_the_dates_of_the_rfc_are_read(case: dict[str, Any]) -> None:
    """Each form of an HTTP date in RFC 9110 is parsed to its point in time."""
    moment = parse_http_date(case["value"])
    assert moment is not None
    assert moment.timestamp() == case["unix"]


@pytest.mark.parametrize("case", VECTORS["cache_tests_dates"]["cases"], ids=lambda case: case["value"])
def test_only_http_dates_are_dates(case: dict[str, Any]) -> None:
    """A text that a strict recipient rejects is not a date; an unusual case alone is accepted."""
    assert (parse_http_date(case["value"]) is not None) is case["valid"]


@pytest.mark.parametrize("case", VECTORS["rfc9110_retry_after"], ids=lambda case: case["value"])
def test_the_examples_of_the_rfc_are_read(case: dict[str, Any]) -> None:
    """Both examples of RFC 9110 §10.2.3 are read, the date against the response's own Date."""
    if "seconds" in case:
        assert wait(case["value"]) == case["seconds"]
    else:
        assert wait(case["value"], Date=date_of(case["at_unix"] - 30)) == 30


@pytest.mark.parametrize("case", VECTORS["openai_python"]["cases"], ids=lambda case: case["value"])
def test_the_values_of_another_sdk_are_read(case: dict[str, Any]) -> None:
    """The values in another SDK's tests are parsed; where that falls back, the result is None, or a long
    wait.
    """
    found = wait(case["value"], Date=date_of(VECTORS["openai_python"]["now_unix"]))
    if "seconds" in case:
        assert found == case["seconds"]
    else:
        assert not found or found > 120


@pytest.mark.parametrize("case", VECTORS["urllib3"]["valid"], ids=lambda case: case["value"])
def test_the_values_of_urllib3_are_read(case: dict[str, Any]) -> None:
    """The values that urllib3 accepts are parsed, except invalid dates."""
    found = wait(case["value"], Date=date_of(VECTORS["urllib3"]["now_unix"]))
    lenient = case["value"].endswith("UTC")
    assert found == (None if lenient else case["seconds"])


@pytest.mark.parametrize("value", VECTORS["urllib3"]["invalid"])
def test_the_values_that_urllib3_refuses_say_nothing(value: str) -> None:
    """Values that urllib3 refuses are ignored, except decimals, which servers do send."""
    assert wait(value) == (1.0 if value == "1.0" else None)


@pytest.mark.parametrize("case", VECTORS["ky"]["cases"], ids=lambda case: case["expect"])
def test_the_values_of_ky_are_read(case: dict[str, Any]) -> None:
    """Values that ky calls invalid are ignored; RateLimit-Reset counts if there is no Retry-After."""
    headers = dict(case["headers"])
    value = headers["Retry-After"]
    big = "900000" if "RateLimit-Reset" in headers else None
    extra = {} if big is None else {"RateLimit_Reset": big}
    expect = case["expect"]
    if value.startswith("<rfc850"):
        ahead = datetime.now(UTC).replace(day=1) + timedelta(days=366 * 52)
        found = wait(ahead.strftime("%A, %d-%b-%y %H:%M:%S GMT"))
        assert found == 0.0
    elif value.startswith("<HTTP-date"):
        assert wait("Sat, 31 Dec 2016 23:59:60 GMT", Date="Sat, 31 Dec 2016 23:59:58 GMT") is not None
    elif value in {"0", "1"}:
        assert wait(value, **extra) == float(value)
    else:
        assert wait(value, **extra) == (None if big is None else 900000.0), expect


# --- single cases


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("0.5", 0.5),
        ("1.250", 1.25),
        ("007", 7),
        (" 3 ", 3),
        ("\t3", 3),
        ("9" * 18, 999999999999999999.0),
    ],
)
def test_seconds_are_digits_with_decimals(value: str, seconds: float) -> None:
    """Seconds are ASCII digits, decimals too, with space around them."""
    assert wait(value) == seconds


NONSENSE = [
    "",
    " ",
    "-1",
    "-0",
    "+1",
    "1e3",
    "1_0",
    "0x10",
    ".5",
    "5.",
    "1.2.3",
    "inf",
    "nan",
    "Infinity",
    "1e400",
]
NONSENSE += [
    "soon",
    "120, 60",
    "1,5",
    "²",
    "٣",
    "\uff11",
    "9" * 19,
    "9" * 5000,
    "1.",
    "1s",
    "None",
    "\x001",
    "1\n",
]


@pytest.mark.parametrize("value", NONSENSE)
def test_an_invalid_number_is_ignored(value: str) -> None:
    """Signs, exponents, other scripts' digits, and more digits than any wait has, are ignored."""
    assert wait(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "Zun, 29 Sep 2023 16:26:57 GMT",
        "Fri, 29 Sep 100000 16:26:57 GMT",
        "Fri, 31 Feb 2023 16:26:57 GMT",
        "Fri, 29 Sep 2023 24:00:00 GMT",
        "Fri, 29 Sep 2023 23:60:00 GMT",
        "Fri, 29 Sep 2023 23:59:61 GMT",
        "Fri, 29 Sep 2023 16:26:57 +0000",
        "Fri, 29 Sep 2023 16:26:57",
        "Fri, 29 Sep 2023 16:26:57 GMT GMT",
        "Fri, 00 Sep 2023 16:26:57 GMT",
        "Fri, ٢٩ Sep 2023 16:26:57 GMT",
        "2023-09-29T16:26:57Z",
        "1696004797 GMT",
    ],
)
def test_an_invalid_date_is_ignored(value: str) -> None:
    """A date with any wrong part is ignored."""
    assert wait(value) is None


def test_milliseconds_come_first() -> None:
    """``retry-after-ms`` wins over Retry-After, which wins over RateLimit-Reset."""
    assert wait("7", retry_after_ms="1500", RateLimit_Reset="9") == 1.5
    assert wait("7", RateLimit_Reset="9") == 7
    assert wait(RateLimit_Reset="9") == 9


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan"])
def test_what_says_nothing_leaves_it_to_the_next(value: str) -> None:
    """An invalid header equals a missing one."""
    assert wait("7", retry_after_ms=value) == 7
    assert wait(value, RateLimit_Reset="9") == 9


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_a_window_counts_with_a_429_only(status: int) -> None:
    """RateLimit-Reset describes a window, and requests a wait only with a 429."""
    assert wait(RateLimit_Reset="9", status=status) is None
    assert wait("7", RateLimit_Reset="9", status=status) == 7


@pytest.mark.parametrize("case", RATELIMIT["cases"], ids=lambda case: case["value"])
def test_the_structured_ratelimit_fields_request_no_wait(case: dict[str, Any]) -> None:
    """RateLimit and RateLimit-Policy of the newer draft change no wait; Retry-After wins over them."""
    headers = CIMultiDict({case["field"]: case["value"]})
    assert retry_after(headers, 429) is None
    headers["Retry-After"] = "3"
    assert retry_after(headers, 429) == 3


@pytest.mark.parametrize("case", RATELIMIT["waits"]["cases"], ids=lambda case: case["name"])
def test_each_dialect_of_a_wait_is_read(case: dict[str, Any]) -> None:
    """The headers that servers use for waits and windows are read, an epoch by the server's clock; invalid
    ones are not.
    """
    assert retry_after(CIMultiDict(case["headers"]), case["status"]) == case["seconds"]


@pytest.mark.parametrize("name", ["RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset"])
@pytest.mark.parametrize(("unit", "factor"), [("seconds", 1), ("milliseconds", 1000)])
def test_an_epoch_without_a_date_counts_from_the_own_clock(name: str, unit: str, factor: int) -> None:
    """Where Date is missing, an epoch counts from now."""
    found = retry_after(CIMultiDict({name: f"{(time.time() + 3600) * factor:.3f}"}), 429)
    assert found is not None
    assert 3500 < found < 3601, unit


@given(now=st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1)), seconds=st.integers(0, 366 * 86400))
def test_seconds_and_both_epochs_are_told_apart(now: datetime, seconds: int) -> None:
    """A window of up to a year is the same wait in all three forms, whatever the year."""
    now = now.replace(microsecond=0, tzinfo=UTC)
    date = {"Date": http_date(now)}
    end = int(now.timestamp()) + seconds
    for value in (seconds, end, end * 1000):
        assert retry_after(CIMultiDict({"X-RateLimit-Reset": str(value), **date}), 429) == seconds


async def test_a_client_waits_until_the_window_ends() -> None:
    """A 429 with an epoch is retried then; one whose window is too far off ends with ``retry_after``."""
    date = "Tue, 14 Nov 2023 22:13:20 GMT"
    script = Script(reply(429, X_RateLimit_Reset="1700000005", Date=date), reply(200))
    async with Client(BASE, transport=script) as api:
        await api.get("/things")
        assert api.waits == [5]
    script = Script(reply(429, X_RateLimit_Reset="1700003600", Date=date), reply(200))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(RateLimitError) as caught:
            await api.get("/things")
        assert api.waits == []
    assert caught.value.retry_after == 3600


def test_a_date_counts_from_the_servers_own() -> None:
    """However wrong the clock of server or client is, a date means the time after the response's Date."""
    assert wait("Sun, 06 Nov 1994 08:50:07 GMT", Date="Sun, 06 Nov 1994 08:49:37 GMT") == 30
    assert wait("Fri, 06 Nov 2099 08:50:07 GMT", Date="Fri, 06 Nov 2099 08:49:37 GMT") == 30


def test_a_date_in_the_past_requests_no_wait() -> None:
    """A date that has passed is 0."""
    assert wait("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    assert wait("Sun, 06 Nov 1994 08:49:37 GMT", Date="Sun, 06 Nov 1994 08:49:38 GMT") == 0


@pytest.mark.parametrize("date", [None, "", "soon", "Sun, 31 Feb 1994 08:49:37 GMT"])
def test_without_a_date_the_own_clock_counts(date: str | None) -> None:
    """If Date is missing or broken, a date counts from now."""
    headers = {} if date is None else {"Date": date}
    found = wait(http_date(datetime.now(UTC) + timedelta(hours=5)), **headers)
    assert found is not None
    assert 4.9 * 3600 < found <= 5 * 3600


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set a time zone fourteen hours east of Greenwich."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_away")
def test_the_time_zone_does_not_matter() -> None:
    """A date is in GMT wherever the client runs, even the form without a zone."""
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    for form in ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"):
        found = wait(now.strftime(form))
        assert found is not None
        assert 3500 < found <= 3600


def test_a_year_of_two_digits_is_near() -> None:
    """A two-digit year more than 50 years ahead is in the past (RFC 9110 §5.6.7)."""
    this_year = datetime.now(UTC).year
    for distance, expected in ((49, this_year + 49), (51, this_year - 49)):
        moment = parse_http_date(f"Sunday, 06-Nov-{(this_year + distance) % 100:02d} 08:49:37 GMT")
        assert moment is not None
        assert moment.year == expected


def test_a_response_has_its_wait() -> None:
    """``response.retry_after`` is the value of its headers."""
    request = APIRequest("GET", "https://h/")
    response = AsyncAPIResponse.from_bytes(request, 503, {"retry-after": "12"})
    assert response.retry_after == 12


# --- properties


HEADER_NAMES = st.sampled_from(
    [
        *("Retry-After", "retry-after-ms", "x-ms-retry-after-ms", "RateLimit-Reset", "Date", "RETRY-AFTER"),
        *("X-RateLimit-Reset", "X-RateLimit-Reset-After", "X-Rate-Limit-Reset"),
    ]
)
DATE_LIKE = st.from_regex(
    r"(Sun|Zun|Sunday)?,? ?\d{1,3}[ -](Nov|Feb|Xyz)[ -]\d{1,6} \d{1,3}:\d\d:\d\d( GMT| UTC)?", fullmatch=True
)
VALUES = st.text(max_size=40) | DATE_LIKE | st.from_regex(r"[+-]?\d*\.?\d*(e\d+)?", fullmatch=True)


@given(headers=st.dictionaries(HEADER_NAMES, VALUES), status=st.sampled_from([200, 429, 500, 503]))
def test_no_header_ever_raises(headers: Mapping[str, str], status: int) -> None:
    """Whatever the headers contain, the result is None or a finite number of seconds, 0 or more."""
    found = retry_after(CIMultiDict(headers), status)
    assert found is None or (math.isfinite(found) and found >= 0)


@given(first=st.integers(0, 10**15), second=st.integers(0, 10**15))
def test_more_is_more(first: int, second: int) -> None:
    """The larger number requests the longer wait."""
    one, other = wait(str(first)), wait(str(second))
    assert one is not None
    assert other is not None
    assert (first < second) <= (one <= other)


@given(moment=st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), seconds=st.integers(0, 10**6))
def test_every_date_is_read_back(moment: datetime, seconds: int) -> None:
    """A date in any century means the seconds after the response's Date."""
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    try:
        later = moment + timedelta(seconds=seconds)
    except OverflowError:
        return
    assert parse_http_date(http_date(moment)) == moment
    assert wait(http_date(later), Date=http_date(moment)) == seconds
