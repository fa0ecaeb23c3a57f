"""`decoders=`: functions of the user's for the content types that msgspec does not read."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from typing import Annotated, Any

import msgspec
import pytest
from helpers import BASE, Client, Script, reply, text

from aioapiclient import (
    APIResponseValidationError,
    APIStatusError,
    AsyncAPIResponse,
    InvalidRequestError,
    LinkHeaderPage,
    NotFoundError,
)

XML = "application/xml; charset=utf-8"


class User(msgspec.Struct):
    id: int
    name: str = ""


class Fault(msgspec.Struct):
    code: str
    message: str


def read_xml(body: bytes, wanted: Any) -> Any:
    """Make a Struct from the children of the root, or return the element itself."""
    root = ET.fromstring(body)
    if wanted in (ET.Element, Any):
        return root if wanted is ET.Element else {child.tag: child.text for child in root}
    return msgspec.convert({child.tag: child.text for child in root}, wanted, strict=False)


def read_csv(body: bytes, wanted: Any) -> Any:
    """Make a list of rows."""
    return msgspec.convert(list(csv.DictReader(io.StringIO(body.decode()))), wanted, strict=False)


DECODERS = {"application/xml": read_xml, "+xml": read_xml, "Text/CSV": read_csv}


def client(*answers: Any, **options: Any) -> Client:
    """A client that reads XML and CSV, and gets these answers."""
    return Client(BASE, decoders=DECODERS, transport=Script(*answers), **options)


# --- bodies


@pytest.mark.parametrize("content_type", ["application/xml", XML, "Application/XML", "application/atom+xml"])
@pytest.mark.parametrize("cast_to", [User, User | None, Annotated[User, ["not", "hashable"]]])
async def test_a_body_goes_to_its_function(content_type: str, cast_to: Any) -> None:
    """A body whose content type has a function becomes the function's result for the requested type."""
    async with client(text("<u><id>7</id><name>ada</name></u>", content_type)) as api:
        assert await api.get("/u", cast_to) == User(7, "ada")
        response = await api.get("/u", AsyncAPIResponse[cast_to])
        assert await response.parse() == User(7, "ada")
        assert await response.parse(to=dict[str, str]) == {"id": "7", "name": "ada"}
        assert await api.get("/u") == {"id": "7", "name": "ada"}
        assert await api.get("/u", ET.Element) is not None


async def test_csv() -> None:
    """The key of a function is a media type in any case, and parameters do not count."""
    async with client(text("id,name\n7,ada\n8,bob\n", "text/csv; header=present")) as api:
        assert await api.get("/u", list[User]) == [User(7, "ada"), User(8, "bob")]


async def test_other_bodies_are_none_of_its_business() -> None:
    """JSON is decoded as usual, and text, bytes and None stand for the body itself."""
    async with client(reply(200, {"id": 7})) as api:
        assert await api.get("/u", User) == User(7)
    async with client(text("<u/>", XML)) as api:
        assert await api.get("/u", str) == "<u/>"
        assert await api.get("/u", bytes | None) == b"<u/>"
        await api.get("/u", None)


async def test_a_function_may_replace_a_codec() -> None:
    """A function for JSON is called instead of msgspec."""
    asked: list[Any] = []

    def read(body: bytes, wanted: Any) -> Any:
        asked.append(wanted)
        return msgspec.json.decode(body, type=wanted)

    async with Client(
        BASE, decoders={"application/json": read}, transport=Script(reply(200, {"id": 7}))
    ) as api:
        assert await api.get("/u", User) == User(7)
    assert asked == [User]


async def test_pages() -> None:
    """The pages of a list are decoded by the function too."""

    def read(body: bytes, wanted: Any) -> Any:
        return read_csv(body, list[User])

    script = Script(text("id,name\n7,ada\n", "text/csv"))
    async with Client(BASE, decoders={"text/csv": read}, transport=script) as api:
        assert [user async for user in api.get_api_list("/u", User, LinkHeaderPage)] == [User(7, "ada")]


async def test_an_empty_body() -> None:
    """An empty body is None if the type allows it, otherwise an error, unless the function returns a value
    for it.
    """
    async with client(text("", XML)) as api:
        assert await api.get("/u", User | None) is None
        with pytest.raises(APIResponseValidationError, match="the body is empty"):
            await api.get("/u", User)
    async with client(text("", "text/csv")) as api:
        assert await api.get("/u", list[User]) == []


@pytest.mark.parametrize(
    ("body", "message", "path"),
    [
        ("<u><id>s3cr3t</id></u>", "Expected `int`, got `str` at $.id", "$.id"),
        ("<u><name>s3cr3t</name></u>", "Object missing required field `id`", "$"),
        ("<u><s3cr3t>", "no element found: line 1, column 11", "$"),
    ],
)
async def test_what_a_function_raises_is_an_error_of_the_body(body: str, message: str, path: str) -> None:
    """Any exception of a function is an `APIResponseValidationError`, which keeps its place and its text."""
    async with client(text(body, "application/xml")) as api:
        with pytest.raises(APIResponseValidationError) as caught:
            await api.get("/u", User)
    assert str(caught.value) == f"GET {BASE}/u: status 200, application/xml: {message}"
    assert caught.value.path == path
    assert caught.value.excerpt == body


