"""The command line: one call, with its attempts as bars and the response; or the chain, or the call as curl.

It is a program that uses the client, while the rest of this distribution is a plugin of the client.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import msgspec

from aioapiclient import OMIT, AiohttpTransport, AsyncAPIClient, AsyncAPIResponse, BearerAuth
from aioapiclient.contract import APIRequest
from aioapiclient.errors import APIClientError, APIStatusError, InvalidRequestError

from ._curl import curl_command
from ._items import HELP, Items, parse_items
from ._phases import trace_config
from ._record import Call
from ._screen import Screen, safe
from ._timeline import Timeline
from ._waterfall import LEGEND, Part, characters, rows

__all__ = ["main"]

_ORIGIN = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
_EPILOG = """\
Bars and the head of the response go to stderr, the body to stdout. Exit status: 0 success, 2 bad arguments,
3 no response, 4 an error status below 500, 5 a status of 500 or more, 130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = _parser()
    given = parser.parse_intermixed_args(argv)
    try:
        return asyncio.run(_run(given, parse_items(given.items)))
    except ValueError as error:  # InvalidRequestError is a ValueError
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the pipe has closed it; Python would report that again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aioapiclient_timeline",
        description="Make one call, and show the outcome of each attempt.",
        epilog=_EPILOG,
    )
    parser.add_argument("method", metavar="METHOD", type=str.upper)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("items", metavar="ITEM", nargs="*", help=HELP)
    parser.add_argument(
        "--bearer", metavar="NAME", help="send the token in the environment variable NAME, such as API_TOKEN"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds for the whole call (default: 30)"
    )
    parser.add_argument("--retries", type=int, default=2, help="attempts after the first (default: 2)")
    parser.add_argument("--quiet", action="store_true", help="write the body only")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--explain", action="store_true", help="print the chain of the call; send nothing")
    instead.add_argument(
        "--curl",
        action="store_true",
        help="print the call as a curl command, secrets as variables; send nothing",
    )
    return parser


async def _run(given: argparse.Namespace, items: Items) -> int:
    calls: list[Call] = []
    sent: list[APIRequest] = []

    async def capture(request: APIRequest) -> AsyncAPIResponse[Any]:
        sent.append(request)
        return AsyncAPIResponse.from_bytes(request)

    token = _token(given.bearer, is_sent=not (given.curl or given.explain))
    origin = _ORIGIN.match(given.url)
    if origin is None:
        raise InvalidRequestError("URL must start with http:// or https://, and have a host")
    api = AsyncAPIClient(
        origin[0],
        auth=None if token is None else BearerAuth(token),
        timeout=given.timeout,
        max_retries=given.retries,
        middlewares=[Timeline(calls.append)],
        transport=capture if given.curl else AiohttpTransport(trace_configs=[trace_config()]),
    )
    out, err = Screen(sys.stdout), Screen(sys.stderr)
    async with api:
        if given.explain:
            sys.stdout.write(api.explain() + "\n")
            return 0
        response, code = await _call(api, given.method, given.url, items, err)
    if given.curl:
        known = {} if token is None else {given.bearer: token}
        _print_curl(sent[0], items, known, out, err)
        return 0
    if not given.quiet:
        _draw(calls, err)
        if response is not None:
            _print_head(response, err)
    if response is not None:
        _print_body(response, out)
    return code


def _token(name: str | None, *, is_sent: bool) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name)
    if not token and is_sent:
        raise InvalidRequestError(f"--bearer: the environment variable {name} is not set")
    return token or f"value-of-{name}"


async def _call(
    api: AsyncAPIClient, method: str, url: str, items: Items, err: Screen
) -> tuple[AsyncAPIResponse[Any] | None, int]:
    """Make the call; return its response, if there is one, and the exit status."""
    headers: dict[str, Any] = {"Accept": "application/json, */*;q=0.5", **dict.fromkeys(items.omitted, OMIT)}
    for name, value in items.headers.items():
        headers = {known: held for known, held in headers.items() if known.lower() != name.lower()}
        headers[name] = value
    options: dict[str, Any] = {"headers": headers, "params": items.params}
    if items.fields:
        options["json"] = items.fields
    with ExitStack() as files:
        if items.file is not None:
            options["content"] = files.enter_context(items.file.open("rb"))
        try:
            # The keywords are known only at run time, which hides the result's type from type checkers.
            request: Any = api.request
            return await request(method, url, AsyncAPIResponse[bytes], **options), 0
        except APIStatusError as error:
            return error.response, 4 if error.status < 500 else 5
        except InvalidRequestError:
            raise
        except APIClientError as error:
            err.line(Part(type(error).__name__, "bad"), Part(f": {safe(str(error))}", "plain"))
            for note in getattr(error, "__notes__", ()):
                err.line(Part(f"  {safe(note)}", "dim"))
            return None, 3


def _draw(calls: list[Call], err: Screen) -> None:
    for call in calls:
        lines = rows(call, err.width, ascii=err.ascii)
        for line in lines:
            err.line(*line)
        seen = {part.style for line in lines for part in line}
        shown = characters(ascii=err.ascii)
        legend = [
            piece
            for style, text in LEGEND
            if style in seen
            for piece in (Part(shown[style], style), Part(f" {text}  ", "dim"))
        ]
        if legend:
            err.line(Part("   ", "dim"), *legend)


def _print_head(response: AsyncAPIResponse[Any], err: Screen) -> None:
    line = f"HTTP/{response.http_version} {response.status} {safe(response.reason)}".rstrip()
    err.line(Part(line, "good" if response.ok else "bad"))
    for name, value in response.headers.items():
        err.line(Part(f"{safe(name)}: {safe(value)}", "dim"))
    err.line()


def _print_body(response: AsyncAPIResponse[Any], out: Screen) -> None:
    """Write the body: unchanged to a pipe or a file, readable and with control characters escaped to a
    terminal.
    """
    body = response.body
    if not out.is_terminal:
        sys.stdout.flush()
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    elif b"\0" in body:
        kind = safe(response.content_type or "unknown type")
        out.line(Part(f"({len(body)} bytes of {kind}, not text; send them to a file)", "dim"))
    elif body:
        try:
            out.json(body)
        except msgspec.DecodeError:
            out.line(Part(safe(body.decode(errors="replace")), "plain"))


def _print_curl(request: APIRequest, items: Items, known: dict[str, str], out: Screen, err: Screen) -> None:
    command, variables = curl_command(request, file=items.file, known=known)
    sys.stdout.write(command + "\n")
    sys.stdout.flush()
    if variables:
        err.line(Part(f"# set first: {', '.join(variables)}", "dim"))
