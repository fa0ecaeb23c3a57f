"""The types of long-running operations, asserted for checkers; not meant to be executed."""

from __future__ import annotations

from typing import Any, assert_type

import msgspec
from yarl import URL

from aioapiclient import AsyncAPIClient, AsyncAPIResponse, OperationFailedError, Timeout


class Job(msgspec.Struct):
    id: int


class Failure(msgspec.Struct, tag="failure"):
    reason: str


class Success(msgspec.Struct, tag="success"):
    job: Job


async def results(api: AsyncAPIClient) -> None:
    """The result has exactly the type of cast_to."""
    started = await api.post("/jobs", AsyncAPIResponse[None])
    assert_type(await api.poll(started, Job), Job)
    assert_type(await api.poll(started, Job | None), Job | None)
    assert_type(await api.poll(started, Success | Failure), Success | Failure)
    assert_type(await api.poll(started, list[Job], timeout=60), list[Job])
    assert_type(await api.poll(started, bytes, timeout=None), bytes)
    assert_type(await api.poll(started, AsyncAPIResponse[Job]), AsyncAPIResponse[Job])
    assert_type(await api.poll(started, None), None)
    assert_type(await api.poll(started), Any)


async def starts(api: AsyncAPIClient, job: AsyncAPIResponse[Job]) -> None:
    """A response of any type starts it, and so does a path or a URL."""
    assert_type(await api.poll(job, Job), Job)
    assert_type(await api.poll("/jobs/{id}", Job, path_params={"id": 7}), Job)
    assert_type(await api.poll(URL("https://api.example.com/jobs/7"), Job), Job)
    await api.poll(7, Job)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def options(api: AsyncAPIClient) -> None:
    """Names or functions find status and result; all other options are keywords."""
    await api.poll("/jobs/7", Job, status_of="state", result="job", done={"ok"}, failed=["broken"])
    await api.poll(
        "/jobs/7", Job, status_of=lambda body: body["meta"]["state"], result=lambda body: body["job"]
    )
    await api.poll("/jobs/7", Job, interval=2, max_interval=8.5, options={"timeout": Timeout(read=5)})
    await api.poll("/jobs/7", Job, interval="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await api.poll("/jobs/7", Job, timeout=Timeout(total=3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def failure(error: OperationFailedError) -> None:
    """The attributes of the error of a failed operation."""
    assert_type(error.status, str)
    assert_type(error.code, str | None)
    assert_type(error.response, AsyncAPIResponse[Any] | None)
