"""The checks of arguments: the values that are numbers, and how a message names a wrong one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aioapiclient._checks import (
    check_flag,
    check_function,
    check_number,
    check_seconds,
    check_statuses,
    check_whole,
)
from aioapiclient.contract import check_header_names
from aioapiclient.errors import InvalidRequestError


@pytest.mark.parametrize("value", [0, 1, 10**400])
def test_whole_numbers_are_given_back(value: int) -> None:
    """An int of at least the minimum passes unchanged, however large."""
    assert check_whole("limit", value) == value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, InvalidRequestError, "limit must be 0 items or more, not -1; None: no limit"),
        (1.5, TypeError, "limit must be an int of 0 items or more, not 1.5; None: no limit"),
        (True, TypeError, "limit must be an int of 0 items or more, not bool; None: no limit"),
        (None, TypeError, "limit must be an int of 0 items or more, not None; None: no limit"),
        ("secret", TypeError, "limit must be an int of 0 items or more, not str; None: no limit"),
    ],
)
def test_what_is_not_a_whole_number(value: object, error: type[Exception], message: str) -> None:
    """Any other value is refused; numbers are shown, a text is not."""
    with pytest.raises(error) as caught:
        check_whole("limit", value, unit="items", hint="None: no limit")

    assert str(caught.value) == message


@pytest.mark.parametrize("value", [0, 0.5, 3])
def test_seconds_are_given_back(value: float) -> None:
    """A finite number of seconds passes unchanged."""
    assert check_seconds("wait", value) == value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-0.5, InvalidRequestError, "wait must be 0 seconds or more, not -0.5"),
        (math.nan, InvalidRequestError, "wait must be 0 seconds or more, not nan"),
        (math.inf, InvalidRequestError, "wait must be 0 seconds or more, not inf"),
        (10**400, InvalidRequestError, "wait must be a number of seconds that fits a float"),
        (False, TypeError, "wait must be a number of seconds, not bool"),
        ("3", TypeError, "wait must be a number of seconds, not str"),
    ],
)
def test_what_is_not_a_number_of_seconds(value: object, error: type[Exception], message: str) -> None:
    """Negative, endless and huge numbers are values that make no sense; other types are TypeErrors."""
    with pytest.raises(error) as caught:
        check_seconds("wait", value)

    assert str(caught.value) == message


def test_zero_seconds_can_be_refused() -> None:
    """Where 0 would mean no time at all, it is refused."""
    with pytest.raises(InvalidRequestError, match="interval must be above 0 seconds, not 0"):
        check_seconds("interval", 0, positive=True)


@pytest.mark.parametrize(
    ("bounds", "value", "message"),
    [
        ({"most": 1.0}, 1.5, "share must be from 0 to 1, not 1.5"),
        ({"most": 1.0}, -1, "share must be from 0 to 1, not -1"),
        ({"most": 1.0, "above": True}, 0, "share must be above 0 and at most 1, not 0"),
        ({"least": 1.0}, 0.5, "share must be 1 or more, not 0.5"),
        ({"above": True, "unit": "calls"}, 0, "share must be above 0 calls, not 0"),
        ({}, math.nan, "share must be 0 or more, not nan"),
        ({}, math.inf, "share must be 0 or more, not inf"),
        ({}, 10**400, "share must be a number that fits a float"),
    ],
)
def test_a_number_outside_of_its_bounds(bounds: dict[str, Any], value: float, message: str) -> None:
    """A number that is too small, too large or not finite is refused, and the message names the bounds."""
    with pytest.raises(InvalidRequestError) as caught:
        check_number("share", value, **bounds)

    assert str(caught.value) == message


@pytest.mark.parametrize(("bounds", "value"), [({"most": 1.0}, 1), ({}, 0), ({"least": -1.0}, -0.5)])
def test_a_number_within_its_bounds(bounds: dict[str, Any], value: float) -> None:
    """The bounds themselves are accepted."""
    assert check_number("share", value, **bounds) == value


def test_flags_are_true_or_false() -> None:
    """A flag is a bool, and neither a text nor a number."""
    assert check_flag("shared", True) is True
    for value in ("no", 1, None):
        with pytest.raises(TypeError, match="shared must be True or False, not "):
            check_flag("shared", value)


def test_a_function_can_be_called() -> None:
    """A value that cannot be called is refused; an async function too, unless it is awaited."""

    async def fetch() -> None: ...

    class Fetch:
        async def __call__(self) -> None: ...

    check_function("key", len)
    check_function("key", fetch, may_be_async=True)
    with pytest.raises(TypeError, match="key must be a function, not str"):
        check_function("key", "secret")
    for wrong in (fetch, Fetch()):
        with pytest.raises(TypeError, match="key must be a plain function, not an async one"):
            check_function("key", wrong)


def test_header_names_become_a_set() -> None:
    """Any iterable of names is a set in lower case."""
    assert check_header_names("omit", iter(["X-A", "x-a", "ETag"])) == {"x-a", "etag"}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("X-A", TypeError, "omit must be an iterable of header names, not str"),
        (b"X-A", TypeError, "omit must be an iterable of header names, not bytes"),
        (None, TypeError, "omit must be an iterable of header names, not NoneType"),
        ([b"X-A"], TypeError, "omit must contain str, not bytes"),
        (["X-A: secret"], InvalidRequestError, "omit: header name 'X-A...' is not a token (RFC 9110 §5.6.2)"),
        ([""], InvalidRequestError, "omit: header name '' is not a token (RFC 9110 §5.6.2)"),
    ],
)
def test_what_is_not_header_names(value: object, error: type[Exception], message: str) -> None:
    """A lone text, other types, and texts that cannot be the name of a header are refused."""
    with pytest.raises(error) as caught:
        check_header_names("omit", value)

    assert str(caught.value) == message


def test_statuses_become_a_set() -> None:
    """Any iterable of ints is a set of statuses."""
    assert check_statuses("ok_statuses", [304, 404, 304]) == {304, 404}


@pytest.mark.parametrize("value", ["404", b"404", 404, None, ["404"], [True]])
def test_what_is_not_statuses(value: Any) -> None:
    """A text, a single number and any item that is not an int are TypeErrors."""
    message = r"ok_statuses must (be an iterable of statuses|contain ints), not \w+"
    with pytest.raises(TypeError, match=message):
        check_statuses("ok_statuses", value)
