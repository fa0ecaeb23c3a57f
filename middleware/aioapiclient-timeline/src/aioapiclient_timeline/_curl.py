"""A request as a curl command, with its secrets as shell variables.

A secret is found by the name of its header, query parameter or JSON member. A marker replaces it while the
request is encoded, and becomes the variable when the shell words are written.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from aioapiclient.contract import APIRequest

__all__ = ["curl_command"]

_SECRET: Final = re.compile(
    r"auth|token|secret|passw|pwd|api[-_]?key|access[-_]?key|private[-_]?key|credential|cookie|session|signature"
    r"|^(?:key|sig|code|pin)$",
    re.IGNORECASE,
)
# From the private use area, which neither URLs nor JSON texts use. A marker that is the whole word needs no
# quotes.
_MARKER: Final = re.compile('"?\ue002(\\w+)\ue001"?|\ue000(\\w+)\ue001')
_SAFE_IN_QUOTES: Final = re.compile(r"[^\"$`\\!]*")


class _Variables:
    """The variables of a command; two values with one name get two variables."""

    def __init__(self, known: dict[str, str]) -> None:
        self._values = dict(known)
        self.used: list[str] = []

    def marker(self, name: str, value: object, *, bare: bool = False) -> str:
        """Return the marker of the variable that holds *value*, named after *name*."""
        text = value if isinstance(value, str) else repr(value)
        variable = next((known for known, held in self._values.items() if held == text), None)
        if variable is None:
            variable = base = (
                re.sub(r"\W", "_", name.upper(), flags=re.ASCII).lstrip("0123456789") or "SECRET"
            )
            number = 1
            while variable in self._values:
                number += 1
                variable = f"{base}_{number}"
            self._values[variable] = text
        if variable not in self.used:
            self.used.append(variable)
        opening = "\ue002" if bare else "\ue000"
        return f"{opening}{variable}\ue001"


def curl_command(
    request: APIRequest, *, file: Path | None = None, known: dict[str, str] | None = None
) -> tuple[str, list[str]]:
    """Return the command for *request* as it would be sent, and the variables that it needs.

    Args:
        request: The request at the end of the chain.
        file: The file to send as its body.
        known: The secrets that already have a variable, by the variable's name.

    """
    variables = _Variables(known or {})
    words = ["curl", "--compressed"]
    words += ["--head"] if request.method == "HEAD" else ["--request", request.method]
    for name, value in request.headers.items():
        words += ["--header", f"{name}: {_header(name, value, variables)}"]
    if file is not None:
        words += ["--data-binary", f"@{file}"]
    elif request.body is not None and request.body.immediate is not None:
        words += ["--data-binary", _json(request.body.immediate, variables)]
    words.append(_url(request, variables))
    return " ".join(map(_word, words)), variables.used


def _header(name: str, value: str, variables: _Variables) -> str:
    if _SECRET.search(name) is None:
        return value
    scheme, space, credential = value.partition(" ")
    if space and name.lower().endswith("authorization"):
        return f"{scheme} {variables.marker(name, credential)}"
    return variables.marker(name, value)


def _url(request: APIRequest, variables: _Variables) -> str:
    url = request.url
    query = url.raw_query_string
    shown = f"{request.origin}{url.raw_path}"
    return f"{shown}?{'&'.join(_pair(pair, variables) for pair in query.split('&'))}" if query else shown


def _pair(pair: str, variables: _Variables) -> str:
    name, equals, value = pair.partition("=")
    return (
        f"{name}={variables.marker(name, value)}"
        if value and _SECRET.search(unquote(name))
        else f"{name}{equals}{value}"
    )


def _json(body: bytes, variables: _Variables) -> str:
    return msgspec.json.encode(_marked(msgspec.json.decode(body), variables)).decode()


def _marked(value: Any, variables: _Variables) -> Any:
    if _is(value, list):
        return [_marked(item, variables) for item in value]
    return _marked_object(value, variables) if _is(value, dict) else value


def _is(value: object, kind: type) -> bool:
    # isinstance() itself would leave type checkers with a list of unknown items.
    return isinstance(value, kind)


def _marked_object(members: Mapping[str, Any], variables: _Variables) -> dict[str, Any]:
    return {
        name: variables.marker(name, member, bare=not isinstance(member, str))
        if _SECRET.search(name) and member is not None
        else _marked(member, variables)
        for name, member in members.items()
    }


def _word(text: str) -> str:
    """Return *text* as one word of a POSIX shell, its markers as variables."""
    spots = [*_MARKER.finditer(text)]
    if not spots:
        return shlex.quote(text)
    literals = [*_literals(text, spots)]
    if all(_SAFE_IN_QUOTES.fullmatch(literal) for literal in literals):
        names = [f"${{{spot[1] or spot[2]}}}" for spot in spots]
        return f'"{_interleaved(literals, names)}"'
    names = [f'"${spot[1] or spot[2]}"' for spot in spots]
    return _interleaved([shlex.quote(literal) if literal else "" for literal in literals], names)


def _literals(text: str, spots: Iterable[re.Match[str]]) -> Iterable[str]:
    end = 0
    for spot in spots:
        yield text[end : spot.start()]
        end = spot.end()
    yield text[end:]


def _interleaved(literals: list[str], names: list[str]) -> str:
    return "".join(f"{literal}{name}" for literal, name in zip(literals, [*names, ""], strict=True))
