# SPDX-License-Identifier: BSD-3-Clause
"""Real requests of `wrload pcap`, sent by tcpreplay from one end of a veth to a daemon on its other end; the answers are captured where
the requests left, decoded by the example client and held against the requests and the daemon's counters."""

import importlib.util
import os
import time
from collections import Counter

import pcapfile
import wr

spec = importlib.util.spec_from_file_location("wr_client", os.path.join(wr.ROOT, "docs", "examples", "wr_client.py"))
wr_client = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wr_client)


PPS = 2000  # tcpreplay sleeps before every frame when it goes by time stamps; at a rate it keeps the rate


def requests_of(path):
    """{request id: header} of a file's sound requests; frames that are none (--malformed) are left out."""
    found = {}
    for _, frame in pcapfile.read(path)[0]:
        try:
            header = pcapfile.header(pcapfile.udp(frame)["payload"])
        except (ValueError, IndexError, pcapfile.struct.error):
            continue
        if not header["id"] >> 63:  # bit 63 marks malformed traffic
            found[header["id"]] = header
    return found


def answers_of(path):
    """[answer as wr_client decodes it], and what could not be decoded."""
    answers, bad = [], []
    for _, frame in pcapfile.read(path)[0]:
        try:
            answers.append(wr_client.decode(pcapfile.udp(frame)["payload"]))
        except (ValueError, pcapfile.struct.error) as why:
            bad.append(str(why))
    return answers, bad


def write(work, name, *options):
    path = work.path(f"{name}.pcap")
    work.run([wr.tool("wrload"), "pcap", f"--output={path}", "--quiet", *options], f"pcap-{name}.log")
    return path


def send(work, wire, daemon, path, name, seconds=20):
    """Replays the file; (answers captured at the client's end, what was not decoded, received, outcomes)."""
    captured = work.path(f"{name}-answers.pcap")
    before = daemon.counters()
    tcpdump = work.start(wire.inside(1, "tcpdump", "-i", wire.client, "-Q", "in", "--immediate-mode", "-U", "-Z", "root", "-B", "8192",
                                          "-w", captured, "udp", "src", "port", "4700"), f"tcpdump-{name}.log")
    end = time.monotonic() + 10
    while "listening on" not in open(tcpdump.log, encoding="utf-8").read():
        if tcpdump.poll() is not None or time.monotonic() > end:
            raise wr.Failure(f"tcpdump does not capture (log: {tcpdump.log})\n{wr.tail(tcpdump.log)}")
        time.sleep(0.05)
    work.run(wire.inside(1, "tcpreplay", "-i", wire.client, f"--pps={PPS}", path), f"tcpreplay-{name}.log", timeout=120)
    n = len(pcapfile.read(path)[0])
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        counters, outcomes = daemon.counters()
        now = (counters["received"] - before[0]["received"], sum(outcomes.values()) - sum(before[1].values()))
        if now == (n, n) or (now == last and now[0] == now[1] and now[0] > 0.5 * n):
            break
        last = now
        time.sleep(0.3)
    time.sleep(0.3)
    work.stop(tcpdump)
    outcomes = Counter({k: v - before[1][k] for k, v in outcomes.items() if v != before[1][k]})
    answers, bad = answers_of(captured)
    sound = work.run(["tcpdump", "-nnvvr", captured], f"answers-{name}.log").count("[udp sum ok]")
    if sound != len(answers) + len(bad):
        bad.append(f"{len(answers) + len(bad) - sound} UDP checksums of answers are wrong")
    return answers, bad, now[0], outcomes


def judge(name, path, result, problems, sound_only=True):
    """Every sound request was answered once with OK, and the daemon counted the same. Returns the number of answers."""
    answers, bad, received, outcomes = result
    asked = requests_of(path)
    ids = Counter(a["request_id"] for a in answers if not a["request_id"] >> 63)
    if bad:
        problems.append(f"{name}: {len(bad)} answers are not sound, such as: {bad[0]}")
    if set(ids) != set(asked) or max(ids.values(), default=0) > 1:
        problems.append(f"{name}: {len(asked)} asked, {len(ids)} of them answered, {sum(ids.values()) - len(ids)} twice")
    status = Counter(a["status"] for a in answers if a["request_id"] in asked)
    if set(status) != {wr_client.OK}:
        problems.append(f"{name}: status {dict(status)}")
    if sound_only and (outcomes != {"answered": len(asked)} or received != len(asked)):
        problems.append(f"{name}: {len(asked)} sent, {received} received, which ended as {dict(outcomes)}")
    if not sound_only and outcomes["answered"] < len(asked):
        problems.append(f"{name}: {len(asked)} sound ones sent, which ended as {dict(outcomes)}")
    return len(ids)
