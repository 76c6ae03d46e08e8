#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A client of Wirerank's protocol v1 (docs/protocol.md), Python's standard library only.

  wr_client.py hello HOST PORT
  wr_client.py recommend HOST PORT USER [-k 10] [--click ITEM]... [--history ITEM,ITEM,...] [--say TEXT]
  wr_client.py event HOST PORT USER --click ITEM...
  wr_client.py forget HOST PORT USER
  wr_client.py user-id NAME...      wr_client.py shard USER_ID...
  wr_client.py examples             wr_client.py decode HEX

Python programs import it: Client(HOST, PORT).recommend(user_id("alice"), clicks=[31]).  Exit status: 0, 1 when the
answer is an error or none came."""
import argparse
import hashlib
import os
import socket
import struct
import sys
import time

VERSION = 1
HELLO, RECOMMEND, EVENT, FORGET, ERROR = 1, 2, 3, 4, 0x7F
ANSWER_BIT = 0x80
PAD, ASK, EVENTS, HISTORY, EXCLUDE, CONTEXT, UTTERANCE, COOKIE, AUTH = range(9)
ANSWER, ITEMS, SERVER, SHARDS, PORTS = range(16, 21)
VIEW, CLICK, CONVERT, INTENT = 1, 2, 3, 4
STATUS = ["ok", "malformed", "unsupported", "version", "denied", "busy", "deadline", "domain", "internal"]
OK, DENIED = 0, 4
FLAGS = ["history_wanted", "shortened", "handed_over", "approximate", "cold", "duplicate", "intent"]
MAX_BYTES = 1232
M64 = (1 << 64) - 1


# ---- published hashes ----
def user_id(name):
    """Name (str) -> u64."""
    text = name.encode()
    if text.isdigit() and (text == b"0" or text[:1] != b"0") and len(text) <= 19 and int(text) < 1 << 63:
        return int(text)
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest()[:8], "little") | 1 << 63


def shard(user):
    """u64 -> virtual shard 0 ... 255."""
    x = user & M64
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & M64
    return (x ^ x >> 31) >> 56


# ---- encoding ----
def section(kind, arg, body):
    return struct.pack("<BBH", kind, arg, len(body)) + body + bytes(-len(body) % 4)


def ask(k, budget_us=0):
    return section(ASK, 0, struct.pack("<B3xI", k, budget_us))


def events(rows, base_seq=0):
    """rows: (item, kind, time_ms, dwell in tenths of a second, request id that it answers), oldest first."""
    body = struct.pack("<Q", base_seq)
    for item, kind, time_ms, dwell, answers in rows:
        body += struct.pack("<IBxHqQ", item, kind, dwell, time_ms, answers)
    return section(EVENTS, len(rows), body)


def history(rows, complete):
    """rows: (item, kind, time_ms or 0), oldest first."""
    newest = rows[-1][2] if rows else 0
    gaps = [b[2] - a[2] for a, b in zip(rows, rows[1:])] if newest else []
    unit = 1000 if any(g >= 1 << 32 for g in gaps) else 1
    before = [max(newest - r[2], 0) // unit for r in rows] if newest else [0] * len(rows)
    body = struct.pack("<qB3xI", newest, 1 if complete else 0, unit)
    for i, (item, kind, _) in enumerate(rows):
        delta = before[i] - before[i + 1] if i + 1 < len(rows) else 0
        body += struct.pack("<II", kind - 1 << 30 | item, delta)
    return section(HISTORY, len(rows), body)


def exclude(items):
    return section(EXCLUDE, len(items), struct.pack("<%dI" % len(items), *items))


def utterance(text):
    return section(UTTERANCE, 0, text.encode())


def cookie(epoch, mac):
    return section(COOKIE, 0, struct.pack("<IIQ", epoch, 0, mac))


def message(op, request_id, user, time_ms, sections, flags=0, domain=0, pad_to=0, key=None):
    """One datagram. key: (key id, 32 bytes) appends AUTH."""
    body = b"".join(sections)
    size = 32 + len(body) + (24 if key else 0)
    if pad_to > size:
        room = (pad_to - size + 3) // 4 * 4
        body += section(PAD, 0, bytes(room - 4))
        size += room
    if size > MAX_BYTES:
        raise ValueError("%d bytes; %d are the most" % (size, MAX_BYTES))
    text = struct.pack("<BBHHBxQQq", VERSION, op, size, flags, domain, request_id, user, time_ms) + body
    if key:
        text += struct.pack("<BBHI", AUTH, 0, 20, key[0])
        text += hashlib.blake2b(text, digest_size=16, key=key[1]).digest()
    return text


# ---- decoding ----
def decode(data):
    """An answer's datagram -> dict; ValueError for anything that is none."""
    try:
        return decode_sections(data)
    except struct.error as why:
        raise ValueError("a section has a wrong length (%s)" % why) from None


