"""What a row of the table should be for a document.

The extension's converter is checked against this file, which follows the
reference (types, "nothing is rounded", _extra) and not its code: Column.fit()
states a value in the form in which Column.sql() reads it, numbers digit by
digit, doubles and dates as the bytes of their binary form; divide() makes a row
of a document, and what is left over for _extra.  What strings become in columns
of other types is what PostgreSQL's own input functions say, as long as they
change nothing.

MISFIT says that a value does not fit and belongs into _extra.  Either(found)
says that the reference leaves it open whether it fits: a column that is NULL
then has it in _extra, any other holds exactly this.  That is so for decimals in
integer and floating columns, for arrays of other or of several types, and for
strings in array columns.
"""
import decimal
import re
import struct

import psycopg2

from values import (
    ARRAY, BINARY, BOOLEAN, CODE, DATE, DB_POINTER, DECIMAL, DOCUMENT, DOUBLE, FORMS, INT32, INT64, MAX_KEY, MIN_KEY, NOTHING,
    OBJECT_ID, REGEX, RELAXED, SCOPED_CODE, SIMPLE, STRING, SYMBOL, TIMESTAMP, DoubleText, JsonText, double_name, has_iso,
    is_minus_zero, iso, itself, parse, render, tagged_date, uuid_text)


class Misfit:
    def __repr__(self):
        return "MISFIT"


MISFIT = Misfit()


class Either:
    """Fits as this, or is diverted."""

    def __init__(self, found):
        self.found = found

    def __repr__(self):
        return f"Either({self.found!r})"


# ---------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------

FIRST_DATE, LAST_DATE = -210866803200000, 9224318015999999
Y2000 = 946684800000
DAY = 86400000


def int_fit(bits):
    """Whole numbers within the range; a date's milliseconds in 64 bits only."""
    def whole(value):
        return value if -2 ** bits <= value < 2 ** bits else MISFIT

    def from_double(value):
        return whole(int(value)) if double_name(value) is None and value.is_integer() else MISFIT

    def from_decimal(value):
        if not value.is_finite() or is_minus_zero(value) or value != int(value) or whole(int(value)) is MISFIT:
            return MISFIT
        return Either(int(value))

    rules = {INT32: whole, INT64: whole, BOOLEAN: int, DOUBLE: from_double, DECIMAL: from_decimal}
    return rules | {DATE: whole} if bits == 63 else rules


def float_fit(code):
    """Doubles and integers without any change; decimals when their digits are."""
    def pack(value):
        try:
            return struct.pack(code, value).hex()
        except OverflowError:
            return MISFIT

    def from_double(value):
        packed = pack(value)
        if packed is MISFIT or value != value:
            return packed
        return packed if struct.unpack(code, bytes.fromhex(packed))[0] == value else MISFIT

    def from_int(value):
        return from_double(float(value)) if int(float(value)) == value else MISFIT

    def from_decimal(value):
        packed = pack(float(value))
        same = packed is not MISFIT and (not value.is_finite() or decimal.Decimal(shortest(packed)) == value)
        return Either(packed) if same else MISFIT

    def shortest(packed):
        number = struct.unpack(code, bytes.fromhex(packed))[0]
        return repr(number) if code == ">d" else next(
            t for t in (f"{number:.{n}g}" for n in range(6, 10)) if struct.pack(code, float(t)).hex() == packed)

    return {INT32: from_int, INT64: from_int, DOUBLE: from_double, DECIMAL: from_decimal}


def number_text(value, args):
    """Text of a numeric; with numeric(p,s) only what has no digits too many."""
    if value.is_nan():
        return "NaN"
    if is_minus_zero(value):
        return MISFIT
    if not args:
        return format(value, "f") if value.is_finite() else str(value)
    precision, scale = args[0], args[1] if len(args) > 1 else 0
    if not value.is_finite() or abs(value) >= decimal.Decimal(10) ** (precision - scale):
        return MISFIT
    fitted = value.quantize(decimal.Decimal(1).scaleb(-scale))
    return format(fitted, "f") if fitted == value else MISFIT


