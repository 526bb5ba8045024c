"""compare.py --self-test: what is expected, stated by hand.

Each case is a BSON value, the type of a column and what the column should
hold: numbers as text, doubles and dates as the bytes of their binary form,
parsed JSON for jsonb.  Cases with strings in columns of other types need a
PostgreSQL to ask and are left out without one.
"""
import decimal
import sys

from expected import MISFIT, Column, Either, Strings, column_path, divide, path_tree
from values import (
    ARRAY, BINARY, BOOLEAN, CODE, DATE, DB_POINTER, DECIMAL, DOCUMENT, DOUBLE, INT32, INT64, MAX_KEY, MIN_KEY, NULL, OBJECT_ID,
    REGEX, RELAXED, SCOPED_CODE, STRING, SYMBOL, TIMESTAMP, UNDEFINED, CANONICAL, decode, parse, render)

TZ, TS = "timestamp with time zone", "timestamp without time zone"
OID = "65a1f0c2e4b0a1d2c3e4f501"
UUID = bytes(range(16))
NAN, INF = float("nan"), float("inf")


def dec(text):
    return DECIMAL, decimal.Decimal(text)


def ints(*numbers):
    return ARRAY, [(INT32, number) for number in numbers]


SCALARS = [
    # Integers: the width is no property of the field, the range is.
    ((INT32, 7), "bigint", 7),
    ((INT64, 2 ** 63 - 1), "bigint", 9223372036854775807),
    ((INT64, -2 ** 63), "bigint", -9223372036854775808),
    ((INT64, 2 ** 31 - 1), "integer", 2147483647),
    ((INT64, 2 ** 31), "integer", MISFIT),
    ((INT32, -32768), "smallint", -32768),
    ((INT32, 32768), "smallint", MISFIT),
    ((DOUBLE, 5.0), "bigint", 5),
    ((DOUBLE, 5.5), "bigint", MISFIT),
    ((DOUBLE, -0.0), "bigint", MISFIT),
    ((DOUBLE, 2.0 ** 63), "bigint", MISFIT),
    ((DOUBLE, -2.0 ** 63), "bigint", -9223372036854775808),
    ((DOUBLE, NAN), "bigint", MISFIT),
    ((BOOLEAN, True), "integer", 1),
    ((DATE, 1577836800123), "bigint", 1577836800123),
    ((DATE, 5), "integer", MISFIT),
    ((OBJECT_ID, OID), "bigint", MISFIT),
    (dec("12"), "bigint", Either(12)),
    (dec("12.5"), "bigint", MISFIT),
    # Numeric: digits and scale; a double by its shortest digits.
    (dec("1.10"), "numeric", "1.10"),
    (dec("1E+3"), "numeric", "1000"),
    (dec("0E-3"), "numeric", "0.000"),
    (dec("NaN"), "numeric", "NaN"),
    (dec("-Infinity"), "numeric", "-Infinity"),
    (dec("-0"), "numeric", MISFIT),
    (dec("1E+6144"), "numeric", "1" + "0" * 6144),
    ((DOUBLE, 0.1), "numeric", "0.1"),
    ((DOUBLE, 5.0), "numeric", "5"),
    ((DOUBLE, 1e-7), "numeric", "0.0000001"),
    ((DOUBLE, INF), "numeric", "Infinity"),
    ((DOUBLE, -0.0), "numeric", MISFIT),
    ((INT64, 2 ** 53 + 1), "numeric", "9007199254740993"),
    ((BOOLEAN, True), "numeric", MISFIT),
    (dec("1.1"), "numeric(12,2)", "1.10"),
    (dec("1.100"), "numeric(12,2)", "1.10"),
    (dec("1.005"), "numeric(12,2)", MISFIT),
    ((INT64, 9999999999), "numeric(12,2)", "9999999999.00"),
    ((INT64, 10000000000), "numeric(12,2)", MISFIT),
    ((DOUBLE, INF), "numeric(12,2)", MISFIT),
    ((DOUBLE, NAN), "numeric(12,2)", "NaN"),
    # Floating point: bits.
    ((DOUBLE, 0.1), "double precision", "3fb999999999999a"),
    ((DOUBLE, -0.0), "double precision", "8000000000000000"),
    ((DOUBLE, 5e-324), "double precision", "0000000000000001"),
    ((DOUBLE, -INF), "double precision", "fff0000000000000"),
    ((INT64, 2 ** 53), "double precision", "4340000000000000"),
    ((INT64, 2 ** 53 + 1), "double precision", MISFIT),
    ((INT64, 2 ** 63 - 1), "double precision", MISFIT),
    (dec("1.5"), "double precision", Either("3ff8000000000000")),
    (dec("0.12345678901234567890"), "double precision", MISFIT),
    ((DOUBLE, 0.5), "real", "3f000000"),
    ((DOUBLE, 0.1), "real", MISFIT),
    ((DOUBLE, 1e308), "real", MISFIT),
    ((INT32, 16777217), "real", MISFIT),
    # Booleans are booleans only.
    ((BOOLEAN, False), "boolean", False),
    ((INT32, 1), "boolean", MISFIT),
    # Dates: 2000-01-01 is 0; the range of timestamptz; no time of day in a date.
    ((DATE, 946684800001), TZ, "00000000000003e8"),
    ((DATE, -210866803200000), TZ, "fd0f7cc1411fa000"),
    ((DATE, -210866803200001), TZ, MISFIT),
    ((DATE, 9224318015999999), TZ, "7fffff5bb3b29c18"),
    ((DATE, 9224318016000000), TZ, MISFIT),
    ((TIMESTAMP, (946684801, 9)), TZ, "00000000000f4240"),
    ((MIN_KEY, None), TZ, "8000000000000000"),
    ((MAX_KEY, None), TZ, "7fffffffffffffff"),
    ((INT64, 946684800000), TZ, MISFIT),
    ((DATE, 946684800000), TS, "0000000000000000"),
    ((DATE, 946771200000), "date", "00000001"),
    ((DATE, 946771200001), "date", MISFIT),
    ((DATE, -86400000), "date", "ffffd532"),
    ((MAX_KEY, None), "date", "7fffffff"),
    # Text: the text form of scalars.
    ((STRING, "größe"), "text", "größe"),
    ((INT64, -5), "text", "-5"),
    (dec("1E+3"), "text", "1E+3"),
    ((BOOLEAN, True), "text", "true"),
    ((DATE, 1700000000123), "text", "2023-11-14T22:13:20.123Z"),
    ((OBJECT_ID, OID), "text", OID),
    ((BINARY, (4, UUID)), "text", "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ((BINARY, (3, UUID)), "text", "AAECAwQFBgcICQoLDA0ODw=="),
    ((BINARY, (0, b"abc")), "text", "YWJj"),
    ((REGEX, ("^a", "im")), "text", "/^a/im"),
    ((CODE, "f()"), "text", "f()"),
    ((SYMBOL, "s"), "text", "s"),
    ((MIN_KEY, None), "text", MISFIT),
    ((DOCUMENT, {}), "text", MISFIT),
    (ints(1), "text", MISFIT),
    ((STRING, "abcde"), "character varying(5)", "abcde"),
    ((STRING, "abcdef"), "character varying(5)", MISFIT),
    ((STRING, "größe"), "character varying(5)", "größe"),
    ((STRING, "ab "), "character(5)", MISFIT),
    ((DOUBLE, INF), "character varying(5)", MISFIT),
    # Bytes.
    ((BINARY, (4, UUID)), "uuid", "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ((BINARY, (3, UUID)), "uuid", MISFIT),
    ((BINARY, (4, b"short")), "uuid", MISFIT),
    ((OBJECT_ID, OID), "uuid", MISFIT),
    ((BINARY, (128, b"\0\xff")), "bytea", "00ff"),
    ((OBJECT_ID, OID), "bytea", OID),
    # Arrays: nulls stay, an odd element takes all of it away.
    (ints(1, 2), "bigint[]", ["1", "2"]),
    ((ARRAY, []), "bigint[]", []),
    ((ARRAY, [(INT32, 1), (NULL, None), (INT64, 2)]), "bigint[]", ["1", None, "2"]),
    ((ARRAY, [(INT32, 1), (BOOLEAN, True)]), "bigint[]", Either(["1", "1"])),
    ((ARRAY, [(INT32, 1), (DOUBLE, 1.5)]), "bigint[]", MISFIT),
    ((ARRAY, [(INT32, 1), ints(1)]), "bigint[]", MISFIT),
    ((INT32, 1), "bigint[]", MISFIT),
    ((ARRAY, [(STRING, ""), (STRING, "NULL")]), "text[]", ["", "NULL"]),
    ((ARRAY, [(STRING, "1"), (INT32, 5)]), "bigint[]", MISFIT),
    ((ARRAY, [(STRING, "a"), (INT32, 5)]), "text[]", Either(["a", "5"])),
    ((ARRAY, [(DOUBLE, -0.0)]), "double precision[]", ["8000000000000000"]),
    ((ARRAY, [dec("1.10")]), "numeric[]", ["1.10"]),
    ((ARRAY, [(BOOLEAN, True), (BOOLEAN, False)]), "boolean[]", ["true", "false"]),
    ((ARRAY, [(DATE, 946684800000)]), TZ + "[]", ["0000000000000000"]),
    ((ARRAY, [(BINARY, (4, UUID))]), "uuid[]", ["00010203-0405-0607-0809-0a0b0c0d0e0f"]),
    # jsonb, simple form.
    ((DOUBLE, 5.0), "jsonb", ("5.0",)),
    ((DOUBLE, -0.0), "jsonb", {"$numberDouble": "-0.0"}),
    ((DOUBLE, NAN), "jsonb", "NaN"),
    ((INT64, 5), "jsonb", ("5",)),
    (dec("1.10"), "jsonb", ("1.10",)),
    (dec("Infinity"), "jsonb", "Infinity"),
    ((OBJECT_ID, OID), "jsonb", OID),
    ((DATE, 253402300800000), "jsonb", {"$date": {"$numberLong": "253402300800000"}}),
    ((DATE, -1), "jsonb", "1969-12-31T23:59:59.999Z"),
    ((REGEX, ("a", "")), "jsonb", "/a/"),
    ((UNDEFINED, None), "jsonb", None),
    ((TIMESTAMP, (7, 9)), "jsonb", {"$timestamp": {"t": ("7",), "i": ("9",)}}),
    ((SCOPED_CODE, ("f", {"x": (INT32, 1)})), "jsonb", {"$code": "f", "$scope": {"x": ("1",)}}),
    ((DB_POINTER, ("a.b", OID)), "jsonb", {"$dbPointer": {"$ref": "a.b", "$id": {"$oid": OID}}}),
    ((DOCUMENT, {"a": ints(1), "b": (MIN_KEY, None)}), "jsonb", {"a": [("1",)], "b": {"$minKey": ("1",)}}),
]

STRINGS = [
    ("12", "bigint", 12), (" 12 ", "bigint", 12), ("x", "bigint", MISFIT), ("1.5", "bigint", MISFIT),
    ("9223372036854775808", "bigint", MISFIT), ("70000", "smallint", MISFIT),
    ("1.10", "numeric", "1.10"), ("1.005", "numeric(12,2)", MISFIT), ("1.5", "numeric(12,2)", "1.50"),
    ("NaN", "numeric", "NaN"), ("0.1", "double precision", "3fb999999999999a"),
    ("0.12345678901234567890", "double precision", MISFIT), ("1e400", "double precision", MISFIT),
    ("true", "boolean", True), ("maybe", "boolean", MISFIT),
    ("2000-01-02", "date", "00000001"), ("2000-01-02T10:00:00Z", "date", MISFIT),
    ("2000-01-01T00:00:00.001Z", TZ, "00000000000003e8"), ("2000-01-01", TZ, "0000000000000000"),
    ("2000-01-01T02:00:00+02:00", TZ, "0000000000000000"), ("now", TZ, MISFIT), ("infinity", TZ, "7fffffffffffffff"),
    ("2000-01-01T00:00:00.0000005Z", TZ, MISFIT),
    ("2000-01-01T02:00:00+02:00", TS, "0000000000000000"), ("2000-01-01T00:00:00Z", TS, "0000000000000000"),
    ("{00010203-0405-0607-0809-0A0B0C0D0E0F}", "uuid", "00010203-0405-0607-0809-0a0b0c0d0e0f"), ("no", "uuid", MISFIT),
    ("abc", "bytea", MISFIT), ("10.0.0.1", "inet", "10.0.0.1/32"), ("{1,2}", "bigint[]", MISFIT),
    ("abc", "bigint[]", MISFIT), ("a\0b", "bigint", MISFIT), ("a\udcffb", "bigint", MISFIT),
]

PATHS = [
    ("a", ("a",)), ("shipTo.zip", ("shipTo", "zip")), ('address."zip.code"', ("address", "zip.code")), ('""', ("",)),
    ('a.""', ("a", "")), ('"a""b".c', ('a"b', "c")), ("price (USD)", ("price (USD)",)), ("$set", ("$set",)),
]

FORMS = [
    ((DATE, 1700000000123), RELAXED, {"$date": "2023-11-14T22:13:20.123Z"}),
    ((DATE, 253402300800000), RELAXED, {"$date": {"$numberLong": "253402300800000"}}),
    ((BINARY, (4, b"abc")), RELAXED, {"$binary": {"base64": "YWJj", "subType": "04"}}),
    (dec("1.10"), RELAXED, {"$numberDecimal": "1.10"}),
    ((DOUBLE, 1e300), RELAXED, ("1" + "0" * 300 + ".0",)),
    ((DOUBLE, NAN), RELAXED, {"$numberDouble": "NaN"}),
    ((REGEX, ("a", "i")), RELAXED, {"$regularExpression": {"pattern": "a", "options": "i"}}),
    ((UNDEFINED, None), RELAXED, {"$undefined": True}),
    ((INT32, 5), CANONICAL, {"$numberInt": "5"}),
    ((INT64, 5), CANONICAL, {"$numberLong": "5"}),
    ((DOUBLE, 5.0), CANONICAL, {"$numberDouble": "5.0"}),
    ((DATE, -1), CANONICAL, {"$date": {"$numberLong": "-1"}}),
]

# {"a": {"b": 1, "c": 2}, "n": null}, with columns a.b and a.d of bigint, n of text, and so on.
DIVIDED = [
    ({"a": (DOCUMENT, {"b": (INT32, 1), "c": (INT32, 2)}), "n": (NULL, None)}, [1, None, None], {"a": {"c": ("2",)}}),
    ({"a": (DOCUMENT, {})}, [None, None, None], {"a": {}}),
    ({"a": (DOCUMENT, {"b": (NULL, None)})}, [None, None, None], {}),
    ({"a": (INT32, 5), "n": (STRING, "x")}, [None, None, "x"], {"a": ("5",)}),
    ({"a": (NULL, None)}, [None, None, None], {}),
    ({"a.b": (INT32, 5)}, [None, None, None], {"a.b": ("5",)}),
    ({"a": (DOCUMENT, {"b": (DOUBLE, 1.5), "d": (INT32, 2)})}, [None, 2, None], {"a": {"b": ("1.5",)}}),
    ({"n": (NULL, None), "z": (NULL, None)}, [None, None, None], {"z": None}),
]

# {"a": 1, "a": "x", "d": {"k": true, "k": null}, "s": "\xff"}
REPEATED = (b"\x34\0\0\0\x10a\0\1\0\0\0\2a\0\2\0\0\0x\0\3d\0\x0c\0\0\0\x08k\0\1\x0ak\0\0\2s\0\2\0\0\0\xff\0"
            b"\x13n\0\x6e\0\0\0\0\0\0\0\0\0\0\0\0\0\x3c\x30\0")


def shown(found):
    return f"Either({found.found!r})" if isinstance(found, Either) else repr(found)


def run(dsn=None):
    problems, count = [], 0
    strings = Strings(dsn) if dsn else None

    def check(what, found, expected):
        nonlocal count
        count += 1
        if isinstance(expected, Either) or isinstance(found, Either) or expected is MISFIT or found is MISFIT:
            right = shown(found) == shown(expected)
        else:
            right = found == expected
        if not right:
            problems.append(f"{what}: expected {shown(expected)}, found {shown(found)}")

    for value, pgtype, expected in SCALARS:
        check(f"{value} as {pgtype}", Column("c", ("c",), pgtype, "simple", strings).fit(value), expected)
    for text, pgtype, expected in STRINGS if dsn else ():
        check(f"{text!r} as {pgtype}", Column("c", ("c",), pgtype, "simple", strings).fit((STRING, text)), expected)
    for text, expected in PATHS:
        check(text, column_path("x", f"MongoDB: a.b c {text} (array<string>)", "a.b c"), expected)
    for value, form, expected in FORMS:
        check(f"form of {value}", canonical_text(render(value, form)), expected)
    tree = path_tree([Column("a_b", ("a", "b"), "bigint"), Column("a_d", ("a", "d"), "bigint"), Column("n", ("n",), "text")])
    for document, expected, rest in DIVIDED:
        row = [None] * 3
        check(f"_extra of {document}", divide(document, tree, row, row), rest)
        check(f"row of {document}", row, expected)
    check_reader(check)
    for problem in problems:
        print(problem, file=sys.stderr)
    left_out = "" if dsn else f", {len(STRINGS)} left out without a PostgreSQL"
    print(f"{count} checks, {len(problems)} wrong{left_out}")
    return 1 if problems else 0


def canonical_text(tree):
    """Doubles are compared by value elsewhere; here by their text."""
    if isinstance(tree, dict) and hasattr(tree.get("$numberDouble"), "value"):
        return {"$numberDouble": repr(tree["$numberDouble"].value)}
    return tree


def check_reader(check):
    data = REPEATED[:0] + (len(REPEATED)).to_bytes(4, "little") + REPEATED[4:]
    document = decode(data)
    check("the last of equal names", document["a"], (STRING, "x"))
    check("all of them", [name for name, _ in document.pairs], ["a", "a", "d", "s", "n"])
    check("in json", render((DOCUMENT, document), RELAXED, True)[1][2],
          ("d", ("{}", [("k", True), ("k", None)])))
    check("nested", document["d"][1]["k"], (NULL, None))
    check("no UTF-8", document["s"], (STRING, "\udcff"))
    check("decimal", str(document["n"][1]), "1.10")
    check("number as written", parse('{"a": [1.10, 5, 1e2]}'), {"a": [("1.10",), ("5",), ("1e2",)]})
    check("a date before 1970", {"$date": {"$numberLong": "-1"}} == render((DATE, -1), RELAXED), True)
