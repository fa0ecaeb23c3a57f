"""The tree of errors: its shape, the facts of each class, pickling and copying, and no secrets."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import traceback
from typing import Any, NamedTuple

import msgspec
import pytest
from helpers import BASE, Client, Script, reply, text

import aioapiclient
from aioapiclient import (
    APIClientError,
    APIConnectionError,
    APIError,
    APIRequest,
    APIResponseValidationError,
    APIStatusError,
    APIStreamError,
    APITimeoutError,
    AsyncAPIResponse,
    BasicAuth,
    BearerAuth,
    BodyTooLargeError,
    ClientClosedError,
    ConcurrencyLimitError,
    InternalServerError,
    InvalidRequestError,
    OperationFailedError,
    RateLimitError,
    RequestNotReplayableError,
    RetryableError,
    StreamConsumedError,
    ThrottledError,
    TooManyRedirectsError,
    errors,
)
from aioapiclient._codecs.error_bodies import ProblemDetails
from aioapiclient.errors import STATUS_ERRORS, status_error_class

# The tree of errors: name -> its parents.
TREE = {
    "APIClientError": ("Exception",),
    "APIError": ("APIClientError",),
    "APIConnectionError": ("APIError",),
    "APITimeoutError": ("APIConnectionError",),
    "APIStreamError": ("APIConnectionError",),
    "CircuitOpenError": ("APIError",),
    "OperationFailedError": ("APIError",),
    "APIStatusError": ("APIError",),
    "BadRequestError": ("APIStatusError",),
    "AuthenticationError": ("APIStatusError",),
    "PermissionDeniedError": ("APIStatusError",),
    "NotFoundError": ("APIStatusError",),
    "RequestTimeoutError": ("APIStatusError",),
    "ConflictError": ("APIStatusError",),
    "GoneError": ("APIStatusError",),
    "PreconditionFailedError": ("APIStatusError",),
    "ContentTooLargeError": ("APIStatusError",),
    "UnprocessableEntityError": ("APIStatusError",),
    "RateLimitError": ("APIStatusError",),
    "InternalServerError": ("APIStatusError",),
    "ServerNotImplementedError": ("InternalServerError",),
    "BadGatewayError": ("InternalServerError",),
    "ServiceUnavailableError": ("InternalServerError",),
    "GatewayTimeoutError": ("InternalServerError",),
    "APIResponseValidationError": ("APIError",),
    "BodyTooLargeError": ("APIError",),
    "TooManyRedirectsError": ("APIError",),
    "RequestNotReplayableError": ("APIError",),
    "ConcurrencyLimitError": ("APIError",),
    "ThrottledError": ("APIError",),
    "InvalidRequestError": ("APIClientError", "ValueError"),
    "ClientClosedError": ("APIClientError",),
    "RetryableError": ("APIClientError",),
    "StreamConsumedError": ("APIClientError", "RuntimeError"),
}
CLASSES: dict[str, type[APIClientError]] = {name: getattr(errors, name) for name in TREE}
STATUSES = {
    400: "BadRequestError", 401: "AuthenticationError", 402: "APIStatusError", 403: "PermissionDeniedError",
    404: "NotFoundError", 408: "RequestTimeoutError", 409: "ConflictError", 410: "GoneError",
    412: "PreconditionFailedError", 413: "ContentTooLargeError", 418: "APIStatusError",
    422: "UnprocessableEntityError", 429: "RateLimitError", 499: "APIStatusError", 500: "InternalServerError",
    501: "ServerNotImplementedError", 502: "BadGatewayError", 503: "ServiceUnavailableError",
    504: "GatewayTimeoutError", 505: "InternalServerError", 529: "InternalServerError",
    599: "InternalServerError", 304: "APIStatusError", 301: "APIStatusError", 600: "InternalServerError",
    999: "InternalServerError",
}  # fmt: skip


class ErrorBody(msgspec.Struct):
    code: str
    type: str = "t"


@dataclasses.dataclass
class DataclassBody:
    error_code: str


class TupleBody(NamedTuple):
    errors: list[DataclassBody]


def status_error(body: Any = None, status: int = 400, **facts: Any) -> APIStatusError:
    """A hand-made status error."""
    return status_error_class(status)("made", status=status, body=body, **facts)


# --- the tree


def test_the_tree_is_that_of_the_design() -> None:
    """The classes and their parents are exactly those of the design."""
    found = {
        name: tuple(base.__name__ for base in member.__bases__)
        for name, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, Exception) and member.__module__ == errors.__name__
    }

    assert found == TREE


def test_every_error_is_at_both_doors() -> None:
    """Every error is exported by `aioapiclient.errors` and by `aioapiclient`, as the same class."""
    assert set(TREE) <= set(errors.__all__)
    assert all(getattr(aioapiclient, name) is cls for name, cls in CLASSES.items())


@pytest.mark.parametrize("other", [TimeoutError, OSError, ConnectionError, KeyError])
def test_no_error_is_mistaken_for_the_callers_own(other: type[Exception]) -> None:
    """No class is a builtin that callers catch for another reason: `asyncio.timeout` raises TimeoutError."""
    assert not [name for name, cls in CLASSES.items() if issubclass(cls, other)]


@pytest.mark.parametrize(("status", "name"), STATUSES.items())
async def test_the_class_of_a_status(status: int, name: str) -> None:
    """Each status has the documented class: its own, InternalServerError for any 5XX and for invalid
    statuses (RFC 9110 §15), else APIStatusError.
    """
    async with Client(BASE, max_retries=0, transport=Script(reply(status))) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")

    assert type(raised.value) is CLASSES[name]
    assert raised.value.status == status


def test_the_default_status_of_a_class() -> None:
    """A hand-made status class without a status has its own."""
    for status, cls in STATUS_ERRORS.items():
        assert cls().status == status
        assert str(cls()) == f"status {status}"


# --- created by hand, pickled, copied


@pytest.mark.parametrize("cls", CLASSES.values(), ids=TREE)
def test_every_class_can_be_made_by_hand(cls: type[APIClientError]) -> None:
    """Every class can be created with only a message: users raise them in their tests."""
    error = cls("made by hand")

    assert str(error) == "made by hand"
    assert error.args == ("made by hand",)
    if isinstance(error, APIError):
        assert error.message == "made by hand"
        assert (error.request, error.body, error.retries_taken, error.retry_after) == (None, None, 0, None)


@pytest.mark.parametrize("cls", CLASSES.values(), ids=TREE)
@pytest.mark.parametrize("twin", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_every_class_pickles_and_copies(cls: type[APIClientError], twin: Any) -> None:
    """Every error pickles and copies, with its message, its facts and its notes."""
    error = cls("made by hand")
    error.add_note("a note")
    if isinstance(error, APIError):
        error.body, error.retries_taken, error.retry_after = {"code": "c"}, 2, 1.5
    made = twin(error)
    other = pickle.loads(made) if isinstance(made, bytes) else made

    assert type(other) is cls
    assert other is not error
    assert str(other) == "made by hand"
    assert vars(other) == {"request": None, "response": None, **vars(error)}


async def test_a_pickled_error_keeps_its_facts_and_no_live_thing() -> None:
    """A pickled error keeps status, code, request ID, retry_after and body, but not request and response."""
    answer = reply(429, {"error": {"code": "slow", "type": "limit"}}, Retry_After="120", X_Request_Id="r1")
    async with Client(BASE, transport=Script(answer)) as api:
        with pytest.raises(RateLimitError) as raised:
            await api.get("/x")
    error = raised.value
    assert isinstance(error.response, AsyncAPIResponse)
    assert isinstance(error.request, APIRequest)
    twin = pickle.loads(pickle.dumps(error))

    assert (twin.status, twin.code, twin.type, twin.request_id, twin.retry_after, twin.retries_taken) == (
        429, "slow", "limit", "r1", 120.0, 0,
    )  # fmt: skip
    assert twin.body == error.body
    assert str(twin) == str(error)
    assert (twin.request, twin.response) == (None, None)
    assert copy.copy(error).response is error.response


def test_a_body_that_does_not_pickle_is_left_behind() -> None:
    """An error whose body cannot be pickled pickles without it, rather than kill the
    worker that raised it.
    """
    twin = pickle.loads(pickle.dumps(status_error(body=lambda: None, status=404)))

    assert (twin.status, twin.body) == (404, None)


def test_a_subclass_of_a_user_pickles() -> None:
    """A class of an SDK with a custom constructor pickles like ours."""
    error = SDKError("quota", left=3)
    twin = pickle.loads(pickle.dumps(error))

    assert (str(twin), twin.left, twin.status) == ("quota", 3, 402)


class SDKError(APIStatusError):
    """An error class of an SDK."""

    default_status = 402

    def __init__(self, message: str, *, left: int) -> None:
        super().__init__(message)
        self.left = left


# --- attributes


@pytest.mark.parametrize(
    ("body", "code", "kind"),
    [
        ({"code": "c", "type": "t"}, "c", "t"),
        ({"error": {"code": "c", "type": "t"}}, "c", "t"),
        ({"error": {"code": 7}, "code": "outer"}, "7", None),
        ({"error": "text", "type": "t"}, "text", "t"),
        ({"error": "invalid_grant", "error_description": "It has expired"}, "invalid_grant", None),
        ({"error": "Something went wrong"}, None, None),
        ({"error": "invalid_grant", "code": "c"}, "c", None),
        ({"error": {"message": "m", "code": None}, "error_code": "c"}, "c", None),
        ({"error_code": 190}, "190", None),
        ({"errors": [{"code": "c1"}, {"code": "c2"}]}, "c1", None),
        ({"errors": [{"message": "m"}], "error": "oops"}, "oops", None),
        ({"errors": []}, None, None),
        ({"errors": {"name": ["is missing"]}}, None, None),
        ({"errors": ["is missing"]}, None, None),
        ({"code": "", "error": ""}, None, None),
        ({"code": True, "type": None}, None, None),
        (ErrorBody("c"), "c", "t"),
        (DataclassBody("c"), "c", None),
        (TupleBody([DataclassBody("c")]), "c", None),
        (ProblemDetails(extensions={"errors": [{"code": "c"}]}), "c", "about:blank"),
        ({"error": ErrorBody("c")}, "c", "t"),
        (["code"], None, None),
        ("text", None, None),
        (None, None, None),
        (5, None, None),
    ],
)
def test_code_and_type_of_a_body(body: Any, code: str | None, kind: str | None) -> None:
    """`.code` and `.type` are found where APIs put them, and are None for a body of any other type."""
    error = status_error(body)

    assert (error.code, error.type) == (code, kind)
    assert APIStreamError(body=body).code == OperationFailedError(body=body).code == code


async def test_code_and_type_of_a_problem() -> None:
    """Of an `application/problem+json` body `.type` is the problem's, and `.code` its extension member."""
    body = '{"type":"https://h/quota","title":"Quota","status":403,"code":"q1"}'
    async with Client(BASE, transport=Script(text(body, "application/problem+json", 403))) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")

    assert raised.value.body.title == "Quota"
    assert raised.value.type == "https://h/quota"
    assert raised.value.code == "q1"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (reply(400, {"a": 1}), {"a": 1}),
        (reply(400, [1]), [1]),
        (text('{"a":1}', "text/plain", 400), {"a": 1}),
        (text("{broken", "application/json", 400), "{broken"),
        (text(" no \n", "text/plain", 400), "no"),
        (text("", "application/json", 400), None),
    ],
)
async def test_the_body_of_an_error_is_decoded(answer: Any, body: Any) -> None:
    """The body of an error is plain data for JSON, otherwise its text, and None if it is empty."""
    async with Client(BASE, transport=Script(answer)) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")

    assert raised.value.body == body


