"""httpbin: statuses, retries, validators and limits of time."""

from __future__ import annotations

import pytest
from helpers import Client
from integration.echoes import Echo

from aioapiclient import (
    APIStatusError,
    APITimeoutError,
    AsyncAPIResponse,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ConflictError,
    ContentTooLargeError,
    GatewayTimeoutError,
    GoneError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    RateLimitError,
    RequestTimeoutError,
    ServerNotImplementedError,
    ServiceUnavailableError,
    Timeout,
    UnprocessableEntityError,
)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 299])
async def test_a_success_without_a_body_is_none(api: Client, status: int) -> None:
    """Any 2xx is a success; an empty body is None if the type admits it."""
    assert await api.get("/status/{status}", Echo | None, path_params={"status": status}) is None


async def test_no_content_is_none(api: Client) -> None:
    """A 204 is None."""
    assert await api.delete("/status/204", None) is None


@pytest.mark.parametrize(
    ("status", "error", "retried"),
    [
        (300, APIStatusError, False),
        (304, APIStatusError, False),
        (400, BadRequestError, False),
        (401, AuthenticationError, False),
        (403, PermissionDeniedError, False),
        (404, NotFoundError, False),
        (405, APIStatusError, False),
        (408, RequestTimeoutError, True),
        (409, ConflictError, False),
        (410, GoneError, False),
        (412, PreconditionFailedError, False),
        (413, ContentTooLargeError, False),
        (418, APIStatusError, False),
        (422, UnprocessableEntityError, False),
        (425, APIStatusError, True),
        (429, RateLimitError, True),
        (451, APIStatusError, False),
        (500, InternalServerError, True),
        (501, ServerNotImplementedError, False),
        (502, BadGatewayError, True),
        (503, ServiceUnavailableError, True),
        (504, GatewayTimeoutError, True),
        (505, InternalServerError, False),
        (599, InternalServerError, True),
    ],
)
async def test_every_family_of_statuses(
    api: Client, status: int, error: type[APIStatusError], retried: bool
) -> None:
    """Every error status raises its class; a transient one is retried twice before that."""
    with pytest.raises(error) as raised:
        await api.get(f"/status/{status}")

    assert type(raised.value) is error
    assert raised.value.status == status
    assert raised.value.retries_taken == len(api.waits) == (2 if retried else 0)


async def test_a_post_is_not_repeated_after_a_500(api: Client) -> None:
    """A POST that failed with a 500 may have been carried out, and is not repeated."""
    with pytest.raises(InternalServerError):
        await api.post("/status/500", json={})

    assert api.waits == []


async def test_a_post_is_repeated_after_a_429(api: Client) -> None:
    """A POST that was refused with a 429 was not carried out, and is repeated."""
    with pytest.raises(RateLimitError):
        await api.post("/status/429", json={})

    assert len(api.waits) == 2


async def test_a_status_that_the_call_names_is_not_an_error(api: Client) -> None:
    """A call with 404 in its ``ok_statuses`` returns None for it."""
    assert await api.get("/status/404", Echo | None, ok_statuses={404}) is None


async def test_the_body_of_an_error_is_kept(api: Client) -> None:
    """The text of an error response is on the error, whatever its type."""
    with pytest.raises(APIStatusError) as raised:
        await api.get("/status/418")

    assert "teapot" in str(raised.value.body)


# --- validators


async def test_a_matching_etag_is_a_304(api: Client) -> None:
    """A 304 is an answer for a call that names it, with the headers and without a body."""
    response = await api.get(
        "/etag/{etag}",
        AsyncAPIResponse[Echo | None],
        path_params={"etag": "abc"},
        headers={"If-None-Match": '"abc"'},
        ok_statuses={304},
    )

    assert response.status == 304
    assert response.headers["ETag"] == "abc"
    assert await response.parse() is None


async def test_another_etag_is_a_200(api: Client) -> None:
    """A changed representation is returned in full."""
    echo = await api.get("/etag/abc", Echo, headers={"If-None-Match": '"old"'}, ok_statuses={304})

    assert echo.url.endswith("/etag/abc")


