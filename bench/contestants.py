"""The contestants of the benchmark, each with one run(shape, watch) -> Result.

All of them start from the same collection and fill a table of the same
columns; those with a table get their key by the same statement.  The clock
of the load starts before the connection and stops at the commit; the key is
timed apart.
"""
import os
import queue
import re
import resource
import subprocess
import threading
import time
from dataclasses import dataclass

import psycopg2

from watch import Watch


@dataclass
class Result:
    """One run; per document where not told otherwise."""
    documents: int = 0
    seconds: float = 0                # of the load
    key_seconds: float = 0
    total_seconds: float = 0          # load, key, and what else belongs to it
    mongod_ns: float = 0
    worker_ns: float = 0              # loaders, or backends that do their work
    rest_ns: float = 0                # coordinator, checkpointer, WAL writer, ...
    client_ns: float = 0
    worker_kb: int = 0                # peak of one process
    client_kb: int = 0
    wal_bytes: float = 0
    equal_rows: int = 0               # with the reference
    rejected: int = 0
    note: str = ""
    failure: str = ""

    @property
    def cpu_ns(self):
        return self.mongod_ns + self.worker_ns + self.rest_ns + self.client_ns

    @property
    def rate(self):
        return self.documents / self.seconds if self.seconds else 0

    @property
    def total_rate(self):
        return self.documents / self.total_seconds if self.total_seconds else 0

    def account(self, watch, client_seconds=0, until=None):
        """CPU, memory and WAL, as the watch saw them."""
        workers = watch.workers_spent(until)
        scale = 1e9 / max(self.documents, 1)
        self.mongod_ns = watch.spent("mongod", until) * scale
        self.worker_ns = workers * scale
        self.rest_ns = max(watch.spent("postgres", until) - workers, 0) * scale
        self.client_ns = client_seconds * scale
        self.worker_kb, self.client_kb = watch.peak_kb, watch.client_peak_kb
        self.wal_bytes = watch.spent("wal", until) / max(self.documents, 1)


def first_line(text):
    lines = text.strip().splitlines()
    return next((line for line in lines if "ERROR" in line or "rror:" in line), lines[-1] if lines else "failed")[:100]


class Contestant:
    writes = True

    def __init__(self, bench, name, label):
        self.bench, self.name, self.label = bench, name, label

    @property
    def servers(self):
        return self.bench.servers

    def run_client(self, shape, command, pattern, environment=None):
        """Runs a program that prints documents and seconds."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, **(environment or {})})
        watch = Watch(self.servers, pattern, client)
        watch.start()
        out, error = client.communicate()
        watch.stop()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if client.returncode != 0:
            return Result(failure=first_line(error))
        documents, seconds = out.split()[-2:]
        result = Result(documents=int(documents), seconds=float(seconds), total_seconds=float(seconds))
        result.account(watch, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return result

    def build_key(self, shape, result):
        if not result.failure:
            began = time.monotonic()
            self.servers.query(f"ALTER TABLE {shape.target} ADD PRIMARY KEY ({shape.key})")
            result.key_seconds = time.monotonic() - began
            result.total_seconds = result.seconds + result.key_seconds
        return result


class Drain(Contestant):
    """T(read): the collection is read and thrown away."""
    writes = False

    def __init__(self, bench, split, processes):
        super().__init__(bench, f"drain {split}", f"T(read) {split}, {processes} reader{'s' * (processes > 1)}")
        self.split, self.processes = split, processes

    def run(self, shape):
        return self.run_client(shape, [self.bench.program("rival"), "--split", self.split, "--processes", str(self.processes),
                                       self.bench.uri, shape.namespace], "^$")


class Rival(Contestant):
    """A C program: raw BSON to COPY BINARY over a socket."""

    def __init__(self, bench, split, processes):
        super().__init__(bench, f"rival {split}", f"C rival, {split} ranges, {processes} processes")
        self.split, self.processes = split, processes

    def run(self, shape):
        return self.build_key(shape, self.run_client(
            shape, [self.bench.program("rival"), "--split", self.split, "--processes", str(self.processes),
                    "--columns", shape.columns_file, "--conninfo", self.servers.dsn, "--table", shape.target,
                    self.bench.uri, shape.namespace], r"\[local\] COPY"))


class Python(Contestant):
    """pymongo into a driver's binary COPY, or Arrow into ADBC's, several processes; see peers.py."""

    def __init__(self, bench, driver, processes):
        reader = "pymongoarrow" if driver == "adbc" else "pymongo"
        super().__init__(bench, driver, f"{reader} + {driver}, binary COPY, {processes} processes")
        self.driver, self.processes = driver, processes

    def run(self, shape):
        return self.build_key(shape, self.run_client(
            shape, [self.bench.peers_python, self.bench.file("peers.py"), self.driver, str(self.processes),
                    self.bench.uri, shape.namespace, self.servers.dsn, shape.target, shape.columns_file], r"\[local\] COPY"))


class MongoExport(Contestant):
    """mongoexport's CSV into COPY, where the tool is installed; see export.sh."""

    def __init__(self, bench):
        super().__init__(bench, "mongoexport", "mongoexport | COPY CSV")

    def run(self, shape):
        pairs = [(column, path) for column, path, _ in shape.columns if path]
        fields_file = self.bench.work_file(f"{shape.name}.fields")
        with open(fields_file, "w", encoding="utf-8") as file:
            file.writelines(f"{path}\n" for _, path in pairs)
        names = ", ".join(f'"{column}"' for column, _ in pairs)
        return self.build_key(shape, self.run_client(
            shape, [self.bench.file("export.sh"), self.bench.mongoexport, self.bench.uri, *shape.namespace.split("."),
                    fields_file, self.servers.dsn, f"COPY {shape.target} ({names}) FROM STDIN (FORMAT csv)"], r"\[local\] COPY"))


