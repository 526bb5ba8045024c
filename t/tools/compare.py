#!/usr/bin/env python3
"""Compares a MongoDB collection with the PostgreSQL table made from it.

    compare.py [options] MONGODB_URI DATABASE.COLLECTION PG_DSN TABLE
    compare.py --self-test [PG_DSN]

Independent of the extension: documents come as raw BSON through pymongo, rows
through psycopg2, and what a value becomes is written a second time in
expected.py.  Each document is turned into the row that it should be; rows and
documents are matched by _id and compared column by column, with _extra.
Documents in the dead letters (read from migrate_errors) count as accounted
for, if they are in the source.

Columns are mapped to fields by their comments ("MongoDB: shop.orders
shipTo.zip (string)"); one without such a comment is mapped by its name.  What
has no column, or does not fit its own, must stand in _extra under its path.

With --only FIELD, only documents that have this top-level field are looked at,
and rows whose column of it is not null: those that a writer left alone while
the collection was read.

Prints one line with counts, checksum and differences; exit status 1 if there
are any.  The checksum is of the rows, whatever their order.
"""
import argparse
import collections
import gc
import hashlib
import json
import sys

import psycopg2
import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

import selftest
from expected import MISFIT, Column, Either, Strings, column_path, divide, path_tree
from values import (
    CANONICAL, DECIMAL, DOUBLE, INT32, INT64, NULL, READERS, STRING, SYMBOL, UNDEFINED, DoubleText, decode, parse, render)

# Kinds of value that one typed _id column can hold; equal ones are one key.
BRACKETS = {INT32: "number", INT64: "number", DOUBLE: "number", DECIMAL: "number", STRING: "string", SYMBOL: "string",
            UNDEFINED: "null", NULL: "null"}


# ---------------------------------------------------------------------
# Columns and rows
# ---------------------------------------------------------------------

def read_columns(cursor, table, namespace, form, strings):
    """The table's columns, and whether there is an _extra."""
    cursor.execute("""SELECT a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
                        FROM pg_attribute a
                       WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
                       ORDER BY a.attnum""", (table,))
    columns, has_extra = [], False
    for name, pgtype, comment in cursor.fetchall():
        if name == "_extra":
            has_extra = True
        else:
            columns.append(Column(name, column_path(name, comment, namespace), pgtype, form, strings))
    return columns, has_extra


def read_rows(connection, table, columns, has_extra, only):
    """Yields the columns as fit() states values, and _extra behind them."""
    where = "".join(f' WHERE "{column.name}" IS NOT NULL' for column in columns if column.path == (only,))
    quoted = ('"' + column.name.replace('"', '""') + '"' for column in columns)
    parts = [column.sql(name) for column, name in zip(columns, quoted)]
    parts.append("_extra::text" if has_extra else "NULL")
    with connection.cursor("rows") as cursor:
        cursor.itersize = 5000
        cursor.execute(f"SELECT {', '.join(parts)} FROM {table}{where}")
        yield from cursor


# ---------------------------------------------------------------------
# Documents
# ---------------------------------------------------------------------

def read_documents(collection, only):
    """Yields documents as bytes."""
    raw = collection.with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
    wanted = {only: {"$exists": True}} if only else {}
    for document in raw.find(wanted, batch_size=5000).hint([("$natural", 1)]):
        yield document.raw


def normal(tree):
    """Canonical Extended JSON with the digits of doubles by value."""
    if isinstance(tree, list):
        return [normal(inner) for inner in tree]
    if not isinstance(tree, dict):
        return tree
    if "$numberDouble" in tree:
        text = tree["$numberDouble"]
        return {"$numberDouble": repr(float(text if isinstance(text, str) else text.value))}
    return {name: normal(inner) for name, inner in tree.items()}


def key_text(tree, is_sorted=False):
    """One text for one _id; sorted when it comes from jsonb, which keeps no order."""
    return json.dumps(normal(tree), sort_keys=is_sorted)


class Source:
    """The collection's documents by key, and the keys by what a row has as _id."""

    def __init__(self, collection, columns, only):
        self.raw, ids = {}, []
        for raw in read_documents(collection, only):
            ident = first_id(raw)
            key = key_text(render(ident, CANONICAL))
            while key in self.raw:       # ids that differ only in names standing twice
                key += " again"
            self.raw[key] = raw
            ids.append(ident)
        self.at, self.column = next((at, column) for at, column in enumerate(columns) if column.path == ("_id",))
        kinds = {kind for kind, _ in ids}
        several = len({BRACKETS.get(kind, kind) for kind in kinds}) > 1 or {DOUBLE, DECIMAL} <= kinds
        self.is_canonical = self.column.base == "jsonb" or self.column.base == "text" and several
        self.by_row_key = collections.defaultdict(list)
        for key, ident in zip(self.raw, ids):
            found = self.row_key(ident)
            if found is not MISFIT:
                self.by_row_key[found].append(key)

    def row_key(self, ident):
        if self.is_canonical:
            return key_text(render(ident, CANONICAL), True)
        found = self.column.fit(ident)
        found = found.found if isinstance(found, Either) else found
        return str(found.value) if isinstance(found, DoubleText) else found

    def key_of(self, ident, taken):
        """The document of a row: among equal keys one that is not taken yet."""
        keys = self.by_row_key.get(key_text(parse(ident), True) if self.is_canonical else ident)
        return keys and next((key for key in keys if key not in taken), keys[0])


