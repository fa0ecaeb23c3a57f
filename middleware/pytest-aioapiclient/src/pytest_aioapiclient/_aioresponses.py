"""`mended_aioresponses`: lets aioresponses 0.7.9 work with each aiohttp from 3.12 on."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import aiohttp

if TYPE_CHECKING:
    from aioresponses import aioresponses

__all__ = ["mended_aioresponses"]

_LONGEST_BODY = 1 << 30  # bytes


class _NoWriter:
    """The part of aiohttp's request writer that a response needs."""

    output_size = 0


@contextmanager
def mended_aioresponses() -> Generator[type[aioresponses], None, None]:
    """Let aioresponses work within the block, however it is used there, and yield its class.

    aiohttp 3.14 creates a response only with the writer of its request, which a mock does not have
    (aioresponses#289). A body over 128 KiB would pause a connection, which it does not have either.
    """
    import aioresponses.core as core

    made = aiohttp.ClientResponse.__init__

    def make(response: aiohttp.ClientResponse, *args: Any, **options: Any) -> None:
        options.setdefault("stream_writer", _NoWriter())
        made(response, *args, **options)

    needs_writer = "stream_writer" in inspect.signature(made).parameters
    with (
        # The class itself is patched, since callbacks and response_class= may name a subclass.
        mock.patch.object(aiohttp.ClientResponse, "__init__", make if needs_writer else made),
        mock.patch.object(core, "stream_reader_factory", _unlimited_reader),
    ):
        yield core.aioresponses


def _unlimited_reader(loop: asyncio.AbstractEventLoop) -> aiohttp.StreamReader:
    from aiohttp.client_proto import ResponseHandler

    return aiohttp.StreamReader(ResponseHandler(loop=loop), limit=_LONGEST_BODY, loop=loop)
