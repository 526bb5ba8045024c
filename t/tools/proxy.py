#!/usr/bin/env python3
"""A TCP proxy that does to connections what networks and broken servers do.

    proxy.py PORT

Passes connections on to 127.0.0.1:PORT.  Prints the port that it listens on,
then obeys commands on standard input, one per line, and answers each with a
line.  "Replies" are what the server sends.

    pass                    no more of what follows; new connections pass
    cut HOW [BYTES]         ends all connections; with BYTES, each one when
                            it has received that much more (HOW: rst, fin)
    stall                   nothing passes any more, also on new connections,
                            but all stay open
    half                    the server's ends are closed, ours stay open;
                            new connections pass
    refuse                  nobody listens; connections are cut
    delay MILLISECONDS      replies come that much later
    rate BYTES              replies come with so many bytes a second
    loss SEED PERCENT       so many of the replies' segments are lost: they,
                            and what follows, wait for TCP's 200 ms
    damage KIND [MINIMUM]   the next reply of at least MINIMUM bytes is not
                            what it should be; see Damage
    flip SEED PERCENT       so many of the replies get a few bytes changed
    mongos                  the server calls itself one from now on
    eof                     from now on the last reply of a cursor has no
                            resume token but null, as of newer servers
    raw                     what passes are no messages, but TLS
    count                   "OPEN TOTAL DAMAGED LOST": connections, replies,
                            segments
"""
import queue
import random
import re
import socket
import struct
import sys
import threading
import time

import bson

SEGMENT = 1448                           # bytes of a TCP segment on Ethernet
RETRANSMISSION = 0.2                     # seconds, Linux' least time-out


