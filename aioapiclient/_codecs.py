"""Bytes into typed values and back: the decoder for a type and a content type, and what a body is encoded to.

Decoding goes straight from bytes into the type, by a msgspec decoder that is made once per type,
format, strictness and hook. Every body that does not fit ends in one exception, `DecodeError`,
whose text names the place and the types and holds nothing that the body said.
"""

from __future__ import annotations

import collections.abc as abc
import contextlib
import decimal
import encodings.aliases
import functools
import importlib
import io
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn, TypeAlias, cast, get_args, get_origin

import msgspec
import msgspec.inspect
import msgspec.toml
import msgspec.yaml

from ._open import DecHook, InsideOpen, Open, Unknown, check_opens, closed, members, open_hook, reached
from ._types import NOT_GIVEN, NotGiven, Omit
from .errors import InvalidRequestError

__all__ = [
    "DecodeError",
    "ProblemDetails",
    "charset_of",
    "check_cast_to",
    "check_error_types",
    "decode_body",
    "decode_error_body",
    "decoder_for",
    "encode_json",
    "error_type_for",
    "media_type",
]

Format: TypeAlias = Literal["json", "msgpack", "yaml", "toml", "html", "text", "other"]
Decode: TypeAlias = Callable[[bytes], Any]
EncHook: TypeAlias = Callable[[Any], Any]

# What msgspec raises about a body: bad UTF-8 and too many digits are ValueErrors, an unhashable member of
# a set is a TypeError. From a user's hook it wraps those two; the rest is the user's own, and passes.
_FAILURES = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)


class DecodeError(Exception):
    """A body that is not what was asked for; neither text, attributes nor causes hold any of its values."""

    def __init__(self, reason: str, path: str = "$") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.reason} (at {self.path})"


# --- Content types ---

