"""`problems`: answers with problem+json (RFC 9457) if the handler did not catch the failure of a call."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aioapiclient.errors import (
    APIClientError,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    BodyTooLargeError,
    CircuitOpenError,
    ConcurrencyLimitError,
    RateLimitError,
    ThrottledError,
)

from ._arguments import check, status, statuses
from .inbound import current
from .webhooks import WebhookError

__all__ = ["problems"]

_logger = logging.getLogger("aioapiclient.web")

_BLANK: Final = "about:blank"
_MOST_RETRY_AFTER: Final = (
    86_400  # seconds; the limit for a wrong value of an upstream server, which must not stop our callers
)
_ID = re.compile(r"[!-~]{1,128}")


class _Rule(NamedTuple):
    kinds: tuple[type[APIClientError], ...]
    status: int
    slug: str
    detail: str | None


# The first matching class counts. The details are written here, because the text of an error names the
# upstream server.
_RULES: Final = (
    _Rule((WebhookError,), 400, "webhook-refused", "The webhook is not signed correctly, or not valid."),
    _Rule((APITimeoutError,), 504, "upstream-timeout", "The upstream server did not answer in time."),
    _Rule(
        (RateLimitError, ThrottledError),
        503,
        "upstream-busy",
        "The upstream server accepts no requests at the moment.",
    ),
    _Rule((CircuitOpenError,), 503, "upstream-down", "The upstream server is failing."),
    _Rule((ConcurrencyLimitError,), 503, "overloaded", "Too many requests are in progress."),
    _Rule(
        (APIConnectionError,), 502, "upstream-unreachable", "The upstream server sent no complete response."
    ),
    _Rule(
        (APIResponseValidationError, BodyTooLargeError),
        502,
        "upstream-invalid",
        "The upstream server sent an invalid response.",
    ),
    _Rule((APIError,), 502, "upstream-error", "The upstream server answered with an error."),
)


def problems(
    *,
    rules: Mapping[type[APIClientError], int] | None = None,
    pass_through: Iterable[int] = (),
    type_base: str = _BLANK,
    expose_request_id: bool = True,
) -> Middleware:
    """Return a middleware of aiohttp.web that turns failed calls into error responses.

    A timeout is a 504; a rate limit, an open circuit and a limit on calls are a 503 with ``Retry-After``; all
    other failures are a 502. A `WebhookError` is a 400. The response contains no URL, no text and no body of
    the upstream server; the logger ``aioapiclient.web`` records the error itself. An error after the head of
    the response was sent is raised again: aiohttp breaks the connection, so that a partial body does not look
    complete. If an `ExceptionGroup` contains only errors of calls, its first one counts.

    Args:
        rules: Statuses for classes of errors, ahead of those above. The first matching class counts.
        pass_through: Statuses of the upstream server to pass on unchanged, such as 404. None by default.
        type_base: The prefix of each problem's ``type``, such as ``https://example.com/problems/``.
            By default the type is ``about:blank``.
        expose_request_id: Whether the response contains the ID of the failed call, or else that of the
            request, as ``request_id``. True by default.

    Returns:
        An entry for ``web.Application(middlewares=[...])``.

    Raises:
        InvalidRequestError: A status is not an error status.
        TypeError: An argument has the wrong type.
    """
    check("type_base", type_base, str, "a str")
    check("expose_request_id", expose_request_id, bool, "True or False")
    answers = _Answers(
        _own_rules(rules), statuses("pass_through", pass_through), type_base, expose_request_id
    )

    @web.middleware
    async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (APIClientError, ExceptionGroup) as raised:
            error = _failed_call(raised)
            rule = None if error is None else answers.rule_for(error)
            if error is None or rule is None or request.writer.output_size > 0:
                raise
            level = logging.WARNING if rule.status >= 500 else logging.INFO
            path = request.rel_url.raw_path  # still quoted: nothing in it can end a log line
            _logger.log(
                level, "%s %s: %d for %s: %s", request.method, path, rule.status, type(error).__name__, error
            )
            return answers.answer(rule, error)

    return problems


def _failed_call(raised: Exception) -> APIClientError | None:
    """Return the error of the failed call; of a group, the first error if all are errors of calls."""
    first, *others = _leaves(raised)
    if isinstance(first, APIClientError) and all(isinstance(other, APIClientError) for other in others):
        return first
    return None


def _leaves(raised: Exception) -> list[Exception]:
    if not isinstance(raised, ExceptionGroup):
        return [raised]
    group = cast("ExceptionGroup[Exception]", raised)
    return [leaf for one in group.exceptions for leaf in _leaves(one)]


def _own_rules(rules: Mapping[Any, Any] | None) -> tuple[_Rule, ...]:
    if rules is None:
        return ()
    check("rules", rules, Mapping, "a mapping of error classes to statuses")
    for kind in rules:
        if not (isinstance(kind, type) and issubclass(kind, APIClientError)):
            raise TypeError(f"rules must be for classes of aioapiclient.errors, not {kind!r}")
    return tuple(_plain(status("rules", value), kind) for kind, value in rules.items())


def _plain(value: int, *kinds: type[APIClientError]) -> _Rule:
    return _Rule(kinds, value, _phrase(value).lower().replace(" ", "-"), None)


def _phrase(value: int) -> str:
    try:
        return HTTPStatus(value).phrase
    except ValueError:
        return "Error"


class _Answers(NamedTuple):
    rules: tuple[_Rule, ...]
    pass_through: frozenset[int]
    type_base: str
    expose_request_id: bool

    def rule_for(self, error: APIClientError) -> _Rule | None:
        for rule in self.rules:
            if isinstance(error, rule.kinds):
                return rule
        if isinstance(error, APIStatusError) and error.status in self.pass_through:
            return _plain(error.status)
        return next((rule for rule in _RULES if isinstance(error, rule.kinds)), None)

    def answer(self, rule: _Rule, error: APIClientError) -> web.Response:
        body: dict[str, Any] = {
            "type": _BLANK if self.type_base == _BLANK else self.type_base + rule.slug,
            "title": _phrase(rule.status),
            "status": rule.status,
        }
        if rule.detail is not None:
            body["detail"] = rule.detail
        if self.expose_request_id and (found := _request_id(error)) is not None:
            body["request_id"] = found
        headers = {"Retry-After": _retry_after(error)} if rule.status in {429, 503} else None
        return web.Response(
            status=rule.status,
            body=msgspec.json.encode(body),
            content_type="application/problem+json",
            headers=headers,
        )


def _request_id(error: APIClientError) -> str | None:
    """Return the upstream server's ID of the failed call, or else the ID of the current request."""
    of_call: Any = getattr(error, "request_id", None)
    found = current.get()
    of_request = None if found is None else found.headers.get("X-Request-Id")
    for value in (of_call, of_request):
        if isinstance(value, str) and _ID.fullmatch(value):
            return value
    return None


def _retry_after(error: APIClientError) -> str:
    """Return whole seconds, at least 1, rounded up: an early retry would be refused again."""
    seconds: float | None = getattr(error, "retry_after", None)
    if seconds is None or math.isnan(seconds):
        return "1"
    return str(math.ceil(min(max(seconds, 1), _MOST_RETRY_AFTER)))
