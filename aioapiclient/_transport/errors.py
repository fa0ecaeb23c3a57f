"""Maps the errors of aiohttp, and of the layers below it, to our errors with one table.

aiohttp's errors may contain the request's headers, the proxy's credentials or the URL's query, so they do not
become causes. The errors of the operating system and of TLS do: they name hosts and contain no secrets.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from http.cookies import CookieError
from types import FrameType
from typing import Any, Final, Literal, TypeAlias

import aiohttp
import msgspec
from aiohttp import http_exceptions, http_websocket, payload, streams, tracing
from yarl import URL

from aioapiclient._patterns import lazily
from aioapiclient._request import APIRequest
from aioapiclient._url.base import redact_url
from aioapiclient.errors import (
    APIClientError,
    APIConnectionError,
    APITimeoutError,
    ConnectionReason,
    InvalidRequestError,
    TimeoutPhase,
    printable,
)

__all__ = ["ConnectTimeout", "GaveUp", "PoolTimeout", "SentOnce", "is_from_below", "is_mocked", "map_error"]


class ConnectTimeout(aiohttp.ConnectionTimeoutError):
    """DNS, TCP and TLS together took longer than ``connect``."""


class PoolTimeout(aiohttp.ConnectionTimeoutError):
    """No connection became free within ``pool``."""


class GaveUp(aiohttp.ClientConnectionError):
    """A resolver or a connector reached its own time limit, which is the cause."""


class Failure(msgspec.Struct, frozen=True):
    """The arguments of the functions that create our errors."""

    error: Any
    """The error of aiohttp or of a layer below it."""
    request: APIRequest
    """The request that failed."""
    proxy: URL | None
    """The proxy that was used, if any."""
    unsent: bool
    """Whether the error occurred while connecting, so that nothing of the request was sent."""

    def connection(
        self,
        reason: ConnectionReason,
        text: str,
        *,
        sent: Literal[False] | None = None,
        final: bool = False,
    ) -> APIConnectionError:
        """Return an `APIConnectionError` with *text*; ``sent`` is False for any error while connecting."""
        return APIConnectionError(
            f"{self.request.label}: {text}",
            reason=reason,
            request=self.request,
            sent=False if self.unsent else sent,
            final=final,
            retries_taken=self.request.attempt,
        )

    def timeout(self, phase: TimeoutPhase, *, sent: Literal[False] | None = None) -> APITimeoutError:
        """Return an `APITimeoutError` for the limit *phase* of the request."""
        seconds = getattr(self.request.timeout, phase)
        within = f" within {seconds:g} s" if isinstance(seconds, int | float) else ""
        return APITimeoutError(
            f"{self.request.label}: {_AWAITED[phase]}{within} ({phase})",
            phase=phase,
            request=self.request,
            sent=sent,
            retries_taken=self.request.attempt,
        )

    @property
    def via(self) -> str:
        """The proxy for messages, without its credentials."""
        return "the proxy" if self.proxy is None else f"the proxy {redact_url(self.proxy)}"


_AWAITED: Final[dict[str, str]] = {
    "connect": "no connection",
    "pool": "no connection became free",
    "read": "the server sent nothing",
}


class SentOnce(aiohttp.ClientConnectionError):
    """Wraps *error*, for which aiohttp would otherwise send the request again."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


Maker: TypeAlias = Callable[[Failure], APIClientError]


def map_error(
    error: Exception, request: APIRequest, *, proxy: URL | None = None, mocked: bool = False
) -> Exception:
    """Return our error for *error*, with a harmless cause; or *error* itself if it is ours or the user's.

    An exception of the user's aiohttp middleware is kept, unless its class belongs to aiohttp. An exception
    of a connector or a resolver is always treated as a connection error. So is a network error that did not
    pass through aiohttp, if the request was *mocked*.
    """
    if isinstance(error, APIClientError):
        return error
    cause = error.__cause__
    unsent = _was_connecting(error) or _was_connecting(cause)
    is_foreign = not isinstance(error, WIRE_ERRORS) and not is_from_below(error)
    failure = Failure(error, request, proxy, unsent)
    if isinstance(cause, ConnectTimeout | PoolTimeout):
        return _make(cause, failure)
    if isinstance(error, aiohttp.ConnectionTimeoutError) and _is_limit_of_others(cause):
        return _caused(_gave_up(failure), error)
    if is_foreign and unsent:
        return _caused(_foreign(failure), error, error)
    if is_foreign and not (mocked and isinstance(error, OSError)):
        return error
    if mocked and str(error).startswith(_NO_MOCK):
        # The message of aioresponses, without the values of the query.
        return failure.connection("refused", f"{_NO_MOCK} {request.label}")
    return _make(error, failure)


