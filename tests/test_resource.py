"""`AsyncAPIResource`: the resources of a view call through the view, however they were created."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import pytest
from helpers import BASE, Client, Script

from aioapiclient import AsyncAPIClient, AsyncAPIResource, LinkHeaderPage


class Runs(AsyncAPIResource["SDK"]):
    """A resource of a resource."""

    async def start(self) -> Any:
        return await self._client.post("/runs")


class Threads(AsyncAPIResource["SDK"]):
    """A resource with others on it."""

    def __init__(self, client: SDK) -> None:
        super().__init__(client)
        self.runs = Runs(client)

    @functools.cached_property
    def cached_runs(self) -> Runs:
        return Runs(self._client)


class Slotted(AsyncAPIResource["SDK"]):
    """A resource that keeps another in a slot."""

    __slots__ = ("runs",)

    def __init__(self, client: SDK) -> None:
        super().__init__(client)
        self.runs = Runs(client)


class Group(NamedTuple):
    """Resources by name."""

    threads: Threads
    runs: Runs


class SDK(Client):
    """An SDK that creates its resources in `__init__`, like those of OpenAI and Anthropic."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.threads = Threads(self)
        self.slotted = Slotted(self)
        self.again = self.threads
        self.by_name = {"threads": Threads(self)}
        self.listed = [Threads(self)]
        self.together = Group(Threads(self), Runs(self))
        self.others: list[Any] = [1, Threads]


def owners(api: SDK) -> set[object]:
    """The clients that the resources of *api* call through."""
    resources: list[Any] = [
        api.threads,
        api.slotted,
        api.again,
        *api.by_name.values(),
        *api.listed,
        *api.together,
    ]
    nested = [resource.runs for resource in resources if hasattr(resource, "runs")]
    return {resource._client for resource in [*resources, *nested, api.threads.cached_runs]}


def test_resources_set_in_init_belong_to_the_view() -> None:
    """Resources that `__init__` set, alone, in containers or on other resources, are the view's on a view."""
    api = SDK(BASE)
    assert owners(api) == {api}

    view = api.with_options(timeout=1)
    view_of_view = view.with_options(timeout=2)

    assert owners(view) == {view}
    assert owners(view_of_view) == {view_of_view}
    assert owners(api) == {api}
    assert view.again is view.threads
    assert view.others is api.others


async def test_the_options_of_a_view_reach_its_resources() -> None:
    """A call of a view's resource has the options of the view."""
    script = Script()
    async with SDK(BASE, transport=script) as api:
        await api.with_options(default_headers={"X-View": "1"}).threads.runs.start()
        await api.threads.runs.start()

    assert [request.headers.get("X-View") for request in script.requests] == ["1", None]


def test_a_resource_of_another_client_stays_its_own() -> None:
    """A resource that belongs to another client is not changed."""
    other = SDK(BASE)
    api = SDK(BASE)
    api.threads = other.threads

    assert api.with_options(timeout=1).threads is other.threads


# --- subclasses that did not call super().__init__()


class Forgetful(AsyncAPIClient):
    """It did not call `super().__init__()`."""

    def __init__(self) -> None:
        self.tenant = "a"


USES = {
    "get": lambda api: api.get("/x"),
    "get with options": lambda api: api.get("/x", params={}),
    "stream": lambda api: api.stream("GET", "/x").__aenter__(),
    "open": lambda api: api.open("GET", "/x").__aenter__(),
    "pages": lambda api: api.get_api_list("/x", int, LinkHeaderPage),
    "poll": lambda api: api.poll("/x"),
    "close": lambda api: api.close(),
    "is_closed": lambda api: api.is_closed(),
    "with_options": lambda api: api.with_options(timeout=1),
    "chain": lambda api: api.chain,
    "explain": lambda api: api.explain(),
    "base_url": lambda api: api.base_url,
    "timeout": lambda api: api.timeout,
    "stats": lambda api: api.stats(),
}


@pytest.mark.parametrize("use", USES)
async def test_a_client_without_super_init_says_so(use: str) -> None:
    """Any use of a client whose subclass forgot `super().__init__()` raises an error that explains it."""
    with pytest.raises(RuntimeError, match=r"Forgetful\.__init__\(\) did not call super\(\)\.__init__\(\)"):
        await USES[use](Forgetful())


def test_a_client_without_super_init_can_be_shown() -> None:
    """Its `repr` works, so that the mistake can be found."""
    assert repr(Forgetful()) == "<Forgetful without super().__init__()>"


async def test_a_resource_without_super_init_says_so() -> None:
    """So does a resource."""

    class Lazy(AsyncAPIResource[AsyncAPIClient]):
        def __init__(self) -> None:
            self.cache: dict[str, str] = {}

        async def get(self) -> Any:
            return await self._client.get("/x")

    with pytest.raises(RuntimeError, match=r"Lazy\.__init__\(\) did not call super\(\)\.__init__\(\)"):
        await Lazy().get()


async def test_super_init_may_come_late() -> None:
    """A subclass may call `super().__init__()` after it has set its own attributes."""

    class Late(AsyncAPIClient):
        def __init__(self) -> None:
            self.users = AsyncAPIResource(self)
            super().__init__(BASE, transport=Script())

    async with Late() as api:
        assert await api.get("/x") == {}
        assert api.with_options(timeout=1).users._client is not api
