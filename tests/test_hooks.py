"""The hooks of a subclass: when each is called, by which client or view, and in which chains it applies."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply

from aioapiclient import (
    AsyncAPIClient,
    BearerAuth,
    Omit,
    RetryPolicy,
    default_chain,
    per_send,
)
from aioapiclient._client.base import BaseClient
from aioapiclient.middleware import HeadersMiddleware, RetryMiddleware

AWAY = "https://elsewhere.example/x"
NAMES = ("X-Tenant", "X-Secret", "X-Platform", "User-Agent")


class Tenanted(Client):
    """Every hook that makes a part of a request names the tenant, which may change."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tenant = "a"

    @property
    def default_headers(self) -> Mapping[str, str | Omit]:
        return {"X-Tenant": self.tenant, **super().default_headers}

    @property
    def default_params(self) -> Mapping[str, Any]:
        return {"tenant": self.tenant}

    @property
    def auth_headers(self) -> Mapping[str, str]:
        return {"X-Secret": self.tenant}

    @property
    def user_agent(self) -> str:
        return self.tenant

    def platform_headers(self) -> Mapping[str, str]:
        return {"X-Platform": self.tenant}


def tenants(script: Script) -> list[set[str | None]]:
    """Return the tenants that each request names."""
    return [
        {*(request.headers.get(name) for name in NAMES), request.url.query["tenant"]}
        for request in script.requests
    ]


async def test_hooks_follow_the_state_of_the_client() -> None:
    """Each call runs every overridden hook again, so a request never mixes two states."""
    script = Script()
    async with Tenanted(BASE, transport=script) as api:
        for api.tenant in ("a", "b", "a"):
            await api.get("/x")

    assert tenants(script) == [{"a"}, {"b"}, {"a"}]


@pytest.mark.parametrize(
    "options", [{"timeout": 1}, {"default_headers": {"X": "1"}}, {"version": "2"}], ids=repr
)
async def test_a_view_asks_its_own_hooks(options: Any) -> None:
    """A view calls the hooks with its own state, and its client continues with the client's."""
    script = Script()
    async with Tenanted(BASE, transport=script) as api:
        view = api.with_options(**options)
        view.tenant = "b"
        for each in (api, view, api, view):
            await each.get("/x")

    assert tenants(script) == [{"a"}, {"b"}, {"a"}, {"b"}]


async def test_headers_of_other_origins_follow_as_well() -> None:
    """The hooks for headers that other origins may receive run again too."""
    script = Script()
    async with Tenanted(BASE, transport=script) as api:
        for api.tenant in ("a", "b"):
            await api.get(AWAY)

    assert [request.headers["User-Agent"] for request in script.requests] == ["a", "b"]
    assert "X-Tenant" not in script.last.headers


async def test_how_often_each_hook_is_asked() -> None:
    """Headers and parameters are requested once per call, `auth_headers` for each attempt."""
    asked: list[str] = []

    class Counting(Tenanted):
        @property
        def default_headers(self) -> Mapping[str, str | Omit]:
            asked.append("headers")
            return super().default_headers

        @property
        def default_params(self) -> Mapping[str, Any]:
            asked.append("params")
            return super().default_params

        @property
        def auth_headers(self) -> Mapping[str, str]:
            asked.append("auth")
            return super().auth_headers

    async with Counting(BASE, transport=Script(reply(503), reply())) as api:
        before = list(asked)
        await api.get("/x")

    assert before == []
    assert sorted(asked) == ["auth", "auth", "headers", "params"]


