"""What httpbin says of a request: the shape of its answers, shared by the tests."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Echo", "Headers"]


class Headers(msgspec.Struct):
    """``/headers``: what came, with names as httpbin spells them."""

    headers: dict[str, str]


class Echo(msgspec.Struct):
    """``/get``, ``/post``, ``/anything`` and the like: the whole request."""

    args: dict[str, Any]
    headers: dict[str, str]
    url: str
    data: str = ""
    form: dict[str, Any] = {}
    files: dict[str, Any] = {}
    json: Any = None
    method: str = ""
