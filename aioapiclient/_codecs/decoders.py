"""Bytes into typed values: the decoder for a type and a content type.

Decoding goes straight from bytes into the type, by a msgspec decoder that is made once per type,
format, strictness and hook. Every body that does not fit ends in one exception, `DecodeError`,
whose text names the place and the types and holds nothing that the body said.
"""

from __future__ import annotations

import codecs
import contextlib
import decimal
import functools
import importlib
import math
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias, get_args, get_origin

import msgspec
import msgspec.toml
import msgspec.yaml

from .accept import takes_any
from .content_type import LONGEST_HEADER, Format, parse_content_type
from .custom import DecoderFunction, Decoders
from .failures import FAILURES, Asked, DecodeError, explain, explain_hook
from .open import DecHook, check_opens, closed, members, open_hook, reached
from .type_check import NotATypeError, check_classes, check_is_type, name_of

__all__ = ["FAILURES", "DecodeError", "check_cast_to", "decode_body", "decoder_for", "unguarded"]

Decode: TypeAlias = Callable[[bytes], Any]


def decode_body(
    body: bytes,
    cast_to: Any,
    content_type: str | None,
    *,
    strict: bool = True,
    dec_hook: DecHook | None = None,
    decoders: Decoders | None = None,
) -> Any:
    """*body* as *cast_to*, by the codec of *content_type*: the function that *decoders* has for it first.

    ``bytes`` and ``str`` are the body itself, None discards it, `Any` is plain data (text for text,
    bytes for what has no codec). All else is decoded and validated; where the content type names no
    codec, as JSON, since servers mislabel it. What is labelled HTML is JSON only if it begins and
    parses like JSON; to `Any`, text and untyped bytes only if they are a JSON object or array.
    JSON, YAML and TOML are read in the charset that is declared. A body that is empty, or white
    space only, is None where the type admits that. With ``strict=False`` values are coerced
    (``"1"`` to 1), never let through.

    Raises `DecodeError` for a body that does not fit, and `TypeError` for a type that msgspec cannot decode.
    """
    return decoder_for(cast_to, content_type, strict, dec_hook, decoders)(body)


def decoder_for(
    cast_to: Any,
    content_type: str | None,
    strict: bool = True,
    dec_hook: DecHook | None = None,
    decoders: Decoders | None = None,
) -> Decode:
    """The function that decodes bodies of this content type, to hold on to or to ask for each time."""
    if content_type is not None and len(content_type) > LONGEST_HEADER:
        content_type = content_type[:LONGEST_HEADER]  # what is remembered below is a server's to choose
    try:
        return _decoder_by_header(cast_to, content_type, strict, dec_hook, decoders)
    except TypeError:
        # Not hashable (Annotated with a list): works without the cache. Not decodable: raises again.
        return _chosen(_decoder, cast_to, content_type, strict, dec_hook, decoders)


@functools.lru_cache(maxsize=512)
def _decoder_by_header(
    cast_to: Any,
    content_type: str | None,
    strict: bool,
    dec_hook: DecHook | None,
    decoders: Decoders | None,
) -> Decode:
    return _chosen(_cached_decoder, cast_to, content_type, strict, dec_hook, decoders)


def _chosen(
    make: Callable[..., Decode],
    cast_to: Any,
    content_type: str | None,
    strict: bool,
    dec_hook: DecHook | None,
    decoders: Decoders | None,
) -> Decode:
    """The function of the user's for this content type, or what *make* gives for it."""
    media, kind, charset = parse_content_type(content_type)
    function = None if decoders is None else decoders.find(media)
    if function is not None:
        check_is_type(cast_to)
        if not takes_any(cast_to):
            return _by_function(function, cast_to)
    try:
        return make(cast_to, kind, charset, strict, dec_hook)
    except TypeError as error:
        if decoders is None or isinstance(error.__cause__, NotATypeError):
            raise
        reason = str(error)
    # Another content type may come, of which a function of the user's makes such an object.
    return functools.partial(_refuse, reason)


def _refuse(reason: str, body: bytes) -> NoReturn:
    raise DecodeError(reason)


