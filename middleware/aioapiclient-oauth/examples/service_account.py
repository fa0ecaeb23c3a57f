"""A client with a key instead of a secret, and a service account that acts for a user.

::

    pip install 'aioapiclient-oauth[jwt]'
    python service_account.py
"""

from __future__ import annotations

import asyncio

from aioapiclient_oauth import JWTBearer, OAuth2, sign_jwt
from cryptography.hazmat.primitives.asymmetric import ec
from oauth_servers import AuthorizationServer, serving

from aioapiclient import AsyncAPIClient


async def main() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    server = AuthorizationServer()
    async with serving(server) as url:
        token_url = f"{url}/token"
        await call(url, as_itself(token_url, key))
        await call(url, as_ada(token_url, key))


def as_itself(token_url: str, key: ec.EllipticCurvePrivateKey) -> OAuth2:
    """A client that authenticates with a key."""
    return OAuth2(token_url, "my-client", assertion=sign_jwt(key, "ES256", kid="key-1"))


def as_ada(token_url: str, key: ec.EllipticCurvePrivateKey) -> OAuth2:
    """A service account that acts for a user."""
    sign = sign_jwt(key, "ES256", kid="key-1", iss="robot@example.com", sub="ada@example.com")
    return OAuth2(token_url, "robot", grant=JWTBearer(sign))


async def call(url: str, login: OAuth2) -> None:
    async with AsyncAPIClient(url, auth=login) as api:
        me = await api.get("/me")
    print(f"{login!r}: hello, {me['name']}".replace(url, ""))


if __name__ == "__main__":
    asyncio.run(main())
