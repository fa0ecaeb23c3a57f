"""Iterates over paginated lists of every kind, from a server in this program.

::

    python examples/walk_pages.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

import msgspec
from aiohttp import web

from aioapiclient import (
    AsyncAPIClient,
    AsyncAPIResponse,
    AsyncPage,
    BearerAuth,
    CursorPage,
    LinkHeaderPage,
    NumberedPage,
    PageInfo,
)

T = TypeVar("T")


class User(msgspec.Struct):
    id: int
    login: str


class Hit(msgspec.Struct):
    title: str


# --- page classes of an SDK


class Numbered(NumberedPage[T]):
    """The items are called ``users``, and the number of pages is known."""

    users: list[T]
    total_pages: int

    items_field: ClassVar[str] = "users"


class SearchPage(CursorPage[T]):
    """The cursor is nested one level deep, and is sent back in the JSON body."""

    meta: dict[str, Any]

    cursor_field: ClassVar[str] = "meta.after"
    cursor_param: ClassVar[str] = "after"
    send_in = "json"


class Feed(AsyncPage[T]):
    """Computes the next page itself: everything older than its last item."""

    oldest: int | None = None

    def next_page_info(self, response: AsyncAPIResponse[Any], /) -> PageInfo | None:
        return None if self.oldest is None else PageInfo(params={"before": self.oldest})


async def walk(api: AsyncAPIClient) -> None:
    """Iterate over each list."""
    print("all users, item by item:")
    async for user in api.get_api_list("/users", model=User, page=Numbered[User]):
        print(f"  {user.id} {user.login}")

    print("five of them, with the next page prefetched:")
    users = api.get_api_list("/users", model=User, page=Numbered[User], limit=5, prefetch=True)
    print(" ", *[user.login async for user in users])

    print("page by page:")
    async for page in api.get_api_list("/users", model=User, page=Numbered[User]).iter_pages():
        print(f"  page {page.params.get('page', 1)} of {page.total_pages}: {len(page.users)} users")

    print("by hand:")
    first = await api.get_api_list("/search", Hit, SearchPage[Hit], method="post", json={"text": "tea"})
    print(" ", [hit.title for hit in first.data], first.has_next_page())
    second = await first.get_next_page()
    print(" ", [hit.title for hit in second.data], second.has_next_page())

    print("a feed that computes its next page:")
    print(" ", [number async for number in api.get_api_list("/feed", model=int, page=Feed)])

    print("Link headers, which lead to another origin:")
    async for posts in api.get_api_list("/posts", model=str, page=LinkHeaderPage).iter_pages():
        who = posts.response.headers["X-Seen"]
        print(f"  {posts.data} ({who})")


# --- the server

LOGINS = ["ada", "bob", "cyd", "dan", "eve", "fay", "gus"]
ELSEWHERE = web.AppKey("elsewhere", str)


def seen(request: web.Request) -> dict[str, str]:
    return {"X-Seen": "with a credential" if "Authorization" in request.headers else "without a credential"}


async def get_users(request: web.Request) -> web.Response:
    page = int(request.query.get("page", 1))
    users = [{"id": LOGINS.index(login), "login": login} for login in LOGINS[3 * page - 3 : 3 * page]]
    return web.json_response({"users": users, "total_pages": 3})


async def post_search(request: web.Request) -> web.Response:
    if "after" in await request.json():
        return web.json_response({"data": [{"title": "Green tea"}], "meta": {}})
    return web.json_response({"data": [{"title": "Black tea"}], "meta": {"after": "x1"}})


async def get_feed(request: web.Request) -> web.Response:
    newest = int(request.query.get("before", 10)) - 1
    oldest = max(newest - 3, 1)
    older = {"oldest": oldest} if oldest > 1 else {}
    return web.json_response({"data": [*range(newest, oldest - 1, -1)], **older})


async def get_posts(request: web.Request) -> web.Response:
    link = f'<{request.app[ELSEWHERE]}/archive>; rel="next"; title="older, from the archive"'
    return web.json_response(["new"], headers={"Link": link, **seen(request)})


async def get_archive(request: web.Request) -> web.Response:
    return web.json_response(["old", "older"], headers=seen(request))


@asynccontextmanager
async def serving(app: web.Application) -> AsyncGenerator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def main() -> None:
    archive = web.Application()
    archive.add_routes([web.get("/archive", get_archive)])
    app = web.Application()
    app.add_routes(
        [
            web.get("/users", get_users),
            web.post("/search", post_search),
            web.get("/feed", get_feed),
            web.get("/posts", get_posts),
        ]
    )
    async with serving(archive) as elsewhere:
        app[ELSEWHERE] = elsewhere
        async with serving(app) as origin, AsyncAPIClient(origin, auth=BearerAuth("a-token")) as api:
            await walk(api)


if __name__ == "__main__":
    asyncio.run(main())