_NO_MOCK: Final = "Connection refused:"


def _make(error: Exception, failure: Failure) -> Exception:
    for kind, make in TABLE:
        if isinstance(error, kind):
            return _caused(make(failure), error)
    return error


def _caused(mapped: Exception, error: Exception, cause: BaseException | None = None) -> Exception:
    mapped.__cause__ = cause or _harmless_cause(error)
    return mapped


def _harmless_cause(error: Exception) -> BaseException | None:
    certificate = getattr(error, "certificate_error", None)
    for candidate in (error, certificate, getattr(error, "os_error", None), error.__cause__):
        if isinstance(candidate, OSError) and not isinstance(candidate, aiohttp.ClientError):
            return candidate
    return None


# --- the origin of an error, by its traceback


def _frames(error: BaseException | None) -> Iterator[FrameType]:
    traceback = None if error is None else error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def is_from_below(error: BaseException) -> bool:
    """Return whether the innermost frame of *error* belongs to aiohttp or to a layer below it."""
    innermost = None
    for innermost in _frames(error):  # noqa: B007 - only the last one is needed
        pass
    return innermost is None or _package(innermost) in _BELOW


def _was_connecting(error: BaseException | None) -> bool:
    """Return whether a connector raised *error*, or a resolver, a socket factory or TLS that it called.

    The user's trace configs are called from there too, but do not count.
    """
    callers = [frame.f_locals.get("self") for frame in _frames(error)]
    if any(isinstance(caller, tracing.Trace) for caller in callers):
        return False
    return any(isinstance(caller, aiohttp.BaseConnector) for caller in callers)


def is_mocked(error: BaseException) -> bool:
    """Return whether no frame of *error* belongs to aiohttp or to a layer below it."""
    packages = [_package(frame) for frame in _frames(error)]
    return bool(packages) and _BELOW.isdisjoint(packages)


def _is_limit_of_others(error: BaseException | None) -> bool:
    return isinstance(error, TimeoutError) and not is_from_below(error)


# --- reasons


def os_reason(error: OSError) -> tuple[ConnectionReason, str]:
    """Return the reason of the operating system, and its text: ``connection refused (ECONNREFUSED)``."""
    cause = getattr(error, "os_error", error)
    # asyncio raises some of them without a number.
    number = cause.errno or next((number for kind, number in _NUMBERS if isinstance(cause, kind)), 0)
    if isinstance(cause, socket.gaierror):
        return "dns", f"the name was not resolved ({_resolver_code(number)})"
    if number in errno.errorcode:
        text = f"{os.strerror(number).lower()} ({errno.errorcode[number]})"
        return _BY_NUMBER.get(number, "system"), text
    return "other", "the connection failed"


_BY_NUMBER: Final[dict[int, ConnectionReason]] = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTDOWN: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ECONNABORTED: "reset",
    errno.ECONNRESET: "reset",
    errno.ENOTCONN: "reset",
    errno.EPIPE: "reset",
    errno.ESHUTDOWN: "reset",
    errno.ETIMEDOUT: "timeout",
}

_NUMBERS: Final = (
    (BrokenPipeError, errno.EPIPE),
    (ConnectionAbortedError, errno.ECONNABORTED),
    (ConnectionRefusedError, errno.ECONNREFUSED),
    (ConnectionResetError, errno.ECONNRESET),
)


def _resolver_code(number: int) -> str | int:
    """Return the name of a code of getaddrinfo, which has its own; on Windows they are socket error codes."""
    names = (name for name, value in vars(socket).items() if name.startswith("EAI_") and value == number)
    return next(names, number)


# Reasons after which a retry cannot succeed: the two sides share no protocol, or one does not speak TLS.
_FINAL_TLS: Final = frozenset(
    {
        "HTTP_REQUEST",
        "NO_PROTOCOLS_AVAILABLE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "UNSUPPORTED_PROTOCOL",
        "WRONG_VERSION_NUMBER",
    }
)


def _tls(failure: Failure) -> APIConnectionError:
    error = getattr(failure.error, "os_error", failure.error)
    reason = getattr(error, "reason", None) or "no reason given"
    text = f"TLS failed ({reason})"
    if reason in _NOT_TLS:
        text += "; does the server speak http?"
    return failure.connection("tls", text, sent=_connecting(failure), final=reason in _FINAL_TLS)


