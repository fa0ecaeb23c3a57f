"""Bounded dicts: which key is dropped, and that they can be copied."""

from __future__ import annotations

import copy
import pickle

from aioapiclient._bounded import BoundedDict


def test_the_key_that_was_set_least_recently_is_dropped() -> None:
    """One key too many drops the least recently set one; reading a key does not count."""
    found: BoundedDict[str, int] = BoundedDict(2)
    found["a"], found["b"] = 1, 2
    found["a"] = 3
    assert found["b"] == 2
    found["c"] = 4
    assert dict(found) == {"a": 3, "c": 4}


def test_a_value_is_made_once() -> None:
    """`get_or_make` makes the value of a new key; a key that it finds is the last to be dropped."""
    found: BoundedDict[str, list[int]] = BoundedDict(2)
    first = found.get_or_make("a", list, [1])
    found["b"] = []
    assert found.get_or_make("a", list, [2]) is first == [1]
    found["c"] = []
    assert list(found) == ["a", "c"]


def test_a_copy_has_the_same_bound() -> None:
    """A pickled or deeply copied dict has the same keys and the same bound."""
    found: BoundedDict[int, int] = BoundedDict(2)
    found[1] = found[2] = 0
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        twin[3] = 0
        assert list(twin) == [2, 3]
        assert list(found) == [1, 2]