async def test_a_status_error_knows_its_call() -> None:
    """A status error has the sent request, the response with its body read, and the number of attempts."""
    answer = reply(503, {"a": 1}, Retry_After="3", X_Request_Id="r9")
    async with Client(BASE, max_retries=1, transport=Script(answer)) as api:
        with pytest.raises(InternalServerError) as raised:
            await api.get("/x", headers={"A": "b"})
    error = raised.value

    assert error.request is not None
    assert error.response is not None
    assert error.request.headers["A"] == "b"
    assert error.response.body == b'{"a":1}'
    assert (error.retries_taken, error.request_id, error.retry_after) == (1, "r9", 3.0)
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_the_request_id_header_is_the_clients_choice() -> None:
    """The request id is read from the header that the client names."""
    async with Client(BASE, request_id_header="X-Trace", transport=Script(reply(404, X_Trace="t1"))) as api:
        with pytest.raises(APIStatusError, match=r"404 Not Found \(request id t1\)") as raised:
            await api.get("/x")

    assert raised.value.request_id == "t1"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "120"}, 120.0),
        ({"retry_after_ms": "90000", "Retry_After": "1"}, 90.0),
        ({"Retry_After": "soon"}, None),
        ({}, None),
    ],
)
async def test_retry_after_is_on_the_error(headers: dict[str, str], seconds: float | None) -> None:
    """A wait that is too long is available to the caller on the error."""
    async with Client(BASE, max_retries=0, transport=Script(reply(429, **headers))) as api:
        with pytest.raises(RateLimitError) as raised:
            await api.get("/x")

    assert raised.value.retry_after == seconds


