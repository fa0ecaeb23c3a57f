"""Views: what `with_options` shares with its client, merges, replaces and refuses."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
from helpers import BASE, Client, Script, reply

from aioapiclient import (
    OMIT,
    APIRequest,
    AsyncAPIClient,
    AsyncAPIResource,
    AsyncAPIResponse,
    Auth,
    BearerAuth,
    ClientClosedError,
    InternalServerError,
    InvalidRequestError,
    RetryPolicy,
    Timeout,
    Token,
    default_chain,
)
from aioapiclient._options import ClientOptions


async def passes(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
    """A middleware that does nothing."""
    return await handler(request)  # type: ignore[no-any-return]


async def stops(request: APIRequest, handler: Any) -> AsyncAPIResponse[Any]:
    """A middleware that answers itself."""
    return AsyncAPIResponse.from_bytes(request, 200, {"Content-Type": "application/json"}, b'"stopped"')


def test_a_view_takes_every_keyword_but_session_and_transport() -> None:
    """Every keyword of the constructor but session and transport is an option of `with_options`."""
    keywords = {
        name
        for name, parameter in inspect.signature(AsyncAPIClient.__init__).parameters.items()
        if name != "self"
    }

    assert set(ClientOptions.__annotations__) == keywords - {"session", "transport"}


def test_copy_is_with_options() -> None:
    """`copy` is the other name of `with_options`."""
    assert AsyncAPIClient.copy is AsyncAPIClient.with_options


@pytest.mark.parametrize("name", ["session", "transport"])
def test_a_view_shares_the_transport(name: str) -> None:
    """A session or transport for a view is refused: that is another client."""
    options: Any = {name: Script()}

    with pytest.raises(
        TypeError, match=f"{name} cannot differ in a view, which shares it; create a separate client"
    ):
        Client(BASE).with_options(**options)


def test_an_unknown_option_is_refused_with_a_hint() -> None:
    """An option that the constructor does not have is refused, with the closest name."""
    options: Any = {"max_retrys": 1}

    with pytest.raises(TypeError, match="unknown option 'max_retrys'; did you mean 'max_retries'"):
        Client(BASE).with_options(**options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_retries": -1}, InvalidRequestError),
        ({"timeout": 0}, InvalidRequestError),
        ({"base_url": "nowhere"}, InvalidRequestError),
        ({"default_headers": {"Host": "h"}}, InvalidRequestError),
        ({"trusted_origins": ["h"]}, InvalidRequestError),
        ({"auth": "token"}, TypeError),
        ({"middlewares": [print]}, TypeError),
    ],
)
def test_a_bad_option_is_refused_and_changes_nothing(options: Any, error: type[Exception]) -> None:
    """A bad option of a view is refused like that of a client, and the client is not changed."""
    api = Client(BASE)
    before = dict(vars(api))

    with pytest.raises(error):
        api.with_options(**options)

    assert vars(api) == before


async def test_a_view_does_not_run_init_again() -> None:
    """`__init__` is not called for a view; the subclass's own attributes are copied."""
    made: list[object] = []

    class Late(Client):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)
            self.tenant = "t1"

    api = Late(BASE)
    view = api.with_options(max_retries=0)

    assert made == [api]
    assert type(view) is Late
    assert view.tenant == "t1"


async def test_mappings_merge_and_the_rest_replaces() -> None:
    """Headers and parameters of a view override the client's; `OMIT` removes one, even for views of the
    view.
    """
    script = Script()
    async with Client(
        BASE, default_headers={"A": "1", "B": "2"}, default_params={"p": 1, "q": 2}, transport=script
    ) as api:
        view = api.with_options(default_headers={"a": OMIT, "C": "3"}, default_params={"p": OMIT, "r": 3})
        await view.get("/x")
        await view.with_options(default_headers={"D": "4"}).get("/x")
        await api.get("/x")

    assert [
        {name: request.headers[name] for name in "ABCD" if name in request.headers}
        for request in script.requests
    ] == [{"B": "2", "C": "3"}, {"B": "2", "C": "3", "D": "4"}, {"A": "1", "B": "2"}]
    assert [request.url.raw_query_string for request in script.requests] == ["q=2&r=3", "q=2&r=3", "p=1&q=2"]


async def test_an_empty_mapping_changes_nothing_and_none_clears() -> None:
    """A view with an empty mapping of headers has the client's; with None it has none."""
    script = Script()
    async with Client(BASE, default_headers={"A": "1"}, default_params={"p": 1}, transport=script) as api:
        await api.with_options(default_headers={}, default_params={}).get("/x")
        await api.with_options(default_headers=None, default_params=None).get("/x")

    assert ["A" in request.headers for request in script.requests] == [True, False]
    assert [request.url.raw_query_string for request in script.requests] == ["p=1", ""]


