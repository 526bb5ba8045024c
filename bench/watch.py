"""What a run costs: CPU, memory and WAL of the servers, from /proc.

A Watch takes a sample of mongod and of every process of PostgreSQL twenty
times a second, and keeps them, so that the cost can be told of any part of a
run afterwards.

CPU seconds of PostgreSQL are those of the postmaster's children that have
ended (it keeps their sum) and of those that live, so that none is missed.
The share of the workers is the last sample of each of them: of the 50 ms
between the last sample and a worker's end, what it did goes to the rest.
Memory is RssAnon: what a process has for itself, without shared buffers.
"""
import os
import re
import threading
import time
from dataclasses import dataclass, field

import psycopg2

TICK = os.sysconf("SC_CLK_TCK")
INTERVAL = 0.05


def read(path):
    """A file of /proc; empty when the process is gone."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def cpu_times(pid):
    """utime + stime, and cutime + cstime, in seconds; None when the process is gone."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return None
    fields = text[text.rindex(")") + 2:].split()
    return (int(fields[11]) + int(fields[12])) / TICK, (int(fields[13]) + int(fields[14])) / TICK


def children(pid):
    return [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]


def private_kb(pid):
    found = re.search(r"RssAnon:\s+(\d+)", read(f"/proc/{pid}/status"))
    return int(found.group(1)) if found else 0


@dataclass
class Sample:
    at: float                                    # seconds since 1970
    mongod: float                                # CPU seconds, as the next
    postgres: float
    wal: int                                     # bytes since the cluster was made
    workers: dict = field(default_factory=dict)  # CPU seconds by pid, while they live


class Watch(threading.Thread):
    """Samples from the start to stop(); workers are the processes with a matching title."""

    def __init__(self, servers, pattern, client=None):
        super().__init__(daemon=True)
        self.servers, self.pattern, self.client = servers, re.compile(pattern), client
        self.samples, self.peak_kb, self.client_peak_kb, self.known = [], 0, 0, {}
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.samples.append(self.sample())
            self.ended.wait(INTERVAL)
        self.samples.append(self.sample())

    def stop(self):
        self.ended.set()
        self.join()

    def is_worker(self, pid):
        if not self.known.get(pid):
            self.known[pid] = pid not in self.servers.own and bool(self.pattern.search(read(f"/proc/{pid}/cmdline")))
        return self.known[pid]

    def sample(self):
        at, wal = self.servers.now_and_wal()
        own, ended = cpu_times(self.servers.postmaster)
        total, workers = own + ended, {}
        for pid in children(self.servers.postmaster):
            times = cpu_times(pid)
            if times is None or pid in self.servers.own:
                continue
            total += times[0]
            if self.is_worker(pid):
                workers[pid] = times[0]
                self.peak_kb = max(self.peak_kb, private_kb(pid))
        if self.client is not None:
            for pid in [self.client.pid] + children(self.client.pid):
                self.client_peak_kb = max(self.client_peak_kb, private_kb(pid))
        return Sample(at, cpu_times(self.servers.mongod)[0], total, wal, workers)

    def value(self, name, at):
        """mongod, postgres or wal at a time, on a line between two samples."""
        before = after = self.samples[0]
        for after in self.samples:
            if after.at >= at:
                break
            before = after
        a, b = getattr(before, name), getattr(after, name)
        share = min(max((at - before.at) / (after.at - before.at), 0), 1) if after.at > before.at else 1
        return a + (b - a) * share

    def spent(self, name, until=None):
        """From the first sample to a time, or to the last sample."""
        end = getattr(self.samples[-1], name) if until is None else self.value(name, until)
        return end - getattr(self.samples[0], name)

    def workers_spent(self, until=None):
        first, last = {}, {}
        for sample in self.samples:
            for pid, cpu in sample.workers.items():
                first.setdefault(pid, cpu if sample is self.samples[0] else 0)
                if until is None or sample.at <= until or pid not in last:
                    last[pid] = cpu
        return sum(last[pid] - first[pid] for pid in last)


class Servers:
    """The two servers, and the connection that the samples are taken with."""

    def __init__(self, dsn, postmaster, mongod):
        self.dsn, self.postmaster, self.mongod = dsn, postmaster, mongod
        self.monitor = self.connect()
        self.main = self.connect()
        self.own = {self.monitor.info.backend_pid, self.main.info.backend_pid}

    def connect(self):
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        return connection

    def query(self, sql, *arguments):
        """All rows of one statement."""
        with self.main.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql, *arguments):
        return self.query(sql, *arguments)[0][0]

    def now_and_wal(self):
        with self.monitor.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
            return time.time(), int(cursor.fetchone()[0])
