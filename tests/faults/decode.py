"""The body arrived completely but does not match the type: the error names the place and quotes no value."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from faults.places import raw
from faults.rows import Call, Ends, Fault, Place, gives, raises
from faults.running import SECRET, in_words
from servers import ok, respond, response

from aioapiclient import APIResponseValidationError

__all__ = ["FAULTS"]


class Thing(TypedDict):
    """The type that the calls request."""

    id: int
    name: NotRequired[str]


async def _plain(call: Call, place: Place) -> str:
    """The result of aiohttp's own ``json()``."""
    response = await call.session.get(place.url)
    return f"{response.status} {in_words(await response.json())}"


async def _plain_text(call: Call, place: Place) -> str:
    """The result of aiohttp's own ``text()``."""
    response = await call.session.get(place.url)
    return f"{response.status} {await response.text()}"


def _answer(
    number: int,
    name: str,
    body: bytes | str,
    ends: Ends,
    *,
    content_type: str = "application/json",
    cast_to: Any = Thing,
    note: str = "",
) -> Fault:
    """A 200 with *body*: it is not retried, and the connection returns to the pool."""
    content = body if isinstance(body, bytes) else body.encode()
    return Fault(
        number,
        name,
        raw(respond(ok(content, content_type))),
        {"GET": ends},
        options={"cast_to": cast_to},
        plain=_plain_text if cast_to is str else _plain,
        note=note,
    )


def _misfit(message: str, path: str = "$", **facts: Any) -> Ends:
    return raises(APIResponseValidationError, message, connections=1, path=path, **facts)


_NO_CONTENT = raw(respond(response("204 No Content", None)))

FAULTS: list[Fault] = [
    _answer(73, "truncated JSON in a complete body", '{"id": 1, "name": "' + SECRET, _misfit("truncated")),
    _answer(73, "text that is not JSON", SECRET, _misfit("malformed")),
    _answer(
        74,
        "a proxy's HTML page with status 200",
        f"<html>{SECRET}</html>",
        _misfit("the body is an HTML page", content_type="text/html; charset=utf-8", status=200),
        content_type="text/html; charset=utf-8",
    ),
    _answer(75, "an empty body", "", _misfit("the body is empty")),
    Fault(
        76,
        "204 for a type without None",
        _NO_CONTENT,
        {"GET": _misfit("the body is empty", status=204)},
        options={"cast_to": Thing},
        plain=_plain,
    ),
    Fault(
        76,
        "204 for a type with None",
        _NO_CONTENT,
        {"GET": gives(None, connections=1)},
        options={"cast_to": Thing | None},
        plain=_plain,
    ),
    *(
        _answer(
            77,
            f"JSON with charset={charset}",
            '{"id": 1, "name": "é"}',
            gives({"id": 1, "name": "é"}),
            content_type=f"application/json; charset={charset}",
            note="JSON is UTF-8, whatever the header",
        )
        for charset in ("bogus", "rot13", "utf-16")
    ),
    _answer(
        77,
        "text with charset=rot13",
        "uryyb",
        gives("uryyb"),
        content_type="text/plain; charset=rot13",
        cast_to=str,
        note="an unsuitable charset is read as UTF-8",
    ),
    _answer(78, "bytes that are not UTF-8", b'{"id": 1, "name": "\xff"}', _misfit("not valid UTF-8")),
    _answer(79, "a BOM before the JSON", b'\xef\xbb\xbf{"id": 1}', gives({"id": 1})),
    _answer(80, "NaN", "[NaN]", _misfit("malformed"), cast_to=Any),
    _answer(80, "a number beyond a float", "[1e999]", _misfit("out of range", "$[0]"), cast_to=Any),
    _answer(81, "an integer of 5000 digits", '{"id": ' + "1" * 5000 + "}", _misfit("out of range", "$.id")),
    _answer(
        82,
        "a million nested lists",
        "[" * 1_000_000 + "]" * 1_000_000,
        _misfit("nested too deeply"),
        cast_to=Any,
    ),
    _answer(
        82,
        "the same in an undeclared field",
        '{"id": 1, "more": ' + "[" * 1_000_000 + "]" * 1_000_000 + "}",
        _misfit("nested too deeply"),
    ),
    _answer(83, "a missing field", "{}", _misfit("missing required field `id`")),
    _answer(83, "an undeclared field", '{"id": 1, "more": 2}', gives({"id": 1}), note="APIs add fields"),
    _answer(
        83, "a field of the wrong type", f'{{"id": "{SECRET}"}}', _misfit("Expected `int`, got `str`", "$.id")
    ),
    _answer(
        84,
        "a key twice",
        '{"id": 1, "id": 2}',
        gives({"id": 2}),
        note="the last one wins, as in Python's json",
    ),
    _answer(84, "text after the JSON", '{"id": 1} ' + SECRET, _misfit("trailing characters")),
]
