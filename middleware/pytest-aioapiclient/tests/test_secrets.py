"""No secret enters a cassette: twelve kinds of canaries and more, by name, by form, by other uses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_aioapiclient import DEFAULT_SECRETS, Cassette
from pytest_aioapiclient._secrets import Secrets

from aioapiclient import APIKeyAuth, AsyncAPIClient, BasicAuth, BearerAuth
from aioapiclient.testing import FakeTransport, respond

C = "CANARY-7f3a"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.{C}"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{C}\n-----END RSA PRIVATE KEY-----"


class Kind(NamedTuple):
    """A position of a secret: in a call, or in its response."""

    options: dict[str, Any] = {}  # noqa: RUF012 - it is never changed
    client: dict[str, Any] = {}  # noqa: RUF012
    answer: dict[str, Any] = {"json": {}}  # noqa: RUF012
    path: str = "/x"
    stream: bool = False


EVENT = f'data: {{"delta": "a", "token": "{C}"}}\n\n'.encode()

KINDS: dict[str, Kind] = {
    # 1 to 12: the required positions
    "1 Authorization, bearer": Kind(client={"auth": BearerAuth(C)}),
    "2 Authorization, basic": Kind(client={"auth": BasicAuth("user", C)}),
    "3 a header of an API key": Kind(client={"auth": APIKeyAuth(C, header="X-Api-Key")}),
    "4 Cookie": Kind({"headers": {"Cookie": f"theme=dark; sid={C}"}}, answer={"text": f"you sent {C}"}),
    "5 Set-Cookie": Kind(answer={"headers": [("Set-Cookie", f"sid={C}; Path=/"), ("Set-Cookie", f"t={C}")]}),
    "6 a query parameter": Kind({"params": {"api_key": C, "X-Amz-Signature": C}}),
    "7 a form field": Kind({"data": {"grant_type": "password", "password": C, "client_secret": C}}),
    "8 a JSON member of the request": Kind({"json": {"user": {"name": "ada", "passWord": C}, "apikey": C}}),
    "9 a JSON member of the response": Kind(answer={"json": {"access_token": C, "data": [{"secret": [C]}]}}),
    "10 a URL in a header": Kind(
        answer={"headers": [("Location", f"/x?sig={C}"), ("Link", f'<https://h/?token={C}>; rel="next"')]}
    ),
    "11 a stream, in two pieces": Kind(stream=True, answer={"chunks": [EVENT[:40], EVENT[40:]]}),
    "12 a field of a multipart form": Kind({"data": {"token": C}, "files": {"f": ("a.txt", b"a")}}),
    # and more
    "a path parameter": Kind({"path_params": {"token": C}}, path="/bot{token}/me"),
    "a path parameter, by its other use": Kind(
        {"path_params": {"name": C}}, client={"auth": BearerAuth(C)}, path="/{name}"
    ),
    "an echo as text": Kind(client={"auth": BearerAuth(C)}, answer={"text": f"hello {C}!"}),
    "an echo as JSON": Kind(client={"auth": BearerAuth(C)}, answer={"json": {"seen": f"a {C} b", "n": [C]}}),
    "an echo in a stream": Kind(
        client={"auth": BearerAuth(C)}, stream=True, answer={"chunks": [b"you: CANA", b"RY-7f3a\n"]}
    ),
    "an echo in bytes": Kind(client={"auth": BearerAuth(C)}, answer={"body": b"\xff" + C.encode()}),
    "an echo of Basic": Kind(
        client={"auth": BasicAuth("user", C)},
        answer={"text": base64.b64encode(f"user:{C}".encode()).decode()},
    ),
    "an echo in Base64": Kind(
        client={"auth": BearerAuth(C)}, answer={"json": {"raw": base64.b64encode(C.encode()).decode()}}
    ),
    "an echo, escaped": Kind(
        {"headers": {"X-Token": f"{C} /&"}},
        answer={"text": f"{C}%20%2F%26"},
    ),
    "a password in a URL": Kind(answer={"json": {"dsn": f"postgres://user:{C}@db/x"}}),
    "a query in a URL": Kind(answer={"json": {"next": f"https://h/x?page=2&access_token={C}#a"}}),
    "a query in a parameter": Kind({"params": {"redirect": f"https://h/x?api-key={C}"}}),
    "JSON in JSON": Kind(answer={"json": {"body": json.dumps({"token": C, "n": 1})}}),
    "JSON in a text": Kind(answer={"text": f'result: {{"api_key" : "{C}\\"{C}"}} ok'}),
    "XML": Kind(answer={"text": f"<a><password>{C}</password></a>"}),
    "GraphQL": Kind({"json": {"query": f'mutation {{ login(name: "ada", password: "{C} {C}") }}'}}),
    "Python": Kind(answer={"text": f"{{'n': 1, 'token': '{C} {C}'}}"}),
    "a command line": Kind(
        answer={"text": f"curl -H 'X-Api-Key: {C}' --data password=\"{C} {C}\" https://h"}
    ),
    "a field of an HTML form": Kind(answer={"text": f'<input name="csrf_token" type="x" value="{C}">'}),
    "the name of a parameter": Kind({"params": {C: "1"}}, client={"auth": BearerAuth(C)}),
    "the name of a member": Kind(client={"auth": BearerAuth(C)}, answer={"json": {"by": {C: 1}}}),
    "the name of a file": Kind({"files": {"f": (f"{C}.txt", b"a")}}, client={"auth": BearerAuth(C)}),
    "the fragment of a URL": Kind(answer={"headers": [("Location", f"https://h/#state=1&id_token={C}")]}),
    "a key of a service": Kind({"params": {"subscription-key": C}, "headers": {"DD-APPLICATION-KEY": C}}),
    "YAML": Kind(answer={"text": f"name: ada\n  password: {C} {C}\n"}),
    "headers in a text": Kind(answer={"text": f"GET / HTTP/1.1\nX-Api-Key: {C}\n"}),
    "bearer in a text": Kind(answer={"text": f"curl -H 'Authorization: Bearer {C}' https://h"}),
    "a JWT under another name": Kind(answer={"json": {"result": JWT}}),
    "a PEM key under another name": Kind(answer={"json": {"pem": PEM}}),
    "a JWT as the name of a member": Kind(answer={"json": {JWT: 1}}),
    "a member twice": Kind(answer={"body": f'{{"token": "{C}", "token": null}}'.encode()}),
    "a member twice, with members": Kind(
        answer={"body": f'{{"credentials": {{"a": "{C}"}}, "credentials": 1}}'.encode()}
    ),
    "a number": Kind(answer={"json": {"password": 731983, "pin": 731983}}),
    "a signature's parameters": Kind({"headers": {"Signature": f"sig1=:{C}:"}}),
    "XML with a namespace": Kind(answer={"text": f'<o:token type="x">{C}</o:token>'}),
}


def path_text(path: Path) -> str:
    """The text of a file."""
    return path.read_text(encoding="utf-8")


async def record(kind: Kind, path: Path, **options: Any) -> Cassette:
    """Make the call of a kind, and record it."""
    tape = Cassette(path, FakeTransport(respond(**kind.answer)), mode="once", **options)
    async with AsyncAPIClient("https://api.example.com/v1", transport=tape, **kind.client) as api:
        if kind.stream:
            async with api.open("GET", kind.path, **kind.options) as response:
                assert b"".join([piece async for piece in response.iter_bytes()])
        else:
            method = "GET" if kind.options.keys().isdisjoint({"json", "data", "files"}) else "POST"
            await api.request(method, kind.path, bytes, **kind.options)
    return tape


@pytest.mark.parametrize("name", KINDS)
async def test_no_canary_enters_the_file(tmp_path: Path, name: str) -> None:
    """Whatever the position of a secret, neither the file nor a repr contains it or its Base64."""
    path = tmp_path / "x.jsonl"
    tape = await record(KINDS[name], path)
    text = path_text(path)

    assert tape.recorded == 1
    for spelling in (C, "CANARY", "731983", base64.b64encode(C.encode()).decode()[:12], "CANA", "7f3a"):
        assert spelling not in text, text
    for line in text.splitlines():
        stored = json.loads(line)["response"].get("base64", "")
        assert b"CANARY" not in base64.b64decode(stored)
    assert "CANARY" not in repr(tape)


@pytest.mark.parametrize("name", KINDS)
async def test_what_was_blanked_fits_again(tmp_path: Path, name: str) -> None:
    """The same call, with another secret or the same, matches the take recorded without it."""
    path = tmp_path / "x.jsonl"
    kind = KINDS[name]
    await record(kind, path)

    tape = Cassette(path)
    async with AsyncAPIClient("https://api.example.com/v1", transport=tape, **kind.client) as api:
        method = "GET" if kind.options.keys().isdisjoint({"json", "data", "files"}) else "POST"
        async with api.open(method, kind.path, **kind.options) as response:
            await response.read()

    assert tape.unplayed == 0


@pytest.mark.parametrize(
    "later",
    [
        {"headers": {"Authorization": f"Bearer {C}"}, "answer": 1},
        {"headers": {}, "answer": {"token": C}},
    ],
    ids=["a request", "a response"],
)
async def test_a_secret_is_blanked_in_takes_before_it_was_known(
    tmp_path: Path, later: dict[str, Any]
) -> None:
    """A value that a later take reveals as secret is also blanked in earlier takes."""
    path = tmp_path / "x.jsonl"
    tape = Cassette(
        path, FakeTransport(respond(json={"value": C}), respond(json=later["answer"])), mode="once"
    )
    async with AsyncAPIClient("https://api.example.com", transport=tape) as api:
        await api.get("/a")
        await api.get("/b", headers=later["headers"])

    assert "CANARY" not in path_text(path)


async def test_a_short_secret_in_a_path(tmp_path: Path) -> None:
    """A path parameter with the name of a secret is blanked, however short its value is."""
    path = tmp_path / "x.jsonl"
    await record(Kind({"path_params": {"token": "a/b"}}, path="/bot{token}/me"), path)

    assert json.loads(path_text(path))["request"]["path"] == "/v1/bot<secret>/me"


@pytest.mark.parametrize(
    "text",
    [
        '{"error": "Bearer authentication is required"}',
        '{"usage": {"prompt_tokens": 12, "max_tokens": 100}, "stop": null}',
        '{"token_type": "bearer", "token_endpoint": "https://h/oauth", "design": "x", "signal": "y"}',
        '{"password_changed_at": "2026-01-01", "expires_in": 3600, "secret": "", "token": true}',
        '{"count": 1, "items": [{"id": 7, "monkey": "x", "keyboard": "y"}]}',
    ],
)
def test_ordinary_values_are_kept(text: str) -> None:
    """Numbers of tokens, types, times and words that merely resemble a secret are written unchanged."""
    value = json.loads(text)
    secrets = Secrets(DEFAULT_SECRETS)

    assert secrets.value(value) == value


@pytest.mark.parametrize(
    ("name", "value", "stays"),
    [
        ("x-ratelimit-remaining-tokens", "39000", True),
        ("Access-Control-Allow-Credentials", "true", True),
        ("Idempotency-Key", "k-1", True),
        ("X-Amz-Security-Token", "a", False),
        ("x_api_key", "a", False),
        ("apikey", "a", False),
        ("accessKey", "a", False),
        ("SIG", "a", False),
        ("X-Sig", "a", False),
        ("Authorization", "a", False),
        ("sessionId", "a", False),
        ("refreshToken", "a", False),
        ("user[password]", "a", False),
    ],
)
def test_names(name: str, value: str, stays: bool) -> None:
    """Any spelling of a secret's name is recognised."""
    assert (Secrets(DEFAULT_SECRETS).header(name, value) == value) is stays


def test_short_and_ordinary_values_are_blanked_in_their_place_only() -> None:
    """The password "password" does not blank every other use of the word."""
    secrets = Secrets(DEFAULT_SECRETS)

    blanked = secrets.value({"password": "password", "token": "abc", "text": "your password is abc"})

    assert blanked == {"password": "<secret>", "token": "<secret>", "text": "your password is abc"}


@pytest.mark.parametrize("blank", [Secrets.text, Secrets.known])
def test_blanking_twice_changes_nothing(blank: Callable[[Secrets, str], str]) -> None:
    """A blanked text stays the same."""
    secrets = Secrets(DEFAULT_SECRETS)
    once = secrets.text(f"token={C}&x=1 Bearer {C} postgres://u:{C}@h {PEM} {JWT}")

    assert blank(secrets, once) == once
    assert C not in once
