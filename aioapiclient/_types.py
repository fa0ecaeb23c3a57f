"""The words that options are made of: sentinels, `Timeout`, and what a call may be given."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict, final

import msgspec

from .errors import InvalidRequestError

if TYPE_CHECKING:
    from yarl import URL

    from ._body.body import Body
    from ._body.multipart import Files
    from ._body.sources import Content
    from ._progress import Progress
    from ._query import QueryStyle
    from .contract import Auth, Middleware
    from .middleware.retry import RetryPolicy

__all__ = [
    "NOT_GIVEN",
    "OMIT",
    "CallOptions",
    "CallSettings",
    "ClientOptions",
    "NotGiven",
    "Omit",
    "RequestOptions",
    "Timeout",
]


class _Sentinel:
    __slots__ = ()
    _name = ""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name


@final
class NotGiven(_Sentinel):
    """The type of `NOT_GIVEN`: an argument was left out, and None would mean something else."""

    __slots__ = ()
    _name = "NOT_GIVEN"


@final
class Omit(_Sentinel):
    """The type of `OMIT`: remove what a lower layer (defaults, the library, auth) would send."""

    __slots__ = ()
    _name = "OMIT"


NOT_GIVEN: Final = NotGiven()
"""Nothing was given here; the next layer decides."""

OMIT: Final = Omit()
"""As the value of a header, a parameter or a field: do not send it, whoever else sets it."""

HeaderLayer: TypeAlias = Mapping[str, str | Omit]
"""Headers of one layer; `OMIT` removes what lower layers set."""

Params: TypeAlias = Mapping[str, Any]
"""Query parameters of one layer."""

StatusKey: TypeAlias = int | str
"""A status code, ``"4XX"``-like, or ``"default"``."""


class Timeout(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The limits of a call, in seconds; None is no limit, and what is left out inherits from the client's.

    The client's own defaults are ``Timeout(total=600, attempt=None, connect=5, read=60, write=60,
    pool=None)``: ten minutes for everything, as the SDKs of this kind have it, and five seconds to
    reach a server, which is long for a network that works.

    Raises `InvalidRequestError` for a limit of 0 or below, NaN or infinity, and `TypeError` for one
    that is no number.
    """

    total: float | None | NotGiven = NOT_GIVEN
    """The whole call, waits and redirects included. A stream has none, unless the call asks for it."""

    attempt: float | None | NotGiven = NOT_GIVEN
    """One attempt with its body; on a stream it ends at the head. Retried."""

    connect: float | None | NotGiven = NOT_GIVEN
    """DNS, TCP and TLS together, for one new connection."""

    read: float | None | NotGiven = NOT_GIVEN
    """The longest silence of the server, before the head or between bytes; 300 on streams."""

    write: float | None | NotGiven = NOT_GIVEN
    """The longest stall while the request body is sent."""

    pool: float | None | NotGiven = NOT_GIVEN
    """The wait for a free connection, when all are in use."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            _check_seconds(name, getattr(self, name))

    def over(self, base: Timeout) -> Timeout:
        """This timeout, with what it leaves out taken from *base*."""
        given = {name: value for name, value in self._items() if not isinstance(value, NotGiven)}
        return msgspec.structs.replace(base, **given) if given else base

    def _items(self) -> Iterable[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in self.__struct_fields__)


def _check_seconds(name: str, value: object) -> None:
    if value is None or value is NOT_GIVEN:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"Timeout {name} must be a number of seconds or None, not {type(value).__name__}")
    if not (value > 0 and math.isfinite(value)):
        raise InvalidRequestError(f"Timeout {name} must be above 0 seconds, not {value}; None is no limit")


NO_TIMEOUT: Final = Timeout(total=None, attempt=None, connect=None, read=None, write=None, pool=None)
DEFAULT_TIMEOUT: Final = Timeout(total=600.0, attempt=None, connect=5.0, read=60.0, write=60.0, pool=None)
# A stream may be silent between events for longer than an answer may take, and lives as long as it likes.
STREAM_TIMEOUT: Final = Timeout(total=None, read=300.0).over(DEFAULT_TIMEOUT)


def as_timeout(value: Timeout | float | None) -> Timeout:
    """*value* as a `Timeout`: a number is ``total``, None switches every limit off."""
    if isinstance(value, Timeout):
        return value
    return NO_TIMEOUT if value is None else Timeout(total=value)


def check_max_retries(value: object) -> int:
    """*value*, if it is a number of retries: an int of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"max_retries must be an int of 0 or more, not {value!r}; 0 switches retries off"
            if value is None or isinstance(value, float)
            else f"max_retries must be an int of 0 or more, not {type(value).__name__}"
        )
    if value < 0:
        raise InvalidRequestError(f"max_retries must be 0 or more, not {value}")
    return value


