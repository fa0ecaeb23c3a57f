"""The head of the response is not HTTP, or is barely HTTP."""

from __future__ import annotations

from faults.places import once, raw
from faults.rows import Ends, Fault, gives, raises
from faults.usual import both
from servers import close, ok, respond, response

from aioapiclient import APIConnectionError, InternalServerError

__all__ = ["FAULTS"]


def no_http(message: str = "") -> dict[str, Ends]:
    """Not HTTP, on every attempt: lost after sending, and no connection is reused."""
    return {
        "GET": raises(APIConnectionError, message, sent=None, requests=3, connections=3),
        "POST": raises(APIConnectionError, message, sent=None, requests=1, connections=1),
    }


def head(*lines: bytes) -> bytes:
    """A 200 with these lines in its head, and ``{}``."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Type: application/json", *lines, b"", b"{}"])


LENGTH = b"Content-Length: 2"
SETTINGS = bytes.fromhex("000012 04 00 00000000 000300000080 000400010000 000500ffffff")
LATIN_1 = "X-Name: é".encode("latin-1")
LENGTHS = {
    "two different Content-Lengths": (b"Content-Length: 2", b"Content-Length: 3"),
    "a negative Content-Length": (b"Content-Length: -2",),
    "a Content-Length that is not a number": (b"Content-Length: two",),
    "an empty Content-Length": (b"Content-Length:",),
}

FAULTS: list[Fault] = [
    Fault(
        43,
        "an invalid status line, once",
        raw(once(respond(b"garbage\r\n\r\n"))),
        {
            "GET": gives({}, requests=2, connections=2),
            "POST": raises(APIConnectionError, "not valid HTTP", sent=None),
        },
    ),
    Fault(
        43,
        "an invalid status line, always",
        raw(respond(b"garbage\r\n\r\n")),
        no_http("not valid HTTP"),
    ),
    Fault(44, "HTTP/0.9: a body without a head", raw(close(b"<html>hello</html>\r\n")), no_http()),
    Fault(44, "a server that answers in HTTP/2", raw(close(SETTINGS)), no_http()),
    Fault(45, "status 99", raw(respond(response("99 Early"))), no_http("not valid HTTP")),
    Fault(
        45,
        "status 999",
        raw(respond(response("999 Request denied"))),
        {
            "GET": raises(InternalServerError, status=999, requests=3),
            "POST": raises(InternalServerError, status=999),
        },
        note="an invalid status counts as a 5XX, RFC 9110 §15",
    ),
    Fault(46, "a header of 20 kB", raw(respond(ok(Link="x" * 20_000))), both(gives({}))),
    Fault(46, "a header of 70 kB", raw(respond(ok(Link="x" * 70_000))), no_http("a line is too long")),
    Fault(
        47,
        "200 headers",
        raw(respond(ok(**{f"X_{number}": "x" for number in range(200)}))),
        no_http("not valid HTTP"),
    ),
    Fault(48, "NUL in a header", raw(respond(ok(X_Name="a\0b"))), no_http("not valid HTTP")),
    *(
        Fault(49, name, raw(respond(head(*lengths))), no_http("not valid HTTP"))
        for name, lengths in LENGTHS.items()
    ),
    Fault(
        50,
        "a Content-Length and chunked",
        raw(respond(head(LENGTH, b"Transfer-Encoding: chunked") + b"\r\n0\r\n\r\n")),
        no_http("not valid HTTP"),
    ),
    Fault(51, "a folded header", raw(respond(head(LENGTH, b"X-Long: one", b" two"))), both(gives({}))),
    Fault(51, "lines that end with a bare LF", raw(respond(ok().replace(b"\r\n", b"\n"))), both(gives({}))),
    Fault(51, "a header in latin-1", raw(respond(head(LENGTH, LATIN_1))), both(gives({}))),
]