async def test_what_a_function_says_of_a_body_is_not_repeated() -> None:
    """A text that contains a piece of the body is omitted, and so is the exception (P30)."""

    def read(body: bytes, wanted: Any) -> Any:
        raise RuntimeError(f"what is {body.decode()}?")

    async with Client(BASE, decoders={"a/b": read}, transport=Script(text("<s3cr3t/>", "a/b"))) as api:
        with pytest.raises(APIResponseValidationError) as caught:
            await api.get("/u", User)
    assert str(caught.value).endswith("a/b: refused with RuntimeError while it was decoded")
    assert caught.value.__cause__ is None


async def test_a_type_that_only_a_function_makes() -> None:
    """With functions any class may be requested; a body of another content type is an error."""
    async with client(text("<u/>", XML), reply(200, {"id": 7})) as api:
        assert (await api.get("/u", ET.Element)).tag == "u"
        with pytest.raises(APIResponseValidationError, match="Element needs a dec_hook"):
            await api.get("/u", ET.Element)
        with pytest.raises(TypeError, match=r"write list\[User\]"):
            await api.get("/u", [User])  # type: ignore[call-overload]


# --- errors


@pytest.mark.parametrize("stream", [False, True])
async def test_the_body_of_an_error(stream: bool) -> None:
    """The function decodes an error body, to the type that error_types names, or to `Any`."""
    answer = text("<e><code>gone</code><message>No such user</message></e>", "application/problem+xml", 404)
    async with client(answer) as api:
        with pytest.raises(NotFoundError, match=r"404 Not Found: No such user$") as caught:
            await api.get("/u", User, stream=stream)
        assert caught.value.body == {"code": "gone", "message": "No such user"}
        assert caught.value.code == "gone"
        with pytest.raises(NotFoundError) as caught:
            await api.get("/u", User, stream=stream, error_types={404: Fault})
        assert caught.value.body == Fault("gone", "No such user")


async def test_an_error_body_that_its_function_refuses() -> None:
    """The status is still raised, with the received text and a note."""
    async with client(text("<e>", XML, 404), error_types={404: Fault}) as api:
        with pytest.raises(APIStatusError) as caught:
            await api.get("/u", User)
    assert caught.value.body == "<e>"
    assert "no element found" in caught.value.__notes__[0]


# --- arguments


async def test_accept_names_what_functions_read() -> None:
    """JSON is preferred if the server offers both; suffixes are not media types."""
    async with client() as api:
        await api.get("/u")
        script: Any = api._shared.transport
        accept = "application/json, application/problem+json, application/xml;q=0.9, text/csv;q=0.9"
        assert script.last.headers["Accept"] == accept
        await api.get("/u", str)
        assert script.last.headers["Accept"] == "*/*"


async def test_views() -> None:
    """A view's functions are merged over its client's, and None clears them."""
    script = Script(text("<u><id>7</id></u>", XML))
    async with Client(BASE, decoders={"application/xml": read_csv}, transport=script) as api:
        assert await api.with_options(decoders={"Application/XML": read_xml}).get("/u", User) == User(7)
        assert await api.with_options(decoders={"text/csv": read_csv}).get("/u") != b"<u><id>7</id></u>"
        assert await api.with_options(decoders=None).get("/u") == b"<u><id>7</id></u>"


async def read_later(body: bytes, wanted: Any) -> Any:
    """A function that cannot be awaited where bodies are decoded."""


@pytest.mark.parametrize(
    ("decoders", "error", "message"),
    [
        ({"xml": read_xml}, InvalidRequestError, "'xml' is not a media type"),
        ({"application/xml; charset=utf-8": read_xml}, InvalidRequestError, "without parameters"),
        ({"a/b\r\nX: y": read_xml}, InvalidRequestError, "is not a media type"),
        ({7: read_xml}, InvalidRequestError, "7 is not a media type"),
        ({"a/b": "read_xml"}, TypeError, "must be a plain function .*, not str"),
        ({"a/b": read_later}, TypeError, "not a coroutine function"),
        ([read_xml], TypeError, "decoders must be a mapping"),
    ],
)
def test_wrong_decoders_are_refused(decoders: Any, error: type[Exception], message: str) -> None:
    """A key that is not a media type, and a value that is not callable, are refused when the client is
    created.
    """
    with pytest.raises(error, match=message):
        Client(BASE, decoders=decoders)


# --- streams


async def test_events_that_a_function_or_a_missing_hook_refuses() -> None:
    """An event that does not match its type is an error of the stream's body, whichever decoder refuses
    it.
    """

    class Custom:
        """A class that only a hook can make."""

    held = msgspec.defstruct("Held", [("id", int), ("custom", Custom | None, None)])

    def read(body: bytes, wanted: Any) -> Any:
        return msgspec.json.decode(body, type=wanted)

    events = text('data: {"id":1}\n\ndata: {"id":"x"}\n\n', "text/event-stream")
    async with Client(BASE, decoders={"application/json": read}, transport=Script(events)) as api:
        seen: list[User] = []
        with pytest.raises(APIResponseValidationError, match=r"event 2: Expected `int`, got `str` at \$\.id"):
            async with api.stream("GET", "/u", User) as stream:
                async for event in stream:
                    seen.append(event)  # noqa: PERF401  (what came before the error counts)
        assert seen == [User(1)]
    events = text('data: {"id":1,"custom":{}}\n\n', "text/event-stream")
    async with Client(BASE, transport=Script(events)) as api:
        with pytest.raises(
            APIResponseValidationError, match=r"event 1: Custom needs a dec_hook at \$\.custom"
        ):
            async with api.stream("GET", "/u", held) as stream:
                async for _ in stream:
                    pass
