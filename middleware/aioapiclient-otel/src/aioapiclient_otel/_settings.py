"""`Settings`: the checked arguments of `OpenTelemetry`, and the instruments created from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, cast

from opentelemetry import context, propagate, trace
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.propagators.textmap import Setter, TextMapPropagator, default_setter

from aioapiclient.contract import APIRequest, check_flag, check_function, check_header_names
from aioapiclient.errors import InvalidRequestError

from ._conventions import BUCKETS, SCHEMA_URL, Target, known_methods, target
from ._failures import Failures

__all__ = ["SUPPRESSED_BY_US", "SUPPRESS_HTTP", "Settings"]

# Private names of the API package. OpenTelemetry's own instrumentors read them too.
SUPPRESS_HTTP: Final[str | None] = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
_SUPPRESS_ALL: Final[str | None] = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None)

SUPPRESSED_BY_US: Final = "aioapiclient.otel"
"""The value of the key below a send: other instrumentations suppress their spans, but a call made there gets
its own."""

# Without an SDK, calls run in an empty context, which is copied only once.
_SUPPRESSED: Final = context.Context({SUPPRESS_HTTP: SUPPRESSED_BY_US} if SUPPRESS_HTTP else {})

# The setter that the propagator uses by default; its type is too narrow for a dict of str.
_SETTER = cast("Setter[dict[str, str]]", default_setter)

_SECRET = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
    }
)


class Settings:
    """The state that both middlewares of one `OpenTelemetry` share; none of it belongs to a single call."""

    def __init__(
        self,
        *,
        tracer_provider: Any,
        meter_provider: Any,
        propagator: Any,
        metrics: bool,
        template: bool,
        foreign: bool,
        request_headers: Iterable[str],
        response_headers: Iterable[str],
        name: Callable[[APIRequest], str] | None,
    ) -> None:
        _check_instance("tracer_provider", tracer_provider, trace.TracerProvider)
        _check_instance("meter_provider", meter_provider, MeterProvider)
        _check_instance("propagator", propagator, TextMapPropagator)
        for flag, value in {"metrics": metrics, "template": template, "foreign": foreign}.items():
            check_flag(flag, value)
        if name is not None:
            check_function("name", name)
        release = _version()
        self.call_tracer = trace.get_tracer("aioapiclient.call", release, tracer_provider, SCHEMA_URL)
        self.send_tracer = trace.get_tracer("aioapiclient.send", release, tracer_provider, SCHEMA_URL)
        self.metrics = metrics
        self.foreign = foreign
        self.request_headers = _header_names("request_headers", request_headers)
        self.response_headers = _header_names("response_headers", response_headers)
        self.key = f"aioapiclient.otel:{id(self):x}"
        """The key of a call's record in ``request.extensions``."""
        self.tracing = Failures("A tracer")
        self.metering = Failures("A meter")
        self._propagation = Failures("The propagator")
        self._naming = Failures("The function name= of OpenTelemetry")
        self._propagator = propagator
        self._template = template
        self._name = name
        self._known = known_methods()
        self._make_instruments(meter_provider, release)

    def _make_instruments(self, provider: MeterProvider | None, release: str) -> None:
        meter = get_meter("aioapiclient.otel", release, provider, SCHEMA_URL)
        self.send_duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self.call_duration = meter.create_histogram(
            "aioapiclient.call.duration",
            "s",
            "Duration of calls, with their retries, waits and redirects.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self.active = meter.create_up_down_counter(
            "http.client.active_requests", "{request}", "Number of active HTTP requests."
        )

    def target(self, request: APIRequest) -> Target:
        """Return the attributes that all sends to the endpoint of *request* share."""
        url = request.url
        template = request.template if self._template else None
        return target(request.method, url.host, url.port, template, self._known)

    def span_name(self, request: APIRequest, default: str) -> str:
        """Return the name of a span of *request*, from the user's function if there is one."""
        if self._name is None:
            return default
        try:
            name: Any = self._name(request)
            if isinstance(name, str):
                return name
            raise TypeError(f"it must return a str, not {type(name).__name__}")
        except Exception as error:
            self._naming.note(error)
            return default

    def inject(self, request: APIRequest, here: context.Context) -> None:
        """Add the trace context to *request*, unless its origin is foreign."""
        carrier: dict[str, str] = {}
        try:
            propagator = self._propagator or propagate.get_global_textmap()
            propagator.inject(carrier, here, _SETTER)
            # Checked last: without an SDK, the propagator adds nothing.
            if carrier and (self.foreign or request.is_trusted(request.trusted_origins)):
                self._put(carrier, request)
        except Exception as error:
            self._propagation.note(error)

    @staticmethod
    def _put(carrier: dict[str, str], request: APIRequest) -> None:
        """Add the propagator's headers to *request*, except those that the call itself sets."""
        own = {name for name in carrier if request.call_sets(name)}
        # If the caller continues a trace by hand, its headers must not be mixed with these.
        if own - {"baggage"}:
            own |= carrier.keys() - {"baggage"}
        if own:
            carrier = {name: value for name, value in carrier.items() if name not in own}
        request.set_headers(carrier)

    @staticmethod
    def around(span: trace.Span, here: context.Context) -> context.Context:
        """Return *here* with *span* as the current span; *here* itself without an SDK."""
        return trace.set_span_in_context(span, here) if span.get_span_context().is_valid else here

    @staticmethod
    def suppressed(here: context.Context) -> context.Context:
        """Return *here* with the key that tells other instrumentations to create no span."""
        if SUPPRESS_HTTP is None:
            return here
        return context.set_value(SUPPRESS_HTTP, SUPPRESSED_BY_US, here) if here else _SUPPRESSED

    @staticmethod
    def is_suppressed(here: context.Context) -> bool:
        """Return whether the running code has suppressed telemetry, as an exporter does."""
        if not here:
            return False
        if _SUPPRESS_ALL is not None and here.get(_SUPPRESS_ALL):
            return True
        asked = None if SUPPRESS_HTTP is None else here.get(SUPPRESS_HTTP)
        return bool(asked) and asked != SUPPRESSED_BY_US


def _check_instance(name: str, value: object, kind: type[Any]) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__} of OpenTelemetry, not {type(value).__name__}")


def _header_names(argument: str, names: object) -> dict[str, str]:
    """Return the span attribute of each header, by header name."""
    side = argument.partition("_")[0]
    found = check_header_names(argument, names)
    if secret := sorted(found & _SECRET):
        raise InvalidRequestError(f"{argument} must not name {secret[0]}: its value is a secret")
    return {name: f"http.{side}.header.{name}" for name in sorted(found)}


def _version() -> str:
    try:
        return version("aioapiclient-otel")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0"