async def test_a_failed_precondition_raises(api: Client) -> None:
    """A 412 is a `PreconditionFailedError`."""
    with pytest.raises(PreconditionFailedError):
        await api.get("/etag/abc", Echo, headers={"If-Match": '"old"'})


async def test_a_cached_answer_is_a_304(api: Client) -> None:
    """A date is a validator as well as a tag."""
    response = await api.get(
        "/cache",
        AsyncAPIResponse[Echo | None],
        headers={"If-Modified-Since": "Sun, 22 Nov 2026 12:00:00 GMT"},
        ok_statuses={304},
    )

    assert response.status == 304


async def test_how_long_an_answer_may_be_cached(api: Client) -> None:
    """The headers of a response are available on it."""
    response = await api.get("/cache/{seconds}", AsyncAPIResponse[Echo], path_params={"seconds": 60})

    assert response.headers["cache-control"] == "public, max-age=60"


# --- timeouts


async def test_a_short_delay_is_waited_for(api: Client) -> None:
    """An answer within its timeouts is returned."""
    echo = await api.get("/delay/0.1", Echo, timeout=Timeout(total=30, attempt=20))

    assert echo.url.endswith("/delay/0.1")


async def test_a_delay_beyond_the_attempt_is_tried_again(api: Client) -> None:
    """An attempt that takes too long is retried, and raises in the end."""
    with pytest.raises(APITimeoutError) as raised:
        await api.get("/delay/2", Echo, timeout=Timeout(attempt=0.1), max_retries=1)

    assert (raised.value.phase, raised.value.retries_taken) == ("attempt", 1)


async def test_a_delay_beyond_the_total_ends_the_call(api: Client) -> None:
    """A call that takes too long ends, and is not retried."""
    with pytest.raises(APITimeoutError) as raised:
        await api.get("/delay/2", Echo, timeout=0.2)

    assert (raised.value.phase, raised.value.retries_taken) == ("total", 0)


async def test_a_silent_server_is_given_up(api: Client) -> None:
    """Silence before the head is limited too."""
    with pytest.raises(APITimeoutError) as raised:
        await api.get("/delay/2", Echo, timeout=Timeout(read=0.1), max_retries=0)

    assert raised.value.phase == "read"


async def test_a_post_that_timed_out_is_not_repeated(api: Client) -> None:
    """A POST that was sent, and not answered in time, is not sent again."""
    with pytest.raises(APITimeoutError) as raised:
        await api.post("/delay/2", Echo, json={}, timeout=Timeout(attempt=0.1))

    assert raised.value.retries_taken == 0


async def test_a_dripping_body_is_read(api: Client) -> None:
    """A body that drips is read to its end, however small its pieces are."""
    assert await api.get("/drip", bytes, params={"duration": 0.2, "numbytes": 10, "delay": 0}) == b"*" * 10


async def test_a_drip_slower_than_read_raises(api: Client) -> None:
    """A pause between two bytes beyond ``read`` raises."""
    with pytest.raises(APITimeoutError) as raised:
        await api.get(
            "/drip",
            bytes,
            params={"duration": 4, "numbytes": 2, "delay": 0},
            timeout=Timeout(read=0.2),
            max_retries=0,
        )

    assert raised.value.phase == "read"


async def test_a_drip_cannot_outlast_the_total(api: Client) -> None:
    """A drip that is fast enough for ``read`` still ends with ``total``."""
    with pytest.raises(APITimeoutError) as raised:
        await api.get(
            "/drip",
            bytes,
            params={"duration": 4, "numbytes": 200, "delay": 0},
            timeout=Timeout(total=0.3, read=20),
        )

    assert raised.value.phase == "total"


async def test_the_drip_of_an_error_is_an_error(api: Client) -> None:
    """The body of an error is read like any other, however slowly it arrives."""
    with pytest.raises(InternalServerError) as raised:
        await api.get(
            "/drip", bytes, params={"duration": 0.1, "numbytes": 3, "code": 500, "delay": 0}, max_retries=0
        )

    assert raised.value.response.body == b"***"
