"""BSON without loss, and the three forms of Extended JSON.

decode() reads a document byte by byte, because a driver's dict does not keep
all of it: dates beyond the year 9999, text that is not UTF-8, widths of
integers, bits of NaNs.  render() writes a value as *parsed* Extended JSON, so
that it can be compared with what PostgreSQL holds.

A BSON value is a pair (kind, payload); a document is a dict of them, the last
of equal names wins, a Repeated when there are any.  Text that is not UTF-8
becomes a str with surrogates, which equals nothing that PostgreSQL can hold.

Parsed JSON has numbers as tuples of one text, so that 1.10 is not 1.1 and 5 is
not 5.0.
"""
import base64
import datetime
import decimal
import json
import re
import struct

decimal.getcontext().prec = 20000

(DOUBLE, STRING, DOCUMENT, ARRAY, BINARY, UNDEFINED, OBJECT_ID, BOOLEAN, DATE, NULL, REGEX, DB_POINTER, CODE, SYMBOL,
 SCOPED_CODE, INT32, TIMESTAMP, INT64, DECIMAL) = range(1, 20)
MAX_KEY, MIN_KEY = 0x7F, 0xFF
NOTHING = (NULL, UNDEFINED)


# ---------------------------------------------------------------------
# Reading BSON
# ---------------------------------------------------------------------

class Repeated(dict):
    """A document in which a name stands twice; pairs has all of it."""
    pairs = ()


names = {}
get_int32 = struct.Struct("<i").unpack_from
get_int64 = struct.Struct("<q").unpack_from
get_double = struct.Struct("<d").unpack_from
get_pair32 = struct.Struct("<II").unpack_from
get_pair64 = struct.Struct("<QQ").unpack_from


def read_string(data, at):
    end = at + 4 + get_int32(data, at)[0]
    return data[at + 4:end - 1].decode("utf-8", "surrogateescape"), end


def read_cstring(data, at):
    end = data.index(0, at)
    return data[at:end].decode("utf-8", "surrogateescape"), end + 1


def read_document(data, at):
    return decode(data, at), at + get_int32(data, at)[0]


def read_array(data, at):
    return [value for _, value in decode_pairs(data, at)], at + get_int32(data, at)[0]


def read_binary(data, at):
    end = at + 5 + get_int32(data, at)[0]
    subtype = data[at + 4]
    return (subtype, data[at + (9 if subtype == 2 else 5):end]), end


def read_regex(data, at):
    pattern, at = read_cstring(data, at)
    options, at = read_cstring(data, at)
    return (pattern, options), at


def read_db_pointer(data, at):
    reference, at = read_string(data, at)
    return (reference, data[at:at + 12].hex()), at + 12


def read_scoped_code(data, at):
    code, scope = read_string(data, at + 4)
    return (code, decode(data, scope)), at + get_int32(data, at)[0]


def read_decimal(data, at):
    """IEEE 754-2008 decimal128 in its binary encoding."""
    low, high = get_pair64(data, at)
    sign = "-" if high >> 63 else ""
    if high >> 58 & 0x1F >= 0x1E:
        text = "NaN" if high >> 58 & 1 else sign + "Infinity"
    elif high >> 61 & 3 == 3:            # a coefficient too large counts as zero
        text = f"{sign}0E{(high >> 47 & 0x3FFF) - 6176}"
    else:
        coefficient = (high & (1 << 49) - 1) << 64 | low
        text = f"{sign}{coefficient if coefficient < 10 ** 34 else 0}E{(high >> 49 & 0x3FFF) - 6176}"
    return decimal.Decimal(text), at + 16


