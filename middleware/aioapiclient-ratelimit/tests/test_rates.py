"""The valid rates, and the arguments that `RateLimit` refuses."""

from __future__ import annotations

from typing import Any

import pytest
from aioapiclient_ratelimit import LocalStore, Rate, RateLimit, RedisStore
from aioapiclient_ratelimit.rates import parse_rate
from needed_servers import need_module

from aioapiclient import InvalidRequestError, load_middleware


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50/s", Rate(50, 1, 5)),
        ("1000/min", Rate(1000, 60, 100)),
        ("5000/h", Rate(5000, 3600, 500)),
        ("10000/d", Rate(10000, 86400, 1000)),
        ("20/10s", Rate(20, 10, 2)),
        ("3/s", Rate(3, 1, 1)),
        ("1 / 2min", Rate(1, 120, 1)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    """A count and a time make a rate, whose burst is a tenth of the count and at least 1."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    ["50", "x/s", "0/s", "5/0s", "5/fortnight", "-5/s", "5/m", "", "5/s ", "1.5/s", "\u0665/s", "1e3/s"],
)
def test_what_names_no_rate_is_refused(text: str) -> None:
    """The message names the value and the expectation."""
    with pytest.raises(InvalidRequestError) as caught:
        RateLimit(text)

    assert str(caught.value) == f"rate must be a text such as '50/s' or '1000/min', not {text!r}"


@pytest.mark.parametrize(
    ("rates", "options", "message"),
    [
        ((50,), {}, "rate must be a text such as '50/s', not int"),
        (("5/s",), {"burst": "3"}, "burst must be an int of 1 or more, not str"),
        (("5/s",), {"burst": True}, "burst must be an int of 1 or more, not bool"),
        (("5/s",), {"key": "token"}, "key must be a function, not str"),
        (("5/s",), {"cost": 1.5}, "cost must be an int of 1 or more, not 1.5"),
        (("5/s",), {"max_wait": "60"}, "max_wait must be a number of seconds, not str"),
        (("5/s",), {"learn": "no"}, "learn must be True or False, not str"),
        (("5/s",), {"pace": 1}, "pace must be True or False, not 1"),
        (("5/s",), {"pace": True, "learn": False}, "pace spreads the calls that the server allows"),
        (("5/s",), {"spread": None}, "spread must be a number, not None"),
        (("5/s",), {"store": {}}, "store must be a RateStore, with async reserve() and refund(), not dict"),
        (
            (),
            {"learn": False},
            "RateLimit without rates takes no burst, cost or store, and needs learn=True",
        ),
        ((), {"burst": 3}, "RateLimit without rates"),
        ((), {"cost": 2}, "RateLimit without rates"),
        ((), {"store": LocalStore()}, "RateLimit without rates"),
    ],
)
def test_a_wrong_type_is_refused(rates: Any, options: Any, message: str) -> None:
    """Wrong types, and arguments that require another one, are a `TypeError` when the limit is created."""
    with pytest.raises(TypeError, match=r".*") as caught:
        RateLimit(*rates, **options)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"burst": 0}, "burst must be 1 or more, not 0"),
        ({"cost": 0}, "cost must be 1 or more, not 0"),
        ({"cost": 6}, "cost must be at most the burst of a rate, 5 for '50/s', not 6"),
        ({"max_wait": -1}, "max_wait must be 0 seconds or more, not -1"),
        ({"max_wait": float("inf")}, "max_wait must be 0 seconds or more, not inf"),
        ({"max_wait": float("nan")}, "max_wait must be 0 seconds or more, not nan"),
        ({"spread": 1.1}, "spread must be from 0 to 1, not 1.1"),
    ],
)
def test_a_wrong_value_is_refused(options: Any, message: str) -> None:
    """Numbers out of range are an `InvalidRequestError` when the limit is created."""
    with pytest.raises(InvalidRequestError) as caught:
        RateLimit("50/s", **options)

    assert str(caught.value).startswith(message)


def test_a_store_needs_an_asyncio_client() -> None:
    """A blocking client, and a value that is not a client, are refused."""
    redis = need_module("redis", "redis")

    with pytest.raises(TypeError, match=r"client must be an asyncio client, .* not redis\.client\.Redis"):
        RedisStore(redis.Redis())
    with pytest.raises(TypeError, match=r"client must be an asyncio client, .* not builtins\.str"):
        RedisStore("redis://localhost")
    client = need_module("redis.asyncio", "redis").Redis()
    with pytest.raises(TypeError, match="prefix must be a str, not bytes"):
        RedisStore(client, prefix=b"rate:")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="fallback must be a RateStore"):
        RedisStore(client, fallback=object())  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="timeout must be 0 seconds or more, not -1"):
        RedisStore(client, timeout=-1)


def test_it_is_loaded_by_its_name() -> None:
    """The entry point takes the rates by keyword, one text or several."""
    assert repr(load_middleware("ratelimit")) == "RateLimit(max_wait=60, learn=True)"
    one = load_middleware("ratelimit", rates="50/s", max_wait=5)
    assert repr(one) == "RateLimit('50/s', max_wait=5, learn=True)"
    several = load_middleware("ratelimit", rates=["50/s", "1000/10min"], learn=False)
    assert repr(several) == "RateLimit('50/s', '1000/600s', max_wait=60, learn=False)"
