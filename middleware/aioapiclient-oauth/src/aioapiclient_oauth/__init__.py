"""OAuth 2 for aioapiclient: a credential that gets, keeps, shares and renews its access token."""

from .auth import OAuth2
from .errors import OAuthError
from .grants import ClientCredentials, Grant, RefreshToken
from .stores import FileStore, MemoryStore, Tokens, TokenStore

__all__ = [
    "ClientCredentials",
    "FileStore",
    "Grant",
    "MemoryStore",
    "OAuth2",
    "OAuthError",
    "RefreshToken",
    "TokenStore",
    "Tokens",
]