# The reasons that versions of OpenSSL give for a response that is not TLS.
_NOT_TLS: Final = frozenset(
    {
        "HTTPS_PROXY_REQUEST",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "UNKNOWN_PROTOCOL",
        "WRONG_VERSION_NUMBER",
    }
)


def _connecting(failure: Failure) -> Literal[False] | None:
    return False if isinstance(failure.error, aiohttp.ClientConnectorError) else None


def _certificate(failure: Failure) -> APIConnectionError:
    error = getattr(failure.error, "certificate_error", failure.error)
    reason = getattr(error, "verify_message", None) or "no reason given"
    return failure.connection(
        "certificate",
        f"the server's certificate is not accepted ({reason.rstrip('.')})",
        sent=_connecting(failure),
        final=True,
    )


def _proxy_answer(failure: Failure) -> APIConnectionError:
    status = failure.error.status
    # A refusal is final; an overloaded proxy may recover.
    final = 400 <= status <= 499 and status not in (408, 429)
    text = f"{failure.via} answered status {status} to CONNECT"
    return failure.connection("proxy", text, sent=False, final=final)


def _no_proxy(failure: Failure) -> APIConnectionError:
    return failure.connection("proxy", f"{failure.via}: {os_reason(failure.error)[1]}", sent=False)


def _unresolved(failure: Failure) -> APIConnectionError:
    reason, text = os_reason(failure.error)
    # Errors of resolvers other than the system's have no number.
    return failure.connection("dns", text if reason == "dns" else "the name was not resolved", sent=False)


def _response_error(failure: Failure) -> APIConnectionError:
    error = failure.error
    # aiohttp reports invalid HTTP as a response with status 400; the parser's error is its cause.
    if isinstance(error.__cause__, http_exceptions.HttpProcessingError):
        return _not_http(failure, error.__cause__)
    return failure.connection("other", f"aiohttp raised {type(error).__name__} (status {error.status})")


def _not_http(failure: Failure, error: BaseException) -> APIConnectionError:
    return failure.connection("not_http", f"the response is not valid HTTP: {_broken(error)}")


def _broken(error: BaseException) -> str:
    """Return a description of what is invalid in the response, without quoting it."""
    named = error.__cause__ or error
    if "\\x15\\x03" in str(getattr(named, "message", "")):  # as quoted by the parsers (RFC 8446 §5.1)
        return "a TLS alert was received; does the server speak https?"
    for kind, reason in _BROKEN:
        if isinstance(named, kind):
            return reason
    phrase = _PHRASE.match(str(getattr(error, "message", "")))
    return phrase[0].removesuffix(".") if phrase else "it could not be parsed"


_BROKEN: Final[tuple[tuple[type[Exception], str], ...]] = (
    (http_exceptions.LineTooLong, "a line is too long"),
    (http_exceptions.BadStatusLine, "bad status line"),
    (http_exceptions.InvalidHeader, "bad header"),
    (http_exceptions.TransferEncodingError, "bad chunk"),
    (http_exceptions.ContentLengthError, "its body does not have the declared length"),
)
# The parsers' message ends at the line end, or at a colon before a quotation on the next line.
_PHRASE: Final = lazily(r"[A-Z][A-Za-z '/,-]{3,60}\.?(?=:?(\n|\Z))")


def _gave_up(failure: Failure) -> APIConnectionError:
    return APITimeoutError(
        f"{failure.request.label}: no connection: the resolver or the connector timed out itself (connect)",
        phase="connect",
        request=failure.request,
        sent=False,
        retries_taken=failure.request.attempt,
    )


def _foreign(failure: Failure) -> APIConnectionError:
    """Return the error for an exception of the user's connector or resolver."""
    error = failure.error
    # A retry cannot fix a bug.
    final = isinstance(error, _BUGS) or getattr(error, "final", False) is True
    if type(error).__module__.partition(".")[0] in _SOCKS:
        reason, text = _system_reason(error)
        text = printable(str(error)) if reason == "other" else text
        return failure.connection("proxy", f"the SOCKS proxy: {text}")
    reason, text = _system_reason(error)
    if reason == "other":
        reason, text = "connector", f"the connector raised {type(error).__name__}"
    return failure.connection(reason, text, final=final)


_SOCKS: Final = frozenset({"aiohttp_socks", "python_socks"})
_BUGS: Final = (AssertionError, AttributeError, ImportError, NameError, NotImplementedError, TypeError)


