"""The HTTP conventions of OpenTelemetry: the names of a request and its outcome in spans and metrics."""

from __future__ import annotations

import os
from asyncio import CancelledError
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aioapiclient.contract import APIRequest, AsyncAPIResponse
from aioapiclient.errors import APIError, APITimeoutError, RetryableError

__all__ = [
    "BUCKETS",
    "SCHEMA_URL",
    "Target",
    "error_type",
    "known_methods",
    "outcome_of",
    "target",
    "url_full",
]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# Seconds; the conventions recommend these for http.client.request.duration.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

_KNOWN_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
_LONGEST_QUERY = 1000  # characters; a server may redirect to a query of any length


def known_methods() -> frozenset[str]:
    """Return the methods that are reported by name: from the environment, else from the conventions."""
    names = os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "")
    return frozenset(name.strip() for name in names.split(",") if name.strip()) or _KNOWN_METHODS


class Target(NamedTuple):
    """The attributes that all sends to one endpoint share."""

    name: str
    """The name of the spans."""

    attributes: dict[str, str | int]
    """The attributes of the spans, low in cardinality. Shared, so they must not be changed."""

    call_attributes: dict[str, str | int]
    """The attributes of a call's metric. Shared, so they must not be changed."""


# Bounded, because a server can redirect to any number of hosts.
@lru_cache(maxsize=1000)
def target(
    method: str, host: str | None, port: int | None, template: str | None, known: frozenset[str]
) -> Target:
    """Return the data common to the sends with *method* to *template* on a server.

    Args:
        method: The method as it is sent.
        host: The host of the URL.
        port: The port of the URL, or the default port of its scheme.
        template: The path as it was written; None omits it.
        known: The methods that are reported by name; any other is ``_OTHER``.

    """
    is_known = method in known
    call: dict[str, str | int] = {
        "http.request.method": method if is_known else "_OTHER",
        "server.address": host or "",
    }
    attributes = {**call, "server.port": port or 0}
    if template is not None:
        call["url.template"] = attributes["url.template"] = template
    verb = method if is_known else "HTTP"
    return Target(f"{verb} {template}" if template is not None else verb, attributes, call)


def url_full(request: APIRequest) -> str:
    """Return the URL of *request* without userinfo and fragment, each value of its query as ``REDACTED``."""
    shown = request.label.partition(" ")[2]
    query = request.url.raw_query_string
    if not query:
        return shown
    redacted = "&".join(_redacted(pair) for pair in query[:_LONGEST_QUERY].split("&"))
    if len(query) > _LONGEST_QUERY:
        redacted += "..."
    return f"{shown.removesuffix('?...')}?{redacted}"


def _redacted(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    # Without "=", the whole text may be the secret.
    return f"{name}=REDACTED" if equals else "REDACTED"


def error_type(error: BaseException, request: APIRequest) -> str:
    """Return ``error.type`` for *error*: its class, and the phase of a timeout."""
    if isinstance(error, CancelledError) and request.time_left() == 0:
        return "APITimeoutError:total"  # an outer middleware turns the cancellation into a timeout
    name = type(error).__name__
    return f"{name}:{error.phase}" if isinstance(error, APITimeoutError) else name


def outcome_of(outcome: AsyncAPIResponse[Any] | BaseException, request: APIRequest) -> dict[str, str | int]:
    """Return the attributes of how a send of *request* ended; ``error.type`` is among them if it failed."""
    if isinstance(outcome, AsyncAPIResponse):
        attributes: dict[str, str | int] = {
            "http.response.status_code": outcome.status,
            "network.protocol.version": outcome.http_version,
        }
        if outcome.status >= 400 and not outcome.ok:
            attributes["error.type"] = str(outcome.status)
        return attributes
    if isinstance(outcome, RetryableError) and outcome.response is not None:
        return {**outcome_of(outcome.response, request), "error.type": error_type(outcome, request)}
    # The error of a response whose body was invalid or incomplete.
    status = getattr(outcome, "status", None) if isinstance(outcome, APIError) else None
    received = {"http.response.status_code": status} if status else {}
    return {**received, "error.type": error_type(outcome, request)}
