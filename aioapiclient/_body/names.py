"""The names in an encoded body, for its repr, which must not show values because it may be logged."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["FORM", "member_names"]

FORM: Final = "application/x-www-form-urlencoded"
"""The media type of forms without files."""

_RAW_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def member_names(content: bytes | None, content_type: str) -> tuple[str, ...]:
    """Return the names in a JSON object or a form; none for any other content. Never raise."""
    if content is None:
        return ()
    try:
        if _is_json(content_type):
            return tuple(_RAW_OBJECT.decode(content))
        if content_type.startswith(FORM):
            from urllib.parse import parse_qsl

            return tuple(dict(parse_qsl(content.decode(), keep_blank_values=True)))
    except (msgspec.MsgspecError, ValueError):
        pass
    return ()


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower().endswith(("/json", "+json"))
