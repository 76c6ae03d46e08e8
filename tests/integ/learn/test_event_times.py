#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A model that looks at event times, from the log to the wire: what wrtrain says offline for every user is what wirerankd answers
when the same times are sent, cold and click by click, and without new clicks; other times give other lists, so times do matter.

usage: test_event_times.py WRTRAIN WIRERANKD WRLOAD"""
import os
import shutil
import subprocess
import sys
import tempfile

import served

WRTRAIN, WIRERANKD, WRLOAD = map(os.path.abspath, sys.argv[1:4])
WORK = tempfile.mkdtemp(prefix="wr-times-")
NAME = f"wrtimes{os.getpid()}"
FIT = ["--age-time", "--epochs=2", "--d=32", "--ffn=32", "--window=12", "--batch=16", "--len=40", "--lr=0.01", "--threads=1", "--quiet"]
failures = []
checks = 0


def check(name, ok, detail=""):
    global checks
    checks += 1
    if not ok:
        failures.append(name)
    print(f'{"ok  " if ok else "FAIL"} {name} {detail}', flush=True)


def path(name):
    return os.path.join(WORK, name)


def wrtrain(*words):
    run = subprocess.run([WRTRAIN, *words], capture_output=True, text=True, timeout=120, check=False)
    return run.returncode, run.stderr


def must(*words):
    code, said = wrtrain(*words)
    if code != 0:
        raise SystemExit(f"wrtrain {' '.join(words)}: {said}")


def log(timed):
    """Chains of ten items; the pause before a click says which way the next one goes, weeks or seconds."""
    lines, seed = ["user_id:token\titem_id:token\ttimestamp:float"], 7
    for user in range(300):
        at, item, now = user % 40, 880000000 + user * 1000, 0
        for _ in range(20):
            seed = (seed * 1103515245 + 12345) % (1 << 31)
            far = seed >> 16 & 1
            now = (now or item) + (2000000 if far else 5)
            at = (at + (7 if far else 1)) % 120
            lines.append(f"{user}\t{at}\t{now if timed else 0}")
    with open(path("log.inter"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    return path("log.inter")


def other_times(steps):
    """The same lists with requests a month later."""
    with open(steps, encoding="utf-8") as f:
        lines = f.read().splitlines()
    moved = [lines[0]] + ["\t".join([*x.split("\t")[:5], str(int(x.split("\t")[5]) + 30 * 86400000)]) for x in lines[1:]]
    with open(path("moved.tsv"), "w", encoding="utf-8") as f:
        f.write("\n".join(moved) + "\n")
    return path("moved.tsv")


def main():
    must("import", "--format=recbole", log(False), f"--out={path('untimed')}")
    code, said = wrtrain("fit", f"--data={path('untimed')}", f"--out={path('no')}", *FIT)
    check("a log without times is refused", code == 1 and "no event of this data has a time" in said, said)
    must("import", "--format=recbole", log(True), f"--out={path('data')}")
    must("fit", f"--data={path('data')}", f"--out={path('run')}", *FIT)
    must("pack", f"--data={path('data')}", f"--run={path('run')}", f"--out={path('timed.wrb')}")
    full, steps, reference = path("full.tsv"), path("steps.tsv"), path("ref.tsv")
    lists = ["eval", f"--data={path('data')}", f"--bundle={path('timed.wrb')}", "--int8"]
    must(*lists, f"--lists={full}")
    must(*lists, f"--lists={reference}", "--isa=ref", "--gemm=own")
    must(*lists, f"--lists={steps}", "--steps=6", "--users=40")
    with open(full, "rb") as a, open(reference, "rb") as b:
        check("the reference level gives the same lists", a.read() == b.read())
    with served.Daemon(WIRERANKD, WRLOAD, WORK, NAME, path('timed.wrb')) as daemon:
        told = daemon.wrload("eval", f"--data={path('data')}", f"--lists={full}")
        check("told histories give the offline lists", told["compared"] == 300 and not told["different"] and not told["wrong"],
              str({k: told[k] for k in ("compared", "different", "wrong", "errors")}))
        load = ["--users=200", "--populate", "--mix=warm:60,ask:20,event:20", "--rate=2000", "--seconds=4", "--timeout-ms=2000"]
        live = daemon.wrload("run", f"--lists={steps}", *load)
        watched = live["watched"]
        check("so do cold and warm answers", watched["cold_checked"] >= 20 and watched["warm_checked"] >= 100 and
              not watched["lists_wrong"] and not live["wrong"], str(watched))
        moved = daemon.wrload("run", f"--lists={other_times(steps)}", *load)["watched"]
        check("another time of the request gives another list", moved["lists_wrong"] > moved["lists_checked"] / 2, str(moved))
    check("the daemon ends well", daemon.ended_well)


try:
    main()
finally:
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.rmtree(os.path.join("/var/run/dpdk", NAME), ignore_errors=True)
print(f"{checks} checks, {len(failures)} failures")
sys.exit(1 if failures else 0)
