"""The checks of arguments: which values are numbers, and how a message names a wrong one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aioapiclient._checks import check_seconds, check_statuses, check_whole
from aioapiclient.errors import InvalidRequestError


@pytest.mark.parametrize("value", [0, 1, 10**400])
def test_whole_numbers_are_given_back(value: int) -> None:
    """An int of the least or more passes as it is, however large."""
    assert check_whole("limit", value) == value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, InvalidRequestError, "limit must be 0 items or more, not -1; None is no limit"),
        (1.5, TypeError, "limit must be an int of 0 items or more, not 1.5; None is no limit"),
        (True, TypeError, "limit must be an int of 0 items or more, not bool; None is no limit"),
        (None, TypeError, "limit must be an int of 0 items or more, not None; None is no limit"),
        ("secret", TypeError, "limit must be an int of 0 items or more, not str; None is no limit"),
    ],
)
def test_what_is_not_a_whole_number(value: object, error: type[Exception], message: str) -> None:
    """Anything else is refused; numbers are shown, a text is not."""
    with pytest.raises(error) as caught:
        check_whole("limit", value, unit="items", hint="None is no limit")

    assert str(caught.value) == message


@pytest.mark.parametrize("value", [0, 0.5, 3])
def test_seconds_are_given_back(value: float) -> None:
    """A finite number of seconds passes as it is."""
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


def test_statuses_become_a_set() -> None:
    """Any iterable of ints is a set of statuses."""
    assert check_statuses("ok_statuses", [304, 404, 304]) == {304, 404}


@pytest.mark.parametrize("value", ["404", b"404", 404, None, ["404"], [True]])
def test_what_is_not_statuses(value: Any) -> None:
    """A text, a lone number and anything that is not an int are TypeErrors."""
    with pytest.raises(TypeError, match=r"ok_statuses must (be an iterable of statuses|hold ints), not \w+"):
        check_statuses("ok_statuses", value)
