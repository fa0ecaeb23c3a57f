"""Decode bytes to typed values, with a decoder for each type and content type.

Bytes are decoded straight to the type, by a msgspec decoder that is created once per type, format, strictness
and hook. Every body that does not match raises `DecodeError`, whose text names the position and the types,
and contains no part of the body.
"""

from __future__ import annotations

__lazy_modules__: tuple[str, ...] = ("aioapiclient._codecs.custom", "aioapiclient._codecs.failures")

import codecs
import contextlib
import decimal
import functools
import importlib
import math
import re
from collections.abc import Callable
from typing import Any, Literal, NoReturn, TypeAlias, get_args, get_origin

import msgspec
import msgspec.toml
import msgspec.yaml

from .accept import takes_any
from .content_type import LONGEST_HEADER, Format, parse_content_type
from .custom import DecoderFunction, Decoders
from .failures import FAILURES, Asked, DecodeError, explain, explain_hook
from .open import DecHook, check_opens, open_hook, reachable_types, union_members, without_open
from .type_check import NotATypeError, check_classes, check_is_type, name_of

__all__ = ["check_cast_to", "decode_body", "decoder_for", "unguarded"]

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
    """Decode *body* to *cast_to* with the codec of *content_type*; a function of *decoders* takes precedence.

    ``bytes`` and ``str`` return the body itself, None discards it, `Any` returns plain data (text for text,
    bytes for a type without a codec). Other types are decoded and validated; as JSON if the content type has
    no codec, because servers mislabel it. HTML counts as JSON only if it looks and parses like JSON; for
    `Any`, text and untyped bytes count as JSON only if they are an object or array. JSON, YAML and TOML are
    read in the declared charset. An empty or blank body is None if the type permits that. With
    ``strict=False``, values are coerced (``"1"`` to 1) but still validated.

    Raises:
        DecodeError: The body does not fit.
        TypeError: msgspec cannot decode the type.
    """
    return decoder_for(cast_to, content_type, strict, dec_hook, decoders)(body)


def decoder_for(
    cast_to: Any,
    content_type: str | None,
    strict: bool = True,
    dec_hook: DecHook | None = None,
    decoders: Decoders | None = None,
) -> Decode:
    """Return the function that decodes bodies of this content type. It is cached."""
    if content_type is not None and len(content_type) > LONGEST_HEADER:
        content_type = content_type[:LONGEST_HEADER]  # a server must not be able to fill the cache below
    try:
        return _decoder_by_header(cast_to, content_type, strict, dec_hook, decoders)
    except TypeError:
        # A type that is not hashable (Annotated with a list) works without the cache; an undecodable one
        # raises again.
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
    """Return the user's function for this content type, or else the decoder that *make* returns."""
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
    # A body of another content type may arrive, which the user's function decodes to this type.
    return functools.partial(_refuse, reason)


def _refuse(reason: str, body: bytes) -> NoReturn:
    raise DecodeError(reason)


def _by_function(function: DecoderFunction, cast_to: Any) -> Decode:
    """Return *function* as a decoder that raises any exception as a `DecodeError`."""
    optional = any(_admits_none(one) for one in union_members(cast_to))
    requested = _Requested(cast_to, _words)

    def run(body: bytes) -> Any:
        if optional and not body:
            return None
        try:
            return function(body, cast_to)
        except msgspec.MsgspecError as error:
            failure = explain(error, requested.with_body(body))
        except Exception as error:  # a parser may raise anything: xml.etree's is a SyntaxError
            failure = explain_hook(error, requested.with_body(body))
        try:
            raise failure if body else DecodeError("the body is empty")
        finally:
            del failure  # as in `_guarded`

    return run


def _words(body: bytes) -> list[str]:
    """Return the text of a body and its longer words, for a format that only the user's function knows."""
    text = body.decode("utf-8", "replace")
    return [text, *re.findall(r"\w{4,}", text)]


