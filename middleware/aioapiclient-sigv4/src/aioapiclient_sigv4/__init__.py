"""AWS Signature Version 4 for aioapiclient: signed requests, presigned URLs, temporary credentials."""

from .auth import SigV4
from .credentials import Credentials

__all__ = ["Credentials", "SigV4"]
