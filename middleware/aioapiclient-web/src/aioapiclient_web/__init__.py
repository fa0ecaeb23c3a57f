"""Glue between an aiohttp.web service and the API clients that it calls with."""

from .inbound import inbound, time_left
from .lifecycle import client_ctx
from .problems import problems
from .propagate import Propagate
from .webhooks import WebhookError, Webhooks

__all__ = ["Propagate", "WebhookError", "Webhooks", "client_ctx", "inbound", "problems", "time_left"]
