"""Long-running operations in their three common forms, with a server in this program.

::

    python examples/poll_operation.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web
from yarl import URL

from aioapiclient import (
    APITimeoutError,
    AsyncAPIClient,
    AsyncAPIResource,
    AsyncAPIResponse,
    OperationFailedError,
    raw_response,
)


class Report(msgspec.Struct):
    title: str
    pages: int


class Machine(msgspec.Struct):
    name: str
    size: int


class Batch(msgspec.Struct):
    id: str
    status: str
    output_file: str | None = None


class Reports(AsyncAPIResource[AsyncAPIClient]):
    """A 202 with Location, polled until the response is the report."""

    async def create(self, title: str) -> Report:
        started = await self._client.post("/reports", AsyncAPIResponse[None], json={"title": title})
        return await self._client.poll(started, Report, timeout=60)


class Machines(AsyncAPIResource[AsyncAPIClient]):
    """Operation-Location: a monitor with a status; the result is the machine that was put."""

    async def create(self, name: str, size: int) -> Machine:
        started = await self._client.put(
            "/machines/{name}", AsyncAPIResponse[None], path_params={"name": name}, json={"size": size}
        )
        return await self._client.poll(started, Machine, interval=0.01)


class Batches(AsyncAPIResource[AsyncAPIClient]):
    """A resource with its own status, whose result is a file."""

    async def create(self) -> Batch:
        return await self._client.post("/batches", Batch)

    async def wait(self, id: str) -> Batch:
        return await self._client.poll(
            "/batches/{id}", Batch, path_params={"id": id}, status_of="status", timeout=60, interval=0.01
        )

    async def output(self, id: str) -> str:
        return await self._client.poll(
            "/batches/{id}",
            str,
            path_params={"id": id},
            status_of="status",
            result=lambda batch: URL(f"/files/{batch['output_file']}"),
            interval=0.01,
        )


class API(AsyncAPIClient):
    """The SDK."""

    @property
    def reports(self) -> Reports:
        return Reports(self)

    @property
    def machines(self) -> Machines:
        return Machines(self)

    @property
    def batches(self) -> Batches:
        return Batches(self)


async def use(api: API) -> None:
    print(await api.reports.create("Tea"))
    print(await api.machines.create("m1", 4))

    batch = await api.batches.create()
    print(batch.status, "->", (await api.batches.wait(batch.id)).status)
    print(await api.batches.output(batch.id))

    try:
        await api.machines.create("m2", 4000)
    except OperationFailedError as error:
        print(f"{error.status}: {error.code}")
    try:
        await api.batches.wait("slow")
    except APITimeoutError as error:
        print(f"{error.phase}: {error.body['status']}, {error.retry_after} s more")

    response = await raw_response(api.reports.create)("Milk")
    print(response.headers["X-Cost"], (await response.parse()).title)


# --- the server


class Service:
    """Operations that are done after two polls."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}

    def is_done(self, request: web.Request) -> bool:
        times = self.asked[request.path] = self.asked.get(request.path, 0) + 1
        return times > 2

    async def create_report(self, request: web.Request) -> web.Response:
        title = (await request.json())["title"]
        return web.Response(status=202, headers={"Location": f"/operations/{title}", "Retry-After": "0.01"})

    async def report(self, request: web.Request) -> web.Response:
        if not self.is_done(request):
            return web.Response(status=202, headers={"Retry-After": "0.01"})
        report = {"title": request.match_info["title"], "pages": 12}
        return web.json_response(report, headers={"X-Cost": "3"})

    async def create_machine(self, request: web.Request) -> web.Response:
        size = (await request.json())["size"]
        where = str(request.url.with_path(f"/monitors/{size}"))
        return web.Response(status=202, headers={"Operation-Location": where})

    async def monitor(self, request: web.Request) -> web.Response:
        if not self.is_done(request):
            return web.json_response({"status": "Running"})
        if request.match_info["size"] == "4000":
            return web.json_response({"status": "Failed", "error": {"code": "QuotaExceeded"}})
        return web.json_response({"status": "Succeeded"})

    async def machine(self, request: web.Request) -> web.Response:
        return web.json_response({"name": request.match_info["name"], "size": 4})

    async def create_batch(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "b1", "status": "validating"})

    async def batch(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        if id == "slow":
            return web.json_response({"id": id, "status": "in_progress"}, headers={"Retry-After": "300"})
        if not self.is_done(request):
            return web.json_response({"id": id, "status": "in_progress"})
        return web.json_response({"id": id, "status": "completed", "output_file": "f1"})

    async def file(self, request: web.Request) -> web.Response:
        return web.Response(text="a line for each request")


@asynccontextmanager
async def server() -> AsyncGenerator[str, None]:
    service = Service()
    app = web.Application()
    app.add_routes(
        [
            web.post("/reports", service.create_report),
            web.get("/operations/{title}", service.report),
            web.put("/machines/{name}", service.create_machine),
            web.get("/machines/{name}", service.machine),
            web.get("/monitors/{size}", service.monitor),
            web.post("/batches", service.create_batch),
            web.get("/batches/{id}", service.batch),
            web.get("/files/{id}", service.file),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def main() -> None:
    async with server() as url, API(url) as api:
        await use(api)


if __name__ == "__main__":
    asyncio.run(main())
