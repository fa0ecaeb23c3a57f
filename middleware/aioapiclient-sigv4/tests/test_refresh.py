"""Renewal of temporary credentials and of the clock's offset: when, and how often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from aioapiclient_sigv4 import Credentials, SigV4
from servers import Exchange, ok, raw_server, response, turns

from aioapiclient import APIStatusError, AsyncAPIClient, PermissionDeniedError
from aioapiclient.errors import InvalidRequestError
from aioapiclient.testing import FakeClock

SECRET = "s3cr3t-canary/+"
KEY = Credentials("AKIDEXAMPLE", SECRET)
NOON = 1_795_953_600.0  # 2026-11-29T12:00:00Z
HOUR = 3600.0


def at(seconds: float) -> str:
    """A time in the format of the Date header."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def refusal(code: str, status: str = "403 Forbidden", **headers: str) -> bytes:
    """A refusal of S3's."""
    return response(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(), **headers)


def signer(credentials: Any = KEY, clock: FakeClock | None = None, service: str = "s3") -> SigV4:
    """A signature with a clock of the test's."""
    return SigV4(credentials, service=service, region="eu-central-1", clock=(clock or FakeClock(NOON)).time)


# --- the clock


def strict_server(exchange: Exchange) -> bytes:
    """The answer of a server whose clock is at noon: it accepts signatures within 15 minutes."""
    stamp = exchange.request.headers["X-Amz-Date"]
    signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return ok() if abs(signed - NOON) <= 900 else refusal("RequestTimeTooSkewed", Date=at(NOON))


async def strict(exchange: Exchange) -> None:
    """A server that is at noon."""
    await exchange.send(strict_server(exchange))


@pytest.mark.parametrize("wrong", [-30 * 365 * 86400, -HOUR, HOUR])
async def test_a_clock_that_is_off_is_corrected(wrong: float) -> None:
    """The first call is signed twice, by the server's clock the second time; the next calls once."""
    auth = signer(clock=FakeClock(NOON + wrong))
    async with raw_server(strict) as server, AsyncAPIClient(server.url, auth=auth, max_retries=0) as s3:
        await s3.get("/")
        assert len(server.requests) == 2
        await s3.get("/")

    assert [raw.headers["X-Amz-Date"] for raw in server.requests[1:]] == ["20261129T120000Z"] * 2


async def test_a_presigned_url_has_the_corrected_time() -> None:
    """The offset that calls have learned holds for presigned URLs."""
    auth = signer(clock=FakeClock(NOON - HOUR))
    async with raw_server(strict) as server, AsyncAPIClient(server.url, auth=auth) as s3:
        await s3.get("/")

    assert "X-Amz-Date=20261129T120000Z" in await auth.presign("https://h.example/")


