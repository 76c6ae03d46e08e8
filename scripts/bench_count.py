#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/bench_count.py [WORKLOAD…]: instructions of one message through the corridor, by stage, counted by callgrind: the figure
that repeats where times do not. The daemon itself runs under valgrind, which has no AVX-512: counts are those of the AVX2 level
(server.isa = avx2, own kernels). Only the stages are counted, the receive call and empty polls are not. Writes
out/bench-count.json."""

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
    """{stage: instructions, callees included} and the total of a callgrind dump."""
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", path], capture_output=True, text=True,
                          check=True).stdout
    total = int(re.search(r"^([\d,]+)[^\n]*PROGRAM TOTALS", text, re.MULTILINE)[1].replace(",", ""))
    found = {}
    for stage in STAGES:
        m = re.search(rf"^\s*([\d,]+)[^\n]*:wr_serve_stage_{stage}\b", text, re.MULTILINE)
        found[stage] = int(m[1].replace(",", "")) if m else 0
    return found, total


def body():
    names = sys.argv[1:] or MIX
    unknown = [n for n in names if n not in MIX]
    if unknown:
        raise wr.Failure(f"no workload {unknown[0]}; there are {' '.join(MIX)}")
    result = {"isa": "avx2", "gemm": "own", "users": USERS, "in_flight": WINDOW, "workloads": {}}
    with wr.Work("bench-count") as work:
        bundle, result["bundle"] = reference.bundle_or_random(work)
        out = work.path("callgrind.out")
        valgrind = ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={out}",
                    *(f"--toggle-collect=wr_serve_stage_{s}" for s in STAGES)]
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
            stages, total = counts(dump)
            n = r["answered"]
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