class MongoFdw(Contestant):
    """INSERT ... SELECT from a foreign table, where mongo_fdw is installed."""

    def __init__(self, bench):
        super().__init__(bench, "mongo_fdw", "mongo_fdw, INSERT ... SELECT, 1 backend")

    # Its types of columns, and how to come from them to ours.
    FOREIGN = {"jsonb": "json", "uuid": "bytea"}
    CASTS = {"jsonb": "%s::jsonb", "uuid": "encode(%s, 'hex')::uuid"}

    def run(self, shape):
        pairs = [(column, path.replace('"', '""'), pgtype) for column, path, pgtype in shape.columns if path]
        names = ", ".join(f'"{column}"' for column, _, _ in pairs)
        values = ", ".join((self.CASTS.get(pgtype, "%s")) % f'"{path}"' for _, path, pgtype in pairs)
        self.make_foreign_table(shape, pairs)
        return self.build_key(shape, timed_statement(
            self.servers, shape, f"INSERT INTO {shape.target} ({names}) SELECT {values} FROM fdw_source"))

    def make_foreign_table(self, shape, pairs):
        host, port = re.search(r"//([^:/]+):(\d+)", self.bench.uri).groups()
        database, collection = shape.namespace.split(".")
        columns = ", ".join(f'"{path}" ' + ("name" if path == "_id" and pgtype == "text" else
                                            self.FOREIGN.get(pgtype, pgtype)) for _, path, pgtype in pairs)
        for sql in ("CREATE EXTENSION IF NOT EXISTS mongo_fdw", "DROP SERVER IF EXISTS fdw_server CASCADE",
                    f"CREATE SERVER fdw_server FOREIGN DATA WRAPPER mongo_fdw OPTIONS (address '{host}', port '{port}')",
                    "CREATE USER MAPPING FOR CURRENT_USER SERVER fdw_server",
                    f"CREATE FOREIGN TABLE fdw_source ({columns}) SERVER fdw_server "
                    f"OPTIONS (database '{database}', collection '{collection}')"):
            self.servers.query(sql)


def timed_statement(servers, shape, sql):
    """One statement in a session of its own, whose backend is the worker."""
    connection = servers.connect()
    result = Result(documents=shape.documents)
    watch = Watch(servers, r"\[local\] (COPY|INSERT)")
    watch.start()
    began = time.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
            cursor.execute("SET default_toast_compression = lz4")
            cursor.execute(sql)
    except psycopg2.Error as error:
        result.failure = first_line(str(error))
    result.seconds = result.total_seconds = time.monotonic() - began
    watch.stop()
    connection.close()
    if not result.failure:
        result.account(watch)
    return result


