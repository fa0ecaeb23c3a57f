"""mcp-proxy: the answers of mcp-server-time arrive as server-sent events, on a stream that stays open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from helpers import Client

from aioapiclient import AsyncAPIResponse, BadRequestError, ClientClosedError, Timeout
from aioapiclient.streaming import ServerSentEvent


class Answer(msgspec.Struct):
    jsonrpc: str
    id: int
    result: dict[str, Any]


HELLO = {
    "protocolVersion": "2025-03-26",
    "capabilities": {},
    "clientInfo": {"name": "aioapiclient", "version": "0"},
}


def message(method: str, number: int | None = None, **params: Any) -> dict[str, Any]:
    """A JSON-RPC message; a request with *number*, a notification without."""
    identity = {} if number is None else {"id": number}
    return {"jsonrpc": "2.0", "method": method, "params": params, **identity}


@pytest.fixture
async def mcp(mcp_proxy: str) -> AsyncIterator[Client]:
    """A client of the mcp-proxy."""
    async with Client(mcp_proxy, timeout=Timeout(read=10)) as client:
        yield client


async def next_answer(events: AsyncIterator[ServerSentEvent]) -> Answer:
    """Return the next message, skipping empty events."""
    async for event in events:
        if event.event == "message":
            return msgspec.json.decode(event.data, type=Answer)
    raise AssertionError("the stream ended")


async def test_a_conversation_over_a_stream(mcp: Client) -> None:
    """A question sent by POST is answered on the stream, event by event, while the stream is open."""
    async with mcp.stream("GET", "/sse") as stream:
        events = stream.events()
        first = await anext(events)
        await mcp.post(first.data, None, json=message("initialize", 1, **HELLO))
        hello = await next_answer(events)
        await mcp.post(first.data, None, json=message("notifications/initialized"))
        await mcp.post(first.data, None, json=message("tools/list", 2))
        tools = await next_answer(events)
        call = message("tools/call", 3, name="get_current_time", arguments={"timezone": "UTC"})
        await mcp.post(first.data, None, json=call)
        time = await next_answer(events)

    assert first.event == "endpoint"
    assert first.data.startswith("/messages/?session_id=")
    assert hello.result["serverInfo"]["name"] == "mcp-time"
    assert {tool["name"] for tool in tools.result["tools"]} == {"convert_time", "get_current_time"}
    assert '"timezone": "UTC"' in time.result["content"][0]["text"]


async def test_streams_side_by_side(mcp: Client) -> None:
    """Two streams of one client are two sessions, each with separate answers."""
    async with mcp.stream("GET", "/sse") as one, mcp.stream("GET", "/sse") as other:
        streams = [one.events(), other.events()]
        paths = [(await anext(events)).data for events in streams]
        for number, path in enumerate(paths):
            await mcp.post(path, None, json=message("initialize", number, **HELLO))
        answers = [await next_answer(events) for events in streams]

    assert paths[0] != paths[1]
    assert [answer.id for answer in answers] == [0, 1]


async def test_a_closed_client_ends_its_streams(mcp: Client) -> None:
    """Closing the client ends a stream that waits for an event."""
    async with mcp.stream("GET", "/sse") as stream:
        events = stream.events()
        await anext(events)
        await mcp.close()
        with pytest.raises(ClientClosedError):
            await anext(events)


async def test_a_conversation_call_by_call(mcp: Client) -> None:
    """The same server by its newer transport: one typed answer a call, a session in a header."""
    accept = {"Accept": "application/json, text/event-stream"}

    response = await mcp.post(
        "/mcp", AsyncAPIResponse[Answer], json=message("initialize", 1, **HELLO), headers=accept
    )
    session = {**accept, "Mcp-Session-Id": response.headers["Mcp-Session-Id"]}
    await mcp.post("/mcp", None, json=message("notifications/initialized"), headers=session)
    tools = await mcp.post("/mcp", Answer, json=message("tools/list", 2), headers=session)

    assert tools.id == 2
    assert len(tools.result["tools"]) == 2


async def test_a_session_that_is_none(mcp: Client) -> None:
    """A message to no session is a bad request."""
    with pytest.raises(BadRequestError):
        await mcp.post("/messages/", None, params={"session_id": "none"}, json=message("tools/list", 1))
