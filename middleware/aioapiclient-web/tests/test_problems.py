"""`problems`: the status of a failed call's response, and that it contains no data of the upstream server."""

from __future__ import annotations

import logging
import math
from typing import Any

import aiohttp
import msgspec
import pytest
from aioapiclient_web import WebhookError, inbound, problems
from aiohttp import web

from aioapiclient import (
    APIClientError,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APIStreamError,
    APITimeoutError,
    BodyTooLargeError,
    CircuitOpenError,
    ClientClosedError,
    ConcurrencyLimitError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    RateLimitError,
    ServiceUnavailableError,
    ThrottledError,
    TooManyRedirectsError,
)

SECRET = "canary-https://internal.example.com/path"


class Answer(msgspec.Struct):
    """The response of the service."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    text: str


async def answer(serve: Any, error: BaseException, path: str = "/", **options: Any) -> Answer:
    """The response of a service whose handler raises *error*."""

    async def handler(request: web.Request) -> web.Response:
        raise error

    app = web.Application(middlewares=[inbound(), problems(**options)])
    app.router.add_get("/{path:[^?]*}", handler)
    url = await serve(app)
    async with (
        aiohttp.ClientSession() as session,
        session.get(url + path, headers={"X-Request-Id": "inbound-1"}) as response,
    ):
        text = await response.text()
        is_problem = response.content_type == "application/problem+json"
        body = await response.json(content_type=None) if is_problem else {}
        return Answer(response.status, dict(response.headers), body, text)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (APITimeoutError(SECRET, phase="total"), 504),
        (APITimeoutError(SECRET, phase="connect"), 504),
        (RateLimitError(SECRET), 503),
        (ThrottledError(SECRET), 503),
        (CircuitOpenError(SECRET), 503),
        (ConcurrencyLimitError(SECRET), 503),
        (APIConnectionError(SECRET, reason="refused"), 502),
        (APIStreamError(SECRET), 502),
        (APIResponseValidationError(SECRET), 502),
        (BodyTooLargeError(SECRET), 502),
        (TooManyRedirectsError(SECRET), 502),
        (InternalServerError(SECRET, status=500), 502),
        (ServiceUnavailableError(SECRET, retry_after=5), 502),
        (NotFoundError(SECRET), 502),
        (APIStatusError(SECRET, status=401, body={"canary": 1}), 502),
        (APIError(SECRET), 502),
        (WebhookError(SECRET), 400),
    ],
)
async def test_the_table(serve: Any, error: APIClientError, status: int) -> None:
    """Each failure has its status, as problem+json with our own text."""
    found = await answer(serve, error)
    assert found.status == found.body["status"] == status
    assert found.headers["Content-Type"] == "application/problem+json"
    assert found.body["type"] == "about:blank"
    assert found.body["title"] in {"Gateway Timeout", "Service Unavailable", "Bad Gateway", "Bad Request"}
    assert found.body["detail"].endswith(".")
    assert "canary" not in found.text + str(found.headers)
    assert ("Retry-After" in found.headers) is (status == 503)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "1"), (0.0, "1"), (0.2, "1"), (7.0, "7"), (7.01, "8"), (-5, "1"), (1e30, "86400")],
)
async def test_when_to_come_back(serve: Any, seconds: float | None, said: str) -> None:
    """Retry-After is the known time, rounded up, at least a second and at most a day."""
    found = await answer(serve, ThrottledError(retry_after=seconds))
    assert found.headers["Retry-After"] == said


@pytest.mark.parametrize(("seconds", "said"), [(math.nan, "1"), (math.inf, "86400")])
async def test_a_time_that_is_not_a_number(serve: Any, seconds: float, said: str) -> None:
    """An invalid time from a plugin still makes a valid header."""
    found = await answer(serve, CircuitOpenError(retry_after=seconds))
    assert found.headers["Retry-After"] == said


async def test_a_status_can_pass_through(serve: Any) -> None:
    """A status in pass_through is answered unchanged, with Retry-After, and without the body."""
    options = {"pass_through": [404, 429]}
    missing = await answer(serve, NotFoundError(SECRET, body={"canary": 1}, request_id="up-1"), **options)
    assert (missing.status, missing.body) == (
        404,
        {"type": "about:blank", "title": "Not Found", "status": 404, "request_id": "up-1"},
    )
    assert "canary" not in missing.text
    busy = await answer(serve, RateLimitError(SECRET, retry_after=6.5), **options)
    assert (busy.status, busy.headers["Retry-After"]) == (429, "7")
    assert (await answer(serve, APIStatusError(SECRET, status=410), **options)).status == 502


async def test_own_rules_come_first(serve: Any) -> None:
    """The first matching class of the service's own rules counts, ahead of all others."""
    options = {
        "rules": {NotFoundError: 410, APIStatusError: 424, ClientClosedError: 503},
        "pass_through": [404],
    }
    statuses = [
        (await answer(serve, error, **options)).status
        for error in (
            NotFoundError(),
            InternalServerError(status=500),
            APITimeoutError(),
            ClientClosedError(),
        )
    ]
    assert statuses == [410, 424, 504, 503]


