"""The chain: its order and picture, the positions of custom middlewares, and how it is folded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply

from aioapiclient import (
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResponse,
    Auth,
    BearerAuth,
    Handler,
    InternalServerError,
    InvalidRequestError,
    Middleware,
    RetryPolicy,
    default_chain,
    load_middleware,
    per_attempt,
    per_send,
)
from aioapiclient._chain import fold, insert
from aioapiclient.contract import Placed
from aioapiclient.middleware import (
    AuthMiddleware,
    DeadlineMiddleware,
    DecodingMiddleware,
    HeadersMiddleware,
    RedirectMiddleware,
    RetryMiddleware,
    TimeoutMiddleware,
)

DEFAULT = [
    DeadlineMiddleware, HeadersMiddleware, RedirectMiddleware, RetryMiddleware, AuthMiddleware,
    TimeoutMiddleware, DecodingMiddleware,
]  # fmt: skip


def noting(name: str, notes: list[str]) -> Middleware:
    """A middleware that notes its name when a request passes."""

    async def note(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        notes.append(name)
        return await handler(request)

    return note


def names(chain: Any) -> list[str]:
    """The types of a chain's links."""
    return [type(link).__name__ for link in chain]


class Renewing(Auth):
    """An auth that renews itself after every challenge."""

    async def authenticate(self, request: APIRequest, /) -> None:
        request.headers["Authorization"] = "x"

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        return True


# --- the picture


def test_the_default_chain_has_the_order_of_the_picture() -> None:
    """The default chain is the picture of the README, the first link outermost, as an ordinary list."""
    chain = default_chain()

    assert type(chain) is list
    assert [type(link) for link in chain] == DEFAULT
    assert [type(link) for link in AsyncAPIClient(BASE).chain] == DEFAULT


def test_explain_draws_the_picture() -> None:
    """`explain` prints one middleware a line, each inside the one above, with the two bars of the picture."""
    notes: list[str] = []
    api = Client(
        BASE,
        middlewares=[
            per_send(noting("s", notes)), per_attempt(noting("a", notes)), noting("c", notes),
        ],
        transport=Script(),
    )  # fmt: skip
    lines = api.explain().splitlines()

    assert [line.split()[0] for line in lines] == [
        "DeadlineMiddleware",
        "HeadersMiddleware",
        "note",
        "RedirectMiddleware",
        "RetryMiddleware",
        "note",
        "AuthMiddleware",
        "note",
        "TimeoutMiddleware",
        "DecodingMiddleware",
        "Script",
    ]
    assert [len(line) - len(line.lstrip()) for line in lines] == [2 * depth for depth in range(len(lines))]
    bars = {line.split()[0]: line.rpartition("= ")[2] for line in lines if "=" in line}
    assert bars == {
        "RetryMiddleware": "below: once per attempt",
        "AuthMiddleware": "below: once per send",
    }


async def test_the_zones_run_as_often_as_the_picture_says() -> None:
    """Left of retry runs once per call, right of it once per attempt, right of auth once per send."""
    notes: list[str] = []
    script = Script(reply(503), reply(401), reply())
    client = Client(
        BASE,
        auth=Renewing(),
        middlewares=[
            per_send(noting("send", notes)), noting("call", notes), per_attempt(noting("attempt", notes)),
        ],
        transport=script,
    )  # fmt: skip
    async with client as api:
        await api.get("/x")

    assert notes == ["call", "attempt", "send", "attempt", "send", "send"]
    assert [request.attempt for request in script.requests] == [0, 1, 1]


async def test_a_redirect_hop_starts_below_its_middleware() -> None:
    """A hop of a redirect runs the retries and the links inside them again, but no middleware of the call."""
    notes: list[str] = []
    script = Script(reply(302, Location="/v1/y"), reply(302, Location="/v1/z"), reply())
    middlewares = [noting("call", notes), per_attempt(noting("attempt", notes))]
    async with Client(BASE, middlewares=middlewares, transport=script) as api:
        await api.get("/x")

    assert notes == ["call", "attempt", "attempt", "attempt"]


