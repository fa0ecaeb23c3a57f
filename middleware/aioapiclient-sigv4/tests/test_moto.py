"""moto, which verifies every signature with botocore: the requests that S3 and IAM would accept, and those
they refuse.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from aioapiclient_sigv4 import Credentials, SigV4
from integration.processes import listening
from needed_servers import need_module

from aioapiclient import (
    APIStatusError,
    AsyncAPIClient,
    AsyncAPIResponse,
    InvalidRequestError,
    PermissionDeniedError,
    per_send,
)
from aioapiclient.contract import APIRequest, Handler

# Earlier versions check the signature of a path whose escapes they have resolved.
need_module("moto", "moto[s3,server]", "5.2.5")

EVERYTHING = {"Effect": "Allow", "Action": ["s3:*", "sts:*", "iam:*"], "Resource": "*"}
TRUST = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
KEYS = [
    "plain.txt",
    "a b/ä+%2F&=*~(1)'!.txt",
    "%41%zz%",
    "a//b/c:d@e;f,g",
    '漢字/🦆?#[]{}|^`"<>',
    "trailing/",
]


class Moto(NamedTuple):
    """A server that checks signatures, and a user that it knows."""

    url: str
    user: Credentials


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a moto server in a separate process."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

    with listening(command, tmp_path_factory.mktemp("moto")) as url:
        yield url


def signing(key: Credentials, service: str = "s3", **keywords: Any) -> SigV4:
    """A signature for a service of moto's."""
    return SigV4(key, service=service, region="us-east-1", **keywords)


def made(answer: str) -> Credentials:
    """The credentials in an answer of IAM or STS."""
    found = re.findall(r"<(AccessKeyId|SecretAccessKey|SessionToken)>(.*?)<", answer)
    fields = dict(found)
    return Credentials(fields["AccessKeyId"], fields["SecretAccessKey"], fields.get("SessionToken"))


async def ask(url: str, service: str, key: Credentials, action: str, **parameters: str) -> str:
    """Call an API with form bodies: IAM or STS."""
    version = {"iam": "2010-05-08", "sts": "2011-06-15"}[service]
    async with AsyncAPIClient(url, auth=signing(key, service), max_retries=0) as api:
        return await api.post("/", str, data={"Version": version, "Action": action, **parameters})


