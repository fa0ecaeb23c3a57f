"""`discover`: the endpoints of an authorization server, from its metadata (RFC 8414)."""

from __future__ import annotations

import msgspec
from yarl import URL

from aioapiclient.contract import AsyncAPIResponse
from aioapiclient.errors import APIResponseValidationError, APIStatusError

from ._endpoint import MOST_BYTES, SECONDS, Client, check_endpoint, decode
from .errors import OAuthError

__all__ = ["Endpoints", "discover"]


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of an authorization server (RFC 8414 §2); missing values are None."""

    issuer: str
    """The issuer, equal to the requested one."""

    token_endpoint: str | None = None
    """``token_url`` of `OAuth2`."""

    authorization_endpoint: str | None = None
    """``authorize_url`` of `login_browser`."""

    device_authorization_endpoint: str | None = None
    """``device_url`` of `login_device`."""

    revocation_endpoint: str | None = None
    """``revocation_url`` of `revoke`."""

    scopes_supported: tuple[str, ...] = ()
    """The supported scopes, as far as the server lists them."""

    grant_types_supported: tuple[str, ...] = ()
    """The supported grants, as far as the server lists them."""

    authorization_response_iss_parameter_supported: bool = False
    """Whether the redirect after a login contains the issuer (RFC 9207): pass ``issuer`` to `login_browser`.
    """


async def discover(client: Client, issuer: str | URL) -> Endpoints:
    """Return the endpoints of *issuer*, from the location of RFC 8414 or, failing that, of OpenID Connect.

    Args:
        client: An `AsyncAPIClient`, which sends the requests without its credential.
        issuer: The issuer, a URL: https, or http on loopback.

    Raises:
        InvalidRequestError: *issuer* is not https.
        OAuthError: The metadata belong to another issuer (``invalid_issuer``), or were not found.
        APIResponseValidationError: The document is not metadata.
    """
    url = check_endpoint("issuer", issuer)
    for place in _places(url):
        answer = await _read(client, place)
        if answer is not None:
            return _checked(answer, str(issuer))
    raise OAuthError(f"{url}: the server has no metadata, by RFC 8414 or OpenID Connect")


def _places(issuer: URL) -> list[URL]:
    path = issuer.raw_path.rstrip("/")
    root = issuer.origin()
    return [
        # RFC 8414 §3.1 puts it before the path, OpenID Connect Discovery §4 after it.
        root.joinpath(f".well-known/oauth-authorization-server{path}", encoded=True),
        root.joinpath(f"{path.lstrip('/')}/.well-known/openid-configuration".lstrip("/"), encoded=True),
    ]


async def _read(client: Client, place: URL) -> Endpoints | None:
    """Return the metadata at *place*; None if it has none."""
    try:
        response: AsyncAPIResponse[bytes] = await client.get(
            place,
            AsyncAPIResponse[bytes],
            headers={"Accept": "application/json"},
            auth=None,
            follow_redirects=False,
            max_body=MOST_BYTES,
            timeout=SECONDS,
        )
        return decode(response, Endpoints, "the server's metadata")
    except APIStatusError as error:
        if error.status >= 500:
            raise
    except (OAuthError, APIResponseValidationError):  # some servers answer every path with a page
        pass
    return None


def _checked(endpoints: Endpoints, issuer: str) -> Endpoints:
    if endpoints.issuer != issuer:  # RFC 8414 §3.3: exactly equal, slash included
        raise OAuthError(
            f"{issuer}: the metadata are of another issuer; a trailing slash counts",
            code="invalid_issuer",
        )
    return endpoints