async def test_a_transport_error_comes_out_as_it_is() -> None:
    """An exception of the transport reaches the caller as the same object, with the number of retries."""
    failure = APIConnectionError("lost", sent=None)
    async with Client(BASE, max_retries=1, transport=Script(failure)) as api:
        with pytest.raises(APIConnectionError) as raised:
            await api.get("/x")

    assert raised.value is failure
    assert raised.value.retries_taken == 1


async def test_a_validation_error_knows_where() -> None:
    """An answer of the wrong type has the place, with status, content type and a bounded excerpt as
    attributes.
    """
    answer = reply(201, {"code": 5, "pad": "x" * 500}, X_Request_Id="r1")
    async with Client(BASE, transport=Script(answer)) as api:
        with pytest.raises(APIResponseValidationError) as raised:
            await api.get("/x", ErrorBody)
    error = raised.value

    assert (error.path, error.status, error.content_type) == ("$.code", 201, "application/json")
    assert error.excerpt.startswith('{"code":5')
    assert len(error.excerpt) == 200
    assert str(error) == f"GET {BASE}/x: status 201, application/json: Expected `str`, got `int` at $.code"
    assert error.response is not None


# --- no secrets


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("answer", "cast_to"),
    [
        (reply(401, {"message": SECRET}, Set_Cookie=SECRET), Any),
        (reply(500, {"error": {"message": SECRET}}), Any),
        (reply(200, {"code": [SECRET]}), ErrorBody),
        (reply(200, {SECRET: SECRET}), ErrorBody),
        (text(f"<h1>{SECRET}</h1>", "text/html"), ErrorBody),
        (text(f"{{{SECRET}", "application/json"), ErrorBody),
        (reply(302, Location=f"ftp://{SECRET}@h/"), Any),
        (APITimeoutError("slow", phase="read"), Any),
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {"auth": BearerAuth(SECRET)},
        {"auth": BasicAuth("user", SECRET)},
        {"headers": {"X-Key": SECRET}},
        {"params": {"key": SECRET}},
        {"json": {"password": SECRET}},
    ],
    ids=["bearer", "basic", "header", "query", "body"],
)
async def test_no_error_of_a_call_tells_a_secret(answer: Any, cast_to: Any, options: dict[str, Any]) -> None:
    """No message, note, cause or repr of an error holds a header, query value, credential or piece of a
    body.
    """
    async with Client(BASE, max_retries=0, transport=Script(answer)) as api:
        with pytest.raises(APIClientError) as raised:
            await api.post("/x", cast_to, **options)
    error = raised.value
    told = "".join(traceback.format_exception_only(error)) + repr(error) + repr(error.__cause__)

    assert SECRET not in told
    if isinstance(error, APIStatusError | APIResponseValidationError):
        assert SECRET not in repr(error.response)
        assert SECRET not in repr(error.request)


