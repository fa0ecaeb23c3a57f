"""`AsyncAPIResource`: a group of methods of an SDK."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .set_by_init import SetByInit

if TYPE_CHECKING:
    from .client import AsyncAPIClient

__all__ = ["AsyncAPIResource", "rebind"]

ClientT = TypeVar("ClientT", bound="AsyncAPIClient")


class AsyncAPIResource(Generic[ClientT]):
    """Groups methods that belong together; made by a ``property`` of the client, or in its ``__init__``.

    ::

        class Users(AsyncAPIResource["GitHub"]):
            async def get(self, login: str) -> User:
                return await self._client.get("/users/{login}", User, path_params={"login": login})

        class GitHub(AsyncAPIClient):
            @property
            def users(self) -> Users:
                return Users(self)

    The resources of a view belong to the view, ``client.with_options(...).users``, in whichever way they
    are made: those that ``__init__`` set on the client, in a list, tuple or dict too, or on another
    resource, are copied for the view. Any other object that holds the client goes on with the client;
    make that in a ``property``.
    """

    if TYPE_CHECKING:
        _client: ClientT
    else:
        _client = SetByInit()

    def __init__(self, client: ClientT) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client!r}>"


def rebind(twin: Any, client: object, view: object, made: dict[int, Any] | None = None) -> None:
    """Give *twin*, a copy of *client* or of a resource of it, resources of *view* in their place.

    *made* has the resources that were copied before, by the identity of the original.
    """
    made = {} if made is None else made
    for name in list(_attributes(twin)):
        value = getattr(twin, name)
        if isinstance(getattr(twin.__class__, name, None), functools.cached_property):
            del vars(twin)[name]  # made again, of the view
        elif (rebound := _rebound(value, client, view, made)) is not value:
            object.__setattr__(twin, name, rebound)


def _rebound(value: Any, client: object, view: object, made: dict[int, Any]) -> Any:
    """Return *value*, or what takes its place if it is a resource of *client*, or a container of some."""

    def bound(held: object) -> Any:
        return _rebound(held, client, view, made)

    if _is_a(value, AsyncAPIResource):
        return _of_view(value, client, view, made) if value.__dict__.get("_client") is client else value
    if _is_a(value, dict) and _begins(value.values()):
        twin = copy.copy(value)
        twin.update({key: bound(held) for key, held in value.items()})
        return twin
    if _is_a(value, list, tuple) and _begins(value):
        make = getattr(value, "_make", value.__class__)  # the former of a NamedTuple
        return make(map(bound, value))
    return value


def _begins(values: Iterable[object]) -> bool:
    """Whether *values* begin with a resource; if they do not, they may be many and are not looked at."""
    return _is_a(next(iter(values), None), AsyncAPIResource)


def _is_a(value: object, *kinds: type[Any]) -> bool:
    return isinstance(value, kinds)  # in here, for checkers would narrow *value* to what they know in part


def _of_view(resource: Any, client: object, view: object, made: dict[int, Any]) -> Any:
    twin = made.get(id(resource))
    if twin is None:
        twin = made[id(resource)] = copy.copy(resource)
        object.__setattr__(twin, "_client", view)
        rebind(twin, client, view, made)
    return twin


def _attributes(holder: object) -> Iterator[str]:
    """Yield the names of what is set on *holder*, in its slots too."""
    yield from getattr(holder, "__dict__", ())
    for kind in type(holder).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(holder, name):
                yield name