async def answered(answer: bytes, clock: FakeClock, method: str = "GET") -> list[str]:
    """Make a call that is refused with *answer* each time; return the signed times."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer)

    auth = signer(clock=clock)
    async with raw_server(script) as server, AsyncAPIClient(server.url, auth=auth, max_retries=0) as s3:
        with pytest.raises(APIStatusError):
            await s3.request(method, "/", None)
    return [raw.headers["X-Amz-Date"] for raw in server.requests]


async def test_it_is_corrected_once_per_call() -> None:
    """A server that also refuses the corrected time is not called a third time."""
    assert len(await answered(refusal("RequestTimeTooSkewed", Date=at(NOON)), FakeClock(NOON - HOUR))) == 2


NEVER = 253_402_300_799.0  # the last second of the year 9999


@pytest.mark.parametrize(
    ("answer", "sends"),
    [
        (refusal("RequestTimeTooSkewed", Date=at(NOON + HOUR)), 2),
        (refusal("RequestExpired", "400 Bad Request", Date=at(NOON + HOUR)), 2),
        (refusal("RequestTimeTooSkewed"), 1),
        (refusal("RequestTimeTooSkewed", Date="yesterday"), 1),
        (refusal("RequestTimeTooSkewed", Date=at(NEVER)), 1),
        (refusal("AccessDenied", Date=at(NOON + HOUR)), 1),
        (refusal("SignatureDoesNotMatch", Date=at(NOON + HOUR)), 2),
        (refusal("SignatureDoesNotMatch", Date=at(NOON + 200)), 1),
        (refusal("SignatureDoesNotMatch", "404 Not Found", Date=at(NOON + HOUR)), 1),
        (response("403 Forbidden", b'{"__type":"a.b#InvalidSignatureException"}', Date=at(NOON - HOUR)), 2),
        (response("403 Forbidden", b'{"__type":"AccessDeniedException"}', Date=at(NOON - HOUR)), 1),
        (
            response("400 Bad Request", b"x", x_amzn_ErrorType="RequestExpired:http://a/", Date=at(NOON + 9)),
            2,
        ),
        (response("403 Forbidden", b"\xff" * 9000, Date=at(NOON + HOUR)), 1),
        (response("400 Bad Request", b"", Date=at(NOON + HOUR)), 1),
    ],
)
async def test_which_refusals_are_of_the_clock(answer: bytes, sends: int) -> None:
    """The offset is learned from a refusal that names the clock, or from an ambiguous one with a Date
    minutes away.
    """
    assert len(await answered(answer, FakeClock(NOON))) == sends


async def test_a_head_has_no_code() -> None:
    """A HEAD is refused without a body: the Date alone decides."""
    for date, sends in ((NOON + HOUR, 2), (NOON + 60, 1)):
        answer = response("403 Forbidden", None, Content_Length="99", Date=at(date))
        assert len(await answered(answer, FakeClock(NOON), "HEAD")) == sends


async def test_a_signature_of_the_call_is_not_renewed() -> None:
    """An Authorization header of the call itself is not signed again, whatever the refusal."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(refusal("RequestTimeTooSkewed", Date=at(NOON)))

    async with raw_server(script) as server, AsyncAPIClient(server.url, auth=signer()) as s3:
        with pytest.raises(PermissionDeniedError):
            await s3.get("/", headers={"Authorization": "mine"})

    assert len(server.requests) == 1


async def test_a_body_that_is_spent_is_not_sent_again() -> None:
    """A stream is not repeated; the next call has the corrected time."""

    async def chunks() -> Any:
        yield b"x"

    auth = SigV4(KEY, service="s3", region="r", unsigned_payload=True, clock=FakeClock(NOON - HOUR).time)
    async with raw_server(strict) as server, AsyncAPIClient(server.url, auth=auth, max_retries=0) as s3:
        with pytest.raises(PermissionDeniedError) as caught:
            await s3.put("/", None, content=chunks())
        assert "later calls use the new credential" in "".join(caught.value.__notes__)
        await s3.put("/", None, content=chunks())

    assert len(server.requests) == 2


# --- credentials


class Issuer:
    """Returns credentials, one after the other, that expire after some time by a clock."""

    def __init__(self, clock: FakeClock, life: float | None = HOUR) -> None:
        self.clock, self.life = clock, life
        self.given = 0
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Credentials:
        self.given += 1
        number = self.given
        await self.gate.wait()
        if self.fails:
            raise ConnectionError("the issuer is away")
        expires = None if self.life is None else self.clock.time() + self.life
        return Credentials(f"ASIA{number}", SECRET, f"token{number}", expires)


def keys_of(server: Any) -> list[str]:
    """The access keys of the received requests, with their tokens."""
    return [
        raw.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        + " "
        + raw.headers["X-Amz-Security-Token"]
        for raw in server.requests
    ]


async def fine(exchange: Exchange) -> None:
    """A server that accepts every request."""
    await exchange.send(ok())


