"""The API that the tutorial talks to: a few users, one endpoint that fails at first, and a stream.

::

    python examples/server.py            # http://127.0.0.1:8080/v1, until Ctrl-C
    python examples/server.py --port 0   # on a free port
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from aiohttp import web

FAILURES: web.AppKey[list[int]] = web.AppKey("failures", list)


async def show_user(request: web.Request) -> web.Response:
    match request.match_info["id"]:
        case "7":
            return web.json_response({"id": 7, "login": "ada"}, headers={"x-request-id": "req-42"})
        case "8":
            return web.json_response({"id": "eight", "login": "bob"})
        case _:
            problem = {"title": "No such user", "status": 404, "detail": "It was deleted"}
            return web.json_response(problem, status=404, content_type="application/problem+json")


async def list_users(request: web.Request) -> web.Response:
    return web.json_response([{"id": 7, "login": "ada"}, {"id": 8, "login": "bob"}])


async def create_user(request: web.Request) -> web.Response:
    user = await request.json()
    if "login" not in user:
        return web.json_response({"code": "missing_field", "fields": ["login"]}, status=422)
    return web.json_response({"id": 8, **user}, status=201)


async def fail_twice(request: web.Request) -> web.Response:
    """Answer 503 two times out of three, with a wait that is short enough for a tutorial."""
    failures = request.app[FAILURES]
    failures[0] = (failures[0] + 1) % 3
    if failures[0]:
        return web.json_response({"error": "busy"}, status=503, headers={"retry-after-ms": "10"})
    return web.json_response({"asked": 3})


async def count(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(1, 4):
        await response.write(b'data: {"number": %d}\n\n' % number)
    await response.write(b"data: [DONE]\n\n")
    return response


def make_app() -> web.Application:
    app = web.Application()
    app[FAILURES] = [0]
    app.add_routes(
        [
            web.get("/v1/users", list_users),
            web.post("/v1/users", create_user),
            web.get("/v1/users/{id}", show_user),
            web.get("/v1/flaky", fail_twice),
            web.get("/v1/count", count),
        ]
    )
    return app


async def serve(port: int) -> None:
    runner = web.AppRunner(make_app())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        print(f"Serving on http://127.0.0.1:{runner.addresses[0][1]}/v1 until Ctrl-C", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The API that the tutorial talks to")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one; 8080 by default")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))
