"""The reasons why a signature was refused: this clock is wrong, or the credentials have expired."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from aioapiclient.contract import APIRequest, AsyncAPIResponse

from ._signature import STAMP

__all__ = ["clock_offset", "says_expired"]

# The codes of S3 and of services with XML, then those of services with JSON.
_EXPIRED = frozenset(
    {
        *("ExpiredToken", "TokenRefreshRequired", "InvalidAccessKeyId", "InvalidClientTokenId"),
        *("ExpiredTokenException", "UnrecognizedClientException"),
    }
)
_SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
# These codes have other causes too: the Date header decides.
_MAYBE_SKEWED = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure"})
# Seconds: AWS allows five minutes, S3 fifteen.
_LEAST_SKEW = 240.0
# A clock that starts at 1970 gives an offset to learn; a Date in the year 9999 does not.
_MOST_SKEW = 100 * 365.25 * 86400

_CODE = re.compile(rb'<Code>\s*(\w+)\s*</Code>|"(?:__type|[cC]ode)"\s*:\s*"(?:[^"#]*#)?(\w+)')
_MOST_BYTES = 4096  # bytes of a body to search: the code is near its start


def says_expired(response: AsyncAPIResponse[Any]) -> bool:
    """Return whether the server no longer accepts the access key or the session token."""
    return _code_of(response) in _EXPIRED


def clock_offset(request: APIRequest, response: AsyncAPIResponse[Any], now: float) -> float | None:
    """Return the seconds that this clock is behind the server's, if that is why the request was refused.

    Args:
        request: The request that was refused.
        response: The refusal.
        now: This clock's time, in seconds since 1970.
    """
    code, date = _code_of(response), _date_of(response)
    if date is None or abs(date - now) > _MOST_SKEW:
        return None
    if code in _SKEWED:
        return date - now
    # A HEAD is refused without a code. Any other request may have been carried out if the response has no
    # code.
    is_possible = code in _MAYBE_SKEWED or (not code and request.method == "HEAD")
    signed = _signed_at(request)
    if is_possible and signed is not None and abs(date - signed) >= _LEAST_SKEW:
        return date - now
    return None


def _code_of(response: AsyncAPIResponse[Any]) -> str:
    """Return the error code; empty without one."""
    header = response.headers.get("x-amzn-ErrorType", "")
    if header:
        return header.partition(":")[0].rpartition("#")[2]
    found = _CODE.search(response.body[:_MOST_BYTES])
    return "" if found is None else (found[1] or found[2]).decode()


def _date_of(response: AsyncAPIResponse[Any]) -> float | None:
    try:
        date = parsedate_to_datetime(response.headers.get("Date", ""))
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _signed_at(request: APIRequest) -> float | None:
    try:
        return datetime.strptime(request.headers.get("X-Amz-Date", ""), STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
