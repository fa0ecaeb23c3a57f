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
    """A group of related methods, such as those of one resource of the API.

    ::

        class Users(AsyncAPIResource["GitHub"]):
            async def get(self, login: str) -> User:
                return await self._client.get("/users/{login}", User, path_params={"login": login})

        class GitHub(AsyncAPIClient):
            @property
            def users(self) -> Users:
                return Users(self)

    Create it in a ``property`` of the client or in its ``__init__``. In both cases the resources of a view,
    ``client.with_options(...).users``, belong to the view: resources that ``__init__`` sets on the client, in
    a list, tuple or dict, or on another resource, are copied for the view. Any other object with a reference
    to the client keeps the original client; create such objects in a ``property``.

    Args:
        client: The client, or a view of one, that makes the calls; available as ``self._client``.
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
    """Replace the resources of *twin*, a copy of *client* or of one of its resources, by those of *view*.

    Args:
        twin: The copy to change.
        client: The client that the originals belong to.
        view: The client that the new resources belong to.
        made: The resources that were already copied, by the ``id`` of the original.
    """
    made = {} if made is None else made
    for name in list(_attributes(twin)):
        value = getattr(twin, name)
        if isinstance(getattr(twin.__class__, name, None), functools.cached_property):
            del vars(twin)[name]  # computed again, for the view
        elif (rebound := _rebound(value, client, view, made)) is not value:
            object.__setattr__(twin, name, rebound)


def _rebound(value: Any, client: object, view: object, made: dict[int, Any]) -> Any:
    """Return *value*, or its copy for *view* if it is a resource of *client* or a container of resources."""

    def bound(held: object) -> Any:
        return _rebound(held, client, view, made)

    if _is_a(value, AsyncAPIResource):
        return _of_view(value, client, view, made) if value.__dict__.get("_client") is client else value
    if _is_a(value, dict) and _begins(value.values()):
        twin = copy.copy(value)
        twin.update({key: bound(held) for key, held in value.items()})
        return twin
    if _is_a(value, list, tuple) and _begins(value):
        make = getattr(value, "_make", value.__class__)  # the constructor of a NamedTuple
        return make(map(bound, value))
    return value


def _begins(values: Iterable[object]) -> bool:
    """Return whether *values* begin with a resource; other collections are skipped, as they may be large."""
    return _is_a(next(iter(values), None), AsyncAPIResource)


def _is_a(value: object, *kinds: type[Any]) -> bool:
    return isinstance(value, kinds)  # in a function, so that type checkers do not narrow *value*


def _of_view(resource: Any, client: object, view: object, made: dict[int, Any]) -> Any:
    twin = made.get(id(resource))
    if twin is None:
        twin = made[id(resource)] = copy.copy(resource)
        object.__setattr__(twin, "_client", view)
        rebind(twin, client, view, made)
    return twin


def _attributes(holder: object) -> Iterator[str]:
    """Yield the names of the attributes of *holder*, slots included."""
    yield from getattr(holder, "__dict__", ())
    for kind in type(holder).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(holder, name):
                yield name
