"""`sign_jwt`: signs the claims of an assertion with a key, using PyJWT (the extra ``jwt``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._endpoint import check_text

__all__ = ["sign_jwt"]


def sign_jwt(
    key: Any, alg: str = "ES256", kid: str | None = None, **claims: Any
) -> Callable[[Mapping[str, Any]], str]:
    """Return a function that signs claims, for ``assertion=`` of `OAuth2` and for `JWTBearer`.

    Args:
        key: The private key: a PEM text, or any key that PyJWT accepts for *alg*.
        alg: The algorithm; ``ES256`` by default.
        kid: The id of the key, as the server knows it; None (the default) sends none.
        **claims: Claims to add to those of the assertion, or to replace them, such as
            ``sub="ada@example.com"``.

    Raises:
        ModuleNotFoundError: PyJWT is not installed: ``pip install 'aioapiclient-oauth[jwt]'``.
        TypeError: *alg* or *kid* is not a str.
    """
    try:
        import jwt
    except ModuleNotFoundError as error:
        error.add_note("sign_jwt needs PyJWT: pip install 'aioapiclient-oauth[jwt]'")
        raise
    check_text("alg", alg)
    if kid is not None:
        check_text("kid", kid)
    headers = None if kid is None else {"kid": kid}

    def sign(about: Mapping[str, Any]) -> str:
        return jwt.encode({**about, **claims}, key, algorithm=alg, headers=headers)

    return sign
