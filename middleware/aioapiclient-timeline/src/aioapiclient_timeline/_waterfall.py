"""`waterfall`: a call as text, one bar for each send."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Final, Literal, NamedTuple, TypeAlias

from aioapiclient.errors import InvalidRequestError

from ._record import Call, Send

__all__ = ["LEGEND", "Part", "Style", "characters", "rows", "waterfall"]

Style: TypeAlias = Literal["plain", "queue", "dns", "connect", "wait", "body", "good", "bad", "dim"]


class Part(NamedTuple):
    """A piece of a line and its style: a terminal may colour it."""

    text: str
    style: Style


_UNICODE: Final[dict[str, str]] = {"wait": "▒", "body": "█", "queue": "q", "dns": "d", "connect": "c"}
_ASCII: Final[dict[str, str]] = {**_UNICODE, "wait": "-", "body": "="}

LEGEND: Final[tuple[tuple[Style, str], ...]] = (
    ("queue", "queue"),
    ("dns", "DNS"),
    ("connect", "connect"),
    ("wait", "wait for the head"),
    ("body", "body"),
)

_LEAST_WIDTH: Final = 40
_LEAST_BAR: Final = 10


def characters(*, ascii: bool = False) -> Mapping[str, str]:
    """Return the characters that draw each style."""
    return _ASCII if ascii else _UNICODE


def waterfall(call: Call, width: int = 80, *, ascii: bool = False) -> str:
    """Return *call* as text: a summary line, and one bar for each send.

    ``q`` is the wait for a connection, ``c`` its setup, ``d`` DNS, ``▒`` the wait for the head and ``█`` the
    body. ``+`` marks a second copy (hedged).

    Args:
        call: A call that has ended.
        width: Columns that a line may take, 40 or more.
        ascii: Whether to draw with ``-`` and ``=``, for terminals without the block characters.

    Returns:
        The lines, without a line end after the last.

    Raises:
        InvalidRequestError: *width* is below 40.

    """
    lines = rows(call, width, ascii=ascii)
    return "\n".join("".join(part.text for part in line).rstrip() for line in lines)


def rows(call: Call, width: int = 80, *, ascii: bool = False) -> list[list[Part]]:
    """Return the lines of `waterfall` as parts with styles."""
    if width < _LEAST_WIDTH:
        raise InvalidRequestError(f"width must be {_LEAST_WIDTH} columns or more, not {width}")
    results = [_result(send) for send in call.sends]
    longest = max(map(len, results), default=0)
    label = max((len(_label(send)) for send in call.sends), default=0)
    bar = max(_LEAST_BAR, width - label - longest - 2)
    drawn = characters(ascii=ascii)
    lines = [_summary(call, width)]
    before = call.sends[0].url if call.sends else ""
    for send, result in zip(call.sends, results, strict=True):
        if send.url != before:
            arrow = "->" if ascii else "→"
            lines.append([Part(_clip(f"{' ' * label} {arrow} {send.url}", width), "dim")])
            before = send.url
        end = Part(_clip(result, width - label - bar - 2), _style(send))
        lines.append([Part(f"{_label(send):<{label}} ", "dim"), *_bar(send, call, bar, drawn), end])
    if call.dropped:
        lines.append([Part(f"and {call.dropped} more", "dim")])
    return lines


def _summary(call: Call, width: int) -> list[Part]:
    outcome = _outcome(call)
    attempts = f"{call.attempts} attempt{'' if call.attempts == 1 else 's'}"
    tail = f" in {_ms(call.seconds)}, {attempts}"
    waited = f", waited {_ms(call.waited)}" if call.waited >= 0.0005 else ""
    room = width - len(outcome) - len(tail) - 1
    if room - len(waited) >= _LEAST_BAR:
        tail, room = tail + waited, room - len(waited)
    label = _clip(call.label, room)
    return [Part(f"{label} ", "plain"), Part(outcome, _style(call)), Part(tail, "plain")]


def _label(send: Send) -> str:
    return f"#{send.attempt + 1}{'+' if send.hedged else ''}"


def _result(send: Send) -> str:
    took = _ms((send.ended or send.began) - send.began)
    return f"{_outcome(send)} {took}{' reused' if send.reused else ''}"


def _bar(send: Send, call: Call, width: int, drawn: Mapping[str, str]) -> list[Part]:
    """Return the bar of *send*, *width* columns for the whole call and a space."""
    total = max(call.seconds, 1e-9)
    cells: list[Style] = ["plain"] * width

    def paint(began: float, ended: float, style: Style) -> None:
        first = max(0, min(width - 1, int(began / total * width)))
        last = max(first + 1, min(width, round(ended / total * width)))
        cells[first:last] = (style for _ in range(last - first))

    ended = call.seconds if send.ended is None else send.ended
    paint(send.began, ended, "wait" if send.status is None else "body")
    if send.head is not None:
        paint(send.began, send.head, "wait")
    # `dns` is part of `connect`.
    for phase in sorted(send.phases, key=lambda phase: phase.name == "dns"):
        paint(phase.began, phase.ended, phase.name)
    runs = groupby(((drawn.get(style, " "), style) for style in cells), key=itemgetter(1))
    return [*(Part("".join(char for char, _ in run), style) for style, run in runs), Part(" ", "plain")]


def _outcome(record: Call | Send) -> str:
    if record.error is None:
        return str(record.status or "")
    if record.error == "APITimeoutError":
        return f"timeout ({record.reason})"
    return record.reason or record.error


def _style(record: Call | Send) -> Style:
    return "bad" if record.error is not None or (record.status or 0) >= 400 else "good"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."
