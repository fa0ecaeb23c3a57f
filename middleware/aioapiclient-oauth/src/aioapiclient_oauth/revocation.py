"""`revoke`: log out, at the server and in the store (RFC 7009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yarl import URL

from ._endpoint import Client, check_endpoint, post
from .errors import OAuthError

if TYPE_CHECKING:
    from .auth import OAuth2
    from .stores import Tokens

__all__ = ["revoke"]


async def revoke(client: Client, oauth: OAuth2, revocation_url: str | URL) -> None:
    """Revoke the tokens that *oauth* has stored, the refresh token first, and drop them.

    They are dropped after the server has revoked them. If nothing is stored, nothing is sent.

    Args:
        client: An `AsyncAPIClient`, which sends the requests without its credential.
        oauth: The owner of the tokens.
        revocation_url: The revocation endpoint: https, or http on loopback.

    Raises:
        InvalidRequestError: *revocation_url* is not https.
        OAuthError: The server refused.
    """
    url = check_endpoint("revocation_url", revocation_url)

    async def forget(tokens: Tokens | None) -> None:
        if tokens is not None:
            await _revoke_all(client, oauth, url, tokens)

    await oauth.replace_login(forget)


async def _revoke_all(client: Client, oauth: OAuth2, url: URL, tokens: Tokens) -> None:
    if tokens.refresh_token is not None:
        await _revoke(client, oauth, url, tokens.refresh_token, "refresh_token")
    try:
        await _revoke(client, oauth, url, tokens.access_token, "access_token")
    except OAuthError as error:
        # RFC 7009 §2.2.1: a server need not be able to revoke access tokens.
        if error.code != "unsupported_token_type":
            raise


async def _revoke(client: Client, oauth: OAuth2, url: URL, token: str, kind: str) -> None:
    await post(client, url, [("token", token), ("token_type_hint", kind)], oauth.client_login)
