"""aiohttp's exceptions as errors of this library: every class, the messages, and the omitted details."""

from __future__ import annotations

import asyncio
import copy
import errno
import importlib
import pickle
import pkgutil
import re
import socket
import ssl
import traceback
from collections.abc import Iterator
from http.cookies import CookieError
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest
from aiohttp import http_exceptions
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aioapiclient._request import APIRequest
from aioapiclient._transport.errors import TABLE, ConnectTimeout, GaveUp, PoolTimeout, map_error
from aioapiclient._types import Timeout
from aioapiclient.errors import (
    APIClientError,
    APIConnectionError,
    APIStreamError,
    APITimeoutError,
    ConnectionReason,
    InvalidRequestError,
)

REQUEST = APIRequest(
    "GET",
    URL("http://user:SECRET@api.example.com/things?key=SECRET"),
    headers={"Authorization": "Bearer SECRET"},
    timeout=Timeout(connect=5, read=60, write=60, pool=2, total=None, attempt=None),
    attempt=1,
)
PROXY = URL("http://proxy.example:3128")
KEY = ConnectionKey("api.example.com", 443, True, True, URL("http://user:SECRET@proxy.example"), None, None)
INFO = RequestInfo(
    REQUEST.url, "GET", CIMultiDictProxy(CIMultiDict({"Authorization": "Bearer SECRET"})), REQUEST.url
)


def certificate_error() -> ssl.SSLCertVerificationError:
    """OpenSSL's message about a certificate that it does not trust."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    return error


def tls_error(reason: str) -> ssl.SSLError:
    """OpenSSL's message about a handshake that fails."""
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def caused(error: Exception, cause: BaseException) -> Exception:
    """*error*, raised from *cause*."""
    error.__cause__ = cause
    return error


class Failing(aiohttp.BaseConnector):
    """A connector that fails with an error, created without a loop."""

    def __new__(cls) -> Any:
        return object.__new__(cls)

    def __init__(self) -> None:
        self._closed = True

    def fail(self, error: Exception) -> None:
        """Raise *error*."""
        raise error


def unsent(error: Exception) -> Exception:
    """*error*, as raised while a connection is made."""
    try:
        Failing().fail(error)
    except Exception as raised:
        return raised
    raise AssertionError


def dressed(error: http_exceptions.HttpProcessingError) -> Exception:
    """A protocol error in aiohttp's dress: a response with status 400."""
    plain = http_exceptions.HttpProcessingError(code=error.code, message=error.message)
    plain.__cause__ = error
    return caused(aiohttp.ClientResponseError(INFO, (), status=400, message=error.message), plain)


def connector_error(number: int) -> Exception:
    """An error of aiohttp's connector around one of the system's."""
    return aiohttp.ClientConnectorError(KEY, OSError(number, "said by the system"))


