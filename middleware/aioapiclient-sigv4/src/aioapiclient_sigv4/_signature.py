"""The signature itself: the signed parts of a request, the signing key, and the header and query that carry
it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from yarl import URL

from ._canonical import canonical_path, canonical_query, sent_url
from .credentials import Credentials

if TYPE_CHECKING:
    from multidict import CIMultiDict

__all__ = ["EMPTY", "STAMP", "UNSIGNED", "Scheme", "stamp_of"]

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY = hashlib.sha256(b"").hexdigest()
"""The hash of a request without a body."""
UNSIGNED = "UNSIGNED-PAYLOAD"
STAMP = "%Y%m%dT%H%M%SZ"

# Headers that proxies and the HTTP client change or add on the way, and that telemetry sets after the
# signature. botocore excludes the same ones, except the last two lines.
_NEVER = frozenset(
    {
        *("connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "user-agent"),
        *("baggage", "traceparent", "tracestate", "x-amzn-trace-id"),
        *("accept-encoding", "authorization", "forwarded", "via"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    }
)
_ALWAYS = frozenset({"content-type"})


def stamp_of(seconds: float) -> str:
    """Return a time, in seconds since 1970, in the format of signatures."""
    return time.strftime(STAMP, time.gmtime(seconds))


class Scheme:
    """How the requests of one service are signed.

    Args:
        service: The name of the service.
        region: The region.
        normalize: Whether ``.`` and ``..`` are resolved in the path that is signed.
        twice: Whether the path is escaped twice: by every service but S3.
        names: The other headers to sign, in lower case; None for all that may be signed.
    """

    __slots__ = ("_day_key", "_day_of", "names", "normalize", "region", "service", "twice")

    def __init__(
        self, service: str, region: str, *, normalize: bool, twice: bool, names: frozenset[str] | None
    ) -> None:
        self.service = service
        self.region = region
        self.normalize = normalize
        self.twice = twice
        self.names = names
        self._day_of: tuple[str, str] = ("", "")
        self._day_key = b""

    def authorization(
        self, method: str, url: URL, headers: CIMultiDict[str], digest: str, key: Credentials, stamp: str
    ) -> str:
        """Return the Authorization header of a request.

        Args:
            method: The method.
            url: The URL, as it is sent.
            headers: The headers.
            digest: The hash of the body, or the value used instead of it.
            key: The credentials.
            stamp: The value of ``X-Amz-Date``.
        """
        signed = self._signed_headers(url, headers)
        signature = self._signature(method, url, signed, digest, key, stamp)
        scope = f"{key.access_key}/{self._scope(stamp)}"
        return f"{ALGORITHM} Credential={scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"

    def presigned(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        digest: str,
        key: Credentials,
        stamp: str,
        expires: int,
    ) -> URL:
        """Return a URL with its signature in the query; *headers* have to be sent with it.

        Args:
            method: The method.
            url: The URL.
            headers: The headers to sign.
            digest: The hash of the body, or the value used instead of it.
            key: The credentials.
            stamp: The time of the signature.
            expires: The seconds from *stamp* for which it is valid.
        """
        signed = self._signed_headers(url, headers)
        params = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{key.access_key}/{self._scope(stamp)}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": ";".join(signed),
        }
        if key.token is not None:
            params["X-Amz-Security-Token"] = key.token
        url = sent_url(url, "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items()))
        signature = self._signature(method, url, signed, digest, key, stamp)
        return sent_url(url, f"X-Amz-Signature={signature}")

    def _signed_headers(self, url: URL, headers: CIMultiDict[str]) -> dict[str, str]:
        """Return the headers to sign, by name, sorted."""
        found: dict[str, list[str]] = {"host": [_host_of(url)]}
        for name, value in headers.items():
            name = name.lower()
            if self._signs(name):
                found.setdefault(name, []).append(" ".join(value.split()))
        return {name: ",".join(found[name]) for name in sorted(found)}

    def _signs(self, name: str) -> bool:
        if self.names is None or name.startswith("x-amz-") or name in _ALWAYS:
            return name not in _NEVER
        return name in self.names

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"

    def _signature(
        self, method: str, url: URL, signed: Mapping[str, str], digest: str, key: Credentials, stamp: str
    ) -> str:
        canonical = "\n".join(
            (
                method,
                canonical_path(url.raw_path, normalize=self.normalize, twice=self.twice),
                canonical_query(url.raw_query_string),
                *(f"{name}:{value}" for name, value in signed.items()),
                "",
                ";".join(signed),
                digest,
            )
        )
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{stamp}\n{self._scope(stamp)}\n{hashed}"
        return hmac.digest(self._signing_key(key, stamp[:8]), to_sign.encode(), "sha256").hex()

    def _signing_key(self, key: Credentials, day: str) -> bytes:
        """Return the signing key of a day. Deriving it is half the cost of a signature, so the last one is
        kept.
        """
        if self._day_of != (key.secret_key, day):
            self._day_key = _chained(key.secret_key, (day, self.region, self.service, "aws4_request"))
            self._day_of = (key.secret_key, day)
        return self._day_key


def _chained(secret_key: str, parts: Iterable[str]) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in parts:
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _host_of(url: URL) -> str:
    """Return the Host header that is sent: without the zone of an IPv6 address or a default port."""
    before, percent, after = (url.host_port_subcomponent or "").partition("%")
    return f"{before}]{after.partition(']')[2]}" if percent else before