async def test_a_middleware_right_of_auth_sees_the_final_request() -> None:
    """A middleware placed per send sees the final URL, headers and body."""
    seen: list[tuple[str, dict[str, str], bytes | None]] = []

    async def look(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        assert request.body is not None
        seen.append((str(request.url), dict(request.headers), request.body.content))
        return await handler(request)

    script = Script()
    client = Client(
        BASE, auth=BearerAuth("t"), default_headers={"A": "b"}, middlewares=[per_send(look)], transport=script
    )
    async with client as api:
        await api.post("/x", params={"a": 1}, json={"b": 2})

    assert seen == [(f"{BASE}/x?a=1", dict(script.last.headers), b'{"b":2}')]
    assert script.last.headers["Authorization"] == "Bearer t"


# --- positions


def test_middlewares_of_one_zone_keep_their_order() -> None:
    """Middlewares of one kind keep the given order, the first outermost."""
    notes: list[str] = []
    first, second, third, fourth = (noting(name, notes) for name in "1234")
    chain = default_chain(middlewares=[first, per_attempt(third), second, per_attempt(fourth)])

    own = [link for link in chain if type(link) not in DEFAULT]
    assert own == [first, second, third, fourth]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ([], ["own"]),
        ([RetryMiddleware()], ["own", "RetryMiddleware"]),
        ([DeadlineMiddleware(), AuthMiddleware()], ["DeadlineMiddleware", "own", "AuthMiddleware"]),
        ([DeadlineMiddleware()], ["DeadlineMiddleware", "own"]),
    ],
)
def test_a_place_is_found_in_any_chain(chain: list[Middleware], expected: list[str]) -> None:
    """In a custom chain a middleware goes to the end of its zone, as far as the chain has one."""
    own = noting("own", [])
    edited = insert(chain, [own])

    assert ["own" if link is own else type(link).__name__ for link in edited] == expected


def test_inserting_leaves_the_given_chain_alone() -> None:
    """`insert` returns a new list."""
    chain = default_chain()
    before = [*chain]
    insert(chain, [noting("own", [])])

    assert chain == before


async def test_a_placed_middleware_can_be_called_itself() -> None:
    """The results of `per_attempt` and `per_send` are middlewares too, and show their position in their
    repr.
    """
    notes: list[str] = []
    placed = per_attempt(noting("own", notes))
    response = await placed(APIRequest("GET", f"{BASE}/x"), Script())  # type: ignore[arg-type]

    assert (response.status, notes) == (200, ["own"])
    assert repr(placed).startswith("per_attempt(<function")
    assert isinstance(placed, Placed)
    assert repr(per_send("retry")) == "per_send('retry')"
    with pytest.raises(TypeError, match=r"per_send\('retry'\) holds the name of a middleware"):
        await per_send("retry")(APIRequest("GET", BASE), Script())  # type: ignore[arg-type]


def test_places_are_resolved_in_a_chain_of_ones_own() -> None:
    """In `chain=` a middleware stays at its position in the list: a placed one is only unwrapped."""
    own = noting("own", [])

    assert Client(BASE, chain=[per_send(own), DecodingMiddleware()]).chain[0] is own


async def test_the_middlewares_of_a_call_stand_inside_the_clients() -> None:
    """The middlewares of one call come after the client's of the same kind, for that call only."""
    notes: list[str] = []
    own = [
        noting("client", notes),
        per_attempt(noting("client attempt", notes)),
        per_send(noting("client send", notes)),
    ]
    async with Client(BASE, middlewares=own, transport=Script()) as api:
        await api.get(
            "/x",
            middlewares=iter(
                [
                    per_send(noting("send", notes)),
                    per_attempt(noting("attempt", notes)),
                    noting("call", notes),
                ]
            ),
        )
        first, notes[:] = [*notes], []
        await api.get("/x")

    assert first == ["client", "call", "client attempt", "attempt", "client send", "send"]
    assert notes == ["client", "client attempt", "client send"]


async def test_a_chain_is_taken_whole() -> None:
    """`chain=` is the complete chain: nothing is added to it, and nothing removed."""
    notes: list[str] = []
    script = Script()
    async with Client(BASE, chain=(noting("only", notes), DecodingMiddleware()), transport=script) as api:
        assert await api.get("/x") == {}
        assert names(api.chain) == ["function", "DecodingMiddleware"]

    assert notes == ["only"]
    assert "User-Agent" not in script.last.headers


async def test_an_empty_chain_is_a_bare_transport() -> None:
    """With an empty chain the transport is called directly, once, and the status still decides."""
    script = Script(reply(json=[1]), reply(500))
    async with Client(BASE, chain=[], transport=script) as api:
        assert await api.get("/x") == [1]
        with pytest.raises(InternalServerError):
            await api.get("/x")

    assert len(script.requests) == 2


async def test_an_edited_default_chain_works() -> None:
    """`default_chain(...)` can be edited and given back: here without retries, with a
    middleware outermost.
    """
    notes: list[str] = []
    chain = default_chain(auth=BearerAuth("t"), default_headers={"A": "b"})
    chain = [noting("first", notes), *(link for link in chain if not isinstance(link, RetryMiddleware))]
    script = Script(reply(503), reply())
    async with Client(BASE, chain=chain, transport=script) as api:
        with pytest.raises(InternalServerError):
            await api.get("/x")

    assert notes == ["first"]
    assert len(script.requests) == 1
    assert (script.last.headers["A"], script.last.headers["Authorization"]) == ("b", "Bearer t")