# error -> class, end of the message, sent, final, class of the cause
CONNECTING: dict[str, tuple[Exception, str, bool, type[BaseException] | None]] = {
    "refused": (
        connector_error(errno.ECONNREFUSED),
        "connection refused (ECONNREFUSED)",
        False,
        ConnectionRefusedError,
    ),
    "no route": (connector_error(errno.EHOSTUNREACH), "no route to host (EHOSTUNREACH)", False, OSError),
    "no file": (connector_error(errno.EMFILE), "too many open files (EMFILE)", False, OSError),
    "handshake cut": (
        aiohttp.ClientConnectorError(KEY, ConnectionResetError()),
        "connection reset by peer (ECONNRESET)",
        False,
        ConnectionResetError,
    ),
    "nothing known": (
        aiohttp.ClientConnectorError(KEY, OSError("x")),
        "the connection failed",
        False,
        OSError,
    ),
    "no name": (
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "x")),
        "the name was not resolved (EAI_NONAME)",
        False,
        socket.gaierror,
    ),
    "no name now": (
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_AGAIN, "x")),
        "the name was not resolved (EAI_AGAIN)",
        False,
        socket.gaierror,
    ),
    "no name, by a resolver of its own": (
        aiohttp.ClientConnectorDNSError(KEY, OSError(None, "Could not contact DNS servers")),
        "the name was not resolved",
        False,
        OSError,
    ),
    "certificate": (
        aiohttp.ClientConnectorCertificateError(KEY, certificate_error()),
        "the server's certificate is not accepted (self-signed certificate)",
        True,
        ssl.SSLCertVerificationError,
    ),
    "fingerprint": (
        aiohttp.ServerFingerprintMismatch(b"expected", b"got", "h", 443),
        "the server's certificate is not the pinned one",
        True,
        None,
    ),
    "tls": (
        aiohttp.ClientConnectorSSLError(KEY, tls_error("INTERNAL")),
        "TLS failed (INTERNAL)",
        False,
        ssl.SSLError,
    ),
    "no tls": (
        aiohttp.ClientConnectorSSLError(KEY, tls_error("WRONG_VERSION_NUMBER")),
        "TLS failed (WRONG_VERSION_NUMBER); does the server speak http?",
        True,
        ssl.SSLError,
    ),
    "unix": (
        aiohttp.client_exceptions.UnixClientConnectorError(
            "/socket", KEY, FileNotFoundError(errno.ENOENT, "x")
        ),
        "no such file or directory (ENOENT)",
        False,
        FileNotFoundError,
    ),
    "proxy": (
        aiohttp.ClientProxyConnectionError(KEY, OSError(errno.ECONNREFUSED, "x")),
        "the proxy http://proxy.example:3128: connection refused (ECONNREFUSED)",
        False,
        ConnectionRefusedError,
    ),
    "proxy refuses": (
        aiohttp.ClientHttpProxyError(INFO, (), status=407, message="SECRET"),
        "the proxy http://proxy.example:3128 answered status 407 to CONNECT",
        True,
        None,
    ),
    "proxy is busy": (
        aiohttp.ClientHttpProxyError(INFO, (), status=502, message="SECRET"),
        "the proxy http://proxy.example:3128 answered status 502 to CONNECT",
        False,
        None,
    ),
    "proxy leaves": (
        unsent(aiohttp.ServerDisconnectedError()),
        "the server closed the connection before it had answered",
        False,
        None,
    ),
}


@pytest.mark.parametrize(("error", "reason", "final", "cause"), CONNECTING.values(), ids=CONNECTING.keys())
def test_while_connecting(
    error: Exception, reason: str, final: bool, cause: type[BaseException] | None
) -> None:
    """A failure before the connection is open was not sent, and has its reason."""
    mapped = map_error(error, REQUEST, proxy=PROXY)
    assert type(mapped) is APIConnectionError
    assert str(mapped) == f"GET http://api.example.com/things?...: {reason}"
    assert (mapped.sent, mapped.final, mapped.retries_taken) == (False, final, 1)
    assert mapped.request is REQUEST
    assert (None if mapped.__cause__ is None else type(mapped.__cause__)) is cause