def check_cast_to(
    cast_to: Any,
    dec_hook: DecHook | None = None,
    decoders: Decoders | None = None,
    name: str = "cast_to",
) -> None:
    """Raise `TypeError` if *cast_to* cannot be decoded; cheap after the first call.

    Args:
        cast_to: The type, whose fields are checked as well.
        dec_hook: The hook for classes that msgspec does not know. None by default.
        decoders: Functions that may return any class for their content types. None by default.
        name: The name of the argument in the message.
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
        choices = [one for one in union_members(cast_to) if one is not type(None)]
        optional = any(_admits_none(one) for one in union_members(cast_to))
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
            requested = _Requested(cast_to, _PLAIN.get(kind, msgspec.json.decode))
            decode = _guarded(decode, requested, optional, is_text=kind != "msgpack")
            return decode if kind == "msgpack" else _transcoded(decode, charset)
        if cast_to is not only:  # Annotated may contain constraints, on text too
            read = _then_convert(read, cast_to, strict, dec_hook)
        if optional:
            read = _unless_empty(read, blank=only is Any and kind != "other")
        requested = _Requested(cast_to, functools.partial(_text, charset))
        return _guarded(read, requested, optional, is_text=only not in (bytes, str, Any))
    except Exception as error:
        raise TypeError(f"{name_of(cast_to)} cannot be decoded: {error}") from error


_cached_decoder = functools.lru_cache(maxsize=512)(_decoder)


def _admits_none(one: Any) -> bool:
    return one in (type(None), Any, object) or (get_origin(one) is Literal and None in get_args(one))


_LONGEST_SEARCHED = 1 << 20  # bytes; a longer body is not searched for the text of a hook's exception


class _Requested(msgspec.Struct, frozen=True):
    """The type of a decoder, and the function that reads its bodies as plain data."""

    cast_to: Any
    parse: Decode

    def with_body(self, body: bytes) -> Asked:
        """Return the type with a function that reads *body* as plain data."""

        def plain() -> Any:
            if len(body) > _LONGEST_SEARCHED:
                raise ValueError("too long to be searched")
            return self.parse(body)

        return Asked(self.cast_to, plain)


# The four characters of JSON (RFC 8259 §2). For Python, vertical tab and form feed are white space too.
_WHITE_SPACE = b" \t\n\r"


def _guarded(
    decode: Decode, requested: _Requested, optional: bool, *, is_text: bool, bom: bool = True
) -> Decode:
    """Return *decode* with every failure raised as a `DecodeError`; rare cases are handled after a failure.

    If *is_text* is true, a byte order mark and surrounding white space are ignored.
    """

    @functools.wraps(decode)  # sets __wrapped__, for `unguarded`
    def run(body: bytes) -> Any:
        try:
            return decode(body)
        except FAILURES as error:
            failure = explain(error, requested.with_body(body))
        # Raised outside the except block, so that its context does not keep msgspec's error, which may quote
        # the body.
        if is_text and bom and body.startswith(codecs.BOM_UTF8):
            return _guarded(decode, requested, optional, is_text=True, bom=False)(body[3:])
        if not body or (is_text and not body.strip(_WHITE_SPACE)):
            if optional:
                return None
            raise DecodeError("the body is empty")
        try:
            raise failure
        finally:
            del failure  # a frame that refers to its own error keeps its callers alive until a collection

    return run


def unguarded(decode: Decode) -> Decode:
    """Return the function that raises `FAILURES` itself; call *decode* after a failure for the reason."""
    return getattr(decode, "__wrapped__", decode)


def _discard(body: bytes) -> None:
    return None


# First characters of a JSON value (RFC 8259 §3); other text rarely begins like an object or array.
_JSON_STARTS = frozenset(bytes([byte]) for byte in b'"{[-0123456789tfn')
_DATA_STARTS = frozenset({"{", "[", b"{", b"["})


def _unless_html(decode: Decode) -> Decode:
    """Return *decode* for JSON labelled as HTML; a body that is not JSON is reported as a page."""

    def run(body: bytes) -> Any:
        body = body.removeprefix(codecs.BOM_UTF8)
        start = body.lstrip()[:1]
        if start and (start not in _JSON_STARTS or not _is_json(body)):
            raise DecodeError("the body is an HTML page")
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
    """Return *decode*, which reads UTF-8, for bodies in *charset*."""
    name = codecs.lookup(charset).name
    if name in ("utf-8", "ascii"):
        return decode

    def run(body: bytes) -> Any:
        # A body declared as UTF-16 or UTF-32 without zeros or a byte order mark is mislabelled UTF-8.
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
    """Return plain data if *text* is a JSON object or array, else *text*."""
    if text.lstrip()[:1] in _DATA_STARTS:
        with contextlib.suppress(*FAILURES):
            return msgspec.json.decode(text)
    return text


def _unless_empty(decode: Decode, *, blank: bool) -> Decode:
    """Return *decode* with None for an empty body and, if *blank* is true, for one of white space."""
    if blank:
        return lambda body: decode(body) if body.strip(_WHITE_SPACE) else None
    return lambda body: decode(body) if body else None


def _then_convert(read: Decode, cast_to: Any, strict: bool, dec_hook: DecHook | None) -> Decode:
    msgspec.json.Decoder(cast_to)  # refuses an undecodable type now, not at the first body
    return lambda body: msgspec.convert(read(body), cast_to, strict=strict, dec_hook=dec_hook, str_keys=True)


def _text_reader(only: Any, kind: Format, charset: str) -> Decode | None:
    """Return a function that reads the type *only* without a codec; None if it needs one."""
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
    """Return the complete text as a bool (true or false, in any case), int or float."""
    text = _text(charset, body).strip()
    if wanted is bool:
        text = text.lower() if text.lower() in ("true", "false") else ""
    value = msgspec.convert(text, wanted, strict=False)
    if not math.isfinite(value):
        raise DecodeError("NaN and infinity are refused")
    return value


def _structured(cast_to: Any, kind: Format, strict: bool, dec_hook: DecHook | None) -> Decode:
    if dec_hook is None and (unchecked := check_classes(cast_to)):
        return _hinting(_opened(cast_to, kind, strict, dec_hook), unchecked)
    return _opened(cast_to, kind, strict, dec_hook)


def _hinting(decode: Decode, unchecked: frozenset[str]) -> Decode:
    """Return *decode* with an error that names the class in *unchecked* that needs a hook."""

    def run(body: bytes) -> Any:
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            failure = explain(error, Asked(None, _nothing))
            lacking = [name for name in unchecked if failure.reason.startswith(f"Expected `{name}`")]
            if not lacking:
                raise
        raise DecodeError(f"{lacking[0]} needs a dec_hook", failure.path)

    return run


def _nothing() -> NoReturn:
    raise ValueError("not read")


def _opened(cast_to: Any, kind: Format, strict: bool, dec_hook: DecHook | None) -> Decode:
    """Return the decoder for types that msgspec knows, and for `Open`."""
    types = reachable_types(cast_to)
    if not check_opens(types):
        return _bare(cast_to, kind, strict, dec_hook)
    float_hook = _exact_float if decimal.Decimal in types else None
    hook = open_hook(strict, dec_hook)
    opened = _bare(cast_to, kind, strict, hook, float_hook)
    narrow = without_open(cast_to)
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
    """Return msgspec's decoder; raise `TypeError` for a type that it cannot decode."""
    if kind == "msgpack":
        return msgspec.msgpack.Decoder(cast_to, strict=strict, dec_hook=dec_hook).decode
    if kind in ("yaml", "toml"):
        return _then_convert(_parse_yaml if kind == "yaml" else _parse_toml, cast_to, strict, dec_hook)
    return msgspec.json.Decoder(cast_to, strict=strict, dec_hook=dec_hook, float_hook=float_hook).decode