def first_id(raw):
    """The _id; as it mostly stands in front, without a look at the rest."""
    if raw[5:9] == b"_id\0":
        return raw[4], READERS[raw[4]](raw, 9)[0]
    return decode(raw)["_id"]


# ---------------------------------------------------------------------
# Comparing
# ---------------------------------------------------------------------

class Comparison:
    """Takes the table's rows one by one; knows what is missing at the end."""

    def __init__(self, source, columns, dead):
        self.source, self.columns, self.dead = source, columns, dead
        self.tree = path_tree(columns)
        self.compared = [(at, column) for at, column in enumerate(columns) if at != source.at or not source.is_canonical]
        self.seen, self.taken, self.problems, self.checksum = set(), set(dead), [], 0

    def add_row(self, *actual, extra):
        key = self.source.key_of(actual[self.source.at], self.taken)
        if key is None:
            self.problems.append(f"row without document: {actual[self.source.at]}")
            return
        if key in self.seen:
            self.problems.append(f"row twice: {key}")
        self.seen.add(key)
        self.taken.add(key)
        document = decode(self.source.raw[key])
        if self.source.is_canonical:     # compared in finding the row
            del document["_id"]
        expected = [None] * len(self.columns)
        rest = divide(document, self.tree, actual, expected)
        self.compare_row(key, expected, actual)
        if (rest or None) != (None if extra is None else parse(extra)):
            self.problems.append(f"{key} _extra: expected {rest or None!r}, found {extra!r}")
        digest = hashlib.sha256(repr((key, actual, extra)).encode("utf-8", "backslashreplace")).digest()
        self.checksum ^= int.from_bytes(digest[:8], "big")

    def compare_row(self, key, expected, actual):
        for at, column in self.compared:
            if not column.same(expected[at], actual[at]):
                self.problems.append(f"{key} {column.name}: expected {expected[at]!r}, found {actual[at]!r}")

    def finish(self, dead_letters):
        """Every document is a row or a dead letter, none is both."""
        missing = [key for key in self.source.raw if key not in self.taken]
        if self.dead or not dead_letters:
            self.problems += [f"dead letter without document: {key}" for key in self.dead if key not in self.source.raw]
            self.problems += [f"both row and dead letter: {key}" for key in self.dead & self.seen]
            self.problems += [f"document without row: {key}" for key in missing]
        elif len(missing) != dead_letters:
            self.problems.append(f"{len(missing)} documents without row, but {dead_letters} dead letters")


def read_dead_letters(cursor, table):
    cursor.execute("SELECT source_id FROM migrate_errors WHERE target = split_part(%s, '.', -1) AND status = 'pending'",
                   (table,))
    return {key_text(parse(row[0])) for row in cursor.fetchall()}


def compare(uri, namespace, dsn, table, form, count_only, only):
    database, collection = namespace.split(".", 1)
    connection = psycopg2.connect(dsn)
    cursor = connection.cursor()
    cursor.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1")
    columns, has_extra = read_columns(cursor, table, namespace, form, Strings(dsn))
    source = Source(pymongo.MongoClient(uri)[database][collection], columns, only)
    dead = read_dead_letters(cursor, table)
    if only:
        dead &= source.raw.keys()
    comparison = Comparison(source, columns, set() if count_only else dead)
    for *row, extra in read_rows(connection, table, columns, has_extra, only):
        comparison.add_row(*row, extra=extra)
    comparison.finish(len(dead))
    for line in comparison.problems[:20]:
        print(line[:2000].encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
    print(f"documents {len(source.raw)}, rows {len(comparison.seen)}, dead letters {len(dead)}, "
          f"differences {len(comparison.problems)}, checksum {comparison.checksum:016x}")
    return 1 if comparison.problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json-format", choices=("simple", "relaxed", "canonical"), default="simple",
                        help="form of the values in jsonb columns")
    parser.add_argument("--dead-letters-only-count", action="store_true",
                        help="as many dead letters as documents without row, whichever they are")
    parser.add_argument("--only", metavar="FIELD", help="only documents that have this field")
    parser.add_argument("--self-test", action="store_true", help="check the expectations; strings too, with a PG_DSN")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT")
    options = parser.parse_args()
    sys.setrecursionlimit(10000)         # documents nest up to 200 levels
    gc.disable()                         # many objects, no cycles
    if options.self_test and len(options.arguments) <= 1:
        return selftest.run(*options.arguments)
    if options.self_test or len(options.arguments) != 4:
        parser.error("expected MONGODB_URI DATABASE.COLLECTION PG_DSN TABLE")
    return compare(*options.arguments, options.json_format, options.dead_letters_only_count, options.only)


if __name__ == "__main__":
    sys.exit(main())
