"""The output of the command line: a terminal with or without colours, or a file; with or without rich."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

from ._waterfall import Part, Style

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Screen", "safe"]

_COLOURS: Final[dict[Style, str]] = {
    "plain": "",
    "queue": "yellow",
    "dns": "magenta",
    "connect": "cyan",
    "wait": "blue",
    "body": "green",
    "good": "green",
    "bad": "bold red",
    "dim": "dim",
}


class Screen:
    """A stream for lines of text, in colours if rich is installed and the terminal supports them.

    rich obeys ``NO_COLOR`` and ``TERM=dumb``, and writes colours only to a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = _console_of(stream)
        self.is_terminal: bool = stream.isatty()
        columns = shutil.get_terminal_size().columns if self._console is None else self._console.width
        self.width: int = max(40, columns)
        self.ascii: bool = os.environ.get("TERM") == "dumb" or not _has_blocks(stream)

    def line(self, *parts: Part) -> None:
        """Write one line."""
        if self._console is None:
            self._stream.write("".join(part.text for part in parts).rstrip() + "\n")
            return
        from rich.text import Text

        text = Text.assemble(*((part.text, _COLOURS[part.style]) for part in parts))
        text.rstrip()
        self._console.print(text, soft_wrap=True, highlight=False)

    def json(self, body: bytes) -> None:
        """Write a JSON text, indented; raise `msgspec.DecodeError` if it is not JSON."""
        text = safe(msgspec.json.format(body, indent=2).decode())
        if self._console is None:
            self._stream.write(text + "\n")
            return
        from rich.highlighter import JSONHighlighter
        from rich.text import Text

        shown = Text(text)
        JSONHighlighter().highlight(shown)
        self._console.print(shown, soft_wrap=True)


def safe(text: str) -> str:
    """Return *text* from a server with control characters escaped, except line ends and tabs."""
    text = text.replace("\r\n", "\n")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def _console_of(stream: TextIO) -> Console | None:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream)


def _has_blocks(stream: TextIO) -> bool:
    try:
        "▒█→".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