def _system_reason(error: BaseException | None) -> tuple[ConnectionReason, str]:
    """Return the reason of the operating system among the causes of *error*, if any."""
    while error is not None:
        if isinstance(error, OSError):
            reason, text = os_reason(error)
            if reason != "other":
                return reason, text
        error = error.__cause__
    return "other", "the connection failed"


def _invalid(reason: str) -> Maker:
    return lambda failure: InvalidRequestError(f"{failure.request.label}: {reason}")


def _connection(reason: ConnectionReason, text: str) -> Maker:
    return lambda failure: failure.connection(reason, text)


def _os(failure: Failure) -> APIConnectionError:
    return failure.connection(*os_reason(failure.error))


def _timed_out(failure: Failure) -> APIConnectionError:
    # A timeout of the system is a network error; a timeout without a number comes from our own limit.
    return failure.timeout("read") if failure.error.errno is None else _os(failure)


def _unicode(failure: Failure) -> APIClientError:
    if isinstance(failure.error, UnicodeDecodeError):
        return failure.connection("not_http", "the response could not be decoded")
    return InvalidRequestError(f"{failure.request.label}: the host or a header cannot be encoded")


def _other(failure: Failure) -> APIConnectionError:
    return failure.connection("other", f"aiohttp raised {type(failure.error).__name__}")


# The first match applies, so a class precedes its base classes.
TABLE: Final[tuple[tuple[type[Exception], Maker], ...]] = (
    (PoolTimeout, lambda failure: failure.timeout("pool", sent=False)),
    (GaveUp, _gave_up),
    (aiohttp.ConnectionTimeoutError, lambda failure: failure.timeout("connect", sent=False)),
    (aiohttp.ClientConnectorCertificateError, _certificate),
    (aiohttp.ClientConnectorSSLError, _tls),
    (
        aiohttp.ServerFingerprintMismatch,
        lambda failure: failure.connection(
            "certificate", "the server's certificate is not the pinned one", sent=False, final=True
        ),
    ),
    (aiohttp.ClientProxyConnectionError, _no_proxy),
    (aiohttp.ClientConnectorDNSError, _unresolved),
    (aiohttp.ClientConnectorError, lambda failure: failure.connection(*os_reason(failure.error), sent=False)),
    (aiohttp.ClientHttpProxyError, _proxy_answer),
    (aiohttp.ServerTimeoutError, lambda failure: failure.timeout("read")),
    (
        aiohttp.ServerDisconnectedError,
        _connection("closed", "the server closed the connection before it had answered"),
    ),
    (
        aiohttp.ClientConnectionResetError,
        _connection("reset", "the connection was closed while the request was sent"),
    ),
    (aiohttp.ClientOSError, _os),
    (aiohttp.ClientPayloadError, _connection("truncated", "the response body was truncated")),
    (aiohttp.ClientResponseError, _response_error),
    (aiohttp.InvalidURL, _invalid("aiohttp refuses the URL")),
    (aiohttp.NonHttpUrlClientError, _invalid("the URL is neither http nor https")),
    (aiohttp.ClientConnectionError, _connection("closed", "the connection was closed")),
    (aiohttp.ClientError, _other),
    (http_exceptions.HttpProcessingError, lambda failure: _not_http(failure, failure.error)),
    (http_websocket.WebSocketError, _other),
    (aiohttp.WSMessageTypeError, _other),
    (payload.LookupError, _other),
    (streams.EofStream, _other),
    # Exceptions of the layers below aiohttp that it does not wrap.
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (TimeoutError, _timed_out),
    (OSError, _os),
    (EOFError, _connection("truncated", "the response was truncated")),
    (UnicodeError, _unicode),
    (CookieError, _other),
    (RecursionError, _other),
    (ValueError, _invalid("aiohttp refuses the request")),
    (LookupError, _other),
    (RuntimeError, _other),
    (asyncio.InvalidStateError, _other),
)

# Only aiohttp raises its own classes; for Python's classes, the traceback decides.
WIRE_ERRORS: Final = tuple(kind for kind, _ in TABLE if kind.__module__.startswith("aiohttp"))
_BELOW: Final = frozenset(
    {
        "aiodns",
        "aiohappyeyeballs",
        "aiohttp",
        "asyncio",
        "concurrent",
        "encodings",
        "http",
        "idna",
        "multidict",
        "pycares",
        "socket",
        "ssl",
        "uvloop",
        "yarl",
    }
)
