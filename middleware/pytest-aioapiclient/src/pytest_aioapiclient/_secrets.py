"""`Secrets`: finds the secrets in a request or response, by their names, their form, or their other
occurrences.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, unquote

from ._plain import is_dict, is_list

__all__ = ["BLANK", "DEFAULT_SECRETS", "Secrets"]

BLANK: Final = "<secret>"
"""The replacement for a secret."""

DEFAULT_SECRETS: Final = (
    "access-key", "api-key", "app-key", "application-key", "assertion", "auth-key", "authorization", "cookie",
    "credential", "encryption-key", "jwt", "otp", "passphrase", "passwd", "password", "private-key", "pwd",
    "secret", "session-id", "sig", "signature", "signing-key", "subscription-key", "token", "verifier",
)  # fmt: skip
"""Parts of names that mark a value as secret: ``api-key`` covers ``X-Api-Key`` and ``apikey``."""

_SHORT: Final = 4  # an entry of up to this many letters must be a whole word: "sig" is not in "design"
_LEAST_KNOWN: Final = 6  # the least number of characters of a value that is searched for elsewhere
_LEAST_WORD: Final = 16  # the same for a value of letters only, which may be an ordinary word

# Values that are secret whatever their name: JWTs, PEM keys, and keys of AWS, GitHub, Google, Telegram,
# OpenAI, Stripe and Slack.
_FORMS: Final = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.{1,9999}?-----END [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bAIza[\w-]{35}"
    r"|\b\d{8,10}:[\w-]{35}\b|\b[sprw]k[-_][\w-]{20,}|\bxox[a-z]-[\w-]{10,}",
    re.DOTALL,
)
# After a scheme of RFC 9110 §11; "Bearer authentication" in prose is kept.
_CREDENTIAL: Final = re.compile(r"(?i)\b((?:Bearer|Basic|DPoP)\s+)(?=\S*\d|\S{20})([\w.~+/=-]{6,})")
_USERINFO: Final = re.compile(r"(://[^/\s:@]*:)([^/\s@]+)(?=@)")
# The last word of a name that only describes a secret: token_type, token_endpoint, password_changed_at.
_ABOUT: Final = frozenset(
    {
        "alg", "algorithm", "at", "count", "endpoint", "expires", "expiry", "in", "limit", "method",
        "methods", "supported", "type", "uri", "url",
    }
)  # fmt: skip
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


class Secrets:
    """Blanks secrets, and remembers their values to blank them in other places too.

    Args:
        names: Parts of the names of secrets, in any case, with or without ``-`` and ``_``. An entry of
            at most four letters must be a whole word of the name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        entries = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
        self._parts = tuple(entry for entry in entries if len(entry) > _SHORT)
        self._words = frozenset(entry for entry in entries if 0 < len(entry) <= _SHORT)
        self._values: set[str] = set()
        self._in_text = _named_values("|".join(_loose(entry) for entry in entries if entry) or "(?!)")

    def covers(self, name: str) -> bool:
        """Return whether a name marks its value as secret.

        Args:
            name: The name of a header, a parameter, a form field or a JSON member.
        """
        words = [word.lower() for word in _WORDS.findall(name)]
        if words and words[-1] in _ABOUT:
            return False
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        if any(part in plain for part in self._parts):
            return True
        return not self._words.isdisjoint(words)

    # --- values

    def note(self, value: str) -> None:
        """Remember a value and its parts as secrets.

        Args:
            value: The value, such as that of an Authorization or Cookie header.
        """
        for part in _parts_of(value):
            least = _LEAST_WORD if part.isalpha() or part.isdigit() else _LEAST_KNOWN
            if len(part) >= least and BLANK not in part:
                self._values.add(part)

    def header(self, name: str, value: str) -> str:
        """Return the value of a header or parameter, blanked if it is secret.

        Args:
            name: Its name.
            value: Its value.
        """
        if not self._is_secret(name, value):
            return self.text(value)
        self.note(value)
        return BLANK

    def _is_secret(self, name: str, value: str) -> bool:
        if value.lower() in ("", "true", "false") or not self.covers(name):
            return False
        # The number of tokens of a language model, in a rate-limit header or a parameter.
        return not (value.isdigit() and re.search(r"(?i)tokens", name))

    def text(self, text: str) -> str:
        """Return a text with the secrets in it blanked.

        Args:
            text: Any text, such as a URL, a form, a piece of JSON or XML.
        """
        plain = re.sub("[-_.]", "", text.lower())
        if any(entry in plain for entry in (*self._parts, *self._words)):  # most texts have none
            text = self._in_text.sub(self._blank_named, text)
        text = _CREDENTIAL.sub(self._blank_part, text)
        text = _USERINFO.sub(self._blank_part, text)
        text = _FORMS.sub(self._blank_form, text)
        return self.known(text)

    def known(self, text: str) -> str:
        """Return a text with the known secrets blanked.

        Args:
            text: Any text.
        """
        for value in sorted(self._spellings(), key=len, reverse=True):
            text = text.replace(value, BLANK)
        return text

    def name(self, name: str) -> str:
        """Return a name, blanked if it is itself a secret.

        Args:
            name: The name of a parameter, a form field or a JSON member.
        """
        return self.known(_FORMS.sub(BLANK, name))

    def known_bytes(self, body: bytes) -> bytes:
        """Return bytes that are not text with the known secrets blanked.

        Args:
            body: The bytes.
        """
        for value in sorted(self._spellings(), key=len, reverse=True):
            body = body.replace(value.encode(), BLANK.encode())
        return body

    def _spellings(self) -> Iterator[str]:
        for value in self._values:
            yield value
            yield quote(value, safe="")
            yield quote(value)
            yield json.dumps(value)[1:-1]
            yield base64.b64encode(value.encode()).decode().rstrip("=")

    def _blank_named(self, match: re.Match[str]) -> str:
        name, value = [group for group in match.groups() if group is not None]
        if not self._is_secret(unquote(name), value):
            return match[0]
        self.note(unquote(value))
        return match[0].removesuffix(value) + BLANK

    def _blank_part(self, match: re.Match[str]) -> str:
        self.note(match[2])
        return f"{match[1]}{BLANK}"

    def _blank_form(self, match: re.Match[str]) -> str:
        self.note(match[0])
        return BLANK

    # --- JSON

    def value(self, value: Any, *, secret: bool = False) -> Any:
        """Return plain data with the secrets in it blanked.

        Text is blanked. A number is kept, since ``max_tokens`` is not a secret, unless its name contains
        password, PIN or the like.

        Args:
            value: Dicts, lists and scalars.
            secret: Whether the name above it marks it as secret.
        """
        if is_dict(value):
            return {self.name(name): self._member(name, value[name], secret) for name in value}
        if is_list(value):
            return [self.value(item, secret=secret) for item in value]
        if not isinstance(value, str):
            return value
        if secret and value:
            self.note(value)
            return BLANK
        return self.text(value)

    def _member(self, name: str, value: Any, secret: bool) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and _names_a_number(name):
            self.note(str(value))
            return 0
        return self.value(value, secret=secret or self.covers(name))


