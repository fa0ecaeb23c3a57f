"""URLs created under one base, and the texts that the property tests of URLs draw from."""

from __future__ import annotations

import re
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from yarl import URL

from aioapiclient._url.base import BaseURL

# Not random, so that a passing run passes again; no database, so that no file is left behind.
PROPERTY = settings(derandomize=True, database=None, deadline=None, max_examples=150)

BASE = BaseURL("https://h/v1")

# RFC 3986, but with the brackets that everybody sends bare.
URL_GRAMMAR = re.compile(r"(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=])*")

TEXT = st.text()
PIECES = [
    *("/", "//", "\\", ".", "..", "%2e", "%2F", ";", "?", "#", "@", ":", "[", "{", " ", "\r\n", "\x00"),
    *("a", "é", "http:", "\udce9", "\ud800"),
]
NASTY = st.lists(st.sampled_from(PIECES)).map("".join)


def built(path: str | URL, path_params: dict[str, Any] | None = None, **options: Any) -> str:
    """The URL that *path* makes under ``https://h/v1``, as a str."""
    return str(BASE.build(path, path_params, **options))
