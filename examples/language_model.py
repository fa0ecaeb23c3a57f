"""A small complete SDK for a language-model API, with its server: streams, pages, errors, raw responses.

::

    python examples/language_model.py

The model is a parrot: it repeats its input.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, Unpack, assert_type

import msgspec
from aiohttp import web

from aioapiclient import (
    OMIT,
    APIKeyAuth,
    APIStatusError,
    APIStreamError,
    AsyncAPIClient,
    AsyncAPIResource,
    AsyncAPIResponse,
    AsyncPaginator,
    AsyncStream,
    AuthenticationError,
    CallOptions,
    CursorPage,
    Handler,
    InternalServerError,
    Omit,
    RetryPolicy,
    raw_response,
)
from aioapiclient.streaming import ServerSentEvent

T = TypeVar("T")

# --- the objects on the wire


class Turn(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str


class Usage(msgspec.Struct):
    output_tokens: int


class Message(msgspec.Struct):
    id: str
    model: str
    content: str
    usage: Usage


class Model(msgspec.Struct):
    id: str


class MessageStart(msgspec.Struct, tag="message_start"):
    id: str
    model: str


class TextDelta(msgspec.Struct, tag="text_delta"):
    text: str


class MessageStop(msgspec.Struct, tag="message_stop"):
    usage: Usage


MessageEvent: TypeAlias = MessageStart | TextDelta | MessageStop


class ParrotPage(CursorPage[T]):
    """The last item's id is the cursor."""

    last_id: str | None = None

    cursor_field: ClassVar[str] = "last_id"
    cursor_param: ClassVar[str] = "after_id"


# --- the SDK


class OverloadedError(InternalServerError):
    """529, or an ``overloaded_error`` in the middle of a stream."""

    default_status = 529


class Messages(AsyncAPIResource["Parrot"]):
    """Creates messages, complete or as a stream."""

    async def create(
        self,
        *,
        model: str,
        messages: Iterable[Turn],
        max_tokens: int | Omit = OMIT,
        **options: Unpack[CallOptions],
    ) -> Message:
        """Return the complete message."""
        body = {"model": model, "messages": messages, "max_tokens": max_tokens}
        return await self._client.post("/messages", Message, json=body, options=options)

    def stream(
        self,
        *,
        model: str,
        messages: Iterable[Turn],
        max_tokens: int | Omit = OMIT,
        **options: Unpack[CallOptions],
    ) -> AbstractAsyncContextManager[AsyncStream[MessageEvent]]:
        """Stream the message: use ``async with``, and ``async for`` in it."""
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, "stream": True}
        return self._client.stream("POST", "/messages", MessageEvent, json=body, options=options)


class Models(AsyncAPIResource["Parrot"]):
    """The available models."""

    def list(
        self, *, page_size: int | Omit = OMIT, **options: Unpack[CallOptions]
    ) -> AsyncPaginator[Model, ParrotPage[Model]]:
        """List all models: ``async for`` yields models, ``await`` returns the first page."""
        params = {"limit": page_size}
        return self._client.get_api_list("/models", Model, ParrotPage, params=params, options=options)


class Parrot(AsyncAPIClient):
    """The API of a parrot."""

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = "https://parrot.example.com/v1",
        transport: Handler | None = None,
    ) -> None:
        super().__init__(
            base_url,
            version="0.1.0",
            auth=APIKeyAuth(api_key, header="X-Api-Key"),
            # An overloaded server has not processed the request, so a POST may be retried too.
            retry=RetryPolicy(retry_unsafe={529}),
            transport=transport,
        )

    @property
    def messages(self) -> Messages:
        """Answers. A plain property, so that the messages of a view belong to the view."""
        return Messages(self)

    @property
    def models(self) -> Models:
        """The available models."""
        return Models(self)

    @property
    def default_headers(self) -> Mapping[str, str | Omit]:
        """The version of the API that this SDK was written for, and the user's own headers."""
        return {"Parrot-Version": "2026-11-01", **super().default_headers}

    def _make_status_error(self, response: AsyncAPIResponse[Any], body: Any, /) -> APIStatusError:
        if response.status == OverloadedError.default_status:
            return OverloadedError.from_response(response, body)
        return super()._make_status_error(response, body)

    def _make_stream_error(self, event: ServerSentEvent, response: AsyncAPIResponse[Any], /) -> Exception:
        error = super()._make_stream_error(event, response)
        if isinstance(error, APIStreamError) and error.type == "overloaded_error":
            return OverloadedError(
                f"{response.request.label}: overloaded in the middle of the stream",
                status=response.status,
                response=response,
                body=error.body,
                request=response.request,
                request_id=response.request_id,
            )
        return error


# --- its user


async def list_models(parrot: Parrot) -> None:
    """Print one page, then all models."""
    page = await parrot.models.list(page_size=2)
    more = ", and more" if page.has_next_page() else ""
    print("first page:", " ".join(model.id for model in page.data) + more)
    print("all models:", *[model.id async for model in parrot.models.list(page_size=2)])


