"""The benchmark: every contestant on every shape, in turns; see README.md.

    measure.py --uri URI --dsn DSN --postmaster PID --mongod PID --work DIR --programs DIR
               --shapes narrow:1000000,... --workers 1,2,4 --runs 3 [--peers PYTHON] [--compare N] [--out DIR]

bench/run starts the servers and calls it.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time

import psycopg2
import pymongo

import report
from contestants import BareLoop, CopyBinary, Drain, Migrate, MongoExport, MongoFdw, Python, Result, Rival, first_line
from watch import Servers

HERE = os.path.dirname(os.path.abspath(__file__))


def say(text):
    print(text, file=sys.stderr, flush=True)


class Shape:
    """A collection, its reference table, and what was measured on it."""

    target = "public.target"

    def __init__(self, bench, name, documents):
        self.bench, self.name, self.documents = bench, name, documents
        self.namespace, self.reference = f"shop.{name}", f"public.{name}"
        self.rounds = []
        self.contestants = []

    def fill(self):
        bench = self.bench
        subprocess.run([bench.program("generate"), "--shape", self.name, "--documents", str(self.documents), bench.uri,
                        self.namespace], check=True)
        stats = bench.mongo.shop.command("collStats", self.name)
        self.average_bytes = stats["avgObjSize"]

    def make_reference(self):
        """Migrates it once; the contract of this job is the contract of all."""
        servers = self.bench.servers
        job = Migrate(self.bench, self.bench.main).start(self, self.reference, None)
        servers.query("SELECT migrate_wait(%s)", job)
        self.mapping, self.split, self.pin = servers.query(
            "SELECT (mapping #- '{target,table}')::text, split, split_pin FROM mongo_migrate.job_table WHERE job_id = %s", job)[0]
        self.chunks = servers.query("SELECT lower_bound, upper_bound FROM mongo_migrate.chunk WHERE job_id = %s "
                                    "ORDER BY chunk_no", job)
        self.key = servers.value("SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = "
                                 "(SELECT conindid FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p')",
                                 self.reference)
        self.columns = servers.query("""
            SELECT attname, coalesce(substring(col_description(attrelid, attnum) from '^MongoDB: \\S+ (.*) \\('), ''), typname
              FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
             WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""", self.reference)
        self.columns_file = self.bench.work_file(f"{self.name}.columns")
        with open(self.columns_file, "w", encoding="utf-8") as file:
            file.writelines(f"{path}\t{pgtype}\n" for _, path, pgtype in self.columns)
        self.rows_file = self.bench.work_file(f"postgres/{self.name}.rows")
        servers.query(f"COPY {self.reference} TO '{self.rows_file}' (FORMAT binary)")
        self.reference_rows, self.checksum = self.fingerprint(self.reference)

    def check_reference(self):
        """By compare.py, which knows nothing of the extension; for many documents it takes too long."""
        if self.documents > self.bench.compare:
            self.checked = f"reference not compared with its documents (COMPARE={self.bench.compare})"
            return
        done = subprocess.run([sys.executable, os.path.join(HERE, "../t/tools/compare.py"), self.bench.uri, self.namespace,
                               self.bench.servers.dsn, self.name], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{self.name}: the reference differs from its documents: {done.stdout}")
        self.checked = "reference equal to its documents"

    def fingerprint(self, table):
        """Rows, and a checksum of their texts in any order."""
        return self.bench.servers.query(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t")[0]

    def count_equal(self):
        """Rows of the target that are also in the reference."""
        if self.fingerprint(self.target) == (self.reference_rows, self.checksum):
            return self.reference_rows
        hashes = "SELECT hashtextextended(t::text, 0) AS h, count(*) AS n FROM {} t GROUP BY 1"
        return int(self.bench.servers.value(
            f"SELECT coalesce(sum(least(a.n, b.n)), 0) FROM ({hashes.format(self.target)}) a "
            f"JOIN ({hashes.format(self.reference)}) b USING (h)"))

    def run_once(self, contestant):
        servers = self.bench.servers
        servers.query(f"DROP TABLE IF EXISTS {self.target}")
        servers.query(f"CREATE TABLE {self.target} (LIKE {self.reference})")
        servers.query("CHECKPOINT")
        try:
            result = contestant.run(self)
        except psycopg2.Error as error:
            result = Result(failure=first_line(str(error)))
        if contestant.writes and not result.failure:
            result.equal_rows = self.count_equal()
        return result

    def run_rounds(self):
        """Each contestant once a round, each round beginning with another one."""
        self.contestants = self.bench.contestants()
        n = len(self.contestants)
        for r in range(self.bench.runs):
            shift = r * n // self.bench.runs
            results = {}
            for contestant in self.contestants[shift:] + self.contestants[:shift]:
                result = results[contestant.name] = self.run_once(contestant)
                say(f"{self.name}, round {r + 1} of {self.bench.runs}: {contestant.label}: "
                    + (result.failure or f"{result.rate:,.0f} documents/s, {result.cpu_ns:,.0f} ns"))
            self.rounds.append(results)

    def clear(self):
        self.bench.servers.query(f"DROP TABLE IF EXISTS {self.target}, {self.reference}")
        self.bench.mongo.shop.drop_collection(self.name)
        os.remove(self.rows_file)

    def measure(self):
        say(f"{self.name}: filling, {self.documents:,} documents")
        self.fill()
        self.make_reference()
        self.check_reference()
        self.run_rounds()
        self.clear()


class Bench:
    def __init__(self, options):
        self.uri, self.runs, self.compare, self.work, self.programs = (
            options.uri, options.runs, options.compare, options.work, options.programs)
        self.workers = [int(n) for n in options.workers.split(",")]
        self.main = 2 if 2 in self.workers else self.workers[0]
        self.peers_python, self.mongoexport = options.peers, shutil.which(os.environ.get("MONGOEXPORT", "mongoexport"))
        self.servers = Servers(options.dsn, options.postmaster, options.mongod)
        self.mongo = pymongo.MongoClient(options.uri)
        self.shapes = [Shape(self, name, int(documents))
                       for name, documents in (pair.split(":") for pair in options.shapes.split(","))]

    def program(self, name):
        return os.path.join(self.programs, name)

    def file(self, name):
        return os.path.join(HERE, name)

    def work_file(self, name):
        return os.path.join(self.work, name)

    def has_fdw(self):
        return bool(self.servers.query("SELECT 1 FROM pg_available_extensions WHERE name = 'mongo_fdw'"))

    def fdw_version(self):
        try:
            return self.servers.value("SELECT mongo_fdw_version()")
        except psycopg2.Error:
            return "not installed here, or it does not load"

    def mongoexport_version(self):
        if not self.mongoexport:
            return "not installed here"
        told = subprocess.run([self.mongoexport, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return told.splitlines()[0].split()[-1]

    def contestants(self):
        list_ = [Drain(self, "natural", 1), Drain(self, "id", self.main), Drain(self, "record", self.main), CopyBinary(self)]
        list_ += [Migrate(self, n) for n in self.workers]
        list_ += [BareLoop(self, self.main), BareLoop(self, self.main, writes=False)]
        list_ += [Rival(self, "id", self.main), Rival(self, "record", self.main)]
        if self.peers_python:
            list_ += [Python(self, "asyncpg", 2), Python(self, "psycopg", 4), Python(self, "adbc", 2)]
        if self.mongoexport:
            list_.append(MongoExport(self))
        if self.has_fdw():
            list_.append(MongoFdw(self))
        return list_

    def prepare(self):
        for sql in ("CREATE EXTENSION mongo_migrate", "SET client_min_messages = warning"):
            self.servers.query(sql)
        module = os.path.join(HERE, "module/mm_bench")
        with open(module + ".sql", encoding="utf-8") as file:
            self.servers.query(file.read().replace(":'module'", f"'{module}'").replace("%", "%%"))

    def title(self):
        version = self.servers.value("SHOW server_version").split()[0]
        ours, mongod = self.servers.value("SELECT migrate_version()"), self.mongo.admin.command("buildInfo")["version"]
        return (f"{ours}, PostgreSQL {version}, mongod {mongod}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, "
                f"median (min-max) of {self.runs} run{'s' * (self.runs > 1)}")

    def notes(self):
        notes = ["docs/s: of the load, before the key; migrate: planning and copying.  with key/s: to the end, migrate with "
                 "ANALYZE and count.", "workers: loaders or backends; rest: coordinator, checkpointer, WAL writer; CPU and WAL "
                 "without the key.  MB: private memory of one process, at its peak."]
        if not self.peers_python:
            notes.append("Python peers: not asked for (PEERS=yes).")
        notes.append(f"mongo_fdw: {self.fdw_version()}; mongoexport: {self.mongoexport_version()}.")
        return notes


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("uri", "dsn", "work", "programs", "shapes", "workers"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--postmaster", type=int, required=True)
    parser.add_argument("--mongod", type=int, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--compare", type=int, default=0)
    parser.add_argument("--peers", help="the Python that has their packages")
    parser.add_argument("--out", help="a directory for text, JSON and SVG")
    return parser.parse_args()


def main():
    options = parse_arguments()
    bench = Bench(options)
    bench.prepare()
    for shape in bench.shapes:
        try:
            shape.measure()
        except psycopg2.Error as error:
            sys.exit(f"{shape.name}: {error}")
    title = bench.title()
    text = report.text(title, bench.shapes, bench.main, bench.notes())
    print(text)
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        for name, content in (("bench.txt", text + "\n"), ("bench.json", report.as_json(title, bench.shapes)),
                              ("workers.svg", report.as_svg(title, bench.shapes, bench.workers))):
            with open(os.path.join(options.out, name), "w", encoding="utf-8") as file:
                file.write(content)
    bad = [shape.name for shape in bench.shapes for results in shape.rounds for name, result in results.items()
           if name.startswith("migrate") and (result.failure or result.equal_rows != shape.reference_rows)]
    if bad:
        sys.exit(f"migrate failed or changed rows: {', '.join(sorted(set(bad)))}")


if __name__ == "__main__":
    main()
