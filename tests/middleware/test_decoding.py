"""Reading and decoding inside the attempt: when a body is read, and which error a broken one raises."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from helpers import BASE, Client, Script, reply

from aioapiclient import (
    APIConnectionError,
    APIRequest,
    APIResponseValidationError,
    APIStatusError,
    AsyncAPIResponse,
    BearerAuth,
    BodyTooLargeError,
    InternalServerError,
    NotFoundError,
)
from aioapiclient._request import CallSettings
from aioapiclient.middleware import DecodingMiddleware
from aioapiclient.testing import respond


class Thing(msgspec.Struct):
    id: int


async def decode(answer: Any, **fields: Any) -> AsyncAPIResponse[Any]:
    """The result of `DecodingMiddleware` for *answer*."""
    return await DecodingMiddleware()(APIRequest("GET", f"{BASE}/things", **fields), Script(answer))


async def test_a_body_is_read_and_decoded() -> None:
    """A response is returned with its body read, and decoded once to the requested type."""
    response = await decode(reply(200, {"id": 7}), cast_to=Thing)
    assert response.is_closed
    assert response.body == b'{"id":7}'
    assert await response.parse() == Thing(7)
    assert await response.parse() is await response.parse()


async def test_the_value_that_a_middleware_sees_is_the_callers() -> None:
    """The object that a middleware parses is the one that the caller receives."""
    seen: list[Any] = []

    async def middleware(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
        response: AsyncAPIResponse[Any] = await handler(request)
        seen.append(await response.parse())
        return response

    async with Client(BASE, transport=Script(reply(200, {"id": 7})), middlewares=[middleware]) as api:
        assert await api.get("/things", Thing) is seen[0]


async def test_a_stream_is_not_read() -> None:
    """A streamed response is returned unread."""
    script = Script(reply(200, {"id": 7}))
    response = await DecodingMiddleware()(APIRequest("GET", f"{BASE}/things", stream=True), script)
    assert not response.is_closed
    assert script.open_responses == 1
    await response.close()


@pytest.mark.parametrize("status", [302, 304, 404, 500])
async def test_the_body_of_an_error_is_read_on_a_stream_too(status: int) -> None:
    """An error holds no connection, and has its body."""
    response = await decode(reply(status, {"error": 1}), stream=True)
    assert response.is_closed
    assert response.body == b'{"error":1}'


async def test_the_body_of_an_error_is_not_decoded_to_the_type() -> None:
    """An error body that does not match the type `Thing` raises no separate error."""
    async with Client(BASE, transport=Script(reply(404, {"error": "none"}))) as api:
        with pytest.raises(NotFoundError) as caught:
            await api.get("/things", Thing)
    assert caught.value.body == {"error": "none"}


async def test_an_error_body_that_breaks_off_does_not_hide_the_status() -> None:
    """A failure to read the body of an error does not replace the status; a note mentions it."""
    async with Client(
        BASE, transport=Script(respond(500, body=b"0123456789", cut_after=3)), max_retries=0
    ) as api:
        with pytest.raises(InternalServerError) as caught:
            await api.get("/things")
    assert any("could not be read" in note for note in caught.value.__notes__)


async def test_a_body_cut_short_is_a_failed_attempt() -> None:
    """A truncated body is retried like any lost answer, on GET and not on POST."""
    script = Script(respond(200, body=b'{"id":7}', cut_after=3), reply(200, {"id": 7}))
    async with Client(BASE, transport=script) as api:
        assert await api.get("/things", Thing) == Thing(7)
    assert len(script.requests) == 2
    script = Script(respond(200, body=b'{"id":7}', cut_after=3), reply(200, {"id": 7}))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(APIConnectionError):
            await api.post("/things", Thing)
    assert len(script.requests) == 1


async def test_a_body_of_the_wrong_shape_is_not_tried_again() -> None:
    """A complete body of the wrong type is not retried, because it would be the same."""
    script = Script(reply(200, {"id": "seven"}))
    async with Client(BASE, transport=script) as api:
        with pytest.raises(APIResponseValidationError) as caught:
            await api.get("/things", Thing)
    assert caught.value.path == "$.id"
    assert len(script.requests) == 1


async def test_a_body_is_bounded() -> None:
    """A body above ``max_body`` is an error that names the status and is not tried again."""
    script = Script(respond(200, body=b"x" * 11))
    async with Client(BASE, transport=script, max_body=10) as api:
        with pytest.raises(BodyTooLargeError) as caught:
            await api.get("/things", bytes)
    assert (caught.value.limit, caught.value.status) == (10, 200)
    assert len(script.requests) == 1
    assert (
        await decode(respond(200, body=b"x" * 10), cast_to=bytes, _settings=CallSettings(max_body=10))
    ).body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 3)])
async def test_an_error_page_above_the_bound_does_not_hide_its_status(
    status: int, requests: int, stream: bool
) -> None:
    """An error page above ``max_body`` raises the error of its status, which is tried again if it may be."""
    script = Script(respond(status, body=b"x" * 11))
    async with Client(BASE, transport=script, max_body=10) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.get("/things", bytes, stream=stream)
    assert (caught.value.status, caught.value.body) == (status, None)
    assert any("more than 10 bytes" in note for note in caught.value.__notes__)
    assert len(script.requests) == requests
    assert script.open_responses == 0


async def test_an_error_page_above_the_bound_does_not_hide_a_challenge() -> None:
    """A 401 whose page is above ``max_body`` renews the credential."""
    tokens = iter(["old", "new"])

    async def provider() -> str:
        return next(tokens)

    script = Script(respond(401, body=b"x" * 11), reply(200, {"id": 7}))
    async with Client(BASE, transport=script, max_body=10, auth=BearerAuth(provider)) as api:
        assert await api.get("/things", Thing) == Thing(7)
    assert script.last.headers["Authorization"] == "Bearer new"


async def test_a_redirect_that_is_not_followed_raises_its_status() -> None:
    """A redirect raises its status if redirects are not followed, or if it has no Location."""
    for headers, follow in (({"Location": "/v1/there"}, False), ({}, True)):
        script = Script(respond(302, body=b"x" * 11, headers=headers))
        async with Client(BASE, transport=script, max_body=10) as api:
            with pytest.raises(APIStatusError, match="302 Found"):
                await api.get("/things", Thing, follow_redirects=follow)


async def test_a_response_that_was_asked_for_is_parsed_by_the_caller() -> None:
    """A call that requests the response itself gets it read, and can parse it later."""
    async with Client(BASE, transport=Script(reply(200, {"id": "seven"}))) as api:
        response = await api.get("/things", AsyncAPIResponse[Thing])
        assert response.is_closed
        with pytest.raises(APIResponseValidationError):
            await response.parse()


async def test_a_status_that_is_wanted_is_decoded() -> None:
    """A status named in ``ok_statuses`` is decoded like a success."""
    async with Client(BASE, transport=Script(reply(404, {"id": 7}))) as api:
        assert await api.get("/things", Thing, ok_statuses={404}) == Thing(7)


async def test_a_response_read_by_a_middleware_below_is_decoded() -> None:
    """A body that was read before is not read again."""

    async def reads(request: APIRequest) -> AsyncAPIResponse[Any]:
        response = await Script(reply(200, {"id": 7}))(request)
        await response.read()
        return response

    response = await DecodingMiddleware()(APIRequest("GET", f"{BASE}/things", cast_to=Thing), reads)
    assert await response.parse() == Thing(7)
