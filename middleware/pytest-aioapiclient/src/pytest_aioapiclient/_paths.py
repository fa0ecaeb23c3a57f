"""`PathPattern`: the path of a route, written as a client's paths are, matched against the sent path."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from aioapiclient.errors import InvalidRequestError

__all__ = ["PathPattern"]

_PLACE: Final = re.compile(r"\{(\+?)(\w+(?:[.-]\w+)*)\}")
_OF_A_PATH: Final = "/!$&'()*+,;=:@"  # characters that need no escape in a path (RFC 3986 §3.3)


class PathPattern:
    """A path with ``{name}`` for one segment, and ``{+name}`` for any number of them.

    Args:
        path: The path, with or without a slash in front.

    Raises:
        InvalidRequestError: A brace is not closed or opened, or the path has a query or fragment.
    """

    def __init__(self, path: str) -> None:
        if "?" in path or "#" in path:
            raise InvalidRequestError(f"the path {path!r} of a route has a query or fragment; use params=")
        self._names: dict[str, str] = {}  # by group: a name with a dot cannot name one
        pattern, end = "", 0
        whole = path if path.startswith("/") else f"/{path}"
        for place in _PLACE.finditer(whole):
            pattern += _literal(whole[end : place.start()], path) + self._group(
                place[2], slashes=bool(place[1])
            )
            end = place.end()
        self._pattern = re.compile(pattern + _literal(whole[end:], path))

    def _group(self, name: str, *, slashes: bool) -> str:
        for group, known in self._names.items():
            if known == name:
                return f"(?P={group})"
        group = f"p{len(self._names)}"
        self._names[group] = name
        return f"(?P<{group}>{'.+' if slashes else '[^/]+'})"

    def match(self, path: str) -> dict[str, str] | None:
        """Return the values of the placeholders, unescaped; None if the path does not match.

        Args:
            path: The path as sent, percent-encoded.
        """
        found = self._pattern.fullmatch(_normal(path))
        if found is None:
            return None
        return {self._names[group]: unquote(value) for group, value in found.groupdict().items()}


def _literal(text: str, path: str) -> str:
    if "{" in text or "}" in text:
        raise InvalidRequestError(
            f"the path {path!r} of a route has a brace that is not {{name}} or {{+name}}"
        )
    return re.escape(_normal(text))


def _normal(path: str) -> str:
    """Return the path with each character escaped in one way; ``%2F`` remains distinct from a slash."""
    return "%2F".join(quote(unquote(part), safe=_OF_A_PATH) for part in re.split("%2[Ff]", path))
