"""The hooks of a client: what a subclass may say otherwise, and what holds when it does not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Final, cast

import aiohttp
from yarl import URL

from ._config import Config
from ._request import APIRequest
from ._response import AsyncAPIResponse
from ._sse import ServerSentEvent
from ._stream import stream_error
from ._types import CallOptions, Omit, RequestOptions
from ._version import __version__
from .errors import APIStatusError, status_error_class

__all__ = ["Hooks"]

# The ones that a call looks for, so that it pays nothing for those that nobody fills in.
_HOOKS: Final = (
    "_prepare_options",
    "_prepare_request",
    "_process_response",
    "auth_headers",
    "default_params",
)


class Hooks:
    """What an SDK's subclass of the client may override."""

    _config: Config

    _own_hooks: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._own_hooks = frozenset(hook for hook in _HOOKS if getattr(cls, hook) is not getattr(Hooks, hook))

    @property
    def user_agent(self) -> str:
        """The User-Agent: the SDK with its version, and this library (RFC 9110 §10.1.5)."""
        return f"{type(self).__name__}/{self._config.given['version']} aioapiclient/{__version__}"

    def platform_headers(self) -> Mapping[str, str]:
        """Headers of the lowest layer that tell of the platform; none, unless an SDK fills them in.

        Asked once, with the first call.
        """
        return {}

    @property
    def default_headers(self) -> Mapping[str, str | Omit]:
        """The client's layer of headers; a subclass may add to it. Asked once, with the first call."""
        return cast("Mapping[str, str | Omit]", self._config.given["default_headers"] or {})

    @property
    def default_params(self) -> Mapping[str, Any]:
        """The client's layer of query parameters; a subclass may add to it. Asked for every call."""
        return cast("Mapping[str, Any]", self._config.given["default_params"] or {})

    @property
    def auth_headers(self) -> Mapping[str, str]:
        """Headers that are a credential, for a subclass to fill in; used when ``auth`` is None.

        Asked for every attempt, and sent to trusted origins only.
        """
        return {}

    async def _prepare_options(self, options: RequestOptions, /) -> RequestOptions:
        """Once per call, before the request is built: the options of the call, to change or to replace."""
        return options

    async def _prepare_request(self, request: APIRequest, /) -> None:
        """Once per send, innermost: final URL, headers and body, to be changed in place."""

    async def _process_response(self, response: AsyncAPIResponse[Any], cast_to: Any, /) -> Any:
        """Once per call, after the chain: what the caller gets for *response*."""
        if response.parses_later:
            return response
        if cast_to is aiohttp.ClientResponse:
            return response.take_raw()
        return await response.parse()

    async def _sleep_for_retry(self, seconds: float, /) -> None:
        """Wait before another attempt."""
        await asyncio.sleep(seconds)

    def _make_status_error(self, response: AsyncAPIResponse[Any], body: Any, /) -> APIStatusError:
        """The error for *response*, whose decoded body is *body*; an SDK may give classes of its own."""
        return status_error_class(response.status).from_response(response, body)

    def _make_stream_error(self, event: ServerSentEvent, response: AsyncAPIResponse[Any], /) -> Exception:
        """The error for an ``error`` event in a stream; an SDK may give the class that a status would."""
        return stream_error(event, response)

    async def _request_api_list(
        self, method: str, path: str | URL, cast_to: Any, options: RequestOptions, /
    ) -> AsyncAPIResponse[Any]:
        """Once per page of a list: send its request; *options* are this page's own."""
        response: AsyncAPIResponse[Any] = await self._call(method, path, cast_to, False, None, options)
        return response

    def _call(
        self,
        method: str,
        path: str | URL,
        cast_to: Any,
        stream: bool,
        options: CallOptions | None,
        keywords: RequestOptions,
    ) -> Awaitable[Any]:
        raise NotImplementedError

    def _idempotency_key(self) -> str:
        """A new key, with 122 random bits."""
        return str(uuid.uuid4())
