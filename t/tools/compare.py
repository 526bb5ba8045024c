#!/usr/bin/env python3
"""Compares a MongoDB collection with the PostgreSQL table made from it.

    compare.py MONGODB_URI DATABASE.COLLECTION PG_DSN TABLE

Independent of the extension: documents come through pymongo, rows through
psycopg2, and what a value becomes is written here a second time.  Each
document is turned into the row that it should be; rows and documents are then
matched by _id, column by column, with _extra.  Documents in the dead letters
(read from migrate_errors) count as accounted for, if they are in the source.

Columns are mapped to fields by their comments ("MongoDB: shop.orders
createdAt (date)").  Prints one line with counts, checksum and differences;
exit status 1 if there are any.
"""
import base64
import datetime
import decimal
import hashlib
import json
import re
import struct
import sys

import bson
import psycopg2
import pymongo
from bson import json_util
from bson.codec_options import CodecOptions

decimal.getcontext().prec = 20000
EPOCH = datetime.datetime(1970, 1, 1)
MISFIT = object()
CODEC = CodecOptions(unicode_decode_error_handler="surrogateescape", uuid_representation=bson.binary.UuidRepresentation.STANDARD)
CANONICAL = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL,
                                  uuid_representation=bson.binary.UuidRepresentation.STANDARD)
RELAXED = json_util.JSONOptions(json_mode=json_util.JSONMode.RELAXED,
                                uuid_representation=bson.binary.UuidRepresentation.STANDARD)


def parse_json(text):
    """JSON with numbers kept digit by digit."""
    return json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)


def extended(value, options):
    """Extended JSON of one value, as parsed JSON."""
    return parse_json(json_util.dumps({"v": value}, json_options=options))["v"]


def is_minus_zero(value):
    return isinstance(value, float) and value == 0 and struct.pack(">d", value)[0] == 0x80


