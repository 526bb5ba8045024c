#!/usr/bin/env python3
"""Writes to a collection while it is migrated, until SIGTERM.

    writer.py [options] MONGODB_URI DATABASE.COLLECTION PG_DSN

Documents with a field "kept" are left alone.  Among the others it updates,
deletes and inserts at random, and deletes, as far as it may, those at the
bounds and positions of the running chunks, which it reads from the tables of
mongo_migrate.  --again inserts deleted documents again, with the same _id.

Prints what it did.  Servers that go away are waited for.
"""
import argparse
import collections
import random
import signal
import struct
import sys
import time
import uuid

import bson
import psycopg2
import pymongo
from bson.raw_bson import RawBSONDocument

STOP = []


def read_records(database, name):
    """The _ids of documents that may be changed, by record id."""
    records = {}
    spared = {bson.encode({"_id": doc["_id"]}) for doc in database[name].find({"kept": {"$exists": True}}, {"_id": 1})}
    reply = database.command("find", name, projection={"_id": 1}, hint={"_id": 1}, showRecordId=True, batchSize=20000)
    while True:
        cursor = reply["cursor"]
        for doc in cursor.get("firstBatch", cursor.get("nextBatch")):
            if bson.encode({"_id": doc["_id"]}) not in spared:
                records[doc["$recordId"]] = doc["_id"]
        if not cursor["id"]:
            return records
        reply = database.command("getMore", cursor["id"], collection=name, batchSize=20000)


class Chunks:
    """Record ids of bounds and positions, as far as PostgreSQL can be asked."""

    def __init__(self, dsn):
        self.dsn, self.connection, self.next = dsn, None, 0

    def read(self):
        if time.monotonic() < self.next:
            return set()
        self.next = time.monotonic() + 0.05
        try:
            if self.connection is None:
                self.connection = psycopg2.connect(self.dsn)
                self.connection.autocommit = True
            cursor = self.connection.cursor()
            cursor.execute("""SELECT b FROM mongo_migrate.chunk c, unnest(ARRAY[upper_bound, "position"]) b
                               WHERE b IS NOT NULL AND state <> 'done'""")
            # {$recordId: int64}
            return {struct.unpack("<q", bytes(row[0])[15:23])[0] for row in cursor.fetchall() if bytes(row[0])[5:14] == b"$recordId"}
        except psycopg2.Error:
            self.connection = None
            return set()


class Writer:
    def __init__(self, options):
        database, name = options.arguments[1].split(".", 1)
        client = pymongo.MongoClient(options.arguments[0], serverSelectionTimeoutMS=60000, uuidRepresentation="standard")
        self.collection = client[database][name]
        # Moves bytes: older drivers refuse to encode field names with a dot.
        self.raw = self.collection.with_options(self.collection.codec_options.with_options(document_class=RawBSONDocument))
        self.random, self.again, self.done = random.Random(options.seed), options.again, collections.Counter()
        self.records = read_records(client[database], name)
        self.order = list(self.records)
        self.has_uuids = all(isinstance(ident, uuid.UUID) for ident in self.records.values())
        self.chunks = Chunks(options.arguments[2])

    def delete(self, record, kind):
        ident = self.records.pop(record)
        doc = self.raw.find_one_and_delete({"_id": {"$eq": ident}})
        self.done[kind] += doc is not None
        if self.again and doc is not None:
            self.raw.insert_one(doc)
            self.done["inserted again"] += 1

    def new_id(self):
        """Of one of the types that are there."""
        return uuid.uuid4() if self.has_uuids else bson.ObjectId()

    def step(self):
        for record in self.chunks.read():
            if record in self.records:
                self.delete(record, "deleted at bounds and positions")
        record = self.random.choice(self.order)
        dice = self.random.random()
        if record in self.records and dice < 0.4:
            self.delete(record, "deleted")
        elif record in self.records and dice < 0.7:
            self.collection.update_one({"_id": {"$eq": self.records[record]}}, {"$set": {"changed": "x" * self.random.randrange(2000)}})
            self.done["updated"] += 1
        elif dice >= 0.7:
            self.collection.insert_many([{"_id": self.new_id(), "new": self.random.random()} for _ in range(20)])
            self.done["inserted"] += 20

    def run(self):
        print("ready", flush=True)
        while not STOP:
            try:
                self.step()
            except pymongo.errors.PyMongoError:
                self.done["failed"] += 1
                time.sleep(0.1)
        print(", ".join(f"{n} {what}" for what, n in sorted(self.done.items())))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="insert deleted documents again")
    parser.add_argument("arguments", nargs=3, metavar="ARGUMENT")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: STOP.append(1))
    Writer(options).run()


if __name__ == "__main__":
    sys.exit(main())
