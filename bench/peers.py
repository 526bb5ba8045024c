"""The peers in Python: pymongo, and binary COPY of psycopg or asyncpg; and Arrow, by pymongoarrow and ADBC.

    peers.py psycopg|asyncpg|adbc PROCESSES MONGODB_URI DATABASE.COLLECTION PG_DSN TABLE COLUMNS_FILE

Tuned as their manuals advise: several processes, each with one COPY; ranges of
_id by min, max and hint; binary COPY with the types set; orjson; and for each
collection a function made for its columns, so that nothing is looked up while
it runs.  Arrow makes a table of each range.  Needs the packages that bench/run
puts into its own environment.  Prints documents and seconds.
"""
import asyncio
import binascii
import multiprocessing
import sys
import time

import orjson
import pymongo
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128

RANGES = 16
SAMPLES_PER_RANGE = 20
BATCH_DOCUMENTS = 5000
NOTHING = {}


def json_default(value):
    """Dates in JSON as the extension writes them."""
    if hasattr(value, "isoformat"):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return str(value)


def to_json(value):
    return orjson.dumps(value, json_default, orjson.OPT_PASSTHROUGH_DATETIME)


def to_decimal(value):
    return value.to_decimal() if isinstance(value, Decimal128) else value


def read_columns(path):
    with open(path, encoding="utf-8") as file:
        return [tuple(line.rstrip("\n").split("\t")) for line in file]


def make_row_function(columns, wrap_json):
    """A function from a document to its row, compiled for these columns."""
    values = []
    for path, pgtype in columns:
        *parents, name = path.split(".")
        source = "d"
        for parent in parents:
            source = f"({source}.get({parent!r}) or NOTHING)"
        value = f"{source}.get({name!r})"
        if not path:
            value = "None"
        elif path == "_id" and pgtype == "text":
            value = "str(d['_id'])"
        elif pgtype == "jsonb":
            value = f"wrap_json({value})"
        elif pgtype == "numeric":
            value = f"to_decimal({value})"
        values.append(value)
    names = {"NOTHING": NOTHING, "wrap_json": wrap_json, "to_decimal": to_decimal}
    exec(f"def make_row(d):\n    return ({', '.join(values)},)", names)   # noqa: S102
    return names["make_row"]


# ---------------------------------------------------------------------
# MongoDB
# ---------------------------------------------------------------------

def open_collection(uri, namespace):
    database, collection = namespace.split(".", 1)
    options = CodecOptions(tz_aware=True, uuid_representation=UuidRepresentation.STANDARD)
    return pymongo.MongoClient(uri)[database].get_collection(collection, codec_options=options)


def find_bounds(uri, namespace):
    sample = open_collection(uri, namespace).aggregate([
        {"$sample": {"size": RANGES * SAMPLES_PER_RANGE}}, {"$project": {"_id": 1}}, {"$sort": {"_id": 1}}])
    ids = [document["_id"] for document in sample]
    return ids[SAMPLES_PER_RANGE::SAMPLES_PER_RANGE]


def take_ranges(bounds, counter):
    """The ranges that this process gets, as arguments of find()."""
    while True:
        with counter.get_lock():
            i, counter.value = counter.value, counter.value + 1
        if i > len(bounds):
            return
        range_ = {"hint": [("_id", 1)]}
        if i > 0:
            range_["min"] = {"_id": bounds[i - 1]}
        if i < len(bounds):
            range_["max"] = {"_id": bounds[i]}
        yield range_


def read_documents(collection, ranges):
    for range_ in ranges:
        yield from collection.find({}, batch_size=BATCH_DOCUMENTS, **range_)


# ---------------------------------------------------------------------
# PostgreSQL
# ---------------------------------------------------------------------

SETTINGS = ("SET synchronous_commit = off", "SET default_toast_compression = lz4")


def load_by_psycopg(collection, ranges, dsn, table, columns):
    import psycopg
    from psycopg.types.json import Jsonb, set_json_dumps

    set_json_dumps(to_json)
    make_row = make_row_function(columns, lambda value: None if value is None else Jsonb(value))
    n = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        for setting in SETTINGS:
            connection.execute(setting)
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
            copy.set_types([f"{pgtype[1:]}[]" if pgtype.startswith("_") else pgtype for _, pgtype in columns])
            write_row = copy.write_row
            for document in read_documents(collection, ranges):
                write_row(make_row(document))
                n += 1
    return n