def relaxed(value):
    """As inside _extra: relaxed Extended JSON, minus zero tagged."""
    if is_minus_zero(value):
        return {"$numberDouble": "-0.0"}
    if isinstance(value, dict):
        return {k: relaxed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [relaxed(v) for v in value]
    return extended(value, RELAXED)


def millis(value):
    return round((value - EPOCH) / datetime.timedelta(milliseconds=1))


def iso(value):
    text = value.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text.zfill(19)}.{value.microsecond // 1000:03d}Z"


def simple(value):
    """As inside jsonb columns: the simple form."""
    if value is None:
        return None
    if isinstance(value, bool) or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {k: simple(v) for k, v in value.items()}
    if isinstance(value, list):
        return [simple(v) for v in value]
    if isinstance(value, int):
        return decimal.Decimal(int(value))
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        return {"$numberDouble": "-0.0"} if is_minus_zero(value) else decimal.Decimal(repr(value))
    if isinstance(value, bson.Decimal128):
        number = value.to_decimal()
        return number if number.is_finite() else str(value)
    if isinstance(value, bson.ObjectId):
        return str(value)
    if isinstance(value, datetime.datetime):
        return iso(value)
    text = scalar_text(value)
    return relaxed(value) if text is MISFIT else text


def scalar_text(value):
    """Text form of a scalar, MISFIT for what has none of its own."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, bson.ObjectId, bson.Decimal128)):
        return str(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return None                      # compared as a number
    if isinstance(value, datetime.datetime):
        return iso(value)
    uuid = as_uuid(value)
    if uuid is not None:
        return uuid
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, bson.Regex):
        flags = "".join(c for c, f in (("i", re.I), ("m", re.M), ("s", re.S), ("u", re.U), ("x", re.X))
                        if value.flags & f)
        return f"/{value.pattern}/{flags}"
    return MISFIT


def as_uuid(value):
    if value.__class__.__name__ == "UUID":
        return str(value)
    return None


def fit(value, pgtype):
    """What the column should hold, in the form that COLUMN_SQL reads it."""
    number = isinstance(value, (int, float, bson.Decimal128)) and not isinstance(value, bool)
    if pgtype == "jsonb":
        return simple(value)
    if pgtype == "text":
        if isinstance(value, (dict, list)):
            return MISFIT
        if isinstance(value, float):
            return ("float", struct.pack(">d", value))
        text = scalar_text(value)
        return extended(value, RELAXED) if text is MISFIT else text
    if pgtype in ("bigint", "integer", "smallint") and number:
        bits = {"bigint": 63, "integer": 31, "smallint": 15}[pgtype]
        if isinstance(value, bson.Decimal128) or is_minus_zero(value):
            return MISFIT
        if isinstance(value, float) and not value.is_integer():
            return MISFIT
        return int(value) if -2 ** bits <= int(value) < 2 ** bits else MISFIT
    if pgtype == "double precision" and number:
        if isinstance(value, bson.Decimal128) or (isinstance(value, int) and int(float(value)) != int(value)):
            return MISFIT
        return struct.pack(">d", float(value)).hex()
    if pgtype == "numeric" and number:
        if is_minus_zero(value):
            return MISFIT
        if isinstance(value, bson.Decimal128):
            found = value.to_decimal()
            return MISFIT if found == 0 and found.is_signed() else canonical_number(found)
        return canonical_number(decimal.Decimal(repr(value) if isinstance(value, float) else int(value)))
    if pgtype == "boolean" and isinstance(value, bool):
        return value
    if pgtype == "timestamp with time zone" and isinstance(value, datetime.datetime):
        return millis(value) * 1000
    if pgtype == "uuid" and as_uuid(value) is not None:
        return as_uuid(value)
    if pgtype == "bytea" and isinstance(value, bytes):
        return bytes(value).hex()
    return MISFIT


def canonical_number(number):
    """Value and digits behind the point: 1.10 is not 1.1, 1E+3 is 1000."""
    if not number.is_finite():
        return {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity"}[str(number)]
    return format(number, "f")


COLUMN_SQL = {
    "timestamp with time zone": "(extract(epoch FROM {0}) * 1000000)::bigint",
    "double precision": "encode(float8send({0}), 'hex')",
    "bytea": "encode({0}, 'hex')",
}


def read_columns(cursor, table):
    cursor.execute("""SELECT a.attname, format_type(a.atttypid, NULL), col_description(a.attrelid, a.attnum)
                        FROM pg_attribute a
                       WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
                       ORDER BY a.attnum""", (table,))
    columns = {}
    for name, pgtype, comment in cursor.fetchall():
        if name != "_extra":
            path = re.match(r"MongoDB: \S+ (.*) \([^()]*\)$", comment or "")
            key = path.group(1) if path else name
            if key.startswith('"'):
                key = key[1:-1].replace('""', '"')
            columns[key] = (name, pgtype)
    return columns


def read_rows(connection, table, columns):
    """Yields (values by key, _extra)."""
    parts = []
    for name, pgtype in columns.values():
        quoted = '"' + name.replace('"', '""') + '"'
        parts.append(COLUMN_SQL.get(pgtype, "{0}::text" if pgtype in ("numeric", "jsonb", "uuid") else "{0}").format(quoted))
    with connection.cursor("rows") as cursor:
        cursor.itersize = 20000
        cursor.execute(f"SELECT {', '.join(parts)}, _extra::text FROM {table}")
        for row in cursor:
            yield dict(zip(columns, row)), row[-1]


def key_text(parsed):
    """One text for one key: digits of doubles are compared by value."""
    if isinstance(parsed, dict) and "$numberDouble" in parsed:
        parsed = {"$numberDouble": repr(float(parsed["$numberDouble"]))}
    return json.dumps(parsed, sort_keys=True, default=str)


def canonical_id(value):
    return key_text(extended(value, CANONICAL))


def mixed_id(values):
    """Is the _id column text with the canonical form of ids of several types?"""
    return not values <= {"ObjectId", "str"} or len(values) > 1


def expected_row(doc, columns, id_is_canonical):
    row, extra = {}, {}
    for key, (_, pgtype) in columns.items():
        row[key] = None
        value = doc.get(key)
        if key == "_id" and id_is_canonical:
            row[key] = canonical_id(value)
        elif value is not None:
            found = fit(value, pgtype)
            if found is MISFIT:
                extra[key] = relaxed(value)
            else:
                row[key] = found
    for key, value in doc.items():
        if key not in columns:
            extra[key] = relaxed(value)
    return row, extra or None


def same(expected, actual, pgtype):
    if isinstance(expected, tuple):      # a double in a text column
        return actual is not None and struct.pack(">d", float(actual)) == expected[1]
    if pgtype == "jsonb" and actual is not None:
        return expected == parse_json(actual)
    return expected == actual


def main():
    uri, namespace, dsn, table = sys.argv[1:5]
    database, collection = namespace.split(".", 1)
    source = pymongo.MongoClient(uri)[database].get_collection(collection, codec_options=CODEC)
    connection = psycopg2.connect(dsn)
    cursor = connection.cursor()
    cursor.execute("SET TimeZone = 'UTC'; SET extra_float_digits = 1")
    columns = read_columns(cursor, table)
    id_type = columns["_id"][1]

    documents = {}
    types = set()
    for doc in source.find({}).hint([("$natural", 1)]):
        types.add(type(doc["_id"]).__name__)
        documents[canonical_id(doc["_id"])] = doc
    id_is_canonical = id_type == "jsonb" or (id_type == "text" and mixed_id(types))

    by_row_key = {}
    for key, doc in documents.items():
        row_key = key if id_is_canonical else fit(doc["_id"], id_type)
        by_row_key[row_key if not isinstance(row_key, float) else repr(row_key)] = key

    cursor.execute("SELECT source_id FROM migrate_errors WHERE target = split_part(%s, '.', -1) AND status = 'pending'",
                   (table,))
    dead = {key_text(parse_json(r[0])) for r in cursor.fetchall()}

    seen, problems, checksum = set(), [], 0
    for row, extra in read_rows(connection, table, columns):
        if id_is_canonical:
            row["_id"] = key_text(parse_json(row["_id"]))
        key = by_row_key.get(row["_id"])
        if key is None:
            problems.append(f"row without document: {row['_id']}")
            continue
        if key in seen:
            problems.append(f"row twice: {key}")
        seen.add(key)
        expected, expected_extra = expected_row(documents[key], columns, id_is_canonical)
        for field, (name, pgtype) in columns.items():
            compared_type = "text" if field == "_id" and id_is_canonical else pgtype
            if not same(expected[field], row[field], compared_type):
                problems.append(f"{key} {name}: expected {expected[field]!r}, found {row[field]!r}")
        if expected_extra != (None if extra is None else parse_json(extra)):
            problems.append(f"{key} _extra: expected {expected_extra!r}, found {extra!r}")
        checksum ^= int.from_bytes(hashlib.sha256(repr((key, sorted(map(str, row.values())))).encode()).digest()[:8], "big")

    for key in dead - set(documents):
        problems.append(f"dead letter without document: {key}")
    for key in dead & seen:
        problems.append(f"both row and dead letter: {key}")
    for key in set(documents) - seen - dead:
        problems.append(f"document without row: {key}")

    for line in problems[:20]:
        print(line, file=sys.stderr)
    print(f"documents {len(documents)}, rows {len(seen)}, dead letters {len(dead)}, "
          f"differences {len(problems)}, checksum {checksum:016x}")
    sys.exit(1 if problems else 0)


main()