@pytest.mark.parametrize("thing", ["auth", "client", "request", "response", "body"])
async def test_no_repr_tells_a_secret(thing: str) -> None:
    """The reprs of auths, clients, requests, responses and bodies hold no credential, header or query
    value.
    """
    script = Script(reply(json={"a": SECRET}, X=SECRET))
    async with Client(BASE, auth=BearerAuth(SECRET), default_headers={"A": SECRET}, transport=script) as api:
        response = await api.post("/x", AsyncAPIResponse[Any], params={"q": SECRET}, json={"p": SECRET})
        reprs = {
            "auth": repr([BearerAuth(SECRET), BasicAuth(SECRET, SECRET)]),
            "client": repr(api) + api.explain(),
            "request": repr(response.request),
            "response": repr(response),
            "body": repr(response.request.body),
        }

    assert SECRET not in reprs[thing]


async def test_an_invalid_request_id_is_not_in_the_message() -> None:
    """A request ID that is long or has unusual characters is not in the message."""
    async with Client(BASE, transport=Script(reply(404, X_Request_Id="x" * 200))) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")

    assert str(raised.value) == f"GET {BASE}/x: 404 Not Found"


def test_the_special_errors_have_their_facts() -> None:
    """Errors with more than a message keep the rest as attributes."""
    assert APIConnectionError(sent=False).sent is False
    assert APITimeoutError(phase="pool").phase == "pool"
    assert [APITimeoutError(phase=phase).final for phase in ("pool", "read", "attempt", "total")] == [
        False, False, False, True,
    ]  # fmt: skip
    stream = APIStreamError(events_seen=2, bytes_seen=9, type="overloaded_error")
    assert (stream.events_seen, stream.bytes_seen, stream.type) == (2, 9, "overloaded_error")
    assert BodyTooLargeError(limit=5, status=200).limit == 5
    assert RetryableError(retry_after=2).retry_after == 2
    assert APIError(final=True).final is True
    full = ConcurrencyLimitError(limit=50, waiting=1000)
    assert (full.limit, full.waiting, full.final) == (50, 1000, True)
    throttled = ThrottledError(retry_after=12.5)
    assert (throttled.retry_after, throttled.final) == (12.5, True)
    for cls in (ClientClosedError, TooManyRedirectsError, RequestNotReplayableError, StreamConsumedError):
        assert str(cls("x")) == "x"
    with pytest.raises(ValueError, match="x"):
        raise InvalidRequestError("x")


