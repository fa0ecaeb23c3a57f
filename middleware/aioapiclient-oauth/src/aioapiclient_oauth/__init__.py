"""OAuth 2 for aioapiclient: a credential that gets, keeps, shares and renews its access token."""

from .auth import OAuth2
from .browser import login_browser
from .device import DevicePrompt, login_device
from .discovery import Endpoints, discover
from .errors import OAuthError
from .grants import ClientCredentials, Grant, JWTBearer, Password, RefreshToken, TokenExchange
from .jwt import sign_jwt
from .revocation import revoke
from .stores import FileStore, MemoryStore, Tokens, TokenStore

__all__ = [
    "ClientCredentials",
    "DevicePrompt",
    "Endpoints",
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
    "discover",
    "login_browser",
    "login_device",
    "revoke",
    "sign_jwt",
]