def decode_sections(data):
    if len(data) < 32 or len(data) > MAX_BYTES or len(data) % 4:
        raise ValueError("length %d" % len(data))
    version, op, length, flags, domain, request, user, time_ms = struct.unpack_from("<BBHHBxQQq", data)
    if length != len(data) or not op & ANSWER_BIT or version != VERSION:
        raise ValueError("no answer of version %d" % VERSION)
    out = {"op": op & 0x7F, "flags": [n for i, n in enumerate(FLAGS) if flags >> i & 1], "domain": domain,
           "request_id": request, "user_id": user, "time_ms": time_ms, "items": []}
    at = 32
    while at < length:
        kind, arg, n = struct.unpack_from("<BBH", data, at)
        body = data[at + 4:at + 4 + n]
        at += 4 + (n + 3) // 4 * 4
        if at > length:
            raise ValueError("a section reaches beyond the message")
        if kind == ANSWER:
            names = ("status", "degrade", "durability", "n_intents", "bundle_version", "model_generation",
                     "shard_epoch", "server_us", "retry_after_ms", "policy_id", "ack_seq")
            out.update(zip(names, struct.unpack("<BBBBIIIIII4xQ", body)))
        elif kind == ITEMS:
            out["items"] = [struct.unpack_from("<IfHxxf", body, 16 * i) for i in range(arg)]
        elif kind == COOKIE:
            epoch, _, mac = struct.unpack("<IIQ", body)
            out["cookie"] = (epoch, mac)
        elif kind == SERVER:
            names = ("version_min", "version_max", "max_bytes", "max_k", "max_events", "max_history",
                     "max_exclude", "max_utterance", "min_unproven", "server_bundle_version",
                     "server_generation", "epoch", "n_items", "history_events", "bundle_id")
            out.update(zip(names, struct.unpack("<BBHBBBBHHIIIII16s", body)))
        elif kind == SHARDS:
            out["shards"] = list(body)
        elif kind == PORTS:
            out["ports"] = list(struct.unpack("<%dH" % arg, body))
        elif kind & 0x80:
            raise ValueError("section %d must be understood" % kind)
    if "status" not in out:
        raise ValueError("no ANSWER section")
    return out


def port_of_user(hello, user):
    """The UDP port of the queue that owns this user."""
    return hello["ports"][hello["shards"][shard(user)]]


