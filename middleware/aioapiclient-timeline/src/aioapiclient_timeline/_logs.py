"""`log_calls`: one log record for each call, with its facts as structured data."""

from __future__ import annotations

import logging
import math
from typing import Any

from aioapiclient.errors import InvalidRequestError

from ._record import Call, Send
from ._timeline import Sink, Timeline

__all__ = ["log_calls", "logged"]


def log_calls(
    logger: logging.Logger | str = "aioapiclient.calls", *, slow: float = 1.0, level: int = logging.INFO
) -> Sink:
    """Return a sink that logs each call once, when it has ended.

    A call that failed below the client, that ended with a status of 500 or more or with 429, or that took
    *slow* seconds or more is logged as a warning, but a cancelled call is not. Of a stream, the time to its
    head counts.

    The record has one attribute ``http``, a dict of plain values: ``method template origin status error
    reason request_id ms attempts waited_ms sends``. Formatters for JSON, such as structlog's, take it as is.

    Args:
        logger: The logger, or its name.
        slow: Seconds from which a call is logged as a warning; `math.inf` for none.
        level: The level of all other calls.

    Returns:
        The sink, for `Timeline`.

    Raises:
        InvalidRequestError: *slow* is below 0 or not a number.
        TypeError: An argument has the wrong type.

    """
    used = logging.getLogger(logger) if isinstance(logger, str) else logger
    if not isinstance(used, logging.Logger):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"logger must be a logging.Logger or a name, not {type(logger).__name__}")
    limit = _seconds("slow", slow)
    if isinstance(level, bool) or not isinstance(level, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"level must be an int such as logging.INFO, not {type(level).__name__}")

    def log_call(call: Call) -> None:
        chosen = logging.WARNING if _is_bad(call, limit) else level
        if used.isEnabledFor(chosen):
            used.log(chosen, *_message(call), extra={"http": _facts(call)})

    return log_call


def logged(
    logger: logging.Logger | str = "aioapiclient.calls", *, slow: float = 1.0, level: int = logging.INFO
) -> Timeline:
    """Return a timeline that logs; ``middlewares=["timeline"]`` makes it.

    The arguments are those of `log_calls`.
    """
    return Timeline(log_calls(logger, slow=slow, level=level))


def _is_bad(call: Call, slow: float) -> bool:
    if call.error == "CancelledError":
        return False
    status = call.status or 0
    return call.error is not None or status >= 500 or status == 429 or call.answered >= slow


def _message(call: Call) -> tuple[Any, ...]:
    outcome = call.error or call.status
    text = "%s %s in %.0f ms, %d attempt" if call.attempts == 1 else "%s %s in %.0f ms, %d attempts"
    return (text, call.label, outcome, call.seconds * 1e3, call.attempts)


def _facts(call: Call) -> dict[str, Any]:
    return {
        "method": call.method,
        "template": call.template,
        "origin": call.origin,
        "status": call.status,
        "error": call.error,
        "reason": call.reason,
        "request_id": call.request_id,
        "ms": _ms(call.seconds),
        "attempts": call.attempts,
        "waited_ms": _ms(call.waited),
        "sends": [_send_facts(send) for send in call.sends],
    }


def _send_facts(send: Send) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "attempt": send.attempt,
        "url": send.url,
        "status": send.status,
        "error": send.error,
        "began_ms": _ms(send.began),
        "ms": _ms((send.ended or send.began) - send.began),
    }
    if send.reason is not None:
        facts["reason"] = send.reason
    if send.hedged:
        facts["hedged"] = True
    for phase in send.phases:
        facts[f"{phase.name}_ms"] = _ms(phase.ended - phase.began)
    return facts


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if math.isnan(value) or value < 0:
        raise InvalidRequestError(f"{name} must be 0 seconds or more, not {value}")
    return float(value)
