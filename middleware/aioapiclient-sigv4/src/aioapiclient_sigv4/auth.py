"""`SigV4`: a credential that signs each request, and URLs for others to use."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeAlias, cast

from yarl import URL

from aioapiclient.contract import (
    APIRequest,
    AsyncAPIResponse,
    Auth,
    Token,
    TokenCache,
    check_flag,
    check_function,
    check_header_names,
)
from aioapiclient.errors import InvalidRequestError

from ._arguments import check_name, whole_seconds
from ._canonical import query_names, sent_url
from ._refusals import clock_offset, says_expired
from ._signature import EMPTY, UNSIGNED, Scheme, stamp_of
from .credentials import Credentials, principal_of

__all__ = ["SigV4"]

GetCredentials: TypeAlias = Callable[[], Awaitable[Credentials]]
"""An async function that gets temporary credentials."""

# Their paths are escaped once and signed unchanged, and they need the hash of the body as a header.
_S3 = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})
_WANT_DIGEST = _S3 | {"aoss"}
_KEY = "credentials"
_HASHED_AT_ONCE = 1 << 20  # bytes; hashing a larger body takes milliseconds, so it runs in a thread
_MOST_EXPIRES = 7 * 86400  # seconds; the limit of AWS
_OF_SIGNATURES = frozenset({"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"})


class _Fetched(Token, frozen=True, kw_only=True):
    """Credentials in a `TokenCache`: its value identifies them."""

    credentials: Credentials

    def __repr__(self) -> str:
        return f"_Fetched({self.credentials!r})"


class SigV4(Auth):
    """Signs each request by AWS Signature Version 4, in its Authorization header.

    The signature matches what is sent: the URL of the request is rewritten to AWS's form, in which all but
    the unreserved characters are escaped. It covers the method, the URL, the body, and all headers except
    those that change on the way, such as ``User-Agent`` and ``traceparent``.

    If a server refuses a request because this clock is wrong (``RequestTimeTooSkewed``), the offset to the
    server's ``Date`` is kept and the request is signed and sent once more.

    Args:
        credentials: `Credentials`, or an async function without arguments that returns them. The function
            is called once for all waiting calls, ahead of the expiry, and again when a server reports
            that they have expired.
        service: The name of the service in signatures, such as ``"s3"``, ``"es"`` or ``"execute-api"``.
        region: The region, such as ``"eu-central-1"``.
        unsigned_payload: Whether to send a streamed body unsigned, which S3 accepts.
            Over https only, or http on loopback. False by default: such a body is refused.
        sign_headers: The names of headers to sign besides ``Host``, ``Content-Type`` and ``X-Amz-...``.
            None (the default) signs all headers that do not change on the way.
        normalize_path: Whether ``.``, ``..`` and empty segments are resolved in the path that is signed. None
            (the default) means no for S3, and yes for other services.
        clock: A function that returns seconds since 1970; `time.time` by default.

    Raises:
        TypeError: An argument has the wrong type.
        InvalidRequestError: *service*, *region* or a header's name is not valid.
    """

    challenge_statuses = frozenset({400, 403})

    def __init__(
        self,
        credentials: Credentials | GetCredentials,
        *,
        service: str,
        region: str,
        unsigned_payload: bool = False,
        sign_headers: Iterable[str] | None = None,
        normalize_path: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        given: Any = credentials
        if not isinstance(given, Credentials) and (isinstance(given, type) or not callable(given)):
            raise TypeError(f"credentials must be Credentials or an async function, not {_kind(given)}")
        check_name("service", service, "s3")
        check_name("region", region, "us-east-1")
        check_flag("unsigned_payload", unsigned_payload)
        if normalize_path is not None:
            check_flag("normalize_path", normalize_path)
        check_function("clock", clock)
        is_s3 = service in _S3
        self._given = credentials
        self._scheme = Scheme(
            service,
            region,
            normalize=not is_s3 if normalize_path is None else normalize_path,
            twice=not is_s3,
            names=None if sign_headers is None else check_header_names("sign_headers", sign_headers),
        )
        self._unsigned_payload = unsigned_payload
        self._clock = clock
        self._offset = 0.0
        self._principal: str | None = None
        self._cache = TokenCache(clock=self._now)

    def __repr__(self) -> str:
        return f"SigV4(service={self._scheme.service!r}, region={self._scheme.region!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("SigV4 holds secrets: it cannot be pickled or copied")

    async def authenticate(self, request: APIRequest, /) -> None:
        """Sign *request*, unless the call sets the Authorization header itself.

        Args:
            request: The request of one send.

        Raises:
            InvalidRequestError: The body is streamed and cannot be hashed, the path of an S3 request holds
                an escaped slash, or the call sets a header that is part of the signature.
            TypeError: The function for the credentials is not async, or returned something else.
        """
        if request.call_sets("Authorization"):
            return
        for name in ("X-Amz-Date", "X-Amz-Security-Token"):
            if request.call_sets(name):
                raise InvalidRequestError(f"{request.label}: {name} is set by SigV4, not by a call")
        self._check_slashes(request)
        digest = await self._digest(request)
        key = await self._credentials()
        # Nothing is awaited from here on: identity() is called next, for these credentials.
        self._principal = principal_of(key.access_key)
        self._sign(request, digest, key)

    def _sign(self, request: APIRequest, digest: str, key: Credentials) -> None:
        headers, body, stamp = request.headers, request.body, stamp_of(self._now())
        request.url = sent_url(request.url)
        headers["X-Amz-Date"] = stamp
        if self._scheme.service in _WANT_DIGEST or digest == UNSIGNED:
            headers["X-Amz-Content-Sha256"] = digest
        if key.token is not None:
            headers["X-Amz-Security-Token"] = key.token
        if body is not None and body.content_type is not None:
            headers.setdefault("Content-Type", body.content_type)
        # These headers are set again afterwards, so they are signed too.
        request.restore_call_headers()
        headers["Authorization"] = self._scheme.authorization(
            request.method, request.url, headers, digest, key, stamp
        )

    async def refresh(self, request: APIRequest, response: AsyncAPIResponse[Any], /) -> bool:
        """Correct the clock, or get new credentials, if the server reports that they are the cause.

        Args:
            request: The request that the server refused.
            response: The refusal.

        Returns:
            True if a new signature may be accepted.
        """
        if request.call_sets("Authorization"):
            return False
        offset = clock_offset(request, response, self._clock())
        if offset is not None:
            self._offset = offset
            return True
        if isinstance(self._given, Credentials) or not says_expired(response):
            return False
        return await self._cache.refresh(_KEY, _name_of_used(request), self._fetch)

    def identity(self) -> str | None:
        """Return a hash of the access key of the last signature; None before the first.

        It is the same for all requests signed with one access key. Renewed temporary credentials
        have another access key, and so another identity.
        """
        return self._principal

    async def close(self) -> None:
        """Cancel a renewal of the credentials in the background."""
        await self._cache.close()

    async def presign(
        self,
        url: str | URL,
        method: str = "GET",
        expires: int = 3600,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> str:
        """Return a URL that allows one request without credentials, for a limited time.

        Keep it as secret as the resource. It expires with temporary credentials, even before *expires*.
        Without *content*, a body is not signed for S3, and must be empty for other services, unless *headers*
        contain its hash.

        Args:
            url: The complete URL, with its query.
            method: The method that it is for; GET by default.
            expires: Seconds for which it is valid; an hour by default, at most seven days.
            headers: Headers that have to be sent with it, such as the Content-Type of an upload; none by
                default.
            content: The body that has to be sent with it; None by default.

        Returns:
            The URL with the signature in its query.

        Raises:
            InvalidRequestError: *expires* is out of range, or *url* cannot be sent, or is signed already.
            TypeError: An argument has the wrong type.
        """
        seconds = whole_seconds("expires", expires, _MOST_EXPIRES)
        request = APIRequest(method, url, {} if headers is None else headers)
        self._check_slashes(request)
        target = sent_url(request.url)
        if not _OF_SIGNATURES.isdisjoint(query_names(target.raw_query_string)):
            raise InvalidRequestError(f"{request.label}: the URL is signed already")
        if content is not None and not isinstance(content, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"content must be bytes or None, not {_kind(content)}")
        key = await self._credentials()
        default = UNSIGNED if self._scheme.service in _S3 else EMPTY
        if content is not None:
            default = await _hash_of(content)
        digest = request.headers.get("X-Amz-Content-Sha256", default)
        stamp = stamp_of(self._now())
        return str(
            self._scheme.presigned(request.method, target, request.headers, digest, key, stamp, seconds)
        )

    def _now(self) -> float:
        return self._clock() + self._offset

    # --- the body

    async def _digest(self, request: APIRequest) -> str:
        """Return the hash of the body, or the value used instead of it."""
        given = request.headers.get("X-Amz-Content-Sha256")
        content = b"" if request.body is None else request.body.content
        if given is None and content is None:
            if not self._unsigned_payload:
                raise InvalidRequestError(
                    f"{request.label}: a streamed body cannot be signed before it is sent; pass"
                    " bytes, or an X-Amz-Content-Sha256 header, or use SigV4(unsigned_payload=True) for S3"
                )
            given = UNSIGNED
        if given == UNSIGNED and request.url.scheme != "https" and not _is_loopback(request.url.host):
            raise InvalidRequestError(
                f"{request.label}: an unsigned body requires https: over http anyone could change it"
            )
        if given is not None or content is None:
            return given or UNSIGNED
        return await _hash_of(content)

    def _check_slashes(self, request: APIRequest) -> None:
        if not self._scheme.twice and "%2f" in request.url.raw_path.lower():
            raise InvalidRequestError(
                f"{request.label}: S3 reads an escaped slash as a slash, and would refuse the signature:"
                " write {+key} in the template, which keeps the slashes of a key"
            )

    # --- the credentials

    async def _credentials(self) -> Credentials:
        if isinstance(self._given, Credentials):
            return self._given
        return cast("_Fetched", await self._cache.get(_KEY, self._fetch)).credentials

    async def _fetch(self) -> Token:
        began = self._now()
        getting: Any = cast("GetCredentials", self._given)()
        if not hasattr(getting, "__await__"):
            raise TypeError("credentials must be an async function without arguments")
        key: Any = await getting
        if not isinstance(key, Credentials):
            raise TypeError(f"credentials must return Credentials, not {_kind(key)}")
        left = None if key.expires is None else key.expires - began
        return _Fetched(_name_of(key.access_key, key.token), left, credentials=key)


def _name_of(access_key: str, token: str | None) -> str:
    return f"{access_key} {token or ''}"


def _name_of_used(request: APIRequest) -> str:
    """Return the name of the credentials that signed *request*."""
    scope = request.headers.get("Authorization", "").partition("Credential=")[2]
    return _name_of(scope.partition("/")[0], request.headers.get("X-Amz-Security-Token"))


async def _hash_of(content: bytes) -> str:
    if len(content) <= _HASHED_AT_ONCE:
        return _hash(content)
    return await asyncio.to_thread(_hash, content)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