ON_THE_WIRE: dict[str, tuple[Exception, str]] = {
    "reset": (aiohttp.ClientOSError(errno.ECONNRESET, "x"), "connection reset by peer (ECONNRESET)"),
    "pipe": (BrokenPipeError(errno.EPIPE, "x"), "broken pipe (EPIPE)"),
    "timeout of the system": (TimeoutError(errno.ETIMEDOUT, "x"), "connection timed out (ETIMEDOUT)"),
    "no answer": (
        aiohttp.ServerDisconnectedError(),
        "the server closed the connection before it had answered",
    ),
    "half a head": (
        aiohttp.ServerDisconnectedError("<RawResponseMessage headers='SECRET'>"),
        "the server closed the connection before it had answered",
    ),
    "while sending": (
        aiohttp.ClientConnectionResetError("x"),
        "the connection was closed while the request was sent",
    ),
    "truncated": (aiohttp.ClientPayloadError("SECRET"), "the response body was truncated"),
    "incomplete": (asyncio.IncompleteReadError(b"", 1), "the response was truncated"),
    "tls": (tls_error("BAD_RECORD"), "TLS failed (BAD_RECORD)"),
    "closed": (aiohttp.ClientConnectionError("Connection closed"), "the connection was closed"),
    "status line": (
        dressed(http_exceptions.BadStatusLine("SECRET")),
        "the response is not valid HTTP: bad status line",
    ),
    "header": (
        dressed(http_exceptions.InvalidHeader(b"SECRET")),
        "the response is not valid HTTP: bad header",
    ),
    "long line": (
        dressed(http_exceptions.LineTooLong(b"SECRET", 10)),
        "the response is not valid HTTP: a line is too long",
    ),
    "chunk": (
        http_exceptions.TransferEncodingError("SECRET"),
        "the response is not valid HTTP: bad chunk",
    ),
    "many headers": (
        dressed(http_exceptions.BadHttpMessage("Too many headers received")),
        "the response is not valid HTTP: Too many headers received",
    ),
    "llhttp": (
        dressed(http_exceptions.BadHttpMessage("Invalid header token:\n\n  b'SECRET: a'\n     ^")),
        "the response is not valid HTTP: Invalid header token",
    ),
    "words that are not ours": (
        dressed(http_exceptions.BadHttpMessage("SECRET: b'SECRET'")),
        "the response is not valid HTTP: it could not be parsed",
    ),
    "a real 400": (
        aiohttp.ClientResponseError(INFO, (), status=400, message="SECRET"),
        "aiohttp raised ClientResponseError (status 400)",
    ),
    "https on http": (
        dressed(http_exceptions.BadHttpMessage("Expected HTTP/:\n\n  b'\\x15\\x03\\x01'\n    ^")),
        "the response is not valid HTTP: a TLS alert was received; does the server speak https?",
    ),
    "https on http, in pure Python": (
        dressed(http_exceptions.BadStatusLine("\x15\x03\x01")),
        "the response is not valid HTTP: a TLS alert was received; does the server speak https?",
    ),
    "unknown": (aiohttp.ClientError("SECRET"), "aiohttp raised ClientError"),
    "undecodable": (UnicodeDecodeError("utf-8", b"SECRET", 0, 1, "x"), "the response could not be decoded"),
    "recursion": (RecursionError("SECRET"), "aiohttp raised RecursionError"),
    "lookup": (LookupError("SECRET"), "aiohttp raised LookupError"),
    "cookie": (CookieError("SECRET"), "aiohttp raised CookieError"),
    "runtime": (RuntimeError("SECRET"), "aiohttp raised RuntimeError"),
}


@pytest.mark.parametrize(("error", "reason"), ON_THE_WIRE.values(), ids=ON_THE_WIRE.keys())
def test_on_the_wire(error: Exception, reason: str) -> None:
    """A later failure may have been sent, and has its reason without a part of the response."""
    mapped = map_error(error, REQUEST)
    assert type(mapped) is APIConnectionError
    assert str(mapped) == f"GET http://api.example.com/things?...: {reason}"
    assert (mapped.sent, mapped.final) == (None, False)


TIMEOUTS: dict[str, tuple[Exception, str, bool | None]] = {
    "connect": (
        caused(aiohttp.ConnectionTimeoutError("x"), ConnectTimeout()),
        "no connection within 5 s",
        False,
    ),
    "pool": (
        caused(aiohttp.ConnectionTimeoutError("x"), PoolTimeout()),
        "no connection became free within 2 s",
        False,
    ),
    "connect, borrowed": (aiohttp.ConnectionTimeoutError("x"), "no connection within 5 s", False),
    "read": (aiohttp.SocketTimeoutError("x"), "the server sent nothing within 60 s", None),
    "read, bare": (TimeoutError(), "the server sent nothing within 60 s", None),
}


@pytest.mark.parametrize(("error", "reason", "sent"), TIMEOUTS.values(), ids=TIMEOUTS.keys())
def test_timeouts(error: Exception, reason: str, sent: bool | None, request: pytest.FixtureRequest) -> None:
    """An expired limit is an `APITimeoutError` that names it, and is not a `TimeoutError`."""
    phase = request.node.callspec.id.split(",")[0]
    mapped = map_error(error, REQUEST)
    assert isinstance(mapped, APITimeoutError)
    assert str(mapped) == f"GET http://api.example.com/things?...: {reason} ({phase})"
    assert (mapped.phase, mapped.sent) == (phase, sent)
    assert not isinstance(mapped, TimeoutError)


