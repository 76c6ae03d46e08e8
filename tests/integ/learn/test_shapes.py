#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every knob of the student on the wire: one run is pruned to a grid of shapes (blocks, heads, shared key heads, windows, feed-forward
width, width with heads that do not fill it), packed with projections in two planes, and wide ones and one with keys by age are
trained; of each, what wrtrain says offline is what wirerankd answers, told as a history and click by click.

usage: test_shapes.py WRTRAIN WIRERANKD WRLOAD"""
import os
import shutil
import subprocess
import sys
import tempfile

import served

WRTRAIN, WIRERANKD, WRLOAD = map(os.path.abspath, sys.argv[1:4])
WORK = tempfile.mkdtemp(prefix="wr-shapes-")
NAME = f"wrshapes{os.getpid()}"
BASE = ["--d=64", "--heads=4", "--blocks=3", "--ffn=64", "--window=20"]
TRAIN = ["--epochs=1", "--batch=16", "--len=40", "--lr=0.01", "--threads=1", "--quiet"]
PRUNED = [
    ["--blocks=1"],
    ["--heads=3"],
    ["--kv-heads=2"],
    ["--kv-heads=1", "--window=7"],
    ["--ffn=16", "--blocks=2"],
    ["--d=48", "--heads=2"],
    ["--d=32", "--heads=3", "--kv-heads=1", "--window=2", "--ffn=48", "--blocks=2"],
    ["--two-four"],
]
TRAINED = [["--d=128", "--heads=2", "--kv-heads=1", "--blocks=1", "--window=100", "--ffn=256"],
           ["--d=16", "--heads=1", "--blocks=4", "--window=3", "--ffn=16"],
           ["--age-keys", "--d=64", "--heads=4", "--kv-heads=2", "--blocks=2", "--window=20", "--ffn=64"]]
KEPT = ["block.2.down.weight", "b0.qkv,b0.up,b1.out,block.1.qkv.weight",
        ",".join(f"b{b}.{p}" for b in range(3) for p in ("qkv", "out", "up", "down"))]
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


def must(*words):
    run = subprocess.run([WRTRAIN, *words], capture_output=True, text=True, timeout=120, check=False)
    if run.returncode != 0:
        raise SystemExit(f"wrtrain {' '.join(words)}: {run.stderr}")


def log():
    """Walks on a ring of 120 items."""
    lines, seed = [], 7
    for user in range(1, 121):
        at = user % 120
        for _ in range(24):
            seed = (seed * 1103515245 + 12345) % (1 << 31)
            at = (at + 1 + (seed >> 16) % 5) % 120
            lines.append(f"{user} {at + 1}")
    with open(path("log.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    return path("log.txt")


def serve(what):
    """path('b.wrb') offline, at the reference level, and on the wire."""
    full, steps, reference = path("full.tsv"), path("steps.tsv"), path("ref.tsv")
    lists = ["eval", f"--data={path('data')}", f"--bundle={path('b.wrb')}", "--int8"]
    must(*lists, f"--lists={full}")
    must(*lists, f"--lists={reference}", "--isa=ref", "--gemm=own")
    must(*lists, f"--lists={steps}", "--steps=4", "--users=40")
    with open(full, "rb") as a, open(reference, "rb") as b:
        check(f"{what}: the reference level gives the same lists", a.read() == b.read())
    with served.Daemon(WIRERANKD, WRLOAD, WORK, NAME, path('b.wrb')) as daemon:
        told = daemon.wrload("eval", f"--data={path('data')}", f"--lists={full}")
        check(f"{what}: told histories give the offline lists", told["compared"] == 120 and not told["different"] and not told["wrong"],
              str({k: told[k] for k in ("compared", "different", "wrong", "errors")}))
        watched = daemon.wrload("run", f"--lists={steps}", "--users=100", "--populate", "--mix=warm:60,ask:20,event:20", "--rate=2000",
                                "--seconds=1.5", "--timeout-ms=2000")["watched"]
        check(f"{what}: so do cold and warm answers", watched["warm_checked"] >= 20 and not watched["lists_wrong"],
              str({k: watched[k] for k in ("cold_checked", "warm_checked", "lists_wrong")}))
    check(f"{what}: the daemon ends well", daemon.ended_well)
    return daemon.said()


def main():
    must("import", "--format=sasrec", log(), f"--out={path('data')}")
    must("fit", f"--data={path('data')}", f"--out={path('run')}", *BASE, *TRAIN)
    pack = ["pack", f"--data={path('data')}", f"--out={path('b.wrb')}"]
    for i, shape in enumerate(PRUNED):
        must("prune", f"--data={path('data')}", f"--run={path('run')}", f"--out={path(f'p{i}')}", "--threads=1", *shape)
        must(*pack, f"--run={path(f'p{i}')}")
        serve(" ".join(shape))
    for names in KEPT:
        must(*pack, f"--run={path('run')}", f"--keep={names}")
        said = serve(f"--keep={names}")
        check(f"--keep={names}: the daemon says so", "kept in two int8 planes, three products each: b" in said)
    for i, shape in enumerate(TRAINED):
        must("fit", f"--data={path('data')}", f"--out={path(f't{i}')}", *shape, *TRAIN)
        must(*pack, f"--run={path(f't{i}')}")
        serve(" ".join(shape))


try:
    main()
finally:
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.rmtree(os.path.join("/var/run/dpdk", NAME), ignore_errors=True)
print(f"{checks} checks, {len(failures)} failures")
sys.exit(1 if failures else 0)
