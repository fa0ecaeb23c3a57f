"""`FixtureCassette`: a cassette that records over the network, and is saved at the end of its test."""

from __future__ import annotations

from aioapiclient import AiohttpTransport
from aioapiclient.contract import Handler

from ._cassette import Cassette

__all__ = ["FixtureCassette"]


class FixtureCassette(Cassette):
    """A cassette that ends with its test: closing the client neither saves nor ends it."""

    _hint = "pytest --record=new"

    async def close(self) -> None:
        """End open streams, and close the connections."""
        await self._end_streams()
        inner, self.inner = self.inner, None
        if isinstance(inner, AiohttpTransport):
            await inner.close()

    def _inner_transport(self) -> Handler:
        if self.inner is None:
            self.inner = AiohttpTransport()
        return self.inner
