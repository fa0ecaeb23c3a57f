"""`Webhooks`: verifies the signature of a webhook before its content is decoded (Standard Webhooks 1.0)."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar, overload

from multidict import CIMultiDict

from aioapiclient.contract import APIRequest, AsyncAPIResponse, check_function, check_seconds
from aioapiclient.errors import APIClientError, APIError, InvalidRequestError

from ._arguments import check

__all__ = ["WebhookError", "WebhookReason", "Webhooks"]

T = TypeVar("T")

WebhookReason: TypeAlias = Literal["headers", "time", "signature", "body"]
"""The reason for refusing a webhook, in one word for programs."""

_PREFIX: Final = "whsec_"
_LEAST_KEY: Final = 24  # bytes ("Signature scheme": at least 192 bits)
_FIELDS: Final = ("id", "timestamp", "signature")
_ID = re.compile(r"[!-~]{1,255}")
_TIME = re.compile(r"[0-9]{1,12}")
_DECODED_AS: Final = {"Content-Type": "application/json"}


class WebhookError(APIClientError, ValueError):
    """A webhook is refused: its signature, its time or its type is wrong.

    Args:
        message: The text of the error, without secrets and without values of the body.
        reason: The reason.
    """

    reason: WebhookReason
    """The reason: ``headers`` (missing or malformed), ``time``, ``signature`` or ``body``."""

    def __init__(
        self, message: str = "the webhook is refused", *, reason: WebhookReason = "signature"
    ) -> None:
        super().__init__(message)
        self.reason = reason


class Webhooks:
    """Verify webhooks by the headers of Standard Webhooks, and decode them.

    ::

        event = hooks.unwrap(await request.read(), request.headers, Event)

    Args:
        *secrets: Secrets of the sender, as it displays them: base64, after ``whsec_``, ``v1,whsec_`` or
            nothing. While a secret is rotated, pass the old and the new one: a webhook signed with either of
            them is accepted.
        tolerance: The largest difference between the time of the webhook and now in seconds, 300 by default.
        clock: Returns the seconds since 1970; `time.time` by default.

    Raises:
        InvalidRequestError: A secret is not base64 or has fewer than 24 bytes, or *tolerance* is negative.
        TypeError: An argument has the wrong type, or no secret was given.
    """

    def __init__(
        self, *secrets: str, tolerance: float = 300.0, clock: Callable[[], float] = time.time
    ) -> None:
        if not secrets:
            raise TypeError("Webhooks needs a secret, such as 'whsec_...'")
        self._keys = tuple(_key(secret) for secret in secrets)
        self._tolerance = check_seconds("tolerance", tolerance)
        check_function("clock", clock)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Webhooks: {len(self._keys)} secrets, tolerance={self._tolerance:g}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Webhooks holds secrets: it cannot be pickled or copied")

    @overload
    def unwrap(self, body: bytes, headers: Mapping[str, str], type: type[T]) -> T: ...
    @overload
    def unwrap(self, body: bytes, headers: Mapping[str, str], type: Any = Any) -> Any: ...
    def unwrap(self, body: bytes, headers: Mapping[str, str], type: Any = Any) -> Any:
        """Return the event in a webhook after checking its signature and its time.

        The sender may send one webhook several times, with the same ID, ``headers["webhook-id"]``.

        Args:
            body: The body, byte for byte as received.
            headers: The headers of the request; case does not matter in their names.
            type: The type of the event, as for ``cast_to`` of a call: a Struct, a tagged union, ``Open[...]``
                for events that are not known yet. Plain data by default.

        Returns:
            The event.

        Raises:
            WebhookError: The webhook is refused. No other error is raised, whatever the headers and body
                contain.
            TypeError: *body* is not bytes, or *headers* is not a mapping.
        """
        check("body", body, (bytes, bytearray), "the bytes of the request")
        check("headers", headers, Mapping, "a mapping")
        message_id, stamp, signatures = _fields(headers)
        if abs(self._clock() - int(stamp)) > self._tolerance:
            raise WebhookError("the webhook is too old, or from the future", reason="time")
        content = b"%b.%b.%b" % (message_id.encode(), stamp.encode(), body)
        if not any(_is_among(_sign(key, content), signatures) for key in self._keys):
            raise WebhookError("no signature of the webhook is valid", reason="signature")
        return _decode(bytes(body), type)

    def sign(
        self, body: bytes, *, message_id: str | None = None, timestamp: int | None = None
    ) -> dict[str, str]:
        """Return the headers of a webhook, signed with every secret: for tests, and for a sender.

        Args:
            body: The body, byte for byte as sent.
            message_id: The ID of the webhook, the same each time it is sent. A new one by default.
            timestamp: Its time in whole seconds since 1970; now by default.

        Returns:
            ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.

        Raises:
            InvalidRequestError: *message_id* or *timestamp* cannot be sent.
        """
        message_id = f"msg_{uuid.uuid4().hex}" if message_id is None else message_id
        stamp = str(int(self._clock()) if timestamp is None else timestamp)
        if not (_ID.fullmatch(message_id) and _TIME.fullmatch(stamp)):
            raise InvalidRequestError(
                "message_id must have 1 to 255 visible ASCII characters, and timestamp be 0 or more"
            )
        content = b"%b.%b.%b" % (message_id.encode(), stamp.encode(), body)
        signatures = b" ".join(b"v1," + _sign(key, content) for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": signatures.decode(),
        }


def _key(secret: object) -> bytes:
    if not isinstance(secret, str):
        raise TypeError(f"a webhook secret must be a str, not {type(secret).__name__}")
    try:
        key = base64.b64decode(secret.removeprefix("v1,").removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):  # raise nothing in this block: the cause may contain the secret
        key = b""
    if len(key) < _LEAST_KEY:
        raise InvalidRequestError(
            f"a webhook secret must be base64 of {_LEAST_KEY} bytes or more, with or without '{_PREFIX}'"
        )
    return key


def _fields(headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Return ID, timestamp and signatures. Exactly one of each: with two, another server may read the other
    one.
    """
    folded: CIMultiDict[Any] = CIMultiDict(headers)
    values = [folded.getall(f"webhook-{field}", []) for field in _FIELDS]
    if any(len(value) != 1 or not isinstance(value[0], str) for value in values):
        raise WebhookError("a header of the webhook is missing or repeated", reason="headers")
    message_id, stamp, signatures = (value[0] for value in values)
    if not (_ID.fullmatch(message_id) and _TIME.fullmatch(stamp)):
        raise WebhookError("the ID or the timestamp of the webhook is malformed", reason="headers")
    return message_id, stamp, signatures


def _sign(key: bytes, content: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, content, "sha256"))


def _is_among(signature: bytes, signatures: str) -> bool:
    """Return whether *signature* is in the list; versions other than ``v1`` are for other receivers."""
    candidates = (one[3:].encode(errors="replace") for one in signatures.split(" ") if one.startswith("v1,"))
    return any(hmac.compare_digest(signature, candidate) for candidate in candidates)


def _decode(body: bytes, target: Any) -> Any:
    """Decode *body* by the rules for responses, so that ``Open`` works and every kind of broken JSON is
    recognised.
    """
    response = AsyncAPIResponse.from_bytes(APIRequest("POST", "http://localhost"), 200, _DECODED_AS, body)
    parsing = response.parse(to=target)
    try:
        parsing.send(None)  # it ends immediately: the body is already in memory
    except StopIteration as done:
        return done.value
    except APIError as error:
        what = str(error).partition(f"{_DECODED_AS['Content-Type']}: ")[2]
        raise WebhookError(f"the body of the webhook is not of the type: {what}", reason="body") from None
    finally:
        parsing.close()
    raise RuntimeError("decoding the body of a webhook did not end immediately")