async def test_hooks_that_are_not_overridden_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of a client that overrides no hook calls none, so hooks cost nothing."""
    asked: list[str] = []
    names = ("auth_headers", "default_headers", "user_agent")
    async with AsyncAPIClient(BASE, default_headers={"X": "1"}, transport=Script()) as api:
        for name in names:
            monkeypatch.setattr(BaseClient, name, property(lambda _, name=name: asked.append(name) or {}))
        await api.get("/x")
        await api.get("/x", params={"a": 1})

    assert asked == []


async def test_a_hook_that_gives_no_mapping_is_refused() -> None:
    """`default_headers` that returns no mapping is a `TypeError` that names it."""

    class Wrong(Client):
        @property
        def default_headers(self) -> Any:
            return None

    async with Wrong(BASE, transport=Script()) as api:
        with pytest.raises(
            TypeError, match="default headers must be a mapping of names to values, not NoneType"
        ):
            await api.get("/x")


async def test_a_request_does_not_keep_its_client_alive() -> None:
    """A request that outlives its call, on an error or in a transport, does not keep its client alive."""
    script = Script()
    async with Tenanted(BASE, transport=script) as api:
        view = api.with_options(timeout=1)
        await view.get("/x")
        dropped = weakref.ref(view)
        del view
        gc.collect()

        assert dropped() is None
        assert len(script.requests) == 1


# --- custom chains


async def test_hooks_hold_with_any_chain() -> None:
    """With `chain=`, of a client or of a view, each hook applies if the chain has the middleware that uses
    it.
    """
    script, another = Script(reply(503), reply()), Script(reply(503), reply())
    async with Tenanted(BASE, transport=script) as api:
        view = api.with_options(chain=default_chain())
        view.tenant = "b"
        await view.get("/x")
    async with Tenanted(BASE, chain=default_chain(), transport=another) as other:
        await other.get("/x")

    assert tenants(script) == [{"b"}, {"b"}]
    assert tenants(another) == [{"a"}, {"a"}]
    assert len(view.waits) == len(other.waits) == 1


async def test_one_chain_serves_two_clients() -> None:
    """A chain that two clients share uses the hooks of the calling client."""
    chain, script = default_chain(), Script()
    one, other = (Tenanted(BASE, chain=chain, transport=script) for _ in range(2))
    other.tenant = "b"
    async with one, other:
        for each in (one, other, one):
            await each.get("/x")

    assert tenants(script) == [{"a"}, {"b"}, {"a"}]


async def test_the_user_agent_holds_with_any_chain() -> None:
    """The User-Agent names the client and its version in a custom chain too."""
    script = Script()
    async with Client(BASE, version="7", chain=default_chain(), transport=script) as api:
        await api.get("/x")
        await api.with_options(version="8").get("/x")

    assert [request.headers["User-Agent"].split()[0] for request in script.requests] == [
        "Client/7",
        "Client/8",
    ]


async def test_what_a_link_was_given_lies_over_the_hooks() -> None:
    """Headers, auth and sleep that were given to a link itself override the hooks."""
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    script = Script(reply(503), reply())
    chain = default_chain(
        auth=BearerAuth("t"), default_headers={"x-tenant": "link", "X-More": "1"}, sleep=nap
    )
    async with Tenanted(BASE, chain=chain, transport=script) as api:
        await api.get("/x")

    assert script.last.headers.getall("X-Tenant") == ["link"]
    assert script.last.headers["X-More"] == "1"
    assert script.last.headers["Authorization"] == "Bearer t"
    assert "X-Secret" not in script.last.headers
    assert (len(naps), api.waits) == (1, [])


async def test_a_chain_without_the_link_does_without_the_hook() -> None:
    """A chain without a `HeadersMiddleware` adds no headers, and calls no hook for them."""
    chain = [link for link in default_chain() if not isinstance(link, HeadersMiddleware | RetryMiddleware)]
    script = Script()
    async with Tenanted(BASE, chain=chain, transport=script) as api:
        await api.get("/x")

    assert "X-Tenant" not in script.last.headers
    assert script.last.headers["X-Secret"] == "a"


async def passes(request: Any, handler: Any) -> Any:
    """A middleware that does nothing."""
    return await handler(request)


DROPPED = {
    "auth": (BearerAuth("t"), None),
    "default_headers": ({"X": "1"}, None),
    "retry": (RetryPolicy(max_retries=1), None),
    "trusted_origins": (["https://*.example.com"], ()),
    "middlewares": ([per_send(passes)], ()),
}


@pytest.mark.parametrize("name", DROPPED)
def test_a_view_with_a_chain_drops_nothing_of_its_client(name: str) -> None:
    """`chain=` for a view is refused if the client has options that it would drop; cleared options are
    fine.
    """
    given, none = DROPPED[name]
    options: dict[str, Any] = {name: given}
    api = Client(BASE, **options)
    view = api.with_options(timeout=1)

    for each in (api, view):
        with pytest.raises(
            TypeError, match=f"the client's own {name} belongs to its default chain, and chain="
        ):
            each.with_options(chain=default_chain())
        cleared: dict[str, Any] = {name: none}
        assert each.with_options(chain=[passes], **cleared).chain == (passes,)