def _names_a_number(name: str) -> bool:
    """Return whether a number of this name may be a secret."""
    return not {word.lower() for word in _WORDS.findall(name)}.isdisjoint(
        {"password", "passwd", "passcode", "pin", "otp", "cvc", "cvv", "secret"}
    )


def _loose(entry: str) -> str:
    return "[-_.]?".join(re.escape(letter) for letter in entry)


def _named_values(names: str) -> re.Pattern[str]:
    """Return the pattern of named values in a text; each alternative has a group for the name and one for the
    value.
    """
    # Bounded, so that the time stays linear when a long text is one word, such as Base64.
    name = rf"[\w.\[\]-]{{0,60}}(?:{names})[\w.\[\]-]{{0,60}}"
    start = r"(?<![\w.\[\]-])"
    alternatives = (
        rf"{start}[\"']?({name})[\"']?\s*[:=]\s*\"((?:[^\"\\]|\\.)+)",  # "a": "b", a = "b"
        rf"{start}[\"']?({name})[\"']?\s*[:=]\s*'((?:[^'\\]|\\.)+)",  # the same with single quotes
        rf"\\\"({name})\\\"\s*:\s*\\\"([^\"\\]+)",  # JSON within a JSON string
        rf"{start}({name})(?:=|%3D)([^&\s\"'<>\\]+)",  # a query or form
        rf"[\"']({name}):[ \t]*([^\"'\n]+)",  # a header, on a command line
        rf"^[ \t>-]*({name}):[ \t]+(\S.*)$",  # a header, or YAML
        rf"<(?:\w+:)?(?P<element>{name})(?:\s[^<>]{{0,500}})?>([^<]+)(?=</(?:\w+:)?(?P=element)>)",
        rf"\bname=[\"']({name})[\"'][^<>]{{0,500}}?\bvalue=[\"']([^\"'<>]+)",  # a field of an HTML form
    )
    return re.compile("|".join(alternatives), re.IGNORECASE | re.MULTILINE)


def _parts_of(value: str) -> Iterator[str]:
    """Yield a secret value and the secrets that it contains: after a scheme, in cookies, in Basic
    credentials.
    """
    yield value
    _, _, credential = value.strip().partition(" ")
    if credential and " " not in credential:
        yield credential
        try:
            login = base64.b64decode(credential, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            login = ""
        if ":" in login:
            yield login
            yield login.partition(":")[2]
    first, *others = value.split(";")
    for cookie in (first, *others):
        name, equals, text = cookie.strip().partition("=")
        if equals and name.lower() not in _OF_COOKIES:
            yield text.strip('"')


_OF_COOKIES: Final = frozenset({"domain", "expires", "max-age", "path", "samesite"})