REFUSED = [
    aiohttp.InvalidURL("http://user:SECRET@h"),
    aiohttp.InvalidUrlClientError("http://user:SECRET@h", "is not a canonical IPv4 address"),
    aiohttp.NonHttpUrlClientError("ftp://SECRET"),
    aiohttp.InvalidUrlRedirectClientError("SECRET"),
    ValueError("Cannot combine AUTHORIZATION header with SECRET"),
    UnicodeError("label SECRET too long"),
    UnicodeEncodeError("utf-8", "SECRET", 0, 1, "x"),
]


@pytest.mark.parametrize("error", REFUSED, ids=lambda error: type(error).__name__)
def test_refused(error: Exception) -> None:
    """A request that aiohttp refuses to send is an `InvalidRequestError`."""
    mapped = map_error(error, REQUEST)
    assert type(mapped) is InvalidRequestError
    assert str(mapped).startswith("GET http://api.example.com/things?...: ")
    assert mapped.__cause__ is None


def test_limits_of_others() -> None:
    """A resolver or a connector that fails by itself is not a limit of `Timeout`: no seconds are named."""
    own = [unsent(TimeoutError("SECRET")) for _ in range(2)]
    for error in (
        caused(aiohttp.ConnectionTimeoutError("SECRET"), own[1]),
        caused(GaveUp(), own[0]),
    ):
        mapped = map_error(error, REQUEST)
        assert isinstance(mapped, APITimeoutError)
        assert (mapped.phase, mapped.sent, mapped.reason) == ("connect", False, "timeout")
        assert str(mapped).endswith(
            "?...: no connection: the resolver or the connector timed out itself (connect)"
        )


class Own(Exception):
    """An exception of the user's code."""


FOREIGN: dict[str, tuple[Exception, str, str, bool]] = {
    "its own": (Own("SECRET"), "connector", "the connector raised Own", False),
    "a value": (ValueError("SECRET"), "connector", "the connector raised ValueError", False),
    "a bug": (TypeError("SECRET"), "connector", "the connector raised TypeError", True),
    "refused": (
        ConnectionRefusedError(errno.ECONNREFUSED, "x"),
        "refused",
        "connection refused (ECONNREFUSED)",
        False,
    ),
    "no name": (
        socket.gaierror(socket.EAI_NONAME, "x"),
        "dns",
        "the name was not resolved (EAI_NONAME)",
        False,
    ),
    "the system behind it": (
        caused(Own(), OSError(errno.ENETUNREACH, "x")),
        "unreachable",
        "network is unreachable (ENETUNREACH)",
        False,
    ),
}