async def test_types_of_problems(serve: Any) -> None:
    """With a base, each kind of problem has its own type."""
    options = {"type_base": "https://example.com/problems/", "pass_through": [404, 499]}
    errors = (APITimeoutError(), CircuitOpenError(), NotFoundError(), APIStatusError(status=499))
    types = [(await answer(serve, error, **options)).body["type"] for error in errors]
    assert [one.rpartition("/")[2] for one in types] == [
        "upstream-timeout",
        "upstream-down",
        "not-found",
        "error",
    ]
    assert all(one.startswith("https://example.com/problems/") for one in types)


@pytest.mark.parametrize(
    ("error", "exposed", "expected"),
    [
        (InternalServerError(request_id="up-1"), True, "up-1"),
        (InternalServerError(request_id='"<script>\n'), True, "inbound-1"),
        (InternalServerError(request_id="x" * 129), True, "inbound-1"),
        (APITimeoutError(), True, "inbound-1"),
        (InternalServerError(request_id="up-1"), False, None),
    ],
)
async def test_the_request_id(serve: Any, error: APIError, exposed: bool, expected: str | None) -> None:
    """The response has the upstream's ID of the call, or that of the request, or none if it is not
    exposed.
    """
    found = await answer(serve, error, expose_request_id=exposed)
    assert found.body.get("request_id") == expected


@pytest.mark.parametrize(
    "error", [ValueError("canary"), InvalidRequestError("canary"), ClientClosedError("canary")]
)
async def test_a_bug_stays_a_500(serve: Any, error: Exception) -> None:
    """A mistake of the service itself is not reported as a failure of the upstream server."""
    found = await answer(serve, error)
    assert (found.status, found.body) == (500, {})


async def test_a_group_of_tasks(serve: Any) -> None:
    """Of a group that has only errors of calls the first counts, however deep; one with a bug is a 500."""
    inner = ExceptionGroup("inner", [ThrottledError(retry_after=3), NotFoundError()])
    assert (await answer(serve, ExceptionGroup("outer", [inner, APITimeoutError()]))).status == 503
    mixed = ExceptionGroup("mixed", [APITimeoutError(), ExceptionGroup("inner", [ValueError("canary")])])
    assert (await answer(serve, mixed)).status == 500
    assert (await answer(serve, ExceptionGroup("bugs", [ValueError("canary")]))).status == 500


async def test_answers_that_are_raised_pass(serve: Any) -> None:
    """An HTTPException of the handler is its answer."""
    assert (await answer(serve, web.HTTPConflict())).status == 409


async def test_the_error_is_logged(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the error, which the answer hides; the path cannot forge a line, and has no query."""
    caplog.set_level(logging.INFO, "aioapiclient.web")
    await answer(serve, APITimeoutError("GET https://up/: late"), "/a%0Ab?token=query-canary")
    await answer(serve, NotFoundError("GET https://up/: 404 Not Found"), pass_through=[404])
    records = [record for record in caplog.records if record.name == "aioapiclient.web"]
    assert [(record.levelname, record.getMessage()) for record in records] == [
        ("WARNING", "GET /a%0Ab: 504 for APITimeoutError: GET https://up/: late"),
        ("INFO", "GET /: 404 for NotFoundError: GET https://up/: 404 Not Found"),
    ]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rules": [(NotFoundError, 404)]}, TypeError, "rules must be a mapping of error classes"),
        ({"rules": {ValueError: 400}}, TypeError, "rules must be for classes of aioapiclient.errors"),
        (
            {"rules": {NotFoundError: 200}},
            InvalidRequestError,
            "rules must contain statuses from 400 to 599, not 200",
        ),
        ({"rules": {NotFoundError: "404"}}, TypeError, "rules must contain statuses as int, not str"),
        ({"pass_through": 404}, TypeError, "pass_through must be an iterable of statuses, not int"),
        ({"pass_through": [True]}, TypeError, "pass_through must contain statuses as int, not bool"),
        ({"pass_through": [302]}, InvalidRequestError, "pass_through must contain statuses from 400 to 599"),
        ({"type_base": None}, TypeError, "type_base must be a str, not NoneType"),
        ({"expose_request_id": "no"}, TypeError, "expose_request_id must be True or False, not str"),
    ],
)
def test_what_an_argument_may_not_be(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """A wrong argument is refused when the middleware is created, with its name in the message."""
    with pytest.raises(error, match=words):
        problems(**options)