def _by_function(function: DecoderFunction, cast_to: Any) -> Decode:
    """*function* as a decoder, with all that it raises as a `DecodeError`."""
    optional = any(_admits_none(one) for one in members(cast_to))
    asked = _AskedFor(cast_to, _words)

    def run(body: bytes) -> Any:
        if optional and not body:
            return None
        try:
            return function(body, cast_to)
        except msgspec.MsgspecError as error:
            failure = explain(error, asked.with_body(body))
        except Exception as error:  # a parser may raise anything: xml.etree's is a SyntaxError
            failure = explain_hook(error, asked.with_body(body))
        try:
            raise failure if body else DecodeError("the body is empty")
        finally:
            del failure  # as above

    return run


def _words(body: bytes) -> list[str]:
    """The text of a body in a format that only its function knows, and its longer words."""
    text = body.decode("utf-8", "replace")
    return [text, *re.findall(r"\w{4,}", text)]


def check_cast_to(
    cast_to: Any,
    dec_hook: DecHook | None = None,
    decoders: Decoders | None = None,
    name: str = "cast_to",
) -> None:
    """Raise `TypeError` if nothing can be decoded to *cast_to*; cheap after the first time.

    Args:
        cast_to: The type, with all that its fields come to.
        dec_hook: The hook that makes the classes that msgspec does not know.
        decoders: Functions that may make any class of the content types that they read.
        name: How the message calls the argument.
    """
    try:
        decoder_for(cast_to, "application/json", True, dec_hook, decoders)
    except TypeError as error:
        message, cause = str(error), error.__cause__
    else:
        return
    raise TypeError(f"{name} {message}") from cause


def _decoder(cast_to: Any, kind: Format, charset: str, strict: bool, dec_hook: DecHook | None) -> Decode:
    try:
        check_is_type(cast_to)
        choices = [one for one in members(cast_to) if one is not type(None)]
        optional = any(_admits_none(one) for one in members(cast_to))
        if not choices:
            return _discard
        if choices == [object]:
            cast_to, choices = Any, [Any]
        only = choices[0] if len(choices) == 1 else None
        read = _text_reader(only, kind, charset)
        if read is None:
            decode = _structured(cast_to, kind, strict, dec_hook)
            if kind == "html":
                decode = _unless_html(decode)
            asked = _AskedFor(cast_to, _PLAIN.get(kind, msgspec.json.decode))
            decode = _guarded(decode, asked, optional, is_text=kind != "msgpack")
            return decode if kind == "msgpack" else _transcoded(decode, charset)
        if cast_to is not only:  # Annotated may hold constraints, on text too
            read = _then_convert(read, cast_to, strict, dec_hook)
        if optional:
            read = _unless_empty(read, blank=only is Any and kind != "other")
        asked = _AskedFor(cast_to, functools.partial(_text, charset))
        return _guarded(read, asked, optional, is_text=only not in (bytes, str, Any))
    except Exception as error:
        raise TypeError(f"{name_of(cast_to)} cannot be decoded: {error}") from error


_cached_decoder = functools.lru_cache(maxsize=512)(_decoder)


def _admits_none(one: Any) -> bool:
    return one in (type(None), Any, object) or (get_origin(one) is Literal and None in get_args(one))


_LONGEST_SEARCHED = 1 << 20  # bytes of a body in which the text of a hook is looked for


class _AskedFor(NamedTuple):
    """What a decoder was made for, and how its bodies are read as plain data."""

    cast_to: Any
    parse: Decode

    def with_body(self, body: bytes) -> Asked:
        def plain() -> Any:
            if len(body) > _LONGEST_SEARCHED:
                raise ValueError("too long to be searched")
            return self.parse(body)

        return Asked(self.cast_to, plain)


def _guarded(decode: Decode, asked: _AskedFor, optional: bool, *, is_text: bool, bom: bool = True) -> Decode:
    """*decode*, with every failure as a `DecodeError`; what is rare is looked at only after a failure.

    *is_text* says that a byte order mark and white space around the value mean nothing.
    """

    @functools.wraps(decode)  # `unguarded` finds it there
    def run(body: bytes) -> Any:
        try:
            return decode(body)
        except FAILURES as error:
            failure = explain(error, asked.with_body(body))
        # Raised out here, so that no context keeps the error of msgspec, which may quote the body.
        if is_text and bom and body.startswith(codecs.BOM_UTF8):
            return _guarded(decode, asked, optional, is_text=True, bom=False)(body[3:])
        if not body or (is_text and not body.strip()):
            if optional:
                return None
            raise DecodeError("the body is empty")
        try:
            raise failure
        finally:
            del failure  # a frame that holds its own error keeps its callers alive, until the collector runs

    return run