_OUT_OF_RANGE = "Number out of range"  # as msgspec says it of a number that is decoded without `Open`


def _exact_float(text: str) -> float | decimal.Decimal:
    """Return a float, or a Decimal if a float would not be exact: `Open` decodes through plain data."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(_OUT_OF_RANGE)
    exact = decimal.Decimal(text)
    return number if exact == decimal.Decimal(repr(number)) else exact


_YAML_DEPTH = 500  # nested collections; libyaml crashes the process at some 50 000


def _parse_yaml(body: bytes) -> Any:
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        yaml = None
    if yaml is None:
        raise DecodeError("the body is YAML, which needs the package PyYAML")
    try:
        refused = _yaml_refusal(yaml, body)
        if refused is None:
            return msgspec.yaml.decode(body)
    except Exception as error:  # PyYAML raises IndexError, KeyError and AttributeError for odd scalars
        # The libyaml of PyYAML 6.0.4 has its own limit, and looks further ahead than one event.
        too_deep = "nesting depth" in str(getattr(error, "problem", ""))
        refused = "nested too deeply" if too_deep else f"not valid YAML{_where(error)}"
    raise DecodeError(refused)


def _yaml_refusal(yaml: Any, body: bytes) -> str | None:
    """Return the reason to refuse a YAML body, or None: depth crashes libyaml, aliases expand a small
    body.
    """
    depth = 0
    for event in yaml.parse(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            return "YAML aliases are refused"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _YAML_DEPTH:
            return "nested too deeply"
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


# The functions that read each format as plain data; every other format is read as JSON.
_PLAIN: dict[Format, Decode] = {"msgpack": msgspec.msgpack.decode, "yaml": _parse_yaml, "toml": _parse_toml}