# --- the server's text


class CodeOnly(msgspec.Struct):
    code: str


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"error": {"message": "No such model"}, "message": "outer"}, "No such model"),
        ({"error": "invalid_grant", "error_description": "The code has expired"}, "The code has expired"),
        ({"message": "Not here", "detail": "d"}, "Not here"),
        ({"detail": "Not found."}, "Not found."),
        ({"detail": [{"loc": ["body"], "msg": "m"}], "error": "oops"}, "oops"),
        ({"error": "quota"}, "quota"),
        ({"errors": [{"message": "Field 'x' is unknown"}, {"message": "second"}]}, "Field 'x' is unknown"),
        ({"error": {"message": "  "}, "message": "said"}, "said"),
        ({"message": "two\r\n  lines\tof it "}, "two lines of it"),
        ({"message": "日本, naïve"}, "日本, naïve"),
        ({"message": "\x1b[31mred\u202e\u2028"}, "\\x1b[31mred\\u202e"),
        ({"message": "x" * 301}, "x" * 297 + "..."),
        ({"message": "x" * 300}, "x" * 300),
        ({"title": "T"}, None),
        ({"message": {"en": "m"}}, None),
        ({"message": ""}, None),
        (["message"], None),
        ("down", None),
        (7, None),
    ],
)
async def test_a_status_error_ends_with_what_the_server_says(body: Any, detail: str | None) -> None:
    """The text of a status error ends with the server's text, in one printable line."""
    async with Client(BASE, transport=Script(reply(409, body, X_Request_Id="r1"))) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.post("/x")

    facts = f"POST {BASE}/x: 409 Conflict (request id r1)"
    assert raised.value.detail == detail
    assert str(raised.value) == (facts if detail is None else f"{facts}: {detail}")
    assert len(detail or "") <= 300
    assert pickle.loads(pickle.dumps(raised.value)).detail == detail


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('{"title":"Quota","detail":"It is used up"}', "Quota: It is used up"),
        ('{"title":"Quota"}', "Quota"),
        ('{"detail":"It is used up","message":"m"}', "It is used up"),
        ('{"status":403,"message":"m"}', "m"),
        ('{"title":7,"detail":null}', None),
    ],
)
async def test_what_a_problem_says(body: str, detail: str | None) -> None:
    """A problem (RFC 9457) shows its title and detail; other bodies show their usual members."""
    async with Client(BASE, transport=Script(text(body, "application/problem+json", 403))) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")

    assert raised.value.detail == detail