@pytest.mark.parametrize("kind", DEFAULT)
async def test_every_built_in_stands_alone(kind: Callable[[], Middleware]) -> None:
    """Each built-in middleware can be created without arguments and used alone in a chain."""
    async with Client(BASE, chain=[kind()], transport=Script(reply(json=[1]))) as api:
        assert await api.get("/x", list[int]) == [1]


# --- valid middlewares


class AsyncObject:
    """An object with an async ``__call__``."""

    async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
        return await handler(request)

    async def method(self, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        return await handler(request)


async def configured(flag: bool, request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
    """A function with one argument too many."""
    return await handler(request)


@pytest.mark.parametrize(
    "middleware",
    [
        noting("function", []),
        AsyncObject(),
        AsyncObject().method,
        functools.partial(configured, True),
        functools.partial(functools.partial(configured), True),
    ],
    ids=["function", "object", "method", "partial", "nested partial"],
)
async def test_what_is_async_is_a_middleware(middleware: Any) -> None:
    """Async functions, methods and partials of them, and objects with an async
    `__call__`, are middlewares.
    """
    assert isinstance(middleware, Middleware)
    async with Client(BASE, middlewares=[middleware], transport=Script(reply(json=[1]))) as api:
        assert await api.get("/x") == [1]


class SyncCall:
    def __call__(self, request: Any, handler: Any) -> Any:
        """Not async."""


class Passthrough(Middleware):
    """Overrides nothing."""


def sync_function(request: Any, handler: Any) -> Any:
    """Not async."""


@pytest.mark.parametrize(
    ("middleware", "message"),
    [
        (
            sync_function,
            "middleware sync_function is not async; write it as 'async def' \\(request, handler\\)",
        ),
        (functools.partial(sync_function), "is not async"),
        (SyncCall(), "middleware SyncCall is not async"),
        (AsyncObject, "middleware AsyncObject is a class; pass an instance of it: AsyncObject\\(...\\)"),
        (per_attempt(sync_function), "middleware sync_function is not async"),
        (None, "middleware NoneType is not callable; it must be an async function of \\(request, handler\\)"),
        (Passthrough(), "Passthrough"),
    ],
)
def test_what_is_not_async_is_refused_by_name(middleware: Any, message: str) -> None:
    """A value that is not a middleware is refused when the client is created; the error names it and the
    expected type.
    """
    with pytest.raises(TypeError, match=message):
        Client(BASE, middlewares=[middleware])
    with pytest.raises(TypeError, match=message):
        Client(BASE, chain=[middleware])


# --- folding


def test_the_chain_is_an_immutable_tuple() -> None:
    """`client.chain` is a tuple, cannot be set, and does not follow the list that it was made from."""
    given = default_chain()
    api: Any = Client(BASE, chain=given)
    given.clear()

    assert type(api.chain) is tuple
    assert names(api.chain) == [kind.__name__ for kind in DEFAULT]
    with pytest.raises(AttributeError):
        api.chain = ()


async def test_the_chain_is_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folding happens when the client is created, not with every call."""
    folded: list[int] = []

    def counting(chain: Any, transport: Handler) -> Handler:
        folded.append(len(chain))
        return fold(chain, transport)

    monkeypatch.setattr("aioapiclient._client.base.fold", counting)
    async with Client(BASE, transport=Script()) as api:
        for _ in range(3):
            await api.get("/x")
        assert folded == [7]
        api.with_options(timeout=3)
        assert folded == [7]


async def test_an_own_call_of_a_subclass_is_called() -> None:
    """A subclass of a built-in that overrides ``__call__`` is called, however the built-in is joined."""

    class Limited(DeadlineMiddleware):
        async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
            request.headers["X-Limited"] = "yes"
            return await super().__call__(request, handler)

    script = Script()
    async with Client(BASE, middlewares=[Limited()], transport=script) as api:
        await api.get("/x")
    assert script.last.headers["X-Limited"] == "yes"


async def test_a_middleware_is_only_called() -> None:
    """Other methods of a middleware are its own: ``join`` is not called for a handler."""

    class Team:
        async def __call__(self, request: APIRequest, handler: Handler, /) -> AsyncAPIResponse[Any]:
            request.headers["X-Team"] = "yes"
            return await handler(request)

        def join(self, handler: Handler) -> Handler:
            raise AssertionError("join was called")

    script = Script()
    async with Client(BASE, middlewares=[Team()], transport=script) as api:
        await api.get("/x")
    assert script.last.headers["X-Team"] == "yes"


async def test_a_handler_can_be_called_twice() -> None:
    """A folded chain keeps no state of a call: a middleware may call its handler again, with a copy each
    time.
    """
    script = Script(reply(json=1), reply(json=2))

    async def twice(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        first = await handler(request.copy())
        await first.close()
        return await handler(request)

    async with Client(BASE, middlewares=[twice], transport=script) as api:
        assert await api.get("/x") == 2

    first, second = script.requests
    assert first is not second
    assert first.headers == second.headers
    assert first.headers is not second.headers


async def test_a_chain_of_one_client_serves_another() -> None:
    """A chain is only its links: the chain of one client can be given to a second one."""
    notes: list[str] = []
    one = Client(BASE, middlewares=[noting("own", notes)], transport=Script())
    async with one, Client("https://b.example", chain=one.chain, transport=Script()) as other:
        await one.get("/x")
        await other.get("/x")

    assert notes == ["own", "own"]


async def test_a_middleware_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in `middlewares` is resolved when the client is created, and in a call's when it is called."""
    notes: list[str] = []
    monkeypatch.setattr("aioapiclient._chain.load_middleware", lambda name: noting(name, notes))
    async with Client(BASE, middlewares=["one", per_attempt("two")], transport=Script()) as api:
        await api.get("/x", middlewares=["three"])

    assert notes == ["one", "three", "two"]


class Pair:
    """A bundle of one middleware per call and one per send, which share their notes."""

    def __init__(self, name: str = "pair") -> None:
        self.name = name
        self.notes: list[str] = []

    def middlewares(self) -> list[Middleware]:
        """One link per call, one per send."""
        return [noting(f"{self.name} call", self.notes), per_send(noting(f"{self.name} send", self.notes))]


async def test_a_bundle_puts_each_of_its_middlewares_into_its_place() -> None:
    """A bundle is one entry; its middlewares run per call and per send, between their neighbours."""
    pair = Pair()
    pair.notes = notes = list[str]()
    own = [noting("first", notes), pair, per_send(noting("last", notes))]
    async with Client(BASE, middlewares=own, transport=Script(reply(503), reply())) as api:
        await api.get("/x")

    assert notes == ["first", "pair call", "pair send", "last", "pair send", "last"]


async def test_a_bundle_can_be_the_middleware_of_one_call() -> None:
    """A call accepts the same entries as a client; a bundle may contain another bundle."""
    pair = Pair()

    class Outer:
        def middlewares(self) -> list[Any]:
            return [pair]

    async with Client(BASE, transport=Script()) as api:
        await api.get("/x", middlewares=[Outer()])
        await api.get("/x")

    assert pair.notes == ["pair call", "pair send"]


async def test_a_name_may_load_a_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin may be a bundle; its links are in the chain."""
    pair = Pair()
    monkeypatch.setattr("aioapiclient._chain.load_middleware", lambda name: pair)
    async with Client(BASE, middlewares=["pair"], transport=Script()) as api:
        await api.get("/x")

    assert pair.notes == ["pair call", "pair send"]


@pytest.mark.parametrize("place", [per_attempt, per_send])
def test_a_bundle_has_no_place_of_its_own(place: Callable[[Any], Middleware]) -> None:
    """The links of a bundle have their own places: giving the bundle one is a TypeError that names the
    remedy.
    """
    with pytest.raises(TypeError, match=r"per_\w+\(\) takes one middleware, not the bundle Pair"):
        place(Pair())


def test_a_bundle_is_not_a_link_of_a_whole_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """In ``chain=`` each middleware is named by itself, so a bundle is refused; so is a placed name of
    one.
    """
    with pytest.raises(TypeError, match="middleware Pair is a bundle; pass it in middlewares="):
        Client(BASE, chain=[*default_chain(), Pair()])
    monkeypatch.setattr("aioapiclient._chain.load_middleware", lambda name: Pair())
    with pytest.raises(TypeError, match="is a bundle"):
        Client(BASE, middlewares=[per_send("pair")])


def test_an_unknown_name_is_refused() -> None:
    """A name that no installed distribution has is refused when the client is created."""
    with pytest.raises(InvalidRequestError, match="no installed distribution has a middleware 'no-such-one'"):
        Client(BASE, middlewares=["no-such-one"])
    with pytest.raises(InvalidRequestError, match="no-such-one"):
        load_middleware("no-such-one")


async def test_the_policy_of_a_chain_stays() -> None:
    """A retry policy passed to `default_chain` is the one that applies; the client's default does not
    change it.
    """
    script = Script(reply(500))
    policy = RetryPolicy(max_retries=3, jitter=lambda wait: 0.0)
    async with Client(BASE, chain=default_chain(retry=policy), transport=script) as api:
        with pytest.raises(InternalServerError):
            await api.get("/x")

    assert len(script.requests) == 4