_SPLIT_HEADER = re.compile(r"[;,]")
_CHARSET = re.compile(r';\s*charset\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
# Only names that Python knows by heart: to look up another imports modules, and is remembered for ever.
_CHARSETS = {*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "cp874", "koi8_t", "koi8_u"}
_FORMATS: dict[str, Format] = {
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
    "application/toml": "toml",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/text": "text",
}
_SUFFIXES: dict[str, Format] = {"/json": "json", "+json": "json", "+msgpack": "msgpack", "+yaml": "yaml"}
_LONGEST_HEADER = 256  # characters of a content type that are read and remembered


def media_type(content_type: str | None) -> str:
    """The media type in lower case, without parameters; "" when there is none."""
    return _content_type((content_type or "")[:_LONGEST_HEADER])[0]


def charset_of(content_type: str | None) -> str:
    """The Python codec for the text of a body: its ``charset``, else UTF-8.

    UTF-8 stands in for an unknown charset too, for codecs that are none (rot13), and for whatever a
    JSON body claims (RFC 8259 §8.1).
    """
    return _content_type((content_type or "")[:_LONGEST_HEADER])[2]


@functools.lru_cache(maxsize=256)
def _content_type(header: str) -> tuple[str, Format, str]:
    media = _SPLIT_HEADER.split(header, maxsplit=1)[0].strip().lower()
    kind = _format(media)
    charset = _CHARSET.search(header) if kind != "json" else None
    return media, kind, _codec(charset[1] or charset[2] or "") if charset else "utf-8"


def _format(media: str) -> Format:
    if media in _FORMATS:
        return _FORMATS[media]
    suffix = next((end for end in _SUFFIXES if media.endswith(end)), None)
    if suffix is not None:
        return _SUFFIXES[suffix]
    return "text" if media.startswith("text/") else "other"


def _codec(charset: str) -> str:
    name = charset.lower().replace("-", "_")
    if name not in _CHARSETS:
        return "utf-8"
    try:
        b"a".decode(name)
    except UnicodeError:
        pass  # one byte is not UTF-16, which is a charset all the same
    except LookupError:
        return "utf-8"
    return name


# --- Decoding ---


def decode_body(
    body: bytes,
    cast_to: Any,
    content_type: str | None,
    *,
    strict: bool = True,
    dec_hook: DecHook | None = None,
) -> Any:
    """*body* as *cast_to*, by the codec of *content_type*.

    ``bytes`` and ``str`` are the body itself, None discards it, `Any` is plain data (text for text,
    bytes for what has no codec). All else is decoded and validated; where the content type names no
    codec, as JSON, but never from HTML. An empty body is None where the type admits that. With
    ``strict=False`` values are coerced (``"1"`` to 1), never let through.

    Raises `DecodeError` for a body that does not fit, and `TypeError` for a type that msgspec cannot decode.
    """
    return decoder_for(cast_to, content_type, strict, dec_hook)(body)


def decoder_for(
    cast_to: Any, content_type: str | None, strict: bool = True, dec_hook: DecHook | None = None
) -> Decode:
    """The function that decodes bodies of this content type, to hold on to or to ask for each time."""
    _, kind, charset = _content_type((content_type or "")[:_LONGEST_HEADER])
    try:
        return _cached_decoder(cast_to, kind, charset, strict, dec_hook)
    except TypeError:
        # Not hashable (Annotated with a list): works without the cache. Not decodable: raises again.
        return _decoder(cast_to, kind, charset, strict, dec_hook)


def check_cast_to(cast_to: Any, dec_hook: DecHook | None = None) -> None:
    """`TypeError` that names *cast_to*, if nothing can be decoded to it; cheap after the first time."""
    decoder_for(cast_to, "application/json", True, dec_hook)


def _decoder(cast_to: Any, kind: Format, charset: str, strict: bool, dec_hook: DecHook | None) -> Decode:
    try:
        choices = [one for one in members(cast_to) if one is not type(None)]
        optional = any(_admits_none(one) for one in members(cast_to))
        if not choices:
            return _discard
        if choices == [object]:
            cast_to, choices = Any, [Any]
        only = choices[0] if len(choices) == 1 else None
        read = _text_reader(only, kind, charset)
        if read is None:
            decode = _refuse_html if kind == "html" else _structured(cast_to, kind, strict, dec_hook)
            return _guarded(decode, optional, bom=kind != "msgpack")
        if cast_to is not only:  # Annotated may hold constraints, on text too
            read = _then_convert(read, cast_to, strict, dec_hook)
        return _guarded(_unless_empty(read) if optional else read, optional, bom=False)
    except Exception as error:
        name = cast_to.__qualname__ if isinstance(cast_to, type) else repr(cast_to)
        raise TypeError(f"cast_to {name} cannot be decoded: {error}") from error


_cached_decoder = functools.lru_cache(maxsize=512)(_decoder)


def _admits_none(one: Any) -> bool:
    return one in (type(None), Any, object) or (get_origin(one) is Literal and None in get_args(one))


def _guarded(decode: Decode, optional: bool, *, bom: bool) -> Decode:
    """*decode*, with every failure as a `DecodeError`; what is rare is looked at only after a failure."""

    def run(body: bytes) -> Any:
        try:
            return decode(body)
        except _FAILURES as error:
            reason, path = _explain(error)
        # Raised out here, so that no context keeps the error of msgspec, which may quote the body.
        if not body:
            if optional:
                return None
            raise DecodeError("the body is empty")
        if bom and body.startswith(b"\xef\xbb\xbf"):
            return _guarded(decode, optional, bom=False)(body[3:])
        raise DecodeError(reason, path)

    return run


def _discard(body: bytes) -> None:
    return None


def _refuse_html(body: bytes) -> NoReturn:
    raise DecodeError("an HTML page came")


def _unless_empty(decode: Decode) -> Decode:
    return lambda body: decode(body) if body else None


def _then_convert(read: Decode, cast_to: Any, strict: bool, dec_hook: DecHook | None) -> Decode:
    msgspec.json.Decoder(cast_to)  # refuses what cannot be decoded now, not at the first body
    return lambda body: msgspec.convert(read(body), cast_to, strict=strict, dec_hook=dec_hook, str_keys=True)


def _text_reader(only: Any, kind: Format, charset: str) -> Decode | None:
    """How to read the one type *only* without a codec; None where it takes one."""
    if only is bytes or (only is Any and kind == "other"):
        return _itself
    if only is str or (only is Any and kind in ("text", "html")):
        return functools.partial(_text, charset)
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
    if dec_hook is None:
        _check_custom(cast_to)
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


def _check_custom(cast_to: Any) -> None:
    """`TypeError` for a class that only a ``dec_hook`` could make; those in fields may have defaults."""
    waiting: list[Any] = []
    # msgspec 0.20 raises for Literal["a", None], which it decodes; what is really wrong the decoder says.
    with contextlib.suppress(Exception):
        waiting.append(msgspec.inspect.type_info(cast_to))
    while waiting:
        node = waiting.pop()
        if isinstance(node, msgspec.inspect.CustomType):
            if node.cls not in (object, Open):
                raise TypeError(f"{node.cls.__name__} needs a dec_hook")
        elif node.__class__ is tuple:
            waiting.extend(node)
        elif isinstance(node, msgspec.inspect.Type) and not hasattr(node, "fields"):
            waiting.extend(getattr(node, name) for name in node.__struct_fields__)


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
        refused = f"not valid YAML{_where(error)}"
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
    except (*_FAILURES, OverflowError) as error:
        where = _where(error)
    raise DecodeError(f"not valid TOML{where}")


def _where(error: Exception) -> str:
    places = re.findall(r"line \d+, column \d+", str(error))
    return f" ({places[-1]})" if places else ""


# --- What went wrong, without what the body said ---

_PATH = re.compile(r" - at `(key` in `)?(\$(?:\.[^`.\[\]]+|\[[^`\]]*\])*)`$")
_LONGEST_PATH = 200
# Messages that quote the schema, never the body.
_HARMLESS = (
    "Expected ",
    "Object missing required field ",
    "Input data was truncated",
    "JSON is malformed: ",
    "MessagePack data is malformed: ",
    "Invalid RFC3339 ",
    "Invalid ISO8601 ",
    "Invalid UUID",
    "Invalid base64 ",
    "Invalid decimal ",
    "Invalid epoch ",
    "Invalid MessagePack ",
    "Number out of range",
    "Integer value out of range",
    "Timestamp is out of range",
    "Duration is out of range",
)
# Messages that quote the body, and what is said instead.
_REWORDED = {
    "Invalid enum value ": "Not a member of the enum or literal",
    "Invalid value ": "Unknown tag",
    "Object contains unknown field ": "Object contains an unknown field",
}


def _explain(error: BaseException) -> tuple[str, str]:
    """The reason and the path of a failure, where msgspec may quote values, and users' hooks too."""
    if isinstance(error, RecursionError):
        return "nested too deep", "$"
    if isinstance(error, UnicodeError):
        return "not valid UTF-8", "$"
    if isinstance(error, TypeError):
        return "an array or object stands where only scalars can: in a set, or as a key", "$"
    if not isinstance(error, msgspec.MsgspecError):
        return "a number has too many digits", "$"
    message, path, in_key = str(error), "$", ""
    if place := _PATH.search(message):
        message, path, in_key = message[: place.start()], place[2], " in a key" if place[1] else ""
    cause = error.__cause__
    if isinstance(cause, InsideOpen):
        reason, inner = _explain(cause.error)
        path += inner[1:]
    elif cause is not None:
        reason = f"refused with {type(cause).__name__} while it was decoded"
    elif message.startswith(_HARMLESS):
        reason = message
    else:
        reworded = (text for start, text in _REWORDED.items() if message.startswith(start))
        reason = next(reworded, "does not fit")
    return reason + in_key, path[:_LONGEST_PATH]


# --- Encoding ---

# A float that is NaN or infinite, in MessagePack: JSON says null for it, as for None.
_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
# Stands for a sentinel in plain data. Made at run time, so that no other string is the same object.
_DROPPED = "".join(("dropped", " sentinel"))
_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SCALARS: dict[type, Callable[[Any], Any]] = {str: str.__str__, int: int.__int__, float: float.__float__}
_ITERABLE = (abc.Sequence, abc.Set, abc.MappingView, abc.Iterator)
_PLAIN_ENCODER = msgspec.json.Encoder()


class _LookCloser(Exception):
    """Raised by the fast hook for what only the slow way can encode, or name."""


def encode_json(
    value: Any = NOT_GIVEN, enc_hook: EncHook | None = None, extra_body: Mapping[str, Any] | None = None
) -> bytes:
    """*value* as compact JSON in UTF-8, with the members of *extra_body* merged over its top level.

    Encodes all that msgspec does, *enc_hook*'s types, other mappings, sequences, sets, views and
    iterators, and `Unknown` as the value it came from. ``OMIT``, ``NOT_GIVEN`` and ``msgspec.UNSET``
    leave a member of an object out. In *extra_body* `OMIT` removes a member, `NOT_GIVEN` leaves it,
    and None sends null; without *value* its members are the object. Nothing of the caller's is changed.

    Raises `InvalidRequestError`, with the path, for NaN and infinity, a sentinel outside of an
    object, a cycle, a lone surrogate; `TypeError` for a type that cannot be encoded, and for
    *extra_body* with a value that is no object.
    """
    if extra_body is None:
        return _encode(value, enc_hook)
    if not isinstance(cast("object", extra_body), Mapping):
        raise TypeError(f"extra_body must be a mapping, not {type(extra_body).__name__}")
    encoded = b"{}" if isinstance(value, (NotGiven, Omit)) else _encode(value, enc_hook)
    if not encoded.startswith(b"{"):
        raise TypeError(f"extra_body is merged over a JSON object, and json is {type(value).__name__}")
    merged = _RAW_OBJECT.decode(encoded)
    for name in [name for name, member in extra_body.items() if isinstance(member, Omit)]:
        merged.pop(name, None)
    given = {name: member for name, member in extra_body.items() if not isinstance(member, (NotGiven, Omit))}
    return _PLAIN_ENCODER.encode(merged | _RAW_OBJECT.decode(_encode(given, enc_hook)))


def _encode(value: Any, enc_hook: EncHook | None) -> bytes:
    try:
        encode, measure = _encoders(enc_hook)
    except TypeError:  # a hook that is not hashable
        encode, measure = _encoders.__wrapped__(enc_hook)
    try:
        encoded = encode(value)
        # Encoded again only to find a NaN, in C: 5 us for 3 kB, where a walk in Python takes 30.
        if b"null" not in encoded or not _NOT_FINITE.search(measure(value)):
            return encoded
    except (_LookCloser, TypeError, ValueError, OverflowError, RecursionError):
        pass
    return _encode_slowly(value, enc_hook)


@functools.lru_cache(maxsize=128)
def _encoders(enc_hook: EncHook | None) -> tuple[Callable[[Any], bytes], Callable[[Any], bytes]]:
    def hook(value: Any) -> Any:
        # Sentinels, and what can be iterated only once: the slow way must be the first to do that.
        if isinstance(value, (NotGiven, Omit, abc.Iterator)) or value is msgspec.UNSET:
            raise _LookCloser
        return _replaced(value, enc_hook)

    return msgspec.json.Encoder(enc_hook=hook).encode, msgspec.msgpack.Encoder(enc_hook=hook).encode


def _replaced(value: Any, enc_hook: EncHook | None) -> Any:
    """What msgspec encodes for a value whose type it does not know; `_LookCloser` if nothing does."""
    if isinstance(value, Unknown):
        return value.value
    if enc_hook is not None:
        try:
            return enc_hook(value)
        except NotImplementedError:
            pass
    kind: type = value.__class__
    for base, as_base in _SCALARS.items():
        if issubclass(kind, base):
            return as_base(value)
    if issubclass(kind, Mapping):
        plain: dict[Any, Any] = dict(value)
        if len(plain) == len(value):  # a multidict would lose values
            return plain
    elif issubclass(kind, _ITERABLE) and not issubclass(kind, io.IOBase):
        return list[Any](value)
    raise _LookCloser


def _encode_slowly(value: Any, enc_hook: EncHook | None) -> bytes:
    """Through plain data, in which every member has a path."""
    stand_ins: dict[int, tuple[str, Any]] = {}

    def hook(value: Any) -> Any:
        if isinstance(value, (NotGiven, Omit)) or value is msgspec.UNSET:
            return _DROPPED
        if not isinstance(value, msgspec.Raw):
            try:
                return _replaced(value, enc_hook)
            except _LookCloser:
                pass
        stand_in = "".join(("stand-in for ", type(value).__name__))
        stand_ins[id(stand_in)] = (stand_in, value)
        return stand_in

    try:
        root = [msgspec.to_builtins(value, str_keys=True, enc_hook=hook)]
    except RecursionError:
        root = []
    if not root:
        raise InvalidRequestError("json refers to itself, or is nested too deep")
    _settle(root, stand_ins)
    try:
        return _PLAIN_ENCODER.encode(root[0])
    except (ValueError, OverflowError):
        pass  # raised below, without the value in its context
    raise InvalidRequestError("json holds a lone surrogate, or an integer of too many digits")


def _settle(root: list[Any], stand_ins: dict[int, tuple[str, Any]]) -> None:
    """Finish plain data in place: drop the sentinels, put back the stand-ins, refuse what JSON cannot say."""
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, container = waiting.pop()
        is_object = container.__class__ is dict
        entries: Any = container.items() if is_object else enumerate(container)
        for key, child in list[tuple[Any, Any]](entries):
            where = f"{path}.{key}" if is_object else f"{path}[{key}]" if path else "$"
            if id(key) in stand_ins or key is _DROPPED:
                kind = "a sentinel" if key is _DROPPED else type(stand_ins[id(key)][1]).__name__
                raise TypeError(f"json: {kind} at {path} cannot be the name of a member")
            if child is _DROPPED and is_object:
                del container[key]
            elif child.__class__ in (dict, list, tuple):
                container[key] = list(child) if child.__class__ is tuple else child
                waiting.append((where, container[key]))
            else:
                container[key] = _settled(child, where, stand_ins)


def _settled(child: Any, where: str, stand_ins: dict[int, tuple[str, Any]]) -> Any:
    if child is _DROPPED:
        raise InvalidRequestError(f"json: a sentinel at {where}; only a member of an object can be left out")
    if isinstance(child, float) and not math.isfinite(child):
        raise InvalidRequestError(f"json: {child} at {where}; JSON has no NaN and no infinity")
    _, original = stand_ins.get(id(child), (child, child))
    if original is not child and not isinstance(original, msgspec.Raw):
        raise TypeError(f"json: {type(original).__name__} at {where} cannot be encoded; an enc_hook could")
    return original


# --- Error bodies ---


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An ``application/problem+json`` body (RFC 9457 §3); a member of the wrong type is ignored (§3.1)."""

    type: str = "about:blank"
    title: str | None = None
    status: int | None = None
    detail: str | None = None
    instance: str | None = None
    extensions: dict[str, Any] = {}
    """The members that RFC 9457 does not name."""


_PROBLEM_MEMBERS = {"type": str, "title": str, "status": int, "detail": str, "instance": str}


def decode_error_body(
    body: bytes,
    content_type: str | None,
    error_type: Any = None,
    *,
    strict: bool = True,
    dec_hook: DecHook | None = None,
) -> Any:
    """The body of an error, as well as it can be read; it never raises, so it never masks the error itself.

    *error_type* if it fits; else `ProblemDetails`, plain data for JSON and its like (declared, or
    looking it), text without outer blanks, and None for an empty body.
    """
    if not body:
        return None
    if error_type is not None and error_type is not ProblemDetails:
        try:
            return decode_body(body, error_type, content_type, strict=strict, dec_hook=dec_hook)
        except Exception:  # also what a hook raises: the status is what has to be reported
            pass
    media, kind, charset = _content_type((content_type or "")[:_LONGEST_HEADER])
    if kind in ("text", "other") and body.lstrip()[:1] in (b"{", b"["):
        kind = "json"
    if kind not in ("text", "other", "html"):
        try:
            data = _cached_decoder(Any, kind, charset, True, None)(body)
        except DecodeError:
            pass
        else:
            is_problem = media == "application/problem+json" or error_type is ProblemDetails
            return _problem(cast("dict[str, Any]", data)) if is_problem and isinstance(data, dict) else data
    return body.decode(charset, "replace").removeprefix("\ufeff").strip()


def _problem(data: dict[str, Any]) -> ProblemDetails:
    known = {name: data[name] for name, kind in _PROBLEM_MEMBERS.items() if type(data.get(name)) is kind}
    extensions = {name: member for name, member in data.items() if name not in _PROBLEM_MEMBERS}
    return ProblemDetails(**known, extensions=extensions)


def error_type_for(status: int, error_types: Mapping[int | str, Any] | None) -> Any:
    """What the body of this status decodes to: by exact status, ``"4XX"`` or ``"default"``, in this order."""
    for key in (status, f"{status // 100}XX", "default"):
        if error_types and key in error_types:
            return error_types[key]
    return None


def check_error_types(error_types: Mapping[int | str, Any], dec_hook: DecHook | None = None) -> None:
    """Refuse a key that no status could match (`InvalidRequestError`) and a type that cannot be decoded."""
    for key, error_type in error_types.items():
        if key != "default" and not re.fullmatch(r"[1-5](?:\d\d|XX)", str(key)):
            raise InvalidRequestError(f"error_types: {key!r} is no status, no '4XX' and not 'default'")
        if isinstance(key, str) and key.isdigit():
            raise TypeError(f"error_types: the status {key!r} must be an int")
        check_cast_to(error_type, dec_hook)