class Damage:
    """Ways to spoil a message of the wire protocol (header, flags, sections)."""

    # Well-formed, but no values of MongoDB's; "members" and "login" are.
    ELEMENTS = {name: bson.encode(document)[4:-1] for name, document in {
        "code": {"code": 0},
        "code_wide": {"code": bson.Int64(1 << 32)},
        "code_inside": {"writeConcernError": {"code": 0.0, "errmsg": "x"}},
        "members_port": {"hosts": ["a:70000"]},
        "members_colons": {"passives": ["a:27017", "::1:27017"]},
        "members_empty": {"arbiters": [""]},
        "members_bracket": {"hosts": ["[::1"]},
        "members_long": {"hosts": ["a" * 256]},
        "members_number": {"hosts": [1]},
        "members_many": {"hosts": ["m%d" % i for i in range(201)]},
        "concern_error": {"writeConcernError": 1},
        "compressors": {"compression": [1]},
        "speculative": {"speculativeAuthenticate": 1},
        "iterations": {"payload": b"r=abc,s=QSXCR+Q6sek8bf92,i=2147483647"},
        "iterations_first": {"speculativeAuthenticate": {"payload": b"i=00010000000,r=abc,s=QSXCR+Q6sek8bf92"}},
        "iterations_8": {"payload": b"r=abc,s=QSXCR+Q6sek8bf92,i=99999999"},
        "iterations_7": {"payload": b"r=abc,i=1000000,s=QSXCR+Q6sek8bf92"},
        "members": {"hosts": ["a", "b:1", "[::1]", "[::1]:65535", "a" * 255], "code": 1},
        "login": {"payload": b"r=abc,s=QSXCR+Q6sek8bf92,i=999999"},
        "mongos": {"msg": "isdbgrid"},
    }.items()}

    @classmethod
    def add(cls, message, element):
        start = 21 if struct.unpack_from("<i", message, 12)[0] == 2013 else 36
        message[-1:] = element + b"\0"
        cls.number(message, start, len(message) - start)
        cls.number(message, 0, len(message))

    @staticmethod
    def number(message, at, value):
        struct.pack_into("<i", message, at, value)

    @classmethod
    def apply(cls, kind, message):
        """Changes the message in place; True when the connection is to end behind it."""
        if kind == "opcode":
            cls.number(message, 12, 9999)
        elif kind in ("short", "negative", "huge"):
            cls.number(message, 0, {"short": 15, "negative": -1, "huge": 0x7FFFFFFF}[kind])
        elif kind == "long":             # more than comes, but allowed
            cls.number(message, 0, 40 * 1024 * 1024)
            return True
        elif kind == "truncated":
            del message[len(message) // 2:]
            return True
        elif kind == "header":           # ends within the header
            del message[10:]
            return True
        elif kind == "flags":
            cls.number(message, 16, 0x0000FF00)
        elif kind == "section":
            message[20] = 7
        elif kind in ("document", "document_short"):
            cls.number(message, 21, 0x7FFFFFFF if kind == "document" else 3)
        elif kind == "type":             # of the first element
            message[25] = 0xEE
        elif kind in ("inner", "inner_short", "inner_type"):
            cls.inner(message, kind)
        elif kind in ("other", "checksum", "compressed"):
            cls.wrap(kind, message)
        elif kind == "tiny":             # OP_MSG that ends behind its flags
            message[16:] = struct.pack("<i", 0)
            cls.number(message, 0, len(message))
            cls.number(message, 12, 2013)
        elif kind == "bare":             # OP_REPLY that ends before its document
            message[16:] = struct.pack("<iqii", 8, 0, 0, 1)
            cls.number(message, 0, len(message))
            cls.number(message, 12, 1)
        elif kind == "generous":         # hello allows messages of 2 GB, and one follows
            at = message.find(b"\x10maxMessageSizeBytes\0")
            if at >= 0:
                cls.number(message, at + 21, 0x7FFFFFFF)
        elif kind == "nameless":         # a cursor without its namespace
            at = message.find(b"\x02ns\0")
            if at >= 0:
                message[at + 1:at + 3] = b"xx"
        elif kind == "eof":
            cls.forget_token(message)
        elif kind in cls.ELEMENTS:       # one more element at the end of the document
            cls.add(message, cls.ELEMENTS[kind])
        elif kind == "empty":            # {ok: 1}
            body = struct.pack("<i", 17) + b"\x01ok\0" + struct.pack("<d", 1.0) + b"\0"
            message[16:] = struct.pack("<iB", 0, 0) + body
            cls.number(message, 0, len(message))
        else:
            raise ValueError(kind)
        return False

    @classmethod
    def forget_token(cls, message):
        if struct.unpack_from("<i", message, 12)[0] != 2013 or b"postBatchResumeToken" not in message:
            return
        body = bson.decode(bytes(message[21:]))
        if body["cursor"]["id"] == 0:
            body["cursor"]["postBatchResumeToken"] = {"$recordId": None}
        message[21:] = bson.encode(body)
        cls.number(message, 0, len(message))

    @classmethod
    def wrap(cls, kind, message):
        """The same document in a message that nobody asked for."""
        is_msg = struct.unpack_from("<i", message, 12)[0] == 2013
        if kind == "checksum" and is_msg:
            cls.number(message, 16, 1)
            message += b"\0\xff\xff\xff"
        elif kind == "compressed":       # by "noop", to one byte
            cls.number(message, 12, 2012)
            message[16:16] = struct.pack("<iiB", 2013 if is_msg else 1, 1, 0)
        elif is_msg:                     # as OP_REPLY
            cls.number(message, 12, 1)
            message[16:21] = struct.pack("<iqii", 8, 0, 0, 1)
        else:
            cls.number(message, 12, 2013)
            message[16:36] = struct.pack("<iB", 0, 0)
        cls.number(message, 0, len(message))

    @classmethod
    def inner(cls, message, kind):
        """The first document of a batch: 0x04 name NUL, length, 0x03 "0" NUL, length."""
        found = re.search(rb"\x04(?:first|next)Batch\0....\x030\0", message, re.DOTALL)
        if not found:
            return
        if kind == "inner_type":
            message[found.end() - 3] = 0x02
        else:
            cls.number(message, found.end(), 0x7FFFFFFF if kind == "inner" else 3)


class Weather:
    """What is done to all connections; one lock for everything."""

    def __init__(self):
        self.lock = threading.Condition()
        self.links = set()
        self.total = self.damaged = self.lost = 0
        self.clear()

    def clear(self):
        self.stalled = False
        self.delay = self.rate = 0
        self.cut = None                  # how
        self.damage = None               # kind, minimum
        self.flip = None                 # random, share
        self.loss = None                 # same
        self.every = None                # kind of all replies
        self.raw = False


class Link:
    """A connection: a thread reads each side, another writes the replies when they are due."""

    def __init__(self, weather, client, port):
        self.weather, self.client = weather, client
        self.server = socket.create_connection(("127.0.0.1", port))
        self.left = None                 # bytes until the cut
        self.replies = queue.Queue()
        self.frozen = False              # half-open
        self.message = bytearray()
        self.skip = 0                    # bytes of the message at work still to pass
        for sock in (client, self.server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self):
        for work in (self.pump_requests, self.pump_replies, self.write_replies):
            threading.Thread(target=work, daemon=True).start()

    def wait_while_stalled(self):
        with self.weather.lock:
            while self.weather.stalled or self.frozen:
                self.weather.lock.wait()

    def pump_requests(self):
        try:
            while data := self.client.recv(65536):
                self.wait_while_stalled()
                self.server.sendall(data)
        except OSError:
            pass
        self.close("fin")

    def pump_replies(self):
        try:
            while data := self.server.recv(1 << 20):
                for piece in self.treat(data):
                    self.replies.put((time.monotonic() + self.weather.delay, piece))
        except OSError:
            pass
        self.replies.put((time.monotonic() + self.weather.delay, None))

    def treat(self, data):
        """Pieces to pass on, None for the end.  Messages are looked at as a whole only when they are to be changed."""
        if self.weather.raw:
            yield data
            return
        self.message += data
        while self.message:
            if self.skip > 0:
                piece = self.message[:self.skip]
                del self.message[:len(piece)]
                self.skip -= len(piece)
                yield piece
                continue
            if len(self.message) < 16:
                return
            size = struct.unpack_from("<i", self.message)[0]
            kind = self.choose_damage(size)
            if kind is None:
                self.skip = size
                continue
            if len(self.message) < size:
                self.keep_damage(kind)
                return
            message = self.message[:size]
            del self.message[:size]
            ends = self.spoil(kind, message)
            yield message
            if ends:
                yield None

    def choose_damage(self, size):
        with self.weather.lock:
            if self.weather.damage and size >= self.weather.damage[1]:
                kind, self.weather.damage = self.weather.damage, None
                return kind
            if self.weather.every:
                return (self.weather.every, 0)
            if self.weather.flip and self.weather.flip[0].random() < self.weather.flip[1]:
                return self.weather.flip[0]
        return None

    def keep_damage(self, kind):
        """The message is not complete yet."""
        with self.weather.lock:
            if isinstance(kind, tuple) and kind[0] != self.weather.every:
                self.weather.damage = kind

    def spoil(self, kind, message):
        with self.weather.lock:
            self.weather.damaged += 1
            if kind[0] == "generous":
                self.weather.damage = ("huge", 0)
        if isinstance(kind, tuple):
            return Damage.apply(kind[0], message)
        for _ in range(kind.randint(1, 8)):
            message[kind.randrange(len(message))] = kind.randrange(256)
        return False

    def write_replies(self):
        try:
            while True:
                due, data = self.replies.get()
                time.sleep(max(0, due - time.monotonic()))
                self.wait_while_stalled()
                if data is None:
                    self.close("fin")
                    return
                self.write(data)
        except OSError:
            self.close("fin")

    def write(self, data):
        rate, loss = self.weather.rate, self.weather.loss
        step = SEGMENT if loss else max(1, rate // 20) if rate else len(data)
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            if loss and loss[0].random() < loss[1]:
                self.weather.lost += 1
                time.sleep(RETRANSMISSION)
            if self.left is not None:
                piece = piece[:self.left]
                self.left -= len(piece)
            self.client.sendall(piece)
            if self.left == 0:
                self.close(self.weather.cut)
                return
            if rate:
                time.sleep(len(piece) / rate)

    def close(self, how):
        with self.weather.lock:
            if self.frozen or self.weather.stalled:
                return
            self.weather.links.discard(self)
        if how == "rst":
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for sock in (self.server, self.client):
            try:
                if how != "rst" or sock is self.server:
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            except OSError:
                pass


class Proxy:
    def __init__(self, port):
        self.target = port
        self.weather = Weather()
        self.listener = None
        self.port = 0
        self.listen()

    def listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                link = Link(self.weather, client, self.target)
            except OSError:
                client.close()
                continue
            with self.weather.lock:
                self.weather.links.add(link)
                self.weather.total += 1
            link.start()

    def links(self):
        with self.weather.lock:
            return list(self.weather.links)

    def command(self, name, *words):
        weather = self.weather
        if name == "pass":
            with weather.lock:
                weather.clear()
                weather.lock.notify_all()
            if self.listener is None:
                self.listen()
        elif name == "cut":
            self.cut(words[0], int(words[1]) if len(words) > 1 else None)
        elif name == "stall":
            weather.stalled = True
        elif name in ("mongos", "eof"):
            weather.every = name
        elif name == "raw":
            weather.raw = True
        elif name == "half":
            for link in self.links():
                link.frozen = True
                link.server.close()
        elif name == "refuse":
            listener, self.listener = self.listener, None
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            self.cut("rst", None)
        elif name == "delay":
            weather.delay = int(words[0]) / 1000
        elif name == "rate":
            weather.rate = int(words[0])
        elif name == "loss":
            weather.loss = (random.Random(int(words[0])), float(words[1]) / 100)
        elif name == "damage":
            weather.damage = (words[0], int(words[1]) if len(words) > 1 else 0)
        elif name == "flip":
            weather.flip = (random.Random(int(words[0])), float(words[1]) / 100)
        elif name == "count":
            return f"{len(self.links())} {weather.total} {weather.damaged} {weather.lost}"
        else:
            raise ValueError(name)
        return "ok"

    def cut(self, how, left):
        self.weather.cut = how
        for link in self.links():
            if left is None:
                link.close(how)
            else:
                link.left = left


def main():
    proxy = Proxy(int(sys.argv[1]))
    print(proxy.port, flush=True)
    for line in sys.stdin:
        print(proxy.command(*line.split()), flush=True)


if __name__ == "__main__":
    main()