async def copy_by_asyncpg(collection, ranges, dsn, table, columns):
    import asyncpg

    make_row = make_row_function(columns, lambda value: None if value is None else to_json(value).decode())
    parts = dict(part.split("=") for part in dsn.split())
    connection = await asyncpg.connect(host=parts["host"], port=int(parts["port"]), user=parts["user"],
                                       database=parts["dbname"])
    for setting in SETTINGS:
        await connection.execute(setting)
    documents = read_documents(collection, ranges)
    tag = await connection.copy_records_to_table(table.split(".")[-1], records=map(make_row, documents))
    await connection.close()
    return int(tag.split()[-1])


def load_by_asyncpg(collection, ranges, dsn, table, columns):
    return asyncio.run(copy_by_asyncpg(collection, ranges, dsn, table, columns))


# ---------------------------------------------------------------------
# Arrow
# ---------------------------------------------------------------------

def arrow_types():
    """How pymongoarrow reads a column of a type.  It has nothing for documents as JSON."""
    import pyarrow
    from pymongoarrow.types import BinaryType, ObjectIdType

    return {"text": pyarrow.string(), "int4": pyarrow.int32(), "int8": pyarrow.int64(), "float8": pyarrow.float64(),
            "bool": pyarrow.bool_(), "timestamptz": pyarrow.timestamp("ms"), "uuid": BinaryType(4), "_id": ObjectIdType()}


def arrow_schema(columns):
    from pymongoarrow.api import Schema

    types = arrow_types()
    unknown = sorted({pgtype for path, pgtype in columns if path and pgtype not in types})
    if unknown:
        sys.exit(f"error: pymongoarrow and ADBC have no type for {', '.join(unknown)}")
    return Schema({path: types["_id" if path == "_id" and pgtype == "text" else pgtype] for path, pgtype in columns if path})


def object_ids_as_text(ids):
    """Twelve bytes each into twenty-four hex digits, all at once."""
    import numpy
    import pyarrow

    digits = binascii.hexlify(b"".join(ids.to_pylist()))
    ends = numpy.arange(0, len(digits) + 1, 24, dtype=numpy.int32)
    return pyarrow.StringArray.from_buffers(len(ids), pyarrow.py_buffer(ends), pyarrow.py_buffer(digits))


def plain_column(column):
    """Without pymongoarrow's own types, which ADBC does not know."""
    import pyarrow

    if not isinstance(column.type, pyarrow.BaseExtensionType):
        return column
    values = column.combine_chunks()
    values = values.storage if isinstance(values, pyarrow.ExtensionArray) else values.chunk(0).storage
    return object_ids_as_text(values) if values.type == pyarrow.binary(12) else values


def target_names(cursor, table, columns):
    """Path -> name of its column."""
    cursor.execute(f"SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum")
    return {path: name for (path, _), (name,) in zip(columns, cursor.fetchall())}


def load_by_adbc(collection, ranges, dsn, table, columns):
    import pyarrow
    from adbc_driver_postgresql import dbapi
    from pymongoarrow.api import find_arrow_all

    schema, n = arrow_schema(columns), 0
    schema_name, table_name = table.split(".")
    uri = "postgresql:///?" + dsn.replace(" ", "&")
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for setting in SETTINGS:
            cursor.execute(setting)
        names = target_names(cursor, table, columns)
        for range_ in ranges:
            read = find_arrow_all(collection, {}, schema=schema, **range_)
            rows = pyarrow.table([plain_column(column) for column in read.columns],
                                 names=[names[path] for path in read.column_names])
            n += cursor.adbc_ingest(table_name, rows, mode="append", db_schema_name=schema_name)
    return n


def work(driver, uri, namespace, dsn, table, columns, bounds, counter, total):
    load = {"psycopg": load_by_psycopg, "asyncpg": load_by_asyncpg, "adbc": load_by_adbc}[driver]
    n = load(open_collection(uri, namespace), take_ranges(bounds, counter), dsn, table, columns)
    with total.get_lock():
        total.value += n


def main():
    driver, processes, uri, namespace, dsn, table, columns_file = sys.argv[1:]
    columns = read_columns(columns_file)
    counter, total = multiprocessing.Value("q", 0), multiprocessing.Value("q", 0)
    began = time.monotonic()
    bounds = find_bounds(uri, namespace)
    workers = [multiprocessing.Process(target=work, args=(driver, uri, namespace, dsn, table, columns, bounds, counter, total))
               for _ in range(int(processes))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(total.value, f"{time.monotonic() - began:.3f}")
    return max(abs(worker.exitcode) for worker in workers) and 1


if __name__ == "__main__":
    sys.exit(main())