async def test_error_types_merge() -> None:
    """Error types of a view override the client's."""
    script = Script(reply(404, [1]), reply(400, [2]))
    async with Client(BASE, error_types={404: list[int]}, transport=script) as api:
        view = api.with_options(error_types={400: tuple[int, ...]})
        for body in ([1], (2,)):
            with pytest.raises(Exception, match="40") as raised:
                await view.get("/x")
            assert getattr(raised.value, "body", None) == body


def test_a_timeout_of_a_view_inherits() -> None:
    """The limits that a view's timeout omits are the client's; a number is its total; None removes all."""
    api = Client(BASE, timeout=Timeout(read=7))

    assert api.with_options(timeout=3).timeout == Timeout(read=7, total=3).over(api.timeout)
    assert api.with_options(timeout=Timeout(connect=1)).timeout.read == 7
    assert api.with_options(timeout=Timeout(connect=1)).with_options(timeout=9).timeout.connect == 1
    assert api.with_options(timeout=None).timeout.read is None
    assert api.with_options(version="2").timeout == api.timeout
    assert api.timeout.total == 600


@pytest.mark.parametrize(
    ("client", "view", "attempts"),
    [
        ({"max_retries": 0}, {"max_retries": 1}, 2),
        ({"max_retries": 1}, {}, 2),
        ({"retry": RetryPolicy(max_retries=1)}, {"max_retries": 0}, 1),
        ({"max_retries": 0}, {"retry": RetryPolicy(max_retries=1)}, 2),
    ],
)
async def test_retries_of_a_view(client: Any, view: Any, attempts: int) -> None:
    """A view's retry options replace the client's, as a number or as a complete policy."""
    script = Script(reply(500))
    async with Client(BASE, transport=script, **client) as api:
        with pytest.raises(InternalServerError):
            await api.with_options(**view).get("/x")

    assert len(script.requests) == attempts


async def test_views_share_the_retry_budget() -> None:
    """A client and its views share one retry budget, even if the view has a separate policy."""
    script = Script(reply(500))
    async with Client(BASE, max_retries=1, transport=script) as api:
        for view in (api, api.with_options(retry=RetryPolicy(max_retries=1)), api.with_options(version="2")):
            with pytest.raises(InternalServerError):
                await view.get("/x")

        assert api.stats().origins["https://api.example.com"] == {
            "RetryMiddleware": {"retry_tokens": 500 - 3 * 14}
        }


async def test_views_share_the_token_cache() -> None:
    """One token serves a client and its views, whatever else the view changes."""
    asked: list[int] = []

    async def provide() -> Token:
        asked.append(1)
        return Token(f"t{len(asked)}", 3600)

    script = Script()
    async with Client(BASE, auth=BearerAuth(provide), transport=script) as api:
        await api.get("/x")
        await api.with_options(timeout=3).get("/x")
        await api.with_options(default_headers={"A": "b"}).get("/x")

    assert [request.headers["Authorization"] for request in script.requests] == ["Bearer t1"] * 3


async def test_a_view_with_another_credential() -> None:
    """`auth` of a view replaces the client's; None sends none; the client keeps its own."""
    script = Script()
    async with Client(BASE, auth=BearerAuth("a"), transport=script) as api:
        await api.with_options(auth=BearerAuth("b")).get("/x")
        await api.with_options(auth=None).get("/x")
        await api.get("/x")

    sent = [request.headers.get("Authorization") for request in script.requests]
    assert sent == ["Bearer b", None, "Bearer a"]


async def test_a_view_with_another_base_url() -> None:
    """`base_url` of a view leads elsewhere, and the credential follows it: it is the view's own origin."""
    script = Script()
    async with Client(BASE, auth=BearerAuth("a"), transport=script) as api:
        view = api.with_options(base_url="https://b.example/v2/")
        await view.get("x")
        await view.get(f"{BASE}/x")

    assert script.urls == ["https://b.example/v2/x", f"{BASE}/x"]
    assert ["Authorization" in request.headers for request in script.requests] == [True, False]


async def test_middlewares_of_a_view() -> None:
    """`middlewares` of a view replace the client's; an empty list and None clear them; omitted, they are
    inherited.
    """
    async with Client(BASE, middlewares=[stops], transport=Script(reply(json="sent"))) as api:
        assert await api.get("/x") == "stopped"
        assert await api.with_options(max_retries=0).get("/x") == "stopped"
        assert await api.with_options(default_headers={"a": "b"}).get("/x") == "stopped"
        assert await api.with_options(middlewares=[]).get("/x") == "sent"
        assert await api.with_options(middlewares=None).get("/x") == "sent"
        assert await api.with_options(middlewares=[passes]).get("/x") == "sent"
        assert await api.get("/x") == "stopped"


