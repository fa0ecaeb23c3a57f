"""`Webhooks`: accepted and refused webhooks; every refusal is a WebhookError."""

from __future__ import annotations

import base64
import datetime
import pickle
import traceback
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from aioapiclient_web import WebhookError, Webhooks
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from standardwebhooks import Webhook

from aioapiclient import APIClientError, InvalidRequestError, Open

NOW = 1_700_000_000
CANARY = "canary-of-the-webhook-secret"
SECRET = "whsec_" + base64.b64encode(CANARY.encode()).decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of 24 bytes or more").decode()
# The example of the specification's own libraries ("webhook.test.ts").
SPEC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SPEC = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


class Paid(msgspec.Struct, tag="invoice.paid", tag_field="type"):
    """An event."""

    amount: int


class Ended(msgspec.Struct, tag="invoice.ended", tag_field="type"):
    """Another event."""


def hooks(*secrets: str, now: float = NOW, **options: Any) -> Webhooks:
    """Webhooks at a fixed time."""
    return Webhooks(*(secrets or (SECRET,)), clock=lambda: now, **options)


BODY = b'{"type": "invoice.paid", "amount": 7}'
HEADERS: Mapping[str, str] = hooks().sign(BODY, message_id="msg_1")


def reason(
    body: bytes = BODY, headers: Mapping[Any, Any] = HEADERS, target: Any = Any, by: Webhooks | None = None
) -> str:
    """Why the webhook is refused."""
    with pytest.raises(WebhookError) as raised:
        (by or hooks()).unwrap(body, headers, target)
    assert CANARY not in "".join(traceback.format_exception(raised.value))
    return raised.value.reason


# --- accepted webhooks


def test_the_vector_of_the_specification() -> None:
    """The example of the Standard Webhooks libraries is accepted, and its body is returned unchanged."""
    event = hooks(SPEC_SECRET, now=1614265330).unwrap(b'{"test": 2432232314}', SPEC)
    assert event == {"test": 2432232314}


def test_events_are_typed() -> None:
    """A tagged union decodes to its class, and `Open` accepts an unknown event."""
    assert hooks().unwrap(BODY, HEADERS, Paid | Ended) == Paid(7)
    new = b'{"type": "invoice.sent", "to": "ada"}'
    event = hooks().unwrap(new, hooks().sign(new), Open[Paid | Ended])
    assert (event.tag, event.value["to"]) == ("invoice.sent", "ada")
    assert hooks().unwrap(BODY, HEADERS, bytes) == BODY


@pytest.mark.parametrize(
    "secrets", [(SECRET, OTHER), (OTHER, SECRET), (SECRET,), (SECRET[6:],), (f"v1,{SECRET}",)]
)
def test_secrets_rotate(secrets: tuple[str, ...]) -> None:
    """While a secret is rotated, the old and the new one are valid, and their prefixes may differ."""
    assert hooks(*secrets).unwrap(BODY, HEADERS, Paid) == Paid(7)
    assert reason(by=hooks(OTHER)) == "signature"


def test_senders_rotate_too() -> None:
    """One valid signature among those of other secrets and other versions is enough."""
    others = f"v1a,{'A' * 88} v1,{'B' * 44} v2,x nonsense  {HEADERS['webhook-signature']}"
    assert hooks().unwrap(BODY, {**HEADERS, "webhook-signature": others}, Paid) == Paid(7)
    both = hooks(OTHER, SECRET).sign(BODY)
    for secret in (OTHER, SECRET):
        assert hooks(secret).unwrap(BODY, both, Paid) == Paid(7)


def test_headers_have_any_case() -> None:
    """Names of headers may have any case, also in a plain dict."""
    assert hooks().unwrap(BODY, {name.title(): value for name, value in HEADERS.items()}, Paid) == Paid(7)
    assert hooks().unwrap(BODY, CIMultiDict(HEADERS), Paid) == Paid(7)


def test_it_agrees_with_the_other_library() -> None:
    """Webhooks signed by standardwebhooks are accepted, and vice versa."""
    other = Webhook(SECRET)
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    signed = {**HEADERS, "webhook-signature": other.sign("msg_1", at, BODY.decode())}
    assert signed == HEADERS
    fresh = Webhooks(SECRET).sign(BODY)
    assert other.verify(BODY, fresh) == {"type": "invoice.paid", "amount": 7}
    assert Webhooks(SECRET).unwrap(BODY, fresh, Paid) == Paid(7)


@pytest.mark.parametrize(("seconds", "taken"), [(-301, 0), (-300, 1), (0, 1), (300, 1), (301, 0)])
def test_the_time_has_a_tolerance(seconds: int, taken: int) -> None:
    """A webhook up to five minutes old, or ahead, is accepted; an older one is refused."""
    late = hooks(now=NOW + seconds)
    if taken:
        assert late.unwrap(BODY, HEADERS, Paid) == Paid(7)
    else:
        assert reason(by=late) == "time"
    assert hooks(now=NOW + 5000, tolerance=5000).unwrap(BODY, HEADERS, Paid) == Paid(7)


