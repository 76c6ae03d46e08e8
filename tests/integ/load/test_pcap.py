#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""wrload pcap: every frame of a file is the request that was asked for, as tcpdump (lengths, checksums) and the Python
example client (message, shard) see it.

usage: test_pcap.py WRLOAD SOURCE_ROOT"""
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter

WRLOAD, ROOT = sys.argv[1:3]
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import pcapfile  # noqa: E402

spec = importlib.util.spec_from_file_location("wr_client", os.path.join(ROOT, "docs", "examples", "wr_client.py"))
client = importlib.util.module_from_spec(spec)
spec.loader.exec_module(client)
WORK = tempfile.mkdtemp(prefix="wrload-pcap-")
START = 1600000000123
failures = []
checks = 0


def check(name, ok, detail=""):
    global checks
    checks += 1
    print(f'{"ok  " if ok else "FAIL"} {name} {detail}', flush=True)
    if not ok:
        failures.append(name)


def write(name, *options, code=0):
    """Path of the file, and the JSON result."""
    path, out = os.path.join(WORK, name), os.path.join(WORK, "out.json")
    run = subprocess.run([WRLOAD, "pcap", f"--output={path}", f"--json={out}", "--quiet", f"--start={START}", *options],
                         capture_output=True, text=True, timeout=60, check=False)
    if run.returncode != code:
        check(f"{name}: exit code {code}", False, run.stderr)
        sys.exit(1)
    if code:
        return run.stderr
    with open(out, encoding="utf-8") as f:
        return path, json.load(f)


def parse(frame):
    """Addresses, ports, message of a frame whose lengths are all right."""
    frame = pcapfile.udp(frame)
    return {**frame, **pcapfile.header(frame["payload"]), "from": frame["ports"][0], "port": frame["ports"][1],
            "message": frame["payload"]}


def sections(message):
    at, found = 32, {}
    while at < len(message):
        kind, n, length = struct.unpack_from("<BBH", message, at)
        found[kind] = (n, message[at + 4:at + 4 + length])
        at += 4 + (length + 3) // 4 * 4
    return found


def tcpdump(path):
    """Lines of tcpdump that call a checksum right, and those that call one wrong."""
    out = subprocess.run(["tcpdump", "-nnvvr", path], capture_output=True, text=True, timeout=60, check=True)
    text = out.stdout
    return text.count("[udp sum ok]"), text.count("bad udp cksum") + text.count("bad cksum") + text.count("[|"), text


def test_workloads():
    sizes = {"echo": (256, 2), "warm": (256, 2), "cold": (640, 2), "cold-99": (1024, 2), "event": (256, 3), "utterance": (256, 2),
             "hello": (640, 1)}
    for name, (size, op) in sizes.items():
        path, result = write(f"{name}.pcap", f"--workload={name}", "--count=200", "--items=77", "--users=30")
        frames, nano = pcapfile.read(path)
        requests = [parse(f) for _, f in frames]
        good, bad, _ = tcpdump(path)
        check(f"{name}: frames", len(frames) == 200 == result["frames"] and nano and
              result["bytes"] == sum(len(f) for _, f in frames), str(result))
        check(f"{name}: checksums by tcpdump", good == 200 and bad == 0, f"{good} good, {bad} bad")
        check(f"{name}: sizes and operation", all(r["size"] == size and r["op"] == op for r in requests))
        check(f"{name}: ids unique", len({r["id"] for r in requests}) == 200 and all(r["id"] for r in requests))
        bodies = [sections(r["message"]) for r in requests]
        clicks = [struct.unpack_from("<I", b[client.EVENTS][1], 8)[0] for b in bodies if client.EVENTS in b]
        past = [struct.unpack_from("<I", b[client.HISTORY][1], 16 + 8 * i)[0] & 0x3FFFFFFF
                for b in bodies if client.HISTORY in b for i in range(b[client.HISTORY][0])]
        check(f"{name}: items are the catalogue's", all(1 <= i <= 77 for i in clicks + past) and
              len(clicks) == (200 if name in ("warm", "event", "utterance") else 0) and
              len(past) == {"cold": 200 * 50, "cold-99": 200 * 99}.get(name, 0), f"{len(clicks)} clicks, {len(past)} past")
    mixed = [parse(f) for _, f in pcapfile.read(write("mixed.pcap", "--workload=mixed", "--count=50")[0])[0]]
    check("mixed: four EVENT and one RECOMMEND of a user", [r["op"] for r in mixed] == [3, 3, 3, 3, 2] * 10 and
          all(len({r["user"] for r in mixed[i:i + 5]}) == 1 for i in range(0, 50, 5)))


def table(n):
    """The daemon's shard table for n workers."""
    owner = [0] * 256
    for new in range(1, n):
        for _ in range(256 // (new + 1)):
            fullest = max(range(new), key=lambda w: (owner.count(w), -w))
            owner[max(s for s in range(256) if owner[s] == fullest)] = new
    return owner


def test_addresses():
    path, _ = write("six.pcap", "--workload=echo", "--count=20", "--server-ip=fd00::7", "--client-ip=fd00::8",
                    "--server-mac=02:00:00:00:00:11", "--client-mac=02:00:00:00:00:12", "--client-port=5000", "--server-port=4800",
                    "--server-queues=3", "--users=1000")
    requests = [parse(f) for _, f in pcapfile.read(path)[0]]
    good, bad, text = tcpdump(path)
    check("IPv6: checksums", good == 20 and bad == 0 and "fd00::8.5000 > fd00::7.480" in text)
    check("MACs", all(r["macs"] == ("02:00:00:00:00:12", "02:00:00:00:00:11") and r["from"] == 5000 for r in requests))
    check("ports by shard", all(r["port"] == 4800 + table(3)[client.shard(r["user"])] for r in requests) and
          len({r["port"] for r in requests}) == 3)
    path, _ = write("four.pcap", "--workload=echo", "--count=20", "--server-ip=192.0.2.7", "--client-ip=192.0.2.8")
    requests = [parse(f) for _, f in pcapfile.read(path)[0]]
    check("IPv4", all(r["ends"] == (bytes([192, 0, 2, 8]), bytes([192, 0, 2, 7])) for r in requests) and
          tcpdump(path)[0] == 20)


def test_times():
    path, result = write("constant.pcap", "--rate=1000", "--count=300", "--workload=event")
    frames, _ = pcapfile.read(path)
    check("constant gaps", all(abs(t - START * 10**6 - (i + 1) * 10**6) <= 1 for i, (t, _) in enumerate(frames)) and
          abs(result["seconds"] - 0.3) < 1e-6, str(result["seconds"]))
    bodies = [sections(parse(f)["message"])[client.EVENTS][1] for _, f in frames]
    check("events happen when they are sent", all(abs(struct.unpack_from("<q", b, 16)[0] - t // 10**6) <= 1
                                                  for b, (t, _) in zip(bodies, frames)))
    path, _ = write("micro.pcap", "--rate=12345", "--arrivals=poisson", "--count=300", "--micro")
    frames, nano = pcapfile.read(path)
    gaps = {b[0] - a[0] for a, b in zip(frames, frames[1:])}
    check("microseconds, poisson", not nano and len(gaps) > 100 and min(gaps) >= 0)


def test_more():
    path, result = write("past.pcap", "--populate", "--users=7", "--count=70", "--workload=warm", "--cookie=3:12345678901234567890")
    requests = [parse(f) for _, f in pcapfile.read(path)[0]]
    told = Counter()
    for r in requests[:28]:
        told[r["user"]] += sections(r["message"])[client.EVENTS][0]
    check("the past: 99 clicks of each user, then warm", result["past"] == 28 and len(told) == 7 and set(told.values()) == {99} and
          {r["user"] for r in requests[28:]} <= set(told))
    check("ids unique, past included", len({r["id"] for r in requests}) == 98)
    check("cookie", all(sections(r["message"])[client.COOKIE][1] == struct.pack("<IIQ", 3, 0, 12345678901234567890)
                        for r in requests[28:]))
    _, result = write("bad.pcap", "--malformed=0.3", "--count=2000", "--mix=warm:1,hello:1")
    kinds = result["kinds"]
    check("malformed share and mix", 500 < kinds["malformed"] < 700 and abs(kinds["warm"] - kinds["hello"]) < 200, str(kinds))
    same = [open(write(n, "--workload=mixed", "--malformed=0.3", s)[0], "rb").read() for n, s in
            (("a.pcap", "--seed=5"), ("b.pcap", "--seed=5"), ("c.pcap", "--seed=6"))]
    check("same seed and start, same file", same[0] == same[1] != same[2])


def test_refusals():
    for text, options in (("--rate=0", ["--rate=0"]), ("--workload=nope", ["--workload=nope"]), ("--cookie=7", ["--cookie=7"]),
                          ("does not fit", ["--workload=utterance", "--size=96"]), ("65535", ["--server-queues=9", "--server-port=65530"]),
                          ("--items=0", ["--items=0"])):
        err = write("refused.pcap", *options, code=1)
        check(f"refused: {' '.join(options)}", text in err and not os.path.exists(os.path.join(WORK, "refused.pcap")), err.strip())
    run = subprocess.run([WRLOAD, "pcap", "--output=/dev/full", "--quiet"], capture_output=True, text=True, timeout=60, check=False)
    check("a full disk is told", run.returncode == 1 and "disk full" in run.stderr, run.stderr.strip())


def main():
    if not shutil.which("tcpdump"):
        print("skip: no tcpdump")
        return 77
    try:
        for test in (test_workloads, test_addresses, test_times, test_more, test_refusals):
            test()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"{checks} checks, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