class CopyBinary(Contestant):
    """T(write): the same rows by the server's own COPY, from a file of the server."""

    def __init__(self, bench):
        super().__init__(bench, "copy binary", "T(write) COPY BINARY from a file")

    def run(self, shape):
        return self.build_key(shape, timed_statement(
            self.servers, shape, f"COPY {shape.target} FROM '{shape.rows_file}' (FORMAT binary)"))


class BareLoop(Contestant):
    """The loader's source, converter and sink in a loop without its promises; see module/mm_bench.c.
    Or without the sink: the rows are thrown away."""

    def __init__(self, bench, sessions, writes=True):
        super().__init__(bench, "bare loop" if writes else "bare rows",
                         f"our loop, {'bare' if writes else 'rows thrown away'}, {sessions} sessions")
        self.sessions, self.writes = sessions, writes

    def work(self, shape, chunks, rows, failures):
        connection = self.servers.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET synchronous_commit = off")
                cursor.execute("SET default_toast_compression = lz4")
                while True:
                    lower, upper = chunks.get_nowait()
                    cursor.execute("SELECT mmbench_load(%s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s, %s)",
                                   (self.bench.uri, *shape.namespace.split("."), shape.mapping, shape.target, shape.split,
                                    shape.pin, lower, upper, self.writes))
                    rows.append(cursor.fetchone()[0])
        except queue.Empty:
            pass
        except psycopg2.Error as error:
            failures.append(first_line(str(error)))
        finally:
            connection.close()

    def run(self, shape):
        chunks, rows, failures = queue.Queue(), [], []
        for chunk in shape.chunks:
            chunks.put(chunk)
        watch = Watch(self.servers, r"\[local\]")
        watch.start()
        began = time.monotonic()
        threads = [threading.Thread(target=self.work, args=(shape, chunks, rows, failures)) for _ in range(self.sessions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
        watch.stop()
        result = Result(documents=shape.documents, seconds=seconds, total_seconds=seconds, failure=next(iter(failures), ""))
        if not result.failure:
            result.rejected = shape.documents - sum(rows)
            result.account(watch)
        return self.build_key(shape, result) if self.writes else result


class Migrate(Contestant):
    """A job.  The load is its planning and its copying."""

    def __init__(self, bench, workers):
        super().__init__(bench, f"migrate {workers}", f"migrate, {workers} worker{'s' * (workers > 1)}")
        self.workers = workers

    def start(self, shape, target, mapping):
        return self.servers.value("SELECT migrate_start(%s, %s, target => %s, mapping => %s, workers => %s, options => %s)",
                                  self.bench.uri, shape.namespace, target, mapping, self.workers, '{"reject_limit": null}')

    def run(self, shape):
        self.servers.query(f"DROP TABLE IF EXISTS {shape.target}")
        watch = Watch(self.servers, r"mongo_migrate job \d+ loader")
        watch.start()
        began = time.time()
        result = Result(documents=shape.documents)
        try:
            job = self.start(shape, shape.target, shape.mapping)
            self.servers.query("SELECT migrate_wait(%s)", job)
        except psycopg2.Error as error:
            result.failure = first_line(str(error))
        watch.stop()
        if result.failure:
            return result
        phases, finished, result.rejected = self.read_job(job)
        copied = finished - sum(phases.get(phase, 0) for phase in ("indexing", "analyzing", "verifying"))
        result.seconds, result.total_seconds = copied - began, finished - began
        result.key_seconds = phases.get("indexing", 0)
        result.account(watch, until=copied)
        return result

    def read_job(self, job):
        phases = dict(self.servers.query("SELECT phase, extract(epoch FROM spent)::float8 FROM mongo_migrate.table_phase "
                                         "WHERE job_id = %s", job))
        finished, rejected = self.servers.query("SELECT extract(epoch FROM j.finished_at)::float8, s.docs_rejected::bigint "
                                                "FROM mongo_migrate.job j JOIN migrate_stat_job s USING (job_id) "
                                                "WHERE job_id = %s", job)[0]
        return phases, finished, rejected
