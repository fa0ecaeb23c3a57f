"""AWS's canonical forms of a URL: the one that is sent, and what of it is signed.

A server signs what it reads of the URL once more. Servers differ in what they make of characters that a URL
may hold with or without an escape, such as ``+``, ``=`` or ``(``. So a URL is sent in the one form that all
of them read alike: everything is escaped but the unreserved characters.
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
    # By segments, so that an escaped slash stays one.
    return "/".join(_escape(segment) for segment in path.split("/"))


def _sent_query(query: str) -> str:
    if not query:
        return ""
    # A plus is a space to every server that reads forms, and a literal plus to the signature.
    parts = (part.partition("=") for part in query.replace("+", "%20").split("&") if part)
    return "&".join(f"{_escape(name)}{equals}{_escape(value)}" for name, equals, value in parts)


def _escape(text: str) -> str:
    # By bytes: an escape that is not UTF-8 stays what it is.
    return text if text.isascii() and text.isalnum() else quote(unquote_to_bytes(text), safe="")


def canonical_path(path: str, *, normalize: bool, twice: bool) -> str:
    """Return the path to sign, of a path as it is sent.

    Args:
        path: The path.
        normalize: Whether to resolve ``.`` and ``..``, and to join slashes.
        twice: Whether to escape what is escaped once more, as every service but S3 has it.
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
    """Return the query to sign, of a query as it is sent: sorted, each name with an equals sign."""
    if not query:
        return ""
    # By name and value, not by the text of both: a "-" sorts before "=".
    pairs = sorted(part.partition("=")[::2] for part in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)


def query_names(query: str) -> set[str]:
    """Return the names in a query as it is sent."""
    return {part.partition("=")[0] for part in query.split("&")}