@pytest.mark.parametrize(("error", "reason", "text", "final"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_a_connector_raises(error: Exception, reason: str, text: str, final: bool) -> None:
    """Any exception of a connector is an error of the connection that was never sent, with its cause."""
    mapped = map_error(unsent(error), REQUEST)

    assert type(mapped) is APIConnectionError
    assert str(mapped) == f"GET http://api.example.com/things?...: {text}"
    assert (mapped.sent, mapped.reason, mapped.final) == (False, reason, final)
    assert mapped.__cause__ is error


# --- reasons

REASONS: dict[str, str] = {
    "refused": "refused",
    "no route": "unreachable",
    "no file": "system",
    "handshake cut": "reset",
    "nothing known": "other",
    "no name": "dns",
    "no name now": "dns",
    "no name, by a resolver of its own": "dns",
    "certificate": "certificate",
    "fingerprint": "certificate",
    "tls": "tls",
    "no tls": "tls",
    "unix": "system",
    "proxy": "proxy",
    "proxy refuses": "proxy",
    "proxy is busy": "proxy",
    "proxy leaves": "closed",
    "reset": "reset",
    "pipe": "reset",
    "timeout of the system": "timeout",
    "no answer": "closed",
    "half a head": "closed",
    "while sending": "reset",
    "truncated": "truncated",
    "incomplete": "truncated",
    "closed": "closed",
    "status line": "not_http",
    "header": "not_http",
    "long line": "not_http",
    "chunk": "not_http",
    "many headers": "not_http",
    "llhttp": "not_http",
    "https on http": "not_http",
    "https on http, in pure Python": "not_http",
    "words that are not ours": "not_http",
    "undecodable": "not_http",
    "a real 400": "other",
    "unknown": "other",
    "recursion": "other",
    "lookup": "other",
    "cookie": "other",
    "runtime": "other",
    "connect": "timeout",
    "pool": "pool",
    "connect, borrowed": "timeout",
    "read": "timeout",
    "read, bare": "timeout",
}
ERRORS = {name: row[0] for table in (CONNECTING, ON_THE_WIRE, TIMEOUTS) for name, row in table.items()}


@pytest.mark.parametrize("name", ERRORS)
def test_reason(name: str) -> None:
    """Each error of the wire has its reason in one word, and keeps it when it is pickled or copied."""
    mapped: Any = map_error(ERRORS[name], REQUEST, proxy=PROXY)

    assert mapped.reason == REASONS[name]
    assert pickle.loads(pickle.dumps(mapped)).reason == mapped.reason
    assert copy.copy(mapped).reason == mapped.reason


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ECONNREFUSED, "refused"),
        (errno.EHOSTDOWN, "unreachable"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.ENETDOWN, "unreachable"),
        (errno.ENETUNREACH, "unreachable"),
        (errno.ECONNABORTED, "reset"),
        (errno.ECONNRESET, "reset"),
        (errno.ENOTCONN, "reset"),
        (errno.EPIPE, "reset"),
        (errno.ESHUTDOWN, "reset"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.EMFILE, "system"),
    ],
    ids=lambda value: errno.errorcode.get(value, value),
)
def test_a_number_of_the_system_has_its_reason(number: int, reason: str) -> None:
    """An operating system error has one word for programs, and the system's text for people."""
    mapped: Any = map_error(OSError(number, "x"), REQUEST)

    assert mapped.reason == reason
    assert errno.errorcode[number] in str(mapped)


@pytest.mark.parametrize(
    ("kind", "reason", "name"),
    [
        (BrokenPipeError, "reset", "EPIPE"),
        (ConnectionAbortedError, "reset", "ECONNABORTED"),
        (ConnectionRefusedError, "refused", "ECONNREFUSED"),
        (ConnectionResetError, "reset", "ECONNRESET"),
    ],
)
def test_an_error_without_a_number_is_told_by_its_class(kind: type[OSError], reason: str, name: str) -> None:
    """Some errors of asyncio have no number."""
    mapped: Any = map_error(kind("Connection lost"), REQUEST)

    assert mapped.reason == reason
    assert name in str(mapped)


@pytest.mark.parametrize(
    "reason",
    [
        "HTTPS_PROXY_REQUEST",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "UNKNOWN_PROTOCOL",
        "WRONG_VERSION_NUMBER",
    ],
)
def test_an_answer_that_is_not_tls_asks_for_http(reason: str) -> None:
    """Each version of OpenSSL has another text: the message asks whether the server speaks http."""
    mapped = map_error(tls_error(reason), REQUEST)

    assert str(mapped).endswith(f"TLS failed ({reason}); does the server speak http?")


def test_every_row_has_a_reason() -> None:
    """Every row of the table that makes a connection error has a documented reason."""
    rows = {kind: map_error(blank(kind), REQUEST) for kind, _ in TABLE}
    made = {kind: error.reason for kind, error in rows.items() if isinstance(error, APIConnectionError)}

    assert len(made) > 25
    assert set(made.values()) <= set(get_args(ConnectionReason))


def test_reasons_are_documented() -> None:
    """docs/errors.md lists all reasons, in the order of the type, and nothing else."""
    page = (Path(__file__).parents[1] / "docs" / "errors.md").read_text(encoding="utf-8")
    section = page.split("## Why no response arrived")[1].split("\n## ")[0]

    assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == get_args(ConnectionReason)


