"""The note on a status error about headers that were withheld from an untrusted origin."""

from __future__ import annotations

from typing import Any

from aioapiclient._response.response import AsyncAPIResponse
from aioapiclient._url.origins import origin_text
from aioapiclient.errors import printable

__all__ = ["note_on_withheld"]


def note_on_withheld(response: AsyncAPIResponse[Any]) -> str:
    """Return a note that says which headers were withheld from the request, why, and how to change that.

    The note shows the names of the headers, but no values.
    """
    request = response.request
    origin = printable(request.origin)
    names = ", ".join(dict.fromkeys(map(printable, request._withheld)))
    reason = "a redirect led there" if response.history else "the call names an absolute URL"
    own = "" if request._base_url is None else f" ({origin_text(request._base_url.url)})"
    return (
        f"Not sent to {origin}: {names}. Credentials and default headers go only to the origin of"
        f" base_url{own} and to trusted_origins, and {reason}. If {origin} may receive them,"
        " change base_url to it or name it in trusted_origins"
    )
