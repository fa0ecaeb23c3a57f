"""`relay`: a link to a server that is cut, slow or silent, like a network, without the server's knowledge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from yarl import URL

__all__ = ["Relay", "relay"]


class Relay:
    """Passes bytes on in both directions, and counts connections."""

    def __init__(self, target: str, cuts: Iterable[int], delay: float, piece: int) -> None:
        self.url = ""
        self.connections = 0
        self._target = URL(target)
        self._cuts = iter(cuts)
        self._delay = delay
        self._piece = piece
        self._is_up = asyncio.Event()
        self._is_up.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Cut every open connection."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def partition(self) -> None:
        """Stop forwarding without notice: connections stay open, and new ones are accepted."""
        self._is_up.clear()

    def heal(self) -> None:
        """Forward again; bytes in transit are lost, and their connection is cut."""
        self.cut()
        self._is_up.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection: cut it after its number of bytes to the client."""
        self.connections += 1
        whole = asyncio.current_task()
        assert whole is not None
        self._tasks.add(whole)
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection(self._target.host, self._target.port)
            self._open.add(back)
            # The first that ends, ends both.
            async with asyncio.TaskGroup() as group:
                for task in (
                    self._pass(reader, back, None),
                    self._pass(there, writer, next(self._cuts, None)),
                ):
                    own = group.create_task(task)
                    self._tasks.add(own)
                    own.add_done_callback(lambda _: (writer.transport.abort(), back.transport.abort()))
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            self._tasks.discard(whole)
            writer.transport.abort()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None
    ) -> None:
        passed = 0
        with suppress(ConnectionError):
            while data := await source.read(self._piece):
                await asyncio.sleep(self._delay)
                await self._is_up.wait()
                if sink.is_closing():
                    return
                if limit is not None and passed + len(data) > limit:
                    sink.write(data[: limit - passed])
                    await sink.drain()
                    await asyncio.sleep(0.02)  # time for the client to read bytes that a reset would discard
                    return
                passed += len(data)
                sink.write(data)
                await sink.drain()

    async def stop(self) -> None:
        """Cut all connections, and wait until no task runs."""
        self.cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@asynccontextmanager
async def relay(
    target: str, *, cuts: Iterable[int] = (), delay: float = 0.0, piece: int = 1 << 16
) -> AsyncIterator[Relay]:
    """A `Relay` to *target*.

    *cuts* lists the number of bytes to the client after which each connection ends. Bytes are passed on in
    pieces of *piece*, each one *delay* seconds late.
    """
    own = Relay(target, cuts, delay, piece)
    listener = await asyncio.start_server(own.serve, "127.0.0.1", 0)
    own.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield own
    finally:
        listener.close()
        await own.stop()
        await listener.wait_closed()
        await asyncio.sleep(0)