# --- refused webhooks


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_missing_or_there_twice(name: str) -> None:
    """Each of the three headers must occur once: with two, a proxy might have checked the other one."""
    assert reason(headers={n: v for n, v in HEADERS.items() if n != name}) == "headers"
    twice = CIMultiDict(HEADERS)
    twice.add(name.upper(), HEADERS[name])
    assert reason(headers=twice) == "headers"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        *(("webhook-id", value, "headers") for value in ("", "a b", "a\n", "\udcff", "ä", "a" * 256, None)),
        *(
            ("webhook-timestamp", value, "headers")
            for value in ("", "nan", "-1", "1e9", "1_7", "٣", "1.5", "9" * 5000, " 1", "\udcff", 17)
        ),
        *(("webhook-timestamp", value, "time") for value in ("0", "999999999999")),
        ("webhook-timestamp", f"0{NOW}", "signature"),
        ("webhook-id", "msg_2", "signature"),
        *(
            ("webhook-signature", value, "signature")
            for value in ("", "v1", "v1,", "v1,a,b", "v1,%%%", "v1,\udcff", "v1,ä", "v1 " * 3000, "v2,x")
        ),
        ("webhook-signature", HEADERS["webhook-signature"].replace("v1,", "v1a,"), "signature"),
        ("webhook-signature", HEADERS["webhook-signature"].replace("v1,", "v2,"), "signature"),
        ("webhook-signature", HEADERS["webhook-signature"].lower(), "signature"),
        ("webhook-signature", HEADERS["webhook-signature"] + "=", "signature"),
    ],
)
def test_a_hostile_header(name: str, value: Any, why: str) -> None:
    """Whatever a header contains, the refusal is a WebhookError."""
    assert reason(headers={**HEADERS, name: value}) == why


@pytest.mark.parametrize(
    "body", [b"", b"{}", BODY + b" ", BODY.replace(b"7", b"8"), b"\xff\x00", b"[" * 10_000]
)
def test_another_body_is_refused(body: bytes) -> None:
    """A body changed by a single byte has no valid signature."""
    assert reason(body) == "signature"


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"{", b'{"a":}', b"[" * 100_000, b'"\\ud800"', b'{"type": "x"}', b"1e999", b"null", b"[]"],
)
def test_a_signed_body_of_another_kind_is_refused(body: bytes) -> None:
    """A body that is signed and is not JSON of the type is a WebhookError as well."""
    assert reason(body, hooks().sign(body), Paid) == "body"


def test_the_error_says_what_does_not_fit() -> None:
    """The message has the path and the types, but no value of the body."""
    body = b'{"type": "invoice.paid", "amount": "body-canary"}'
    with pytest.raises(WebhookError, match=r"Expected `int`, got `str` at \$\.amount") as raised:
        hooks().unwrap(body, hooks().sign(body), Paid)
    assert "body-canary" not in "".join(traceback.format_exception(raised.value))
    assert isinstance(raised.value, APIClientError)
    assert isinstance(raised.value, ValueError)
    assert pickle.loads(pickle.dumps(raised.value)).reason == "body"


@given(
    st.binary(max_size=50),
    st.dictionaries(st.sampled_from([*HEADERS]), st.text(max_size=50) | st.sampled_from([*HEADERS.values()])),
)
def test_nothing_forged_is_taken(body: bytes, headers: dict[str, str]) -> None:
    """Unsigned bodies and headers are never accepted, and raise no other error."""
    assert reason(body, headers) in {"headers", "time", "signature"}


# --- the class Webhooks


@pytest.mark.parametrize(
    ("secrets", "options", "error", "words"),
    [
        ((), {}, TypeError, "needs a secret"),
        ((b"whsec_",), {}, TypeError, "must be a str, not bytes"),
        ((SECRET,), {"tolerance": -1}, InvalidRequestError, "tolerance must be 0 seconds or more, not -1"),
        ((SECRET,), {"tolerance": "5"}, TypeError, "tolerance must be a number of seconds, not str"),
        ((SECRET,), {"tolerance": float("nan")}, InvalidRequestError, "tolerance must be 0 seconds or more"),
        ((SECRET,), {"clock": 5}, TypeError, "clock must be a function, not 5"),
        *(
            ((secret,), {}, InvalidRequestError, "must be base64 of 24 bytes or more")
            for secret in ("", "whsec_", f"whsec_{CANARY}!", SECRET[:30], "whpk_" + SECRET[6:], SECRET + "ä")
        ),
    ],
)
def test_what_an_argument_may_not_be(
    secrets: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A wrong argument is refused at construction, and the message does not show the secret."""
    with pytest.raises(error, match=words) as raised:
        Webhooks(*secrets, **options)
    shown = "".join(traceback.format_exception(raised.value))
    assert CANARY not in shown.partition("Error: ")[2]
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    ("body", "headers", "words"), [("{}", {}, "body must be the bytes"), (b"{}", [], "headers must be a map")]
)
def test_a_decoded_body_is_a_mistake(body: Any, headers: Any, words: str) -> None:
    """A text, or a body that was parsed already, is a TypeError: the bytes were signed."""
    with pytest.raises(TypeError, match=words):
        hooks().unwrap(body, headers)


def test_the_secrets_do_not_show() -> None:
    """No repr contains the secrets, and they cannot be pickled."""
    assert repr(hooks(SECRET, OTHER)) == "<Webhooks: 2 secrets, tolerance=300>"
    with pytest.raises(TypeError, match="holds secrets"):
        pickle.dumps(hooks())


@pytest.mark.parametrize("options", [{"message_id": "a b"}, {"message_id": ""}, {"timestamp": -1}])
def test_what_cannot_be_signed(options: dict[str, Any]) -> None:
    """An ID or a time that could not be verified is not signed."""
    with pytest.raises(InvalidRequestError, match="message_id must have"):
        hooks().sign(b"{}", **options)