async def test_fifty_calls_ask_once() -> None:
    """Waiting calls share one fetch of the credentials, which are kept."""
    issuer = Issuer(clock := FakeClock(NOON))
    async with raw_server(fine) as server, AsyncAPIClient(server.url, auth=signer(issuer, clock)) as s3:
        await asyncio.gather(*(s3.get("/") for _ in range(50)))
        clock.advance(HOUR / 2)
        await s3.get("/")

    assert keys_of(server) == ["ASIA1 token1"] * 51
    assert issuer.given == 1


async def test_they_are_renewed_ahead_of_their_end() -> None:
    """In the last two minutes a call uses the old credentials while new ones are fetched."""
    issuer = Issuer(clock := FakeClock(NOON))
    async with raw_server(fine) as server, AsyncAPIClient(server.url, auth=signer(issuer, clock)) as s3:
        await s3.get("/")
        clock.advance(HOUR - 60)
        issuer.gate.clear()
        await s3.get("/")
        assert issuer.given == 2
        issuer.gate.set()
        await turns()
        await s3.get("/")

    assert keys_of(server) == ["ASIA1 token1", "ASIA1 token1", "ASIA2 token2"]


async def test_expired_ones_are_waited_for() -> None:
    """After the expiry, all calls wait for the new credentials, which are fetched once."""
    issuer = Issuer(clock := FakeClock(NOON))
    auth = signer(issuer, clock)
    async with raw_server(fine) as server, AsyncAPIClient(server.url, auth=auth) as s3:
        await s3.get("/")
        clock.advance(HOUR)
        before = auth.identity()
        await asyncio.gather(*(s3.get("/") for _ in range(20)))

    assert auth.identity() != before
    assert keys_of(server) == ["ASIA1 token1"] + ["ASIA2 token2"] * 20
    assert issuer.given == 2


async def test_their_end_is_told_by_the_servers_clock() -> None:
    """If the clock is an hour behind, the credentials are renewed an hour earlier by that clock."""
    clock = FakeClock(NOON - HOUR)
    given: list[int] = []

    async def fetch() -> Credentials:
        given.append(1)
        # In 1000 seconds, by the server's clock.
        return Credentials("ASIA", SECRET, f"token{len(given)}", clock.time() + HOUR + 1000)

    async with raw_server(strict) as server, AsyncAPIClient(server.url, auth=signer(fetch, clock)) as s3:
        await s3.get("/")
        assert len(given) == 1
        server.script = fine
        for times in (2, 3):
            clock.advance(999)
            await s3.get("/")
            assert len(given) == times


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "ExpiredTokenException"])
async def test_a_server_that_knows_them_no_longer(code: str) -> None:
    """Calls refused as expired fetch new credentials once, and are sent once more."""

    async def script(exchange: Exchange) -> None:
        is_old = "ASIA1/" in exchange.request.headers["Authorization"]
        await exchange.send(refusal(code, "400 Bad Request") if is_old else ok())

    issuer = Issuer(clock := FakeClock(NOON), life=None)
    async with raw_server(script) as server, AsyncAPIClient(server.url, auth=signer(issuer, clock)) as s3:
        await asyncio.gather(*(s3.get("/") for _ in range(20)))

    assert sorted(keys_of(server)) == ["ASIA1 token1"] * 20 + ["ASIA2 token2"] * 20
    assert issuer.given == 2


async def test_the_same_again_is_not_sent_again() -> None:
    """A function that returns the refused credentials again is called once a call, and the refusal is
    raised.
    """

    async def fetch() -> Credentials:
        given.append(1)
        return Credentials("ASIA", SECRET, "token")

    async def script(exchange: Exchange) -> None:
        await exchange.send(refusal("ExpiredToken", "400 Bad Request"))

    given: list[int] = []
    async with raw_server(script) as server, AsyncAPIClient(server.url, auth=signer(fetch)) as s3:
        with pytest.raises(APIStatusError):
            await s3.get("/")

    assert (len(server.requests), len(given)) == (1, 2)


