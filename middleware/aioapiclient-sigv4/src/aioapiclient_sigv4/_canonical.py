"""AWS's canonical forms of a URL: the URL that is sent, and the path and query that are signed.

A server signs the URL again as it reads it. Servers differ in how they read characters that a URL may contain
with or without an escape, such as ``+``, ``=`` or ``(``. So a URL is sent in the one form that all of them
read alike: all characters except the unreserved ones are escaped.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from yarl import URL

__all__ = ["canonical_path", "canonical_query", "query_names", "sent_url"]

_PLAIN_PATH = re.compile(r"[A-Za-z0-9\-._~/]*")


def sent_url(url: URL, more_query: str = "") -> URL:
    """Return *url* as it is sent, with *more_query* after its own query."""
    path, query = _sent_path(url.raw_path or "/"), _sent_query(url.raw_query_string)
    query = "&".join(filter(None, (query, more_query)))
    if path == url.raw_path and query == url.raw_query_string:
        return url
    return URL.build(
        scheme=url.scheme, authority=url.raw_authority, path=path, query_string=query, encoded=True
    )


def _sent_path(path: str) -> str:
    if _PLAIN_PATH.fullmatch(path):
        return path
    # By segments, so that an escaped slash stays escaped.
    return "/".join(_escape(segment) for segment in path.split("/"))


def _sent_query(query: str) -> str:
    if not query:
        return ""
    # Servers that read forms take a plus as a space; in a signature it is a literal plus.
    parts = (part.partition("=") for part in query.replace("+", "%20").split("&") if part)
    return "&".join(f"{_escape(name)}{equals}{_escape(value)}" for name, equals, value in parts)


def _escape(text: str) -> str:
    # By bytes: an escape that is not UTF-8 is kept.
    return text if text.isascii() and text.isalnum() else quote(unquote_to_bytes(text), safe="")


def canonical_path(path: str, *, normalize: bool, twice: bool) -> str:
    """Return the path to sign, given the path as sent.

    Args:
        path: The path.
        normalize: Whether to resolve ``.`` and ``..``, and to join slashes.
        twice: Whether to escape the escaped path again, as every service except S3 does.
    """
    if normalize:
        path = _normalized(path)
    return quote(path, safe="/") if twice else path


def _normalized(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return f"/{'/'.join(kept)}{end}"


def canonical_query(query: str) -> str:
    """Return the query to sign, given the query as sent: sorted, each name with an equals sign."""
    if not query:
        return ""
    # Sorted by name and value, not by the joined text, where "-" sorts before "=".
    pairs = sorted(part.partition("=")[::2] for part in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)


def query_names(query: str) -> set[str]:
    """Return the names in a query as sent."""
    return {part.partition("=")[0] for part in query.split("&")}
