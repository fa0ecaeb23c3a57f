"""OAuth 2 for aioapiclient: a credential that gets, keeps, shares and renews its access token."""

from .auth import OAuth2
from .errors import OAuthError
from .grants import ClientCredentials, Grant, JWTBearer, Password, RefreshToken, TokenExchange
from .jwt import sign_jwt
from .stores import FileStore, MemoryStore, Tokens, TokenStore

__all__ = [
    "ClientCredentials",
    "FileStore",
    "Grant",
    "JWTBearer",
    "MemoryStore",
    "OAuth2",
    "OAuthError",
    "Password",
    "RefreshToken",
    "TokenExchange",
    "TokenStore",
    "Tokens",
    "sign_jwt",
]