class CallOptions(TypedDict, total=False):
    """What a user of an SDK may set on one call; the SDK hands it through as ``options=``."""

    headers: HeaderLayer
    """Added over the client's; `OMIT` removes one."""

    params: Params
    """Query parameters, added over the client's ``default_params``; `OMIT` removes one."""

    extra_body: Mapping[str, Any]
    """Members merged over a JSON object that is sent."""

    timeout: Timeout | float | None
    """Limits of this call; a number is the whole call in seconds, None switches all limits off."""

    max_retries: int
    """How often this call may be tried again."""

    retry: RetryPolicy
    """The whole policy, for this call."""

    auth: Auth | None
    """The credential of this call; None sends none."""

    idempotency_key: str
    """Sent in the client's ``idempotency_header``, the same on every attempt."""

    idempotent: bool
    """Whether doing it twice is as good as once; left out, the method decides (RFC 9110 §9.2.2)."""

    ok_statuses: Iterable[int]
    """Statuses beyond 2xx that are no error in this call."""

    error_types: Mapping[StatusKey, Any]
    """What error bodies decode to; merged over the client's."""

    follow_redirects: bool
    """Whether redirects are followed."""

    max_body: int | None
    """Bytes of a buffered response body, decompressed; None for no bound."""

    middlewares: Iterable[Middleware | str]
    """Middlewares for this call, inside the client's of the same kind."""

    progress: Progress | None
    """Told of the bytes of the body as they are sent: anything with ``update(n)``, a bar of tqdm for one."""

    extensions: Mapping[str, Any]
    """Settings of your own, for your middlewares; merged over what an SDK set."""


class RequestOptions(CallOptions, total=False):
    """What an SDK method sets on one call: `CallOptions`, and what the request is made of."""

    path_params: Mapping[str, Any]
    """Values for the ``{name}`` places of the path, each encoded as one segment."""

    json: Any
    """Sent as JSON, by msgspec."""

    data: Mapping[str, Any] | Iterable[tuple[str, Any]]
    """Sent as a form."""

    files: Files
    """Sent as multipart/form-data, with ``data`` for its fields."""

    content: Content | Body
    """Sent as it is: bytes, text, a path, a binary file, or an iterable of bytes, async or not."""


class ClientOptions(TypedDict, total=False):
    """What `with_options` of a client takes: every keyword of its constructor but session and transport."""

    base_url: str | URL
    version: str
    auth: Auth | None
    default_headers: HeaderLayer | None
    default_params: Params | None
    query_style: QueryStyle
    max_retries: int
    retry: RetryPolicy | None
    timeout: Timeout | float | None
    middlewares: Iterable[Middleware | str] | None
    chain: Iterable[Middleware | str] | None
    strict_response_validation: bool
    dec_hook: Callable[[type, Any], Any] | None
    enc_hook: Callable[[Any], Any] | None
    error_types: Mapping[StatusKey, Any] | None
    idempotency_header: str | None
    request_id_header: str
    follow_redirects: bool
    trusted_origins: Iterable[str]
    max_body: int | None


class CallSettings(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one call resolved from the client, the view and its own options; the request carries it."""

    max_retries: int | None = None
    """None leaves it to the policy."""

    retry: RetryPolicy | None = None
    """None leaves it to the `RetryMiddleware`."""

    auth: Auth | NotGiven | None = NOT_GIVEN
    """`NOT_GIVEN` leaves it to the `AuthMiddleware`; None sends no credential."""

    ok_statuses: frozenset[int] = frozenset()
    error_types: Mapping[StatusKey, Any] = {}
    follow_redirects: bool = True
    max_body: int | None = 64 << 20
    strict: bool = True
    dec_hook: Callable[[type, Any], Any] | None = None
    request_id_header: str = "x-request-id"

    def auth_or(self, auth: Auth | None) -> Auth | None:
        """The credential of the call, or *auth* when the call says nothing of it."""
        return auth if isinstance(self.auth, NotGiven) else self.auth


DEFAULT_SETTINGS: Final = CallSettings()

Sleep: TypeAlias = Callable[[float], Awaitable[object]]
"""``asyncio.sleep``, or a fake of it."""