def unguarded(decode: Decode) -> Decode:
    """*decode* as it raises one of `FAILURES` itself, for a caller that then asks *decode* for the reason."""
    return getattr(decode, "__wrapped__", decode)


def _discard(body: bytes) -> None:
    return None


# What a JSON value begins with (RFC 8259 §3); an object or array is hardly ever another text.
_JSON_STARTS = frozenset(bytes([byte]) for byte in b'"{[-0123456789tfn')
_DATA_STARTS = frozenset({"{", "[", b"{", b"["})


def _unless_html(decode: Decode) -> Decode:
    """*decode* for JSON that is labelled HTML; what does not begin and parse like JSON is a page."""

    def run(body: bytes) -> Any:
        body = body.removeprefix(codecs.BOM_UTF8)
        start = body.lstrip()[:1]
        if start and (start not in _JSON_STARTS or not _is_json(body)):
            raise DecodeError("an HTML page came")
        return decode(body)

    return run


_check_syntax = msgspec.json.Decoder(msgspec.Raw).decode


def _is_json(body: bytes) -> bool:
    try:
        _check_syntax(body)
    except FAILURES:
        return False
    return True


def _transcoded(decode: Decode, charset: str) -> Decode:
    """*decode*, which reads UTF-8, for bodies in *charset*."""
    name = codecs.lookup(charset).name
    if name in ("utf-8", "ascii"):
        return decode

    def run(body: bytes) -> Any:
        # What is declared as UTF-16 or UTF-32 and has neither its zeros nor its mark is mislabelled UTF-8.
        if name.startswith(("utf-16", "utf-32")) and b"\0" not in body[:4] and body[:2] not in _WIDE_MARKS:
            return decode(body)
        return decode(_text(charset, body).encode("utf-8", "surrogatepass"))

    return run


_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32's own marks begin with them, or with a zero


def _data_or_bytes(body: bytes) -> Any:
    data = _data_or_itself(body.removeprefix(codecs.BOM_UTF8))
    return body if isinstance(data, bytes) else data


def _data_or_text(charset: str, body: bytes) -> Any:
    return _data_or_itself(_text(charset, body))


def _data_or_itself(text: str | bytes) -> Any:
    """Plain data where *text* is a JSON object or array, else *text*."""
    if text.lstrip()[:1] in _DATA_STARTS:
        with contextlib.suppress(*FAILURES):
            return msgspec.json.decode(text)
    return text


def _unless_empty(decode: Decode, *, blank: bool) -> Decode:
    """*decode*, with None for an empty body; *blank*: for one of white space only too."""
    if blank:
        return lambda body: decode(body) if body and not body.isspace() else None
    return lambda body: decode(body) if body else None


def _then_convert(read: Decode, cast_to: Any, strict: bool, dec_hook: DecHook | None) -> Decode:
    msgspec.json.Decoder(cast_to)  # refuses what cannot be decoded now, not at the first body
    return lambda body: msgspec.convert(read(body), cast_to, strict=strict, dec_hook=dec_hook, str_keys=True)


def _text_reader(only: Any, kind: Format, charset: str) -> Decode | None:
    """How to read the one type *only* without a codec; None where it takes one."""
    if only is bytes or (only is Any and kind == "other"):
        return _itself
    if only is Any and kind == "untyped":
        return _data_or_bytes
    if only is str:
        return functools.partial(_text, charset)
    if only is Any and kind in ("text", "html"):
        return functools.partial(_data_or_text, charset)
    if only in (bool, int, float) and kind == "text":
        return functools.partial(_scalar, charset, only)
    return None


def _itself(body: bytes) -> bytes:
    return body


def _text(charset: str, body: bytes) -> str:
    try:
        text = body.decode(charset)
    except UnicodeError:
        text = None
    if text is None:
        raise DecodeError(f"the body is not {charset} text")
    return text.removeprefix("\ufeff")


def _scalar(charset: str, wanted: Any, body: bytes) -> Any:
    """A bool (true and false in any case), int or float that stands alone in a text."""
    text = _text(charset, body).strip()
    if wanted is bool:
        text = text.lower() if text.lower() in ("true", "false") else ""
    value = msgspec.convert(text, wanted, strict=False)
    if not math.isfinite(value):
        raise DecodeError("NaN and infinity are refused")
    return value