def test_reasons_of_errors_made_by_hand() -> None:
    """A hand-made error has the reason that it was given, or the one of its phase."""
    assert APIConnectionError().reason == "other"
    assert APIConnectionError(reason="dns").reason == "dns"
    assert APITimeoutError(phase="read").reason == "timeout"
    assert APITimeoutError(phase="pool").reason == "pool"
    assert APIStreamError().reason == "other"


# --- all classes


def aiohttp_exceptions() -> Iterator[type[Exception]]:
    """Every exception class of aiohttp's client side, whatever its module."""
    for module in pkgutil.iter_modules(aiohttp.__path__, "aiohttp."):
        # Servers, their workers and test tools: not part of a client.
        if module.name.startswith(
            ("aiohttp.web", "aiohttp.worker", "aiohttp.test_utils", "aiohttp.pytest_plugin")
        ):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.name:
                yield value
    ssl_errors = (aiohttp.ClientConnectorSSLError, aiohttp.ClientConnectorCertificateError)
    yield from ssl_errors


def test_every_class_is_mapped() -> None:
    """No exception class of this aiohttp is missing from the table."""
    classes = {cls for cls in aiohttp_exceptions() if not issubclass(cls, Warning)}
    assert len(classes) > 40
    missing = [cls for cls in classes if not issubclass(cls, tuple(kind for kind, _ in TABLE))]
    assert missing == []


def test_no_row_is_dead() -> None:
    """A class comes before its base classes, so that every row of the table can match."""
    for index, (kind, _) in enumerate(TABLE):
        assert not [above for above, _ in TABLE[:index] if issubclass(kind, above)], kind


def test_every_row_maps() -> None:
    """Every row makes one of our errors, even from an error without details."""
    for kind, _ in TABLE:
        assert isinstance(map_error(blank(kind), REQUEST), APIClientError), kind


def blank(kind: type[Exception]) -> Exception:
    """An error without details."""
    error = kind.__new__(kind)
    for name in ("status", "message", "history", "request_info"):
        if issubclass(kind, aiohttp.ClientResponseError):
            setattr(error, name, 0)
    if issubclass(kind, aiohttp.ClientConnectorError):
        error.__dict__.update(_os_error=OSError(), _conn_key=KEY, _certificate_error=OSError())
    return error


# --- exceptions of other libraries


@pytest.mark.parametrize(
    "error", [Own(), ValueError("own"), KeyError("own"), TypeError("own"), OSError(5, "own")]
)
def test_error_of_the_user(error: Exception) -> None:
    """An exception of the user's own code is raised unchanged: a bug is not a connection error."""
    with pytest.raises(type(error)) as caught:
        raise error
    assert map_error(caught.value, REQUEST) is error


def test_our_own_error() -> None:
    """An error of this library is raised unchanged."""
    error = APIConnectionError("x")
    assert map_error(error, REQUEST) is error


def test_bug_below() -> None:
    """A `TypeError` is never a connection error, wherever it was raised."""
    error = TypeError("x")
    assert map_error(error, REQUEST) is error


def test_error_from_below() -> None:
    """An error of Python's own that is raised by a library below aiohttp is mapped."""
    with pytest.raises(ValueError, match=r"[Pp]ort") as caught:
        URL("http://h:99999999")
    assert isinstance(map_error(caught.value, REQUEST), InvalidRequestError)


# --- secrets


ALL = [row[0] for table in (CONNECTING, ON_THE_WIRE, TIMEOUTS) for row in table.values()] + REFUSED


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_secrets(error: Exception) -> None:
    """No secret of request, response or proxy is in the message, the traceback, the cause or the pickle."""
    mapped = map_error(error, REQUEST, proxy=PROXY)
    with pytest.raises(APIClientError):
        raise mapped
    shown = "".join(traceback.format_exception(mapped)) + repr(mapped) + repr(vars(mapped))
    assert b"SECRET" not in pickle.dumps(mapped)
    chain: Any = mapped.__cause__
    while chain is not None:
        assert not isinstance(chain, aiohttp.ClientError)
        shown += repr(chain.args)
        chain = chain.__cause__ or chain.__context__
    assert "SECRET" not in shown
