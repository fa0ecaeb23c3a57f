"""The upstream of the service: a small API and its token endpoint."""

from aiohttp import web

FAILURES = web.AppKey("failures", list[int])  # statuses to answer with before the API recovers
REQUESTS = web.AppKey("requests", list[web.Request])


async def token(request: web.Request) -> web.Response:
    request.app[REQUESTS].append(request)
    if request.headers.get("Authorization") != "Basic bXktc2VydmljZTphLXNlY3JldA==":  # my-service:a-secret
        return web.json_response({"error": "invalid_client"}, status=401)
    return web.json_response({"access_token": "a-token", "token_type": "Bearer", "expires_in": 3600})


async def user(request: web.Request) -> web.Response:
    request.app[REQUESTS].append(request)
    if request.headers.get("Authorization") != "Bearer a-token":
        return web.Response(status=401)
    if request.app[FAILURES]:
        return web.Response(status=request.app[FAILURES].pop(), headers={"retry-after-ms": "1"})
    return web.json_response({"login": "ada"}, status=200 if request.match_info["id"] == "7" else 404)


async def motto(request: web.Request) -> web.Response:
    return web.Response(text="carpe diem", headers={"Cache-Control": "max-age=60"})


def make_upstream() -> web.Application:
    app = web.Application()
    app[FAILURES], app[REQUESTS] = [], []
    app.add_routes([web.post("/token", token), web.get("/v1/users/{id}", user), web.get("/v1/motto", motto)])
    return app