@pytest.mark.parametrize("credentials", ["given", "fetched"])
async def test_other_refusals_renew_nothing(credentials: str) -> None:
    """Given credentials cannot be renewed, and a denied access does not concern them."""
    issuer = Issuer(FakeClock(NOON))
    code = "ExpiredToken" if credentials == "given" else "AccessDenied"

    async def script(exchange: Exchange) -> None:
        await exchange.send(refusal(code))

    auth = signer(KEY if credentials == "given" else issuer)
    async with raw_server(script) as server, AsyncAPIClient(server.url, auth=auth) as s3:
        with pytest.raises(PermissionDeniedError):
            await s3.get("/")

    assert len(server.requests) == 1
    assert issuer.given == (credentials == "fetched")


async def test_a_failed_renewal_ahead_of_the_expiry() -> None:
    """While the old credentials are valid, calls use them; after that they raise the function's error."""
    issuer = Issuer(clock := FakeClock(NOON))
    async with raw_server(fine) as server, AsyncAPIClient(server.url, auth=signer(issuer, clock)) as s3:
        await s3.get("/")
        issuer.fails = True
        clock.advance(HOUR - 60)
        await s3.get("/")
        await turns()
        clock.advance(60)
        with pytest.raises(ConnectionError, match="the issuer is away"):
            await s3.get("/")

    assert keys_of(server) == ["ASIA1 token1"] * 2
    assert issuer.given == 3


async def test_a_renewal_in_the_background_ends_with_the_client() -> None:
    """Closing the client cancels a renewal that no call waits for."""
    issuer = Issuer(clock := FakeClock(NOON))
    async with raw_server(fine) as server:
        s3 = AsyncAPIClient(server.url, auth=signer(issuer, clock))
        await s3.get("/")
        clock.advance(HOUR - 60)
        issuer.gate.clear()
        await s3.get("/")
        await turns()
        assert "aioapiclient token" in {task.get_name() for task in asyncio.all_tasks()}
        await s3.close()

    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: KEY, "credentials must be an async function"),
        (lambda: asyncio.sleep(0, ("a", "b")), "must return Credentials, not tuple"),
    ],
)
async def test_a_function_that_gives_something_else(function: Any, words: str) -> None:
    """The call ends with a TypeError that describes the required function."""
    async with raw_server(fine) as server, AsyncAPIClient(server.url, auth=signer(function)) as s3:
        with pytest.raises(TypeError, match=words):
            await s3.get("/")

    assert server.requests == []


# --- the class Credentials


def test_the_end_is_a_time() -> None:
    """A datetime of any zone and seconds since 1970 mean the same."""
    noon = datetime.fromtimestamp(NOON, UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=5)))

    ends = {Credentials("a", "b", None, end).expires for end in (NOON, int(NOON), noon, elsewhere)}
    assert ends == {NOON}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("", "b"), InvalidRequestError, "access_key must be printable ASCII without white space"),
        (("a/b", "b"), InvalidRequestError, "must not contain a slash or a comma"),
        (("a", "hush\n"), InvalidRequestError, "secret_key must be printable ASCII .*a line end"),
        (("a", "hush", "hüsh"), InvalidRequestError, "token must be printable ASCII"),
        (("a", "hush", ""), InvalidRequestError, "token must be printable ASCII"),
        (("a", None), TypeError, "secret_key must be a str, not NoneType"),
        (("a", b"hush"), TypeError, "secret_key must be a str, not bytes"),
        (("a", "hush", None, "3600"), TypeError, "a datetime, a number of seconds or None, not str"),
        (("a", "hush", None, True), TypeError, "not bool"),
        (("a", "hush", None, float("nan")), InvalidRequestError, "a finite number of seconds, not nan"),
        (("a", "hush", None, datetime(2026, 1, 1)), InvalidRequestError, "a datetime with a time zone"),
    ],
)
def test_bad_credentials(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    """Credentials that cannot work are refused at construction, and not shown."""
    with pytest.raises(error, match=words) as caught:
        Credentials(*arguments)
    assert "hush" not in str(caught.value)
