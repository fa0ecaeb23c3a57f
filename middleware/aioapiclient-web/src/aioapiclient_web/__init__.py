"""Connects an aiohttp.web service with the API clients that it uses."""

from .inbound import inbound, time_left
from .lifecycle import client_ctx
from .problems import problems
from .propagate import Propagate
from .webhooks import WebhookError, Webhooks

__all__ = ["Propagate", "WebhookError", "Webhooks", "client_ctx", "inbound", "problems", "time_left"]
