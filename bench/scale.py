"""Cost by size: does a document cost the same among 10^5 and among 10^7?

    scale.py --uri URI --dsn DSN --postmaster PID --mongod PID --programs DIR --sizes 100000,... --workers 2,12

Migrates a narrow collection of each size with each number of workers, and asks
migrate_progress twenty times a second meanwhile.  bench/scale starts the
servers and calls it.
"""
import argparse
import os
import statistics
import subprocess
import sys
import threading
import time

import pymongo

import report
from contestants import Migrate
from watch import Servers, read

ANSWER_LIMIT_MS = 5
POLL_INTERVAL = 0.05


class Poller(threading.Thread):
    """Reads migrate_progress as a person would who watches: how long does the answer take?"""

    def __init__(self, servers):
        super().__init__(daemon=True)
        self.connection = servers.connect()
        self.pid = self.connection.info.backend_pid
        servers.own.add(self.pid)
        self.answers_ms, self.ended, self.cpu_ms = [], threading.Event(), 0

    def cpu(self):
        return int(read(f"/proc/{self.pid}/schedstat").split()[0]) / 1e6

    def run(self):
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT * FROM migrate_progress")      # loads the module
            before = self.cpu()
            while not self.ended.is_set():
                began = time.perf_counter()
                cursor.execute("SELECT * FROM migrate_progress")
                if cursor.fetchall():
                    self.answers_ms.append((time.perf_counter() - began) * 1000)
                self.ended.wait(POLL_INTERVAL)
            self.cpu_ms = (self.cpu() - before) / max(len(self.answers_ms), 1)

    def stop(self):
        self.ended.set()
        self.join()
        self.connection.close()


class Bench:
    """What a contestant needs of a benchmark."""

    def __init__(self, options):
        self.uri, self.programs = options.uri, options.programs
        self.servers = Servers(options.dsn, options.postmaster, options.mongod)
        self.mongo = pymongo.MongoClient(options.uri)
        self.servers.query("CREATE EXTENSION mongo_migrate")

    def fill(self, documents):
        subprocess.run([os.path.join(self.programs, "generate"), "--shape", "narrow", "--documents", str(documents), self.uri,
                        "shop.narrow"], check=True)


class Collection:
    namespace, target, mapping = "shop.narrow", "public.narrow", None

    def __init__(self, documents):
        self.documents = documents


def measure(bench, collection, workers):
    bench.servers.query("CHECKPOINT")
    poller = Poller(bench.servers)
    poller.start()
    result = Migrate(bench, workers).run(collection)
    poller.stop()
    rows = 0 if result.failure else bench.servers.value(f"SELECT count(*) FROM {collection.target}")
    if rows != collection.documents:
        sys.exit(f"{collection.documents} documents, {rows} rows: {result.failure}")
    bench.servers.query(f"DROP TABLE {collection.target}")
    return result, poller


HEADER = ["documents", "workers", "docs/s", "CPU ns/doc", "mongod", "loaders", "rest", "key us/doc", "loader MB", "WAL B/doc",
          "progress ms", "longest", "its CPU ms"]


def line(collection, workers, result, poller):
    answers = poller.answers_ms or [0]
    return [report.count(collection.documents), str(workers), report.count(result.rate), report.count(result.cpu_ns),
            report.count(result.mongod_ns), report.count(result.worker_ns), report.count(result.rest_ns),
            f"{result.key_seconds * 1e6 / collection.documents:.2f}", f"{result.worker_kb / 1024:.1f}",
            report.count(result.wal_bytes), f"{statistics.median(answers):.2f}", f"{max(answers):.2f}", f"{poller.cpu_ms:.2f}"]


def verdict(runs, workers):
    """The largest beside the smallest that ran a second or more; shorter ones cost what starting costs."""
    of_these = [(result, poller) for n, result, poller in runs if n == workers]
    long_enough = [result for result, _ in of_these if result.seconds >= 1] or [of_these[-1][0]]
    first, last = long_enough[0], long_enough[-1]
    answers = [statistics.median(poller.answers_ms) for _, poller in of_these if poller.answers_ms] or [0]
    return (f"{workers} workers: a document of {last.documents:,} costs {last.cpu_ns / max(first.cpu_ns, 1):.2f} times one of "
            f"{first.documents:,}; a loader's memory {first.worker_kb / 1024:.1f} -> {last.worker_kb / 1024:.1f} MB; "
            f"migrate_progress answers in {max(answers):.2f} ms (limit {ANSWER_LIMIT_MS})"
            + ("" if max(answers) < ANSWER_LIMIT_MS else ": TOO SLOW"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("uri", "dsn", "programs", "sizes", "workers"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--postmaster", type=int, required=True)
    parser.add_argument("--mongod", type=int, required=True)
    options = parser.parse_args()
    bench, rows, runs = Bench(options), [HEADER], []
    numbers = [int(n) for n in options.workers.split(",")]
    for collection in [Collection(int(size)) for size in options.sizes.split(",")]:
        bench.fill(collection.documents)
        # Not counted: mongod still writes what it was filled with, and the kernel meets new memory for files.
        measure(bench, collection, numbers[0])
        for workers in numbers:
            result, poller = measure(bench, collection, workers)
            rows.append(line(collection, workers, result, poller))
            runs.append((workers, result, poller))
            print(f"{collection.documents:,} documents, {workers} workers: {result.rate:,.0f} documents/s", file=sys.stderr)
    print("\n".join(report.align(rows, set()) + [verdict(runs, workers) for workers in numbers]))


if __name__ == "__main__":
    main()