def numeric_fit(args):
    def from_double(value):
        text = repr(value)
        return number_text(decimal.Decimal(text[:-2] if text.endswith(".0") else text), args)

    def from_int(value):
        return number_text(decimal.Decimal(value), args)

    return {INT32: from_int, INT64: from_int, DOUBLE: from_double, DECIMAL: lambda value: number_text(value, args)}


def micros(value):
    return struct.pack(">q", value).hex()


def stamp_fit(args):
    """timestamptz and timestamp: microseconds since 2000-01-01 in UTC."""
    unit = 10 ** (3 - args[0]) if args and args[0] < 3 else 1

    def from_date(value):
        return micros((value - Y2000) * 1000) if FIRST_DATE <= value <= LAST_DATE and value % unit == 0 else MISFIT

    return {DATE: from_date, TIMESTAMP: lambda value: from_date(value[0] * 1000),
            MIN_KEY: lambda value: micros(-2 ** 63), MAX_KEY: lambda value: micros(2 ** 63 - 1)}


def day_fit():
    def days(value):
        return struct.pack(">i", value).hex()

    def from_date(value):
        return days((value - Y2000) // DAY) if FIRST_DATE <= value <= LAST_DATE and value % DAY == 0 else MISFIT

    return {DATE: from_date, MIN_KEY: lambda value: days(-2 ** 31), MAX_KEY: lambda value: days(2 ** 31 - 1)}


def text_fit(args, padded):
    """The text form of a scalar; not of the keys at both ends, which no text is."""
    forms = {kind: SIMPLE[kind] for kind in (STRING, CODE, SYMBOL, OBJECT_ID, REGEX, BINARY)} | {
        INT32: str, INT64: str, DECIMAL: str, DOUBLE: DoubleText,
        BOOLEAN: lambda value: "true" if value else "false",
        DATE: lambda value: iso(value) if has_iso(value) else JsonText(tagged_date(value)),
        TIMESTAMP: lambda value: JsonText(RELAXED[TIMESTAMP](value)),
        DB_POINTER: lambda value: JsonText(RELAXED[DB_POINTER](value)),
        SCOPED_CODE: lambda value: JsonText(render((SCOPED_CODE, value), RELAXED)),
    }

    def limited(form):
        def fit(value):
            text = form(value)
            plain = text if isinstance(text, str) else double_name(value) or repr(value)
            return MISFIT if len(plain) > args[0] or padded and plain.endswith(" ") else text
        return fit

    return {kind: limited(form) for kind, form in forms.items()} if args else forms


def binary_fit(value):
    return value[1].hex()


def uuid_fit(value):
    return uuid_text(value[1]) if value[0] == 4 and len(value[1]) == 16 else MISFIT


def rules_of(base, args):
    """For a type, what each kind of value becomes; kinds that are missing do not fit."""
    integers = {"bigint": 63, "integer": 31, "smallint": 15}
    if base in integers:
        return int_fit(integers[base])
    if base in TEXTS:
        return text_fit(args, base == "character")
    if base.startswith("timestamp"):
        return stamp_fit(args)
    return {
        "double precision": lambda: float_fit(">d"),
        "real": lambda: float_fit(">f"),
        "numeric": lambda: numeric_fit(args),
        "boolean": lambda: {BOOLEAN: itself},
        "date": day_fit,
        "uuid": lambda: {BINARY: uuid_fit},
        "bytea": lambda: {BINARY: binary_fit, OBJECT_ID: itself},
    }.get(base, dict)()


TEXTS = ("text", "character varying", "character")
JSONS = ("jsonb", "json")
# Kinds that arrays of a type are made for; of any other, or of several, it is open whether they are odd elements.
NATIVE = {
    "text": {STRING, OBJECT_ID, REGEX, CODE, SYMBOL}, "character varying": {STRING, OBJECT_ID, REGEX, CODE, SYMBOL},
    "bigint": {INT32, INT64}, "integer": {INT32, INT64}, "smallint": {INT32, INT64}, "numeric": {DECIMAL},
    "double precision": {DOUBLE}, "real": {DOUBLE}, "boolean": {BOOLEAN}, "timestamp with time zone": {DATE}, "timestamp without time zone": {DATE},
    "date": {DATE}, "uuid": {BINARY}, "bytea": {BINARY},
}
COLUMN_SQL = {
    "timestamp with time zone": "encode(timestamptz_send({0}), 'hex')",
    "timestamp without time zone": "encode(timestamp_send({0}), 'hex')",
    "date": "encode(date_send({0}), 'hex')",
    "double precision": "encode(float8send({0}), 'hex')",
    "real": "encode(float4send({0}), 'hex')",
    "bytea": "encode({0}, 'hex')",
    "bigint": "{0}", "integer": "{0}", "smallint": "{0}", "boolean": "{0}", "text": "{0}",
}
# A string whose zone its type's input function drops: the instant counts, in UTC.
INPUT_SQL = {"timestamp without time zone": "%(text)s::timestamptz AT TIME ZONE 'UTC'"}
# A string that its type's input function takes, but not unchanged.
EXACT_SQL = {
    "date": "%(text)s::timestamp = x",
    "double precision": "%(text)s::numeric = x::text::numeric",
    "real": "%(text)s::numeric = x::text::numeric",
}
MOVING = re.compile(r"\b(now|today|tomorrow|yesterday)\b|:\d+\.\d{6}\d*[1-9]", re.I)


class Strings:
    """What strings become in columns of other types: PostgreSQL is asked."""

    def __init__(self, dsn):
        self.connection = psycopg2.connect(dsn)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.cursor.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1")
        self.seen = {}

    def take(self, text, column):
        key = text, column.type
        if key not in self.seen:
            self.seen[key] = self.ask(text, column)
        return self.seen[key]

    def ask(self, text, column):
        base = column.base
        if "\0" in text or base[:4] in ("date", "time") and MOVING.search(text):
            return MISFIT
        try:
            self.cursor.execute(f"SELECT {column.sql('x')}, {EXACT_SQL.get(base, 'true')} "
                                f"FROM (SELECT {INPUT_SQL.get(base, f'%(text)s::{base}')}) AS s(x)", {"text": text})
        except (psycopg2.Error, UnicodeEncodeError):
            return MISFIT
        found, exact = self.cursor.fetchone()
        if exact is False or found is None:
            return MISFIT
        return number_text(decimal.Decimal(found), column.args) if base == "numeric" else found


class Column:
    """A column: its name, the path of its field, its type."""

    def __init__(self, name, path, pgtype, form="simple", strings=None):
        self.name, self.path, self.type, self.strings = name, path, pgtype, strings
        parts = re.fullmatch(r"(.*?)(?:\((\d+)(?:,(-?\d+))?\))?( with(?:out)? time zone)?(\[\])?", pgtype)
        self.base = parts.group(1) + (parts.group(4) or "")
        self.args = [int(n) for n in parts.group(2, 3) if n is not None]
        self.is_array = parts.group(5) is not None
        self.form = FORMS[form]
        self.rules = rules_of(self.base, self.args)

    def sql(self, quoted):
        """The column in the form in which fit() states values."""
        one = COLUMN_SQL.get(self.base, "{0}::text")
        if not self.is_array:
            return one.format(quoted)
        return (f"CASE WHEN {quoted} IS NULL THEN NULL"
                f" WHEN array_ndims({quoted}) > 1 OR array_lower({quoted}, 1) <> 1 THEN ARRAY['bounds ' || array_dims({quoted})]"
                f" ELSE ARRAY(SELECT ({one.format('e')})::text FROM unnest({quoted}) WITH ORDINALITY AS u(e, n) ORDER BY n) END")

    def fit(self, value):
        """What the column should hold for a value that is not null."""
        if not self.is_array:
            return self.fit_one(value)
        return self.fit_elements(value[1]) if value[0] == ARRAY else MISFIT

    def fit_one(self, value):
        kind, payload = value
        if self.base in JSONS:
            return render(value, self.form, self.base == "json")
        rule = self.rules.get(kind)
        if rule is not None:
            return rule(payload)
        if kind != STRING or self.strings is None or self.base == "bytea":   # a string is no bytes
            return MISFIT
        return self.strings.take(payload, self)

    def fit_elements(self, elements):
        """Arrays go in whole; a null is an element, an odd one diverts them."""
        found, kinds, open_choice = [], set(), False
        for element in elements:
            if element[0] in NOTHING:
                found.append(None)
                continue
            if element[0] == STRING and self.rules.get(STRING) is None and self.base not in JSONS:
                return MISFIT
            one = self.fit_one(element)
            if one is MISFIT:
                return MISFIT
            kinds.add(element[0])
            open_choice |= isinstance(one, Either)
            one = one.found if isinstance(one, Either) else one
            found.append(one if self.base in JSONS or not isinstance(one, (int, bool)) else str(one).lower())
        one_type = len(kinds) <= 1 or kinds == {INT32, INT64}
        sure = not open_choice and one_type and kinds <= NATIVE.get(self.base, kinds)
        return found if sure else Either(found)

    def same(self, expected, actual):
        if expected is None or actual is None:
            return expected is actual    # null in jsonb is NULL, not the text null
        if self.base in JSONS:
            ordered = self.base == "json"
            actual = [a and parse(a, ordered) for a in actual] if self.is_array else parse(actual, ordered)
        return expected == actual


# ---------------------------------------------------------------------
# Rows
# ---------------------------------------------------------------------

def split_path(text):
    """Names joined by dots; one in quotes may have dots, its quotes are doubled."""
    path, at = [], 0
    while True:
        quoted = re.compile(r'"((?:[^"]|"")*)"').match(text, at)
        if quoted:
            path.append(quoted.group(1).replace('""', '"'))
            at = quoted.end()
        else:
            end = text.find(".", at)
            end = len(text) if end < 0 else end
            path.append(text[at:end])
            at = end
        if at == len(text):
            return tuple(path)
        if text[at] != ".":
            raise ValueError(f"no path: {text}")
        at += 1


def column_path(name, comment, namespace):
    """The path in a column's comment, else the name of the column."""
    start = f"MongoDB: {namespace} "
    if comment is None or not comment.startswith(start):
        return (name,)
    found = re.fullmatch(r"(.*) \([^()]*\)", comment[len(start):], re.S)
    return split_path(found.group(1)) if found else (name,)


def path_tree(columns):
    """Names to columns, or to the tree of an embedded document's fields."""
    tree = {}
    for at, column in enumerate(columns):
        node = tree
        for name in column.path[:-1]:
            node = node.setdefault(name, {})
        node[column.path[-1]] = (at, column)
    return tree


def divide(document, tree, actual, row):
    """Fills row with what fits its column; returns the rest, as in _extra.

    actual, the row as it is, decides where either is right."""
    rest = {}
    for name, value in document.items():
        node = tree.get(name)
        if node is None:
            rest[name] = render(value, RELAXED)
        elif value[0] in NOTHING:
            pass                         # null and absent become the same, also where a document is columns
        elif isinstance(node, dict):
            inner = divide(value[1], node, actual, row) if value[0] == DOCUMENT else render(value, RELAXED)
            if inner or value[0] != DOCUMENT or not value[1]:
                rest[name] = inner
        else:
            at, column = node
            found = column.fit(value)
            if isinstance(found, Either):
                found = MISFIT if actual[at] is None else found.found
            if found is MISFIT:
                rest[name] = render(value, RELAXED)
            else:
                row[at] = found
    return rest