async def test_a_view_with_a_chain() -> None:
    """`chain` of a view replaces the whole chain; None restores the default one."""
    async with Client(BASE, transport=Script(reply(json="sent"))) as api:
        bare = api.with_options(chain=[stops])
        assert bare.chain == (stops,)
        assert await bare.get("/x") == "stopped"
        assert await bare.with_options(chain=None).get("/x") == "sent"


@pytest.mark.parametrize(
    "options",
    [
        {"auth": BearerAuth("t")},
        {"default_headers": {"a": "b"}},
        {"retry": RetryPolicy()},
        {"trusted_origins": ["https://h"]},
        {"middlewares": [passes]},
    ],
)
def test_a_view_of_a_client_with_a_chain_refuses_what_lives_in_it(options: Any) -> None:
    """On a view too, options of the default chain are refused beside `chain`."""
    (name,) = options

    with pytest.raises(TypeError, match=f"{name} belongs to the default chain"):
        Client(BASE, chain=default_chain()).with_options(**options)
    with pytest.raises(TypeError, match=f"{name} belongs to the default chain"):
        Client(BASE).with_options(chain=[], **options)


async def test_what_is_resolved_onto_the_request_works_with_any_chain() -> None:
    """Timeout, retries, parameters and strictness of a view apply to a custom chain."""
    script = Script(reply(500))
    async with Client(BASE, chain=default_chain(), transport=script) as api:
        view = api.with_options(max_retries=1, timeout=3, default_params={"a": 1})
        with pytest.raises(InternalServerError):
            await view.get("/x", retry=RetryPolicy(max_retries=1, jitter=lambda wait: 0.0))

    assert script.urls == [f"{BASE}/x?a=1"] * 2
    assert script.last.limit("total") == 3


async def test_closing_a_view_closes_nothing() -> None:
    """Closing a view, or leaving its `async with`, leaves the client open; closing the client closes its
    views.
    """
    script = Script()
    async with Client(BASE, transport=script) as api:
        view = api.with_options(max_retries=0)
        async with view:
            await view.get("/x")
        await view.close()
        await api.get("/x")
        assert not view.is_closed()
        assert not api.is_closed()
        assert not script.is_closed

    assert view.is_closed()
    assert script.is_closed
    with pytest.raises(ClientClosedError):
        await view.get("/x")


async def test_dropping_a_view_closes_nothing() -> None:
    """A dropped view frees everything it held."""
    script = Script()
    async with Client(BASE, transport=script) as api:
        for _ in range(3):
            await api.with_options(max_retries=0).get("/x")
        await api.get("/x")

    assert len(script.requests) == 4


class Users(AsyncAPIResource["SDK"]):
    """A resource of an SDK."""

    def owner(self) -> SDK:
        """The client that it belongs to."""
        return self._client


class SDK(Client):
    """An SDK with a plain and a cached resource."""

    @property
    def users(self) -> Users:
        """A resource created at every access."""
        return Users(self)

    @functools.cached_property
    def cached(self) -> Users:
        """A resource created once."""
        return Users(self)


def test_the_resources_of_a_view_belong_to_the_view() -> None:
    """A resource of a view calls through the view, even one that the client had cached before."""
    api = SDK(BASE)
    assert api.cached.owner() is api
    view = api.with_options(max_retries=0)

    assert view.users.owner() is view
    assert view.cached.owner() is view
    assert api.cached.owner() is api


class Bound(Auth):
    """An auth that remembers the client that it was given."""

    def __init__(self) -> None:
        self.client: Any = None

    def bind(self, client: Any) -> None:
        self.client = client

    async def authenticate(self, request: APIRequest, /) -> None:
        request.headers["Authorization"] = "x"


@pytest.mark.parametrize("first", ["view", "client"])
async def test_a_view_does_not_take_the_auth_of_its_client_away(first: str) -> None:
    """A view that keeps its client's auth leaves it bound to the client, whichever of them calls first."""
    auth = Bound()
    async with Client(BASE, auth=auth, transport=Script()) as api:
        view = api.with_options(base_url="https://b.example", default_headers={"a": "b"})
        for caller in (view, api) if first == "view" else (api, view):
            await caller.get("/x")
            assert str(auth.client.base_url) == BASE


def test_the_chain_of_a_view_is_made_anew_only_where_it_differs() -> None:
    """A view shares its client's chain unless an option of the view is part of it."""
    api = Client(BASE)

    assert api.with_options(timeout=3, max_retries=1, default_params={"a": 1}).chain is api.chain
    assert api.with_options(default_headers={"a": "b"}).chain is not api.chain
