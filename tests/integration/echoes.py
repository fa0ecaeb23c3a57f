"""The address of httpbin, and the shape of its answers, shared by the tests."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

__all__ = ["Echo", "Headers", "Origins"]


class Origins(NamedTuple):
    """One server under two origins: two ports of 127.0.0.1."""

    home: str
    other: str


class Headers(msgspec.Struct):
    """``/headers``: the received headers, with names as httpbin spells them."""

    headers: dict[str, str]


class Echo(msgspec.Struct):
    """The answer of ``/get``, ``/post``, ``/anything`` and the like: the complete request."""

    args: dict[str, Any]
    headers: dict[str, str]
    url: str
    data: str = ""
    form: dict[str, Any] = {}
    files: dict[str, Any] = {}
    json: Any = None
    method: str = ""
