"""`prometheus`: calls, sends and retries as Prometheus metrics, with a bounded number of labels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from aioapiclient.errors import InvalidRequestError

from ._record import Call, Send
from ._timeline import Sink

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["prometheus"]

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds; OpenTelemetry recommends these for ``http.client.request.duration``."""

_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MOST_ENDPOINTS: Final = 1000
_OTHER: Final = "_OTHER"


def prometheus(
    registry: CollectorRegistry | None = None,
    *,
    namespace: str = "aioapiclient",
    buckets: Iterable[float] = BUCKETS,
) -> Sink:
    """Return a sink that counts calls, sends and retries in *registry*.

    ======================== ================================== ========================================
    Metric                   Labels                             What it observes
    ======================== ================================== ========================================
    ``<ns>_call_seconds``    ``method origin template outcome`` a call, its retries and waits included
    ``<ns>_send_seconds``    ``method origin template outcome`` a request on the wire
    ``<ns>_retries_total``   ``origin template``                attempts after the first
    ======================== ================================== ========================================

    A stream is observed until its head. ``outcome`` is the status, or the class of the error. ``template`` is
    empty for a call without one. Methods that HTTP does not register are ``_OTHER``; so are the origin and
    template of every endpoint after the first 1,000. Sinks for one registry and namespace share their
    metrics.

    Args:
        registry: The registry; None is ``prometheus_client.REGISTRY``.
        namespace: The prefix of the metric names.
        buckets: The upper bounds of the histograms in seconds, ascending.

    Returns:
        The sink, for `Timeline`.

    Raises:
        ImportError: prometheus-client is not installed.
        InvalidRequestError: *namespace* or *buckets* is not valid, or *buckets* differs from an earlier
            sink's.
        TypeError: An argument has the wrong type.

    """
    from prometheus_client import REGISTRY, CollectorRegistry

    used = REGISTRY if registry is None else registry
    if not isinstance(used, CollectorRegistry):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"registry must be a CollectorRegistry, not {type(used).__name__}")
    if not isinstance(namespace, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"namespace must be a str, not {type(namespace).__name__}")
    if _NAME.fullmatch(namespace) is None:
        raise InvalidRequestError(f"namespace must be letters, digits and underscores, not {namespace!r}")
    bounds = _checked(buckets)
    shared = _metrics.setdefault(used, {})
    if namespace not in shared:
        shared[namespace] = _Metrics(used, namespace, bounds)
    metrics = shared[namespace]
    if metrics.buckets != bounds:
        raise InvalidRequestError(
            f"buckets must be those of the first sink for {namespace!r} in this registry"
        )
    return metrics.observe


def _checked(buckets: Iterable[float]) -> tuple[float, ...]:
    bounds = tuple(buckets)
    for bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"buckets must be numbers of seconds, not {type(bound).__name__}")
    ascending = all(one < other for one, other in pairwise(bounds))
    if not bounds or not ascending or not bounds[0] > 0 or any(math.isnan(bound) for bound in bounds):
        raise InvalidRequestError(f"buckets must be seconds above 0, ascending, not {bounds}")
    return tuple(float(bound) for bound in bounds)


class _Metrics:
    """The three metrics of one namespace in one registry."""

    def __init__(self, registry: CollectorRegistry, namespace: str, buckets: tuple[float, ...]) -> None:
        from prometheus_client import Counter, Histogram

        labels = ("method", "origin", "template", "outcome")
        self.buckets = buckets
        self._calls = Histogram(
            f"{namespace}_call_seconds",
            "Duration of calls, with retries and waits",
            labels,
            registry=registry,
            buckets=buckets,
        )
        self._sends = Histogram(
            f"{namespace}_send_seconds",
            "Duration of requests on the wire",
            labels,
            registry=registry,
            buckets=buckets,
        )
        self._retries = Counter(
            f"{namespace}_retries", "Attempts after the first", ("origin", "template"), registry=registry
        )
        self._endpoints: set[tuple[str, str]] = set()

    def observe(self, call: Call) -> None:
        """Observe *call*, which has ended."""
        method = call.method if call.method in _METHODS else _OTHER
        origin, template = self._endpoint(call.origin, call.template)
        self._calls.labels(method, origin, template, _outcome(call)).observe(call.answered)
        for send in call.sends:
            where = self._endpoint(send.origin, send.template)
            self._sends.labels(method, *where, _outcome(send)).observe(_seconds(send, call))
        if call.attempts > 1:
            self._retries.labels(origin, template).inc(call.attempts - 1)

    def _endpoint(self, origin: str, template: str | None) -> tuple[str, str]:
        """Return the labels of an endpoint; a client that sends webhooks calls more origins than a registry
        can hold.
        """
        endpoint = (origin, template or "")
        if endpoint not in self._endpoints:
            if len(self._endpoints) >= _MOST_ENDPOINTS:
                return _OTHER, _OTHER
            self._endpoints.add(endpoint)
        return endpoint


def _outcome(record: Call | Send) -> str:
    return record.error or str(record.status or "")


def _seconds(send: Send, call: Call) -> float:
    ended = send.head if call.streamed and send.head is not None else send.ended
    return max(0.0, (call.seconds if ended is None else ended) - send.began)


# Two clients of one process make a sink each, but a registry accepts a name only once.
_metrics: WeakKeyDictionary[CollectorRegistry, dict[str, _Metrics]] = WeakKeyDictionary()