READERS = {
    DOUBLE: lambda data, at: (get_double(data, at)[0], at + 8),
    STRING: read_string, CODE: read_string, SYMBOL: read_string,
    DOCUMENT: read_document, ARRAY: read_array, BINARY: read_binary,
    OBJECT_ID: lambda data, at: (data[at:at + 12].hex(), at + 12),
    BOOLEAN: lambda data, at: (data[at] != 0, at + 1),
    DATE: lambda data, at: (get_int64(data, at)[0], at + 8),
    REGEX: read_regex, DB_POINTER: read_db_pointer, SCOPED_CODE: read_scoped_code,
    INT32: lambda data, at: (get_int32(data, at)[0], at + 4),
    TIMESTAMP: lambda data, at: (get_pair32(data, at)[::-1], at + 8),
    INT64: lambda data, at: (get_int64(data, at)[0], at + 8),
    DECIMAL: read_decimal,
    UNDEFINED: lambda data, at: (None, at), NULL: lambda data, at: (None, at),
    MIN_KEY: lambda data, at: (None, at), MAX_KEY: lambda data, at: (None, at),
}


def decode_pairs(data, at):
    """The elements of the document that begins there, in order."""
    pairs = []
    at += 4
    while (kind := data[at]) != 0:
        end = data.index(0, at + 1)
        raw = data[at + 1:end]
        name = names.get(raw)
        if name is None:
            name = names[raw] = raw.decode("utf-8", "surrogateescape")
        payload, at = READERS[kind](data, end + 1)
        pairs.append((name, (kind, payload)))
    return pairs


def decode(data, at=0):
    pairs = decode_pairs(data, at)
    document = dict(pairs)
    if len(document) != len(pairs):
        document = Repeated(pairs)
        document.pairs = pairs
    return document


# ---------------------------------------------------------------------
# Extended JSON
# ---------------------------------------------------------------------

EPOCH = datetime.datetime(1970, 1, 1)
FIRST_ISO, FIRST_RELAXED, LAST_ISO = -62135596800000, 0, 253402300799999


as_jsonb = json.JSONDecoder(parse_float=lambda number: (number,), parse_int=lambda number: (number,))
as_json = json.JSONDecoder(parse_float=lambda number: (format(decimal.Decimal(number), "f"),),
                           parse_int=lambda number: (number,), object_pairs_hook=lambda pairs: ("{}", pairs))


def parse(text, ordered=False):
    """JSON with its numbers as they are written; ordered keeps what jsonb does not."""
    return (as_json if ordered else as_jsonb).decode(text)


class JsonText:
    """A text column with Extended JSON in it, whatever its blanks."""

    def __init__(self, tree):
        self.tree = tree

    def __eq__(self, actual):
        return actual is not None and self.tree == parse(actual)

    def __repr__(self):
        return f"JsonText({self.tree!r})"


class DoubleText:
    """The shortest digits of a double, with an exponent or without."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, actual):
        return (isinstance(actual, str) and double_bytes(float(actual)) == double_bytes(self.value)
                and len(digits(actual)) <= len(digits(repr(self.value))))

    def __repr__(self):
        return f"DoubleText({self.value!r})"


class LooseDate:
    """Before 1970 the relaxed form is ISO 8601 here and milliseconds there."""

    def __init__(self, millis):
        self.millis = millis

    def __eq__(self, actual):
        return actual in (tagged_date(self.millis)["$date"], iso(self.millis) if has_iso(self.millis) else None)

    def __repr__(self):
        return f"LooseDate({self.millis})"


def digits(text):
    return re.sub(r"[eE].*|[^0-9]", "", text).strip("0")


def double_bytes(value):
    return struct.pack(">d", value)


def iso(millis):
    return (EPOCH + datetime.timedelta(milliseconds=millis)).isoformat(timespec="milliseconds") + "Z"


def has_iso(millis):
    return FIRST_ISO <= millis <= LAST_ISO


def double_name(value):
    """What stands for a double that JSON has no number for, else None."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return "-0.0" if value == 0 and double_bytes(value)[0] else None


def double_number(value):
    text = format(decimal.Decimal(repr(value)), "f")
    return (text if "." in text else text + ".0",)


def relaxed_double(value):
    name = double_name(value)
    return double_number(value) if name is None else {"$numberDouble": name}


