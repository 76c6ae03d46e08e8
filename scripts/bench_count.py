#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/bench_count.py [WORKLOAD…]: instructions of one message through the corridor, by stage, counted by callgrind: the figure
that repeats where times do not. The daemon itself runs under valgrind, which has no AVX-512: counts are those of the AVX2 level
(server.isa = avx2, own kernels). Only the stages are counted, the receive call and empty polls are not. Valgrind lets one thread run
at a time: fair-sched keeps the worker, which polls, from starving the one that starts it. Writes out/bench-count.json."""

import glob
import json
import os
import re
import subprocess
import sys

import reference
import wr

STAGES = ("parse", "admit", "locate", "recall", "score", "reply", "transmit")  # score holds encode
MIX = ("echo", "warm", "cold", "event", "mixed")
USERS, WINDOW, SECONDS = 2000, 64, 4
SERVER, GENERATOR = 1, 0


def counts(path):
    """{stage: instructions of a callgrind dump, callees included}. What score calls of other stages counts as theirs: replies that
    leave before the burst is done, and the receiving of early frames, which is nobody's."""
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--tree=calling", "--threshold=100", path], capture_output=True,
                          text=True, check=True).stdout
    found = {s: number(re.search(rf"^\s*([\d,]+)[^\n]* \* [^\n]*:wr_serve_stage_{s}\b", text, re.MULTILINE)) for s in STAGES}
    block = re.search(r"^[^\n]* \* [^\n]*:wr_serve_stage_score\b[^\n]*\n((?:[^\n]* > [^\n]*\n)*)", text, re.MULTILINE)
    for other in ("wr_serve_stage_reply", "wr_serve_stage_transmit", "wr_serve_receive_early"):
        found["score"] -= number(re.search(rf"^\s*([\d,]+)[^\n]* > [^\n]*:{other}\b", block[1], re.MULTILINE)) if block else 0
    if not found["parse"]:
        raise wr.Failure(f"callgrind_annotate has no wr_serve_stage_parse in {path}")
    return found


def number(m):
    return int(m[1].replace(",", "")) if m else 0


def body():
    names = sys.argv[1:] or MIX
    unknown = [n for n in names if n not in MIX]
    if unknown:
        raise wr.Failure(f"no workload {unknown[0]}; there are {' '.join(MIX)}")
    result = {"isa": "avx2", "gemm": "own", "users": USERS, "in_flight": WINDOW, "workloads": {}}
    with wr.Work("bench-count") as work:
        bundle, result["bundle"] = reference.bundle_or_random(work)
        out = work.path("callgrind.out")
        valgrind = ["valgrind", "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={out}"]
        daemon = wr.Daemon(work, bundle, cpus=str(SERVER), wait_s=600, inside=valgrind,
                           overrides={"sessions.rows_per_lcore": 4096, "server.isa": "avx2", "server.gemm": "own", "memory.huge": "no"})

        def load(name, *options):
            return work.run_json(wr.load_command(daemon, "run", f"--workload={name}", f"--users={USERS}", "--timeout-ms=20000", "--wait=60",
                                                 f"--max={WINDOW}", "--quiet", *options, core=GENERATOR), f"{name}.log", timeout=600)

        load("warm", "--populate", "--seconds=0.5")
        for name in sorted(names, key=("echo", "warm", "mixed", "event", "cold").index):  # event leaves too many clicks, cold evicts
            load(name, "--seconds=1")
            control = ["callgrind_control", "-z", str(daemon.process.pid)]
            subprocess.run(control, check=True, capture_output=True)
            r = load(name, f"--seconds={SECONDS}")
            subprocess.run([control[0], "-d", control[2]], check=True, capture_output=True)
            dump = max(glob.glob(f"{out}.*"), key=os.path.getmtime)
            stages, n = counts(dump), r["answered"]
            total = sum(stages.values())
            result["workloads"][name] = {"messages": n, "instructions": round(total / n),
                                         "by_stage": {s: round(v / n) for s, v in stages.items()}}
            print(f"{name:7}{total / n:12,.0f} instructions a message: "
                  + ", ".join(f"{s} {v / n:,.0f}" for s, v in stages.items()), flush=True)
        daemon.stop()
    path = os.path.join(wr.OUT, "bench-count.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(result, f, indent=2)
        f.write("\n")
    print("written: out/bench-count.json")
    return 0


if __name__ == "__main__":
    sys.exit(wr.main(body))
