"""Templates and their values: a value decodes unchanged, and affects only its own segment."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from helpers import BASE, Client, Script
from hypothesis import given
from hypothesis import strategies as st
from urls import NASTY, TEXT
from yarl import URL

from aioapiclient import InvalidRequestError

VALUES = st.one_of(TEXT, NASTY, st.integers(), st.from_regex(r"(%[0-9a-f]{2}|[.;/]){1,4}", fullmatch=True))
LITERALS = st.from_regex(r"[a-z0-9_.~-]{1,6}", fullmatch=True).filter(lambda text: text.strip("."))


def sent(path: str, **options: Any) -> URL | None:
    """Return the URL that a call with *path* sends; None if it is refused and nothing is sent."""
    script = Script()

    async def call() -> None:
        async with Client(BASE, transport=script) as api:
            await api.get(path, **options)

    try:
        asyncio.run(call())
    except InvalidRequestError:
        assert not script.requests
        return None
    return script.last.url


@given(st.lists(st.tuples(LITERALS, VALUES), min_size=1, max_size=4))
def test_every_value_comes_back_from_its_own_segment(parts: list[tuple[str, Any]]) -> None:
    """Each of several values in a path is one segment, encoded once, and decodes to the value."""
    path = "".join(f"/{literal}/{{v{number}}}" for number, (literal, _) in enumerate(parts))
    url = sent(path, path_params={f"v{number}": value for number, (_, value) in enumerate(parts)})

    if url is not None:
        *_, segments = url.raw_path.partition("/v1/")
        expected = [text for literal, value in parts for text in (literal, str(value))]
        assert [unquote(segment) for segment in segments.split("/")] == expected
        assert segments.split("/") == [quote(text, safe="") for text in expected]
        # As every server and proxy will read it, normalisation of dots included.
        assert URL(str(url)).raw_path.startswith("/v1/")
        assert URL(str(url), encoded=True) == url


@given(VALUES, st.dictionaries(TEXT, TEXT, max_size=3), st.booleans())
def test_values_and_queries_do_not_mix(value: Any, params: dict[str, str], keeps_slashes: bool) -> None:
    """Whatever the values of a path, the query has only the params, and the origin is the base URL's."""
    url = sent("/x/{+v}" if keeps_slashes else "/x/{v}", path_params={"v": value}, params=params)

    if url is not None:
        parts = urlsplit(str(url))
        assert f"{parts.scheme}://{parts.netloc}" == "https://api.example.com"
        assert unquote(parts.path) == f"/v1/x/{value}"
        assert parse_qsl(parts.query, keep_blank_values=True) == list(params.items())
        assert not parts.fragment


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.just("v"), max_size=4), NASTY | TEXT)
def test_only_the_names_of_the_template_are_taken(params: dict[str, str], template: str) -> None:
    """A template of any text gives a valid URL or an error of this library; a missing or unused name is an
    error.
    """
    url = sent(template, path_params=params)

    if url is not None:
        assert not params or "{" in template
        assert "{" not in str(url)