# ---- a blocking client ----
class Client:
    """One server, one request at a time. Says HELLO first, carries the cookie, sends to the port of the user's shard, sends
    the same bytes again when nothing comes, and says HELLO again when the shard table has changed or the server stays silent.
    TimeoutError: no answer. An answer may still be an error: look at its "status" (index into STATUS)."""

    def __init__(self, host, port, timeout=0.05, tries=3):
        family, _, _, _, self.address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.timeout, self.tries = timeout, tries
        self.table, self.cookie, self.failures = None, None, 0
        self.wanted = set()  # users whose history the server has asked for

    def hello(self):
        self.table = self.exchange(HELLO, 0, [], pad_to=540)
        return self.table

    def recommend(self, user, k=10, clicks=(), past=None, say="", without=()):
        """clicks: items, clicked now. past: the user's whole history before them, as rows of history(), or a function of the
        user that gives it and is called only when the server has asked. without: items that must not be in the answer."""
        if callable(past):
            past = past(user) if user in self.wanted else None
        sections = self.clicked(clicks) + [ask(k)]
        sections += [history(past, True)] if past is not None else []
        sections += [exclude(list(without))] if without else []
        sections += [utterance(say)] if say else []
        return self.call(RECOMMEND, user, sections)

    def event(self, user, clicks):
        return self.call(EVENT, user, self.clicked(clicks))

    def forget(self, user):
        return self.call(FORGET, user, [])

    @staticmethod
    def clicked(items):
        now = int(time.time() * 1000)
        return [events([(i, CLICK, now, 0, 0) for i in items])] if items else []

    def call(self, op, user, sections, flags=0, pad_to=256):
        """One request other than HELLO; its answer as decode() gives it."""
        if not self.table or self.failures >= 3:
            self.hello()
        answer = self.exchange(op, user, sections, flags, pad_to)
        if answer["status"] == DENIED and "cookie" in answer:
            answer = self.exchange(op, user, sections, flags, pad_to)  # now with the cookie that came
        (self.wanted.add if "history_wanted" in answer["flags"] else self.wanted.discard)(user)
        if answer["shard_epoch"] != self.table["shard_epoch"]:
            self.hello()
        return answer

    def exchange(self, op, user, sections, flags=0, pad_to=0):
        request = int.from_bytes(os.urandom(8), "little") or 1
        proof = [cookie(*self.cookie)] if self.cookie else []
        data = message(op, request, user, int(time.time() * 1000), sections + proof, flags, pad_to=pad_to)
        port = port_of_user(self.table, user) if op != HELLO and self.table.get("ports") else self.address[1]
        to = (self.address[0], port) + self.address[2:]
        for attempt in range(self.tries):
            self.socket.sendto(data, to)  # the very same bytes again: duplicates change nothing
            answer = self.wait(request, self.timeout * 2 ** attempt)
            if answer:
                self.failures = 0
                self.cookie = answer.get("cookie", self.cookie)
                return answer
        self.failures += 1
        raise TimeoutError("no answer from %s port %d after %d tries: does a server listen there, does it allow this source, are "
                           "the checksums complete (on a veth: ethtool -K IFACE tx off)?" % (to[0], port, self.tries))

    def wait(self, request, seconds):
        """The answer to that request, None when it does not come in time. Whatever else comes is ignored."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                answer = decode(self.socket.recv(MAX_BYTES + 1))
            except (ValueError, socket.timeout):
                continue
            if answer["request_id"] == request:
                return answer
        return None


def examples():
    """The worked examples of docs/protocol.md."""
    rows = [(31, CLICK, 1600000000000), (47, CONVERT, 1600000090000)]
    proof = cookie(12, 0x1122334455667788)
    yield "recommend", message(
        RECOMMEND, 0x0102030405060708, user_id("alice"), 1600000200000,
        [ask(2, 5000), events([(58, CLICK, 1600000180000, 125, 0)], 3), history(rows, True), proof])
    yield "forget", message(FORGET, 0x0102030405060709, user_id("alice"), 1600000300000, [proof],
                            key=(1, bytes(range(32))))
    yield "event", message(EVENT, 0x010203040506070A, 42, 0,
                           [events([(58, VIEW, 0, 0, 0), (1073741823, CLICK, 1600000400123, 65535, 7)])],
                           pad_to=144)


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="verb", required=True)
    sub.add_parser("examples")
    sub.add_parser("decode").add_argument("hex", type=bytes.fromhex)
    sub.add_parser("user-id").add_argument("words", nargs="+")
    sub.add_parser("shard").add_argument("words", nargs="+")
    for verb in ("hello", "recommend", "event", "forget"):
        v = sub.add_parser(verb)
        v.add_argument("host")
        v.add_argument("port", type=int)
        if verb != "hello":
            v.add_argument("user", type=user_id)
        if verb in ("recommend", "event"):
            v.add_argument("--click", type=int, action="append", default=[], required=verb == "event")
        if verb == "recommend":
            v.add_argument("-k", type=int, default=10)
            v.add_argument("--history", default="")
            v.add_argument("--say", default="")
    return p.parse_args()


def ask_server(a):
    client = Client(a.host, a.port)
    if a.verb == "hello":
        return client.hello()
    if a.verb == "forget":
        return client.forget(a.user)
    if a.verb == "event":
        return client.event(a.user, a.click)
    earlier = [(int(i), CLICK, 0) for i in a.history.split(",") if i]
    return client.recommend(a.user, a.k, a.click, earlier or None, a.say)


def main():
    a = parse_arguments()
    if a.verb == "examples":
        for name, data in examples():
            print(name, data.hex())
    elif a.verb == "user-id":
        for w in a.words:
            print("0x%016x" % user_id(w))
    elif a.verb == "shard":
        for w in a.words:
            print(shard(int(w, 0)))
    else:
        try:
            answer = decode(a.hex) if a.verb == "decode" else ask_server(a)
        except (OSError, ValueError) as why:  # TimeoutError is an OSError
            print("wr_client: %s" % why, file=sys.stderr)
            return 1
        status = answer["status"]
        answer["status"] = STATUS[status] if status < len(STATUS) else status
        for key, value in answer.items():
            print("%-18s %s" % (key, value.hex() if isinstance(value, bytes) else value))
        return 0 if status == OK else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
