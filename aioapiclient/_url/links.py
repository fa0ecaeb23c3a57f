"""Links from a server: the URL that a redirect, a next page or an operation in progress leads to."""

from __future__ import annotations

from yarl import URL

from aioapiclient.errors import InvalidRequestError

from .base import check_url, resolve_reference, without_userinfo

__all__ = ["follow_link"]


def follow_link(base: URL, reference: str, *, allow_insecure: bool = False) -> URL:
    """Return the URL that *reference*, in a response from *base*, leads to.

    It has no userinfo, so that no server chooses a credential, and no fragment.

    Args:
        base: The URL of the response.
        reference: The link, absolute or relative (RFC 3986 §4.1).
        allow_insecure: Whether a link from https to http is allowed. False by default.

    Raises:
        InvalidRequestError: The link must not be followed. The message continues a sentence that starts with
            the link, and does not quote it.
    """
    try:
        url = check_url(without_userinfo(resolve_reference(base, reference)))
    except ValueError:
        url = None  # raise outside of this block: the error of yarl may quote a password
    if url is None:
        raise InvalidRequestError("is not an http or https URL")
    if url.scheme != "https" and base.scheme == "https" and not allow_insecure:
        raise InvalidRequestError("leads from https to http")
    return url
