"""An async API client on aiohttp and msgspec: typed calls through an ordered chain of middlewares.

This module has everything needed to call an API. To write a middleware, use `aioapiclient.contract`; to catch
errors, `aioapiclient.errors`; to test, `aioapiclient.testing`.
"""

from typing import TYPE_CHECKING

from ._body.body import Body
from ._body.files import FilePart
from ._chain import default_chain, load_middleware
from ._client.client import AsyncAPIClient
from ._codecs.error_bodies import ProblemDetails
from ._codecs.open import Open, Unknown
from ._late import late_names as _late_names
from ._options import CallOptions, ClientOptions, RequestOptions
from ._query import QueryStyle
from ._request import APIRequest
from ._response.head import BaseAPIResponse
from ._response.response import AsyncAPIResponse
from ._types import NOT_GIVEN, OMIT, NotGiven, Omit, Timeout
from ._version import __version__
from .contract import Auth, Handler, Middleware, Token, TokenCache, per_attempt, per_send
from .errors import (
    APIClientError,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APIStreamError,
    APITimeoutError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    BodyTooLargeError,
    CircuitOpenError,
    ClientClosedError,
    ConcurrencyLimitError,
    ConflictError,
    ContentTooLargeError,
    GatewayTimeoutError,
    GoneError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    OperationFailedError,
    PermissionDeniedError,
    PreconditionFailedError,
    RateLimitError,
    RequestNotReplayableError,
    RequestTimeoutError,
    RetryableError,
    ServerNotImplementedError,
    ServiceUnavailableError,
    StreamConsumedError,
    ThrottledError,
    TooManyRedirectsError,
    UnprocessableEntityError,
)
from .middleware.auth import APIKeyAuth, BasicAuth, BearerAuth
from .middleware.retry import RetryBudget, RetryPolicy

if TYPE_CHECKING:
    from ._client.raw_response import raw_response, streaming_response
    from ._client.resource import AsyncAPIResource
    from ._client.stats import ClientStats
    from ._pagination import (
        AsyncPage,
        AsyncPaginator,
        CursorPage,
        LinkHeaderPage,
        NextURLPage,
        NumberedPage,
        OffsetPage,
        PageInfo,
    )
    from ._transport.transport import AiohttpTransport
    from .streaming import AsyncStream, JSONLStream, SSEStream
else:
    # Programs without these need not load them. CONTRIBUTING.md states which modules are imported late.
    __getattr__, __dir__ = _late_names(
        __name__,
        {
            "AiohttpTransport": "._transport.transport",
            "AsyncAPIResource": "._client.resource",
            "AsyncPage": "._pagination",
            "AsyncPaginator": "._pagination",
            "AsyncStream": ".streaming",
            "ClientStats": "._client.stats",
            "CursorPage": "._pagination",
            "JSONLStream": ".streaming",
            "LinkHeaderPage": "._pagination",
            "NextURLPage": "._pagination",
            "NumberedPage": "._pagination",
            "OffsetPage": "._pagination",
            "PageInfo": "._pagination",
            "SSEStream": ".streaming",
            "raw_response": "._client.raw_response",
            "streaming_response": "._client.raw_response",
        },
    )

__all__ = [
    "NOT_GIVEN",
    "OMIT",
    "APIClientError",
    "APIConnectionError",
    "APIError",
    "APIKeyAuth",
    "APIRequest",
    "APIResponseValidationError",
    "APIStatusError",
    "APIStreamError",
    "APITimeoutError",
    "AiohttpTransport",
    "AsyncAPIClient",
    "AsyncAPIResource",
    "AsyncAPIResponse",
    "AsyncPage",
    "AsyncPaginator",
    "AsyncStream",
    "Auth",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "BaseAPIResponse",
    "BasicAuth",
    "BearerAuth",
    "Body",
    "BodyTooLargeError",
    "CallOptions",
    "CircuitOpenError",
    "ClientClosedError",
    "ClientOptions",
    "ClientStats",
    "ConcurrencyLimitError",
    "ConflictError",
    "ContentTooLargeError",
    "CursorPage",
    "FilePart",
    "GatewayTimeoutError",
    "GoneError",
    "Handler",
    "InternalServerError",
    "InvalidRequestError",
    "JSONLStream",
    "LinkHeaderPage",
    "Middleware",
    "NextURLPage",
    "NotFoundError",
    "NotGiven",
    "NumberedPage",
    "OffsetPage",
    "Omit",
    "Open",
    "OperationFailedError",
    "PageInfo",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "ProblemDetails",
    "QueryStyle",
    "RateLimitError",
    "RequestNotReplayableError",
    "RequestOptions",
    "RequestTimeoutError",
    "RetryBudget",
    "RetryPolicy",
    "RetryableError",
    "SSEStream",
    "ServerNotImplementedError",
    "ServiceUnavailableError",
    "StreamConsumedError",
    "ThrottledError",
    "Timeout",
    "Token",
    "TokenCache",
    "TooManyRedirectsError",
    "Unknown",
    "UnprocessableEntityError",
    "__version__",
    "default_chain",
    "load_middleware",
    "per_attempt",
    "per_send",
    "raw_response",
    "streaming_response",
]
