"""Comparison with botocore: 10,000 requests, each with the header or the query that botocore would send."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from aioapiclient_sigv4 import Credentials, SigV4
from multidict import CIMultiDict
from yarl import URL

from aioapiclient.contract import APIRequest

pytest.importorskip("botocore", "1.43", reason="needs botocore 1.43: `pip install botocore`")
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

REQUESTS = 10_000
# Each service has the signer class that botocore chooses: S3's, or the general one.
SIGNERS: dict[str, tuple[str, str]] = {
    "s3": ("S3SigV4Auth", "S3SigV4QueryAuth"),
    "es": ("SigV4Auth", "SigV4QueryAuth"),
    "execute-api": ("SigV4Auth", "SigV4QueryAuth"),
    "dynamodb": ("SigV4Auth", "SigV4QueryAuth"),
}
METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS")
LETTERS = "abzAZ019-._~ +&=%/?#@!$'()*,;:[]\"<>^`|{}äß漢🦆\x7f"
# botocore signs these if they are set, but they change on the way; see Scheme in _signature.py.
WE_LEAVE_OUT = ("Accept-Encoding", "Via", "X-Forwarded-For")


class Dice:
    """Random requests, the same in each run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self, most: int) -> str:
        """A text of hostile characters."""
        return "".join(self._random.choices(LETTERS, k=self._random.randint(0, most)))

    def one(self, *values: Any) -> Any:
        """One of the values."""
        return self._random.choice(values)

    def several(self, most: int) -> range:
        """So many times."""
        return range(self._random.randint(0, most))

    def escaped(self, most: int, slash: str) -> str:
        """A text as in a URL: some characters escaped, in one of two ways, others not."""
        return "".join(self._escaped(character, slash) for character in self.text(most))

    def _escaped(self, character: str, slash: str) -> str:
        if character == "/":
            return slash
        if character.isascii() and character.isalnum() and self.one(True, True, False):
            return character
        if character in "-._~+=:@!$'()*,;" and self.one(True, False):
            return character
        return "".join(f"%{byte:{self.one('02X', '02x')}}" for byte in character.encode())

    def url(self, service: str) -> URL:
        """A URL with a path and a query, in ways that differ."""
        host = self.one("example.com", "bucket.s3.eu-central-1.amazonaws.com", "127.0.0.1:9000", "[::1]:8443")
        slash = "/" if service == "s3" else "%2F"
        path = "".join(f"/{self.one('.', '..', '', 'a', self.escaped(8, slash))}" for _ in self.several(4))
        pairs = [self.one(f"{self.query()}={self.query()}", self.query()) for _ in self.several(4)]
        # "a" and "a-", for the order: by name and value, not by text.
        query = "&".join([*pairs, *self.one([], ["a=2", "a-b=1", "a=1"], ["acl"], ["prefix="])])
        scheme = self.one("https", "http")
        return URL.build(scheme=scheme, authority=host, path=path or "/", query_string=query, encoded=True)

    def query(self) -> str:
        """A name or a value of a query."""
        return self.escaped(6, "%2F").replace("=", "%3d")

    def headers(self) -> CIMultiDict[str]:
        """Headers, some of them with several values or with spaces."""
        headers = CIMultiDict({"User-Agent": "test", "Accept": "*/*"})
        for _ in self.several(3):
            name = self.one("X-Amz-Meta-Color", "x-amz-acl", "Range", "If-Match", "X-Custom", "Content-Type")
            headers.add(name, self.one("a", '  "a   b"  ', "b, c", "", "bytes=0-9"))
        for _ in self.several(2):
            headers[self.one("traceparent", "Expect", "Connection", "X-Amzn-Trace-Id", *WE_LEAVE_OUT)] = "1"
        return headers

    def body(self) -> bytes | None:
        """A body, or none."""
        return self.one(None, b"", b"{}", self.text(40).encode(), bytes(range(256)))


class Frozen(datetime):
    """The time of each signature."""

    at = datetime(2026, 11, 29, 23, 59, 59, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "get_current_datetime", lambda: Frozen.at)


def asked(method: str, url: URL, headers: CIMultiDict[str], body: bytes | None) -> AWSRequest:
    """The request in botocore's form."""
    asked = AWSRequest(method=method, url=str(url), data=body or b"")
    for name, value in headers.items():
        if name not in WE_LEAVE_OUT:
            asked.headers.add_header(name, value)
    return asked


async def check_header(
    dice: Dice, service: str, key: Credentials, method: str, url: URL, headers: CIMultiDict[str]
) -> None:
    """Compare the Authorization header, and the headers that go with it."""
    body = dice.body()
    request = APIRequest(method, url, headers.copy(), body)
    region = dice.one("us-east-1", "eu-central-1")
    await SigV4(key, service=service, region=region, clock=Frozen.at.timestamp).authenticate(request)

    boto = BotoCredentials(key.access_key, key.secret_key, key.token)
    oracle = asked(method, request.url, headers, body)
    getattr(auth, SIGNERS[service][0])(boto, service, region).add_auth(oracle)

    shown = f"{method} {url} {headers} {body!r}"
    for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
        assert request.headers.get(name) == oracle.headers.get(name), shown
    if service == "s3":
        assert request.headers["X-Amz-Content-Sha256"] == oracle.headers["X-Amz-Content-SHA256"], shown


async def check_query(
    dice: Dice, service: str, key: Credentials, method: str, url: URL, headers: CIMultiDict[str]
) -> None:
    """Compare the query of a presigned URL."""
    expires = dice.one(1, 3600, 604800)
    signer = SigV4(key, service=service, region="us-west-2", clock=Frozen.at.timestamp)
    url = with_each_name_once(url)
    signed = await signer.presign(url, method, expires, headers=headers)

    # botocore does not change a path, so it gets the sent one.
    oracle = asked(method, URL(signed, encoded=True).with_query(None), headers, None)
    oracle.url += f"?{url.raw_query_string.replace('+', '%20')}"
    boto = BotoCredentials(key.access_key, key.secret_key, key.token)
    getattr(auth, SIGNERS[service][1])(boto, service, "us-west-2", expires=expires).add_auth(oracle)

    assert pairs_of(signed) == pairs_of(oracle.url), f"{method} {url} {headers}"


def with_each_name_once(url: URL) -> URL:
    """The URL without the second values of a name, which botocore's presigner drops."""
    pairs = {unquote(part.partition("=")[0]): part for part in url.raw_query_string.split("&")}
    return URL.build(
        scheme=url.scheme,
        authority=url.raw_authority,
        path=url.raw_path,
        query_string="&".join(pairs.values()),
        encoded=True,
    )


def pairs_of(url: str) -> list[tuple[str, str]]:
    """The parameters of a URL, sorted."""
    return sorted(parse_qsl(URL(url, encoded=True).raw_query_string, keep_blank_values=True))


async def test_the_same_signature() -> None:
    """Ten thousand requests with hostile URLs and headers have botocore's signature."""
    dice = Dice(20150830)
    for number in range(REQUESTS):
        service = dice.one(*SIGNERS)
        token = dice.one(None, "token/+=" + "x" * 40)
        key = Credentials("AKIDEXAMPLE", f"secret/{number % 7}+", token)
        arguments = (dice, service, key, dice.one(*METHODS), dice.url(service), dice.headers())
        if number % 4:
            await check_header(*arguments)
        else:
            await check_query(*arguments)