async def ask(parrot: Parrot) -> None:
    """Request a complete message, with an option for this call."""
    message = await parrot.messages.create(model="macaw", messages=[QUESTION], timeout=5)
    print(f"{message.model}: {message.content} ({message.usage.output_tokens} tokens)")


async def listen(parrot: Parrot) -> None:
    """Print a message as it arrives; events of unknown types are skipped and counted."""
    async with parrot.messages.stream(model="macaw", messages=[QUESTION], max_tokens=3) as stream:
        async for event in stream:
            assert_type(event, MessageStart | TextDelta | MessageStop)
            match event:
                case MessageStart():
                    print(f"start of {event.id}")
                case TextDelta():
                    print(f"  {event.text}")
                case MessageStop():
                    print(f"stop after {event.usage.output_tokens} tokens")
    print("skipped:", stream.skipped)


async def look_at_headers(parrot: Parrot) -> None:
    """Print headers of the response of the same method; the model is overloaded at first, and retried."""
    response = await raw_response(parrot.messages.create)(model="budgie", messages=[QUESTION])
    message = await response.parse()
    assert_type(message, Message)
    print(f"{message.content} ({response.request_id}, {response.retries_taken} retry)")
    print("requests left:", response.headers["RateLimit-Remaining"])


async def overload(parrot: Parrot) -> None:
    """Catch an overload with one class, in the status or in the stream."""
    try:
        await parrot.messages.create(model="dodo", messages=[QUESTION], max_retries=0)
    except OverloadedError as error:
        print(f"status: {type(error).__name__} {error.status} {error.type}")
    heard = ""
    try:
        async with parrot.messages.stream(model="kakapo", messages=[QUESTION]) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    heard += event.text
    except OverloadedError as error:
        print(f"stream: {type(error).__name__} {error.status} {error.type}, after {heard!r}")


async def be_refused(parrot: Parrot) -> None:
    """Use a wrong key, which raises `AuthenticationError` as with every API."""
    try:
        await parrot.with_options(auth=APIKeyAuth("a guess", header="X-Api-Key")).models.list()
    except AuthenticationError as error:
        print(f"refused: {error.status} {error.type}")


QUESTION = Turn("user", "Polly wants a cracker")

# --- the server


class Server:
    """Repeats its input; a budgie is overloaded once, a dodo always, a kakapo in mid-sentence."""

    def __init__(self) -> None:
        self.requests = 0
        self.budgie_is_busy = True

    @web.middleware
    async def check(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("X-Api-Key") != "a key":
            return failure(401, "authentication_error")
        if request.headers.get("Parrot-Version") != "2026-11-01":
            return failure(400, "invalid_request_error")
        self.requests += 1
        response: web.StreamResponse = await handler(request)
        return response

    async def models(self, request: web.Request) -> web.Response:
        names = ["budgie", "dodo", "kakapo", "macaw", "parakeet"]
        start = names.index(request.query["after_id"]) + 1 if "after_id" in request.query else 0
        end = start + int(request.query.get("limit", 20))
        data = [{"id": name} for name in names[start:end]]
        return web.json_response({"data": data, "last_id": data[-1]["id"], "has_more": end < len(names)})

    async def messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["model"] == "dodo" or (body["model"] == "budgie" and self.budgie_is_busy):
            self.budgie_is_busy = False
            return failure(529, "overloaded_error", {"Retry-After-Ms": "5"})
        words = body["messages"][-1]["content"].split()[: body.get("max_tokens", 256)]
        if body.get("stream"):
            return await self.stream(request, body["model"], words)
        usage = {"output_tokens": len(words)}
        message = {"id": self.id, "model": body["model"], "content": " ".join(words), "usage": usage}
        headers = {"RateLimit-Remaining": str(50 - self.requests), "X-Request-Id": f"req-{self.requests}"}
        return web.json_response(message, headers=headers)

    async def stream(self, request: web.Request, model: str, words: list[str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(event("message_start", id=self.id, model=model))
        await response.write(event("ping") + event("feathers_ruffled", how="a bit"))
        for word in words:
            await response.write(event("text_delta", text=word))
            if model == "kakapo":
                await response.write(event("error", error={"type": "overloaded_error"}))
                return response
        await response.write(event("message_stop", usage={"output_tokens": len(words)}))
        await response.write(b"data: [DONE]\n\n")
        return response

    @property
    def id(self) -> str:
        return f"message-{self.requests}"


def event(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def failure(status: int, kind: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"type": "error", "error": {"type": kind}}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def serving() -> AsyncGenerator[str, None]:
    """Serve on a free port of loopback."""
    server = Server()
    app = web.Application(middlewares=[server.check])
    app.add_routes([web.get("/v1/models", server.models), web.post("/v1/messages", server.messages)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def main() -> None:
    async with serving() as url, Parrot("a key", base_url=url) as parrot:
        await list_models(parrot)
        await ask(parrot)
        await listen(parrot)
        await look_at_headers(parrot)
        await overload(parrot)
        await be_refused(parrot)


if __name__ == "__main__":
    asyncio.run(main())