@pytest.mark.parametrize("error_type", [CodeOnly, dict[str, Any], ErrorBody, bytes])
async def test_what_the_server_says_does_not_depend_on_error_types(error_type: Any) -> None:
    """The text is found in the received body if its type does not have it."""
    answer = reply(404, {"code": "c", "message": "No such user"})
    async with Client(BASE, transport=Script(answer), error_types={404: error_type}) as api:
        with pytest.raises(APIStatusError, match=r": No such user$") as raised:
            await api.get("/x")

    assert isinstance(raised.value.body, error_type if isinstance(error_type, type) else dict)


async def test_what_the_server_says_can_be_left_out() -> None:
    """With error_detail=False of a client or a view, the text and `detail` contain no part of the body."""
    script = Script(reply(404, {"message": "No such user"}))
    async with Client(BASE, transport=script, error_detail=False) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")
        assert (str(raised.value), raised.value.detail) == (f"GET {BASE}/x: 404 Not Found", None)
        assert raised.value.body == {"message": "No such user"}
        with pytest.raises(APIStatusError, match=r": No such user$"):
            await api.with_options(error_detail=True).get("/x")
    with pytest.raises(TypeError, match="error_detail must be True or False, not str"):
        Client(BASE, error_detail="no")  # type: ignore[arg-type]


# --- an error body of another type


async def test_a_body_that_does_not_fit_error_types_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A body that does not match error_types becomes plain data, with a note and a record at DEBUG."""
    caplog.set_level("DEBUG", "aioapiclient")
    script = Script(reply(422, {"code": 7, "secret": "s3cr3t"}))
    async with Client(BASE, transport=script, error_types={422: CodeOnly}) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x", params={"key": "s3cr3t"})
    note = "The body does not fit CodeOnly, which error_types names: Expected `str`, got `int` (at $.code)"
    records = [record for record in caplog.records if "error_types" in record.getMessage()]

    assert raised.value.body == {"code": 7, "secret": "s3cr3t"}
    assert raised.value.__notes__ == [note]
    assert [(record.name, record.levelname) for record in records] == [("aioapiclient", "DEBUG")]
    assert records[0].getMessage() == f"GET {BASE}/x?...: status 422: {note}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (text("<html>", "text/html", 502), "the body is an HTML page (at $)"),
        (
            text("{broken", "application/json", 502),
            "JSON is malformed: object keys must be strings (byte 1) (at $)",
        ),
        (text("", "application/json", 502), None),
        (reply(502, {"code": "c"}), None),
    ],
)
async def test_what_is_told_of_an_error_body(answer: Any, expected: str | None) -> None:
    """The note explains why a body does not match; one that is empty, or matches, has none."""
    async with Client(
        BASE, transport=Script(answer), error_types={"default": CodeOnly}, max_retries=0
    ) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")

    notes = getattr(raised.value, "__notes__", [])
    assert [note.partition("names: ")[2] for note in notes] == ([] if expected is None else [expected])


async def test_a_hook_that_fails_on_an_error_body_is_told() -> None:
    """A hook's exception is named, and the status is still raised."""

    def broken(wanted: type, value: Any) -> Any:
        raise KeyError("s3cr3t")

    script = Script(reply(404, {"code": "c"}))
    async with Client(BASE, transport=script, dec_hook=broken, error_types={404: Custom}) as api:
        with pytest.raises(APIStatusError) as raised:
            await api.get("/x")

    assert raised.value.__notes__ == [
        "The body does not fit Custom, which error_types names: KeyError was raised while it was decoded"
    ]


class Custom:
    """A class that only a hook can make."""
