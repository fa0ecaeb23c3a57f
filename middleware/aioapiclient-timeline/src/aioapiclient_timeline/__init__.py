"""One record of each call, with its sends and their phases, for logs, metrics and a waterfall."""

from ._logs import log_calls, logged
from ._phases import trace_config
from ._prometheus import prometheus
from ._record import Call, Phase, Send
from ._timeline import Timeline
from ._waterfall import waterfall

__all__ = [
    "Call",
    "Phase",
    "Send",
    "Timeline",
    "log_calls",
    "logged",
    "prometheus",
    "trace_config",
    "waterfall",
]