def _structured(cast_to: Any, kind: Format, strict: bool, dec_hook: DecHook | None) -> Decode:
    if dec_hook is None and (spared := check_classes(cast_to)):
        return _hinting(_opened(cast_to, kind, strict, dec_hook), spared)
    return _opened(cast_to, kind, strict, dec_hook)


def _hinting(decode: Decode, spared: frozenset[str]) -> Decode:
    """*decode*, which says of a class in *spared* that it needs a hook, and does not blame the server."""

    def run(body: bytes) -> Any:
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            failure = explain(error, Asked(None, _nothing))
            lacking = [name for name in spared if failure.reason.startswith(f"Expected `{name}`")]
            if not lacking:
                raise
        raise DecodeError(f"{lacking[0]} needs a dec_hook", failure.path)

    return run


def _nothing() -> NoReturn:
    raise ValueError("not read")


def _opened(cast_to: Any, kind: Format, strict: bool, dec_hook: DecHook | None) -> Decode:
    """What decodes the types that msgspec knows, and `Open`."""
    types = reached(cast_to)
    if not check_opens(types):
        return _bare(cast_to, kind, strict, dec_hook)
    float_hook = _exact_float if decimal.Decimal in types else None
    hook = open_hook(strict, dec_hook)
    opened = _bare(cast_to, kind, strict, hook, float_hook)
    narrow = closed(cast_to)
    if narrow is cast_to:
        return opened
    try:
        plain = _bare(narrow, kind, strict, hook, float_hook)
    except TypeError:  # such as dict[Open[A | SomeEnum], int]: as a key msgspec refuses A, but not Open
        return opened

    def decode(body: bytes) -> Any:
        try:
            return plain(body)
        except msgspec.ValidationError:
            pass
        return opened(body)

    return decode


def _bare(
    cast_to: Any,
    kind: Format,
    strict: bool,
    dec_hook: DecHook | None,
    float_hook: Callable[[str], Any] | None = None,
) -> Decode:
    """What msgspec decodes with; it raises `TypeError` here for a type it cannot decode."""
    if kind == "msgpack":
        return msgspec.msgpack.Decoder(cast_to, strict=strict, dec_hook=dec_hook).decode
    if kind in ("yaml", "toml"):
        return _then_convert(_parse_yaml if kind == "yaml" else _parse_toml, cast_to, strict, dec_hook)
    return msgspec.json.Decoder(cast_to, strict=strict, dec_hook=dec_hook, float_hook=float_hook).decode


def _exact_float(text: str) -> float | decimal.Decimal:
    """A number for a Decimal inside `Open`, which goes through plain data: exact where a float is not."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("Number out of range")
    exact = decimal.Decimal(text)
    return number if exact == decimal.Decimal(repr(number)) else exact


_YAML_DEPTH = 500  # collections inside each other; libyaml ends the process at some 50 000


def _parse_yaml(body: bytes) -> Any:
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        yaml = None
    if yaml is None:
        raise DecodeError("YAML came, which needs the package PyYAML")
    try:
        refused = _yaml_refusal(yaml, body)
        if refused is None:
            return msgspec.yaml.decode(body)
    except Exception as error:  # for odd scalars PyYAML raises IndexError, KeyError and AttributeError
        # The libyaml of PyYAML 6.0.4 has a limit of its own, and looks further ahead than one event.
        too_deep = "nesting depth" in str(getattr(error, "problem", ""))
        refused = "nested too deep" if too_deep else f"not valid YAML{_where(error)}"
    raise DecodeError(refused)


def _yaml_refusal(yaml: Any, body: bytes) -> str | None:
    """Why a YAML body is not even loaded: depth crashes libyaml, aliases make a bomb of a small body."""
    depth = 0
    for event in yaml.parse(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            return "YAML aliases are refused"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _YAML_DEPTH:
            return "nested too deep"
    return None


def _parse_toml(body: bytes) -> Any:
    try:
        return msgspec.toml.decode(body)
    except (*FAILURES, OverflowError) as error:
        where = _where(error)
    raise DecodeError(f"not valid TOML{where}")


def _where(error: Exception) -> str:
    places = re.findall(r"line \d+, column \d+", str(error))
    return f" ({places[-1]})" if places else ""


# How the formats are read as plain data; JSON is the rest.
_PLAIN: dict[Format, Decode] = {"msgpack": msgspec.msgpack.decode, "yaml": _parse_yaml, "toml": _parse_toml}