def canonical_double(value):
    return {"$numberDouble": double_name(value) or DoubleText(value)}


def simple_double(value):
    name = double_name(value)
    return name if name in ("NaN", "Infinity", "-Infinity") else relaxed_double(value)


def simple_decimal(value):
    if not value.is_finite():
        return str(value)
    return tagged_decimal(value) if is_minus_zero(value) else (format(value, "f"),)


def is_minus_zero(value):
    return value == 0 and value.is_signed()


def tagged_decimal(value):
    return {"$numberDecimal": str(value)}


def tagged_date(millis):
    return {"$date": {"$numberLong": str(millis)}}


def relaxed_date(millis):
    return {"$date": iso(millis) if FIRST_RELAXED <= millis <= LAST_ISO else LooseDate(millis)}


def tagged_binary(value):
    return {"$binary": {"base64": base64.b64encode(value[1]).decode(), "subType": f"{value[0]:02x}"}}


def binary_text(value):
    if value[0] == 4 and len(value[1]) == 16:
        return uuid_text(value[1])
    return base64.b64encode(value[1]).decode()


def uuid_text(value):
    return re.sub(r"(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", value.hex())


def itself(value):
    return value


RELAXED = {
    DOUBLE: relaxed_double, STRING: itself, BINARY: tagged_binary, BOOLEAN: itself, NULL: itself,
    INT32: lambda value: (str(value),), INT64: lambda value: (str(value),),
    UNDEFINED: lambda value: {"$undefined": True},
    OBJECT_ID: lambda value: {"$oid": value},
    DATE: relaxed_date, DECIMAL: tagged_decimal,
    REGEX: lambda value: {"$regularExpression": {"pattern": value[0], "options": value[1]}},
    DB_POINTER: lambda value: {"$dbPointer": {"$ref": value[0], "$id": {"$oid": value[1]}}},
    CODE: lambda value: {"$code": value},
    SYMBOL: lambda value: {"$symbol": value},
    TIMESTAMP: lambda value: {"$timestamp": {"t": (str(value[0]),), "i": (str(value[1]),)}},
    MIN_KEY: lambda value: {"$minKey": ("1",)},
    MAX_KEY: lambda value: {"$maxKey": ("1",)},
}
CANONICAL = dict(RELAXED) | {
    DOUBLE: canonical_double, DATE: tagged_date,
    INT32: lambda value: {"$numberInt": str(value)},
    INT64: lambda value: {"$numberLong": str(value)},
}
SIMPLE = dict(RELAXED) | {
    DOUBLE: simple_double, DECIMAL: simple_decimal, OBJECT_ID: itself, CODE: itself, SYMBOL: itself,
    BINARY: binary_text, UNDEFINED: itself,
    DATE: lambda value: iso(value) if has_iso(value) else tagged_date(value),
    REGEX: lambda value: f"/{value[0]}/{value[1]}",
}
FORMS = {"simple": SIMPLE, "relaxed": RELAXED, "canonical": CANONICAL}


def render(value, form, ordered=False):
    """A value as parsed JSON of a form."""
    kind, payload = value
    if kind == DOCUMENT:
        if ordered:
            pairs = getattr(payload, "pairs", None) or payload.items()
            return "{}", [(name, render(inner, form, True)) for name, inner in pairs]
        return {name: render(inner, form) for name, inner in payload.items()}
    if kind == ARRAY:
        return [render(inner, form, ordered) for inner in payload]
    if kind == SCOPED_CODE:
        parts = {"$code": (STRING, payload[0]), "$scope": (DOCUMENT, payload[1])}
        return render((DOCUMENT, parts), form, ordered)
    tree = form[kind](payload)
    return in_order(tree) if ordered else tree


def in_order(tree):
    """Objects of a scalar's form as parse(ordered=True) has them."""
    return ("{}", [(name, in_order(inner)) for name, inner in tree.items()]) if isinstance(tree, dict) else tree
