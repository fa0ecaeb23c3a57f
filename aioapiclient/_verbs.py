"""The verbs, typed: what `cast_to` names is what comes back, exactly, for mypy and pyright.

Every verb is `request` with its method. The overloads are all there is to them, and they are the
same for each: `TypeForm` lets a checker see through unions, ``list[...]`` and ``Annotated``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from ._hooks import Hooks
from ._response import AsyncAPIResponse
from ._types import CallOptions, RequestOptions

if TYPE_CHECKING:
    from typing_extensions import TypeForm
    from yarl import URL

    from .streaming import AsyncStream

__all__ = ["Verbs"]

T = TypeVar("T")


class Verbs(Hooks):
    """GET, POST and the others, on top of `request`."""

    @overload
    async def request(
        self,
        method: str,
        path: str | URL,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[Any]: ...
    @overload
    async def request(
        self,
        method: str,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def request(
        self,
        method: str,
        path: str | URL,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any: ...
    @overload
    async def request(
        self,
        method: str,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def request(
        self,
        method: str,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """Send *method* to *path*, and give what comes back as *cast_to*; without it, plain data.

        *path* is relative to the base URL, ``{name}`` filled from ``path_params``; or an absolute
        URL, which gets no credential unless its origin is trusted. With ``stream=True`` it is an
        `SSEStream` of *cast_to*. *options* are those that an SDK hands through from its own user;
        they lie over the keywords.

        Raises `APIStatusError` for a status that is no success, `APIConnectionError` when no whole
        response came, `APITimeoutError` when a limit ran out, `APIResponseValidationError` when
        the body is not what was asked for, `BodyTooLargeError`, `TooManyRedirectsError`;
        `InvalidRequestError` and `TypeError` before anything is sent; `ClientClosedError`.
        """
        return await self._call(method, path, cast_to, stream, options, request_options)

    async def head(
        self,
        path: str | URL,
        *,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncAPIResponse[None]:
        """HEAD of *path*: the response, which has no body."""
        response: AsyncAPIResponse[None] = await self._call(
            "HEAD", path, AsyncAPIResponse[None], False, options, request_options
        )
        return response

    @overload
    async def get(
        self,
        path: str | URL,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[Any]: ...
    @overload
    async def get(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def get(
        self,
        path: str | URL,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any: ...
    @overload
    async def get(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def get(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """GET *path*: what it holds, as *cast_to*."""
        return await self._call("GET", path, cast_to, stream, options, request_options)

    @overload
    async def post(
        self,
        path: str | URL,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[Any]: ...
    @overload
    async def post(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def post(
        self,
        path: str | URL,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any: ...
    @overload
    async def post(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def post(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """POST to *path*: what comes back, as *cast_to*."""
        return await self._call("POST", path, cast_to, stream, options, request_options)

    @overload
    async def put(
        self,
        path: str | URL,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[Any]: ...
    @overload
    async def put(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def put(
        self,
        path: str | URL,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any: ...
    @overload
    async def put(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def put(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """PUT to *path*: what comes back, as *cast_to*."""
        return await self._call("PUT", path, cast_to, stream, options, request_options)

    @overload
    async def patch(
        self,
        path: str | URL,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[Any]: ...
    @overload
    async def patch(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def patch(
        self,
        path: str | URL,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any: ...
    @overload
    async def patch(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def patch(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """PATCH *path*: what comes back, as *cast_to*."""
        return await self._call("PATCH", path, cast_to, stream, options, request_options)

    @overload
    async def delete(
        self,
        path: str | URL,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[Any]: ...
    @overload
    async def delete(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def delete(
        self,
        path: str | URL,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any: ...
    @overload
    async def delete(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def delete(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """DELETE *path*: what comes back, as *cast_to*."""
        return await self._call("DELETE", path, cast_to, stream, options, request_options)

    @overload
    async def options(
        self,
        path: str | URL,
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[Any]: ...
    @overload
    async def options(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[True],
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> AsyncStream[T]: ...
    @overload
    async def options(
        self,
        path: str | URL,
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any: ...
    @overload
    async def options(
        self,
        path: str | URL,
        cast_to: TypeForm[T],
        *,
        stream: Literal[False] = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> T: ...
    async def options(
        self,
        path: str | URL,
        cast_to: Any = Any,
        *,
        stream: bool = False,
        options: CallOptions | None = None,
        **request_options: Unpack[RequestOptions],
    ) -> Any:
        """OPTIONS of *path*: what comes back, as *cast_to*."""
        return await self._call("OPTIONS", path, cast_to, stream, options, request_options)
