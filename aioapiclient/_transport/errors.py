"""What aiohttp, and what lies under it, raises: as our errors, by one table.

aiohttp's errors hold the request's headers, the proxy's credentials or the URL's query, so none of
them is kept as a cause. What the operating system or TLS said is kept: it names hosts, and no secret.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from http.cookies import CookieError
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import aiohttp
from aiohttp import http_exceptions, http_websocket, payload, streams
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
)

__all__ = ["ConnectTimeout", "PoolTimeout", "SentOnce", "is_from_below", "map_error", "mark_unsent"]


class ConnectTimeout(aiohttp.ConnectionTimeoutError):
    """DNS, TCP and TLS together took longer than ``connect``."""


class PoolTimeout(aiohttp.ConnectionTimeoutError):
    """No connection became free within ``pool``."""


class Failure(NamedTuple):
    """What the makers of our errors are told."""

    error: Any
    request: APIRequest
    proxy: URL | None
    unsent: bool

    def connection(
        self,
        reason: ConnectionReason,
        text: str,
        *,
        sent: Literal[False] | None = None,
        final: bool = False,
    ) -> APIConnectionError:
        """An `APIConnectionError` that says *text*; one while connecting was never sent, whatever it is."""
        return APIConnectionError(
            f"{self.request.label}: {text}",
            reason=reason,
            request=self.request,
            sent=False if self.unsent else sent,
            final=final,
            retries_taken=self.request.attempt,
        )

    def timeout(self, phase: TimeoutPhase, *, sent: Literal[False] | None = None) -> APITimeoutError:
        """An `APITimeoutError` for the limit *phase* of the request."""
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
    """Carries *error* past aiohttp, which would send the request again for it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


Maker: TypeAlias = Callable[[Failure], APIClientError]

_MARK = "_aioapiclient_unsent"


def mark_unsent(error: BaseException) -> None:
    """Note on *error* that it came while a connection was made: nothing of the request was sent."""
    setattr(error, _MARK, True)


def map_error(error: Exception, request: APIRequest, *, proxy: URL | None = None) -> Exception:
    """Our error for *error*, its harmless cause set; *error* itself where it is ours, or the user's own.

    What the user's code raises (an aiohttp middleware, a resolver, a connector) is never changed,
    unless it is one of aiohttp's own classes.
    """
    if isinstance(error, APIClientError):
        return error
    cause = error.__cause__
    failure = Failure(error, request, proxy, hasattr(error, _MARK) or hasattr(cause, _MARK))
    if isinstance(cause, ConnectTimeout | PoolTimeout):
        return _make(cause, failure)
    if not isinstance(error, WIRE_ERRORS) and not is_from_below(error):
        return error
    return _make(error, failure)


def _make(error: Exception, failure: Failure) -> Exception:
    for kind, make in TABLE:
        if isinstance(error, kind):
            mapped = make(failure)
            mapped.__cause__ = _harmless_cause(error)
            return mapped
    return error


def _harmless_cause(error: Exception) -> BaseException | None:
    certificate = getattr(error, "certificate_error", None)
    for candidate in (error, certificate, getattr(error, "os_error", None), error.__cause__):
        if isinstance(candidate, OSError) and not isinstance(candidate, aiohttp.ClientError):
            return candidate
    return None


# --- reasons


def os_reason(error: OSError) -> tuple[ConnectionReason, str]:
    """What the operating system says: in one word, and as text: ``connection refused (ECONNREFUSED)``."""
    cause = getattr(error, "os_error", error)
    # asyncio raises some by their class alone.
    number = cause.errno or next((number for kind, number in _NUMBERS if isinstance(cause, kind)), 0)
    if isinstance(cause, socket.gaierror):
        return "dns", f"the name was not resolved ({_RESOLVER_CODES.get(number, number)})"
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


# getaddrinfo's codes are numbers of their own; on Windows they are those of the sockets.
_RESOLVER_CODES: Final = {
    value: name for name, value in vars(socket).items() if name.startswith("EAI_") and isinstance(value, int)
}

# A different try would meet the same: the two sides have no protocol in common, or one does not speak TLS.
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
    return failure.connection("tls", text, sent=_connecting(failure), final=reason in _FINAL_TLS)


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
    # A refusal stays one; an overloaded proxy may recover.
    final = 400 <= status <= 499 and status not in (408, 429)
    text = f"{failure.via} answered status {status} to CONNECT"
    return failure.connection("proxy", text, sent=False, final=final)


def _no_proxy(failure: Failure) -> APIConnectionError:
    return failure.connection("proxy", f"{failure.via}: {os_reason(failure.error)[1]}", sent=False)


def _unresolved(failure: Failure) -> APIConnectionError:
    reason, text = os_reason(failure.error)
    # Resolvers other than the system's have no number to give.
    return failure.connection("dns", text if reason == "dns" else "the name was not resolved", sent=False)


def _response_error(failure: Failure) -> APIConnectionError:
    error = failure.error
    # aiohttp dresses what is not HTTP as a response with status 400; the parser's own error is its cause.
    if isinstance(error.__cause__, http_exceptions.HttpProcessingError):
        return _not_http(failure, error.__cause__)
    return failure.connection("other", f"aiohttp raised {type(error).__name__} (status {error.status})")


def _not_http(failure: Failure, error: BaseException) -> APIConnectionError:
    return failure.connection("not_http", f"the response is not valid HTTP: {_broken(error)}")


def _broken(error: BaseException) -> str:
    """Say what of the response was broken; never with a piece of it."""
    named = error.__cause__ or error
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
    (http_exceptions.ContentLengthError, "its body is not as long as it says"),
)
# The parsers' own words end at a line's end, or at a colon that a quotation follows in the next line.
_PHRASE: Final = lazily(r"[A-Z][A-Za-z '/,-]{3,60}\.?(?=:?(\n|\Z))")


def _invalid(reason: str) -> Maker:
    return lambda failure: InvalidRequestError(f"{failure.request.label}: {reason}")


def _connection(reason: ConnectionReason, text: str) -> Maker:
    return lambda failure: failure.connection(reason, text)


def _os(failure: Failure) -> APIConnectionError:
    return failure.connection(*os_reason(failure.error))


def _timed_out(failure: Failure) -> APIConnectionError:
    # The system's own timeout is an error of the network; one without a number was a limit of ours.
    return failure.timeout("read") if failure.error.errno is None else _os(failure)


def _unicode(failure: Failure) -> APIClientError:
    if isinstance(failure.error, UnicodeDecodeError):
        return failure.connection("not_http", "the response could not be decoded")
    return InvalidRequestError(f"{failure.request.label}: the host or a header cannot be encoded")


def _other(failure: Failure) -> APIConnectionError:
    return failure.connection("other", f"aiohttp raised {type(failure.error).__name__}")


# The first match counts, so a class stands above those that it derives from.
TABLE: Final[tuple[tuple[type[Exception], Maker], ...]] = (
    (PoolTimeout, lambda failure: failure.timeout("pool", sent=False)),
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
    # What escapes aiohttp from below it.
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

# aiohttp's own classes say where they come from; for Python's, the traceback does.
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


def is_from_below(error: BaseException) -> bool:
    """Whether the innermost frame that *error* came through belongs to aiohttp, or to what it stands on."""
    traceback = error.__traceback__
    if traceback is None:
        return True
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = str(traceback.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in _BELOW