def document(statement: dict[str, Any]) -> str:
    """A policy of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
async def moto(moto_url: str) -> Moto:
    """The server with a new user and role; from then on it checks every action."""
    nobody = Credentials("nobody", "nothing")
    async with AsyncAPIClient(moto_url) as control:
        await control.post("/moto-api/reset", None)
        await control.post("/moto-api/reset-auth", None, content=b"inf")
        await ask(moto_url, "iam", nobody, "CreateUser", UserName="ada")
        user = made(await ask(moto_url, "iam", nobody, "CreateAccessKey", UserName="ada"))
        policy = {"PolicyName": "all", "PolicyDocument": document(EVERYTHING)}
        await ask(moto_url, "iam", nobody, "PutUserPolicy", UserName="ada", **policy)
        role = {"RoleName": "robot"}
        await ask(moto_url, "iam", nobody, "CreateRole", AssumeRolePolicyDocument=document(TRUST), **role)
        await ask(moto_url, "iam", nobody, "PutRolePolicy", **role, **policy)
        await control.post("/moto-api/reset-auth", None, content=b"0")
    return Moto(moto_url, user)


def client(moto: Moto, auth: SigV4) -> AsyncAPIClient:
    """A client of the server without retries."""
    return AsyncAPIClient(moto.url, auth=auth, max_retries=0)


def keys_in(listing: str) -> list[str]:
    """The keys in the answer to a list."""
    return [unquote(found.text or "") for found in ET.fromstring(listing).iterfind("{*}Contents/{*}Key")]


@pytest.mark.parametrize("key", KEYS)
async def test_an_object_lives(moto: Moto, key: str) -> None:
    """An object with any name is stored, read, listed with prefix and delimiter, and deleted."""
    async with client(moto, signing(moto.user)) as s3:
        await s3.put("/bucket", None)
        await s3.put("/bucket/{+key}", None, path_params={"key": key}, content=b"hello")
        got = await s3.get("/bucket/{+key}", bytes, path_params={"key": key})
        listing = {"list-type": 2, "prefix": key[:-1], "delimiter": "|", "encoding-type": "url"}
        listed = keys_in(await s3.get("/bucket", str, params=listing))
        await s3.delete("/bucket/{+key}", None, path_params={"key": key})
        left = keys_in(await s3.get("/bucket", str, params={"list-type": 2}))

    assert (got, listed, left) == (b"hello", [key], [])


async def test_a_header_with_spaces_is_signed(moto: Moto) -> None:
    """Metadata with spaces, and a content type, are signed as the server reads them."""
    headers = {"X-Amz-Meta-Color": "dark   blue ", "Content-Type": "text/plain; charset=utf-8"}
    async with client(moto, signing(moto.user)) as s3:
        await s3.put("/bucket", None)
        await s3.put("/bucket/key", None, content=b"hello", headers=headers)
        head = await s3.head("/bucket/key")

    assert head.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert head.headers["X-Amz-Meta-Color"].split() == ["dark", "blue"]


@pytest.mark.parametrize("what", ["secret", "key", "token"])
async def test_others_are_refused(moto: Moto, what: str) -> None:
    """A wrong secret, an unknown access key, and a token of another key are refused with 403."""
    access, secret = moto.user.access_key, moto.user.secret_key
    wrong = {
        "secret": Credentials(access, secret[::-1]),
        "key": Credentials("AKIAXXXXXXXXXXXXXXXX", secret),
        "token": Credentials(access, secret, "a-token"),
    }[what]
    async with client(moto, signing(wrong)) as s3:
        with pytest.raises(APIStatusError) as caught:
            await s3.put("/bucket", None)

    assert caught.value.status in {400, 403}
    assert secret not in str(caught.value) + repr(caught.value.request)


async def test_no_signature_is_refused(moto: Moto) -> None:
    """The server does check: it refuses a request without a signature, and one whose signature is changed."""

    async def change(request: APIRequest, handler: Handler) -> AsyncAPIResponse[Any]:
        value = request.headers["Authorization"]
        request.headers["Authorization"] = value[:-1] + ("0" if value[-1] != "0" else "1")
        return await handler(request)

    async with client(moto, signing(moto.user)) as s3:
        with pytest.raises(APIStatusError):
            await s3.put("/bucket", None, auth=None)
        with pytest.raises(PermissionDeniedError):
            await s3.put("/bucket", None, middlewares=[per_send(change)])
        await s3.put("/bucket", None)


async def test_a_session_token(moto: Moto) -> None:
    """The credentials of a role work with their token, and not without it."""
    names = {"RoleArn": "arn:aws:iam::123456789012:role/robot", "RoleSessionName": "session"}
    role = made(await ask(moto.url, "sts", moto.user, "AssumeRole", **names))
    assert role.token is not None
    without = Credentials(role.access_key, role.secret_key)

    async with client(moto, signing(role)) as s3:
        await s3.put("/bucket", None)
        with pytest.raises(APIStatusError):
            await s3.get("/bucket", str, auth=signing(without))
        assert keys_in(await s3.get("/bucket", str)) == []


async def test_a_body_that_is_streamed(moto: Moto) -> None:
    """A streamed PUT is refused before it is sent, or sent as UNSIGNED-PAYLOAD if allowed."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 1000

    async with client(moto, signing(moto.user)) as s3:
        await s3.put("/bucket", None)
        with pytest.raises(InvalidRequestError, match="unsigned_payload=True"):
            await s3.put("/bucket/stream", None, content=chunks())
        assert keys_in(await s3.get("/bucket", str)) == []

        unsigned = signing(moto.user, unsigned_payload=True)
        await s3.put("/bucket/stream", None, content=chunks(), auth=unsigned)
        assert await s3.get("/bucket/stream", bytes, auth=unsigned) == b"x" * 5000


async def test_another_service(moto: Moto) -> None:
    """IAM, whose paths are escaped twice and whose bodies are forms, accepts the signature as well."""
    answer = await ask(moto.url, "iam", moto.user, "GetUser", UserName="ada")

    assert "<UserName>ada</UserName>" in answer


async def test_boto3_in_a_thread(moto: Moto) -> None:
    """The example's function for a role works with boto3 itself."""
    boto3 = need_module("boto3", "moto[s3,server]")
    example = Path(__file__).parents[1] / "examples/temporary_credentials.py"
    names = runpy.run_path(str(example))
    given = {"aws_access_key_id": moto.user.access_key, "aws_secret_access_key": moto.user.secret_key}
    sts = boto3.client("sts", endpoint_url=moto.url, region_name="us-east-1", **given)
    fetch = names["of_a_role"](sts, "arn:aws:iam::123456789012:role/robot")

    async with client(moto, SigV4(fetch, service="s3", region="us-east-1")) as s3:
        await s3.put("/bucket", None)
        assert keys_in(await s3.get("/bucket", str)) == []
    sts.close()
