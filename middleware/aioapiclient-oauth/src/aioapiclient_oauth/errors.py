"""`OAuthError`: an authorization server refused, or a login failed."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from aioapiclient.contract import AsyncAPIResponse
from aioapiclient.errors import APIError

__all__ = ["OAuthError", "error_of", "refusal"]

# RFC 6749 §5.2 allows more characters in a code; a message shows only unambiguous ones.
_SHOWN = re.compile(r"[\w.:/-]{1,64}", re.ASCII)
_LONGEST_TEXT = 500  # characters of a server's text that are kept


class OAuthError(APIError):
    """An authorization server refused a request, or a login ended without a token. Never retried.

    The message names the endpoint, the status and the code. The server's text is in `description`, and not in
    the message.
    """

    code: str
    """The ``error`` of the response (RFC 6749 §5.2), such as ``invalid_grant``; empty if it has none.

    Codes of this library: ``login_required`` (no tokens are stored, and the grant needs a person),
    ``unsupported_token_type``, ``expired_token``, ``timeout``, ``no_browser``, ``invalid_issuer``.
    """

    description: str
    """The ``error_description`` of the response, at most 500 characters."""

    uri: str
    """The ``error_uri`` of the response: a page about the error."""

    status: int | None
    """The status code of the response; None without one."""

    def __init__(
        self,
        message: str = "the authorization server refused",
        *,
        code: str = "",
        description: str = "",
        uri: str = "",
        status: int | None = None,
        final: bool = True,
        **facts: Any,
    ) -> None:
        super().__init__(message, final=final, **facts)
        self.code = code
        self.description = description
        self.uri = uri
        self.status = status


def refusal(response: AsyncAPIResponse[Any]) -> OAuthError:
    """Return the error for *response*, which is an error of RFC 6749 §5.2 or anything else."""
    return error_of(
        _members(response.body),
        f"{response.request.label}: {response.status}",
        status=response.status,
        request=response.request,
        retry_after=response.retry_after,
        retries_taken=response.retries_taken,
    )


def error_of(answer: object, message: str, **facts: Any) -> OAuthError:
    """Return the error in *answer*, a mapping or any other value; *message* names the endpoint."""
    code = _text(answer, "error")
    shown = f": {code}" if _SHOWN.fullmatch(code) else ""
    description, uri = _text(answer, "error_description"), _text(answer, "error_uri")
    return OAuthError(message + shown, code=code, description=description, uri=uri, **facts)


def _text(answer: Any, name: str) -> str:
    """Return the member *name* of *answer*, cut to 500 characters; empty if it is missing."""
    try:
        value = answer[name]
    except (KeyError, TypeError):  # not a mapping, or one without the member
        return ""
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _members(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
