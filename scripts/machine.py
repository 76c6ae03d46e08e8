# SPDX-License-Identifier: BSD-3-Clause
"""What the machine does to a measurement: its name, steal, who else ran, and the gaps that it makes in threads which never give
up their CPU. gaps() and floor() tell the latency below which no polling server with a polling generator can stay here, pace() what a
perfect server's requests would wait for because the CPU changes its speed."""

import json
import os
import platform
import re
import subprocess

import wr

NICE = ["nice", "-n", "-20"]


def describe():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        text = f.read()
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    family = re.search(r"^cpu family\s*:\s*(.*)$", text, re.MULTILINE)
    number = re.search(r"^model\s*:\s*(.*)$", text, re.MULTILINE)
    mhz = re.search(r"^cpu MHz\s*:\s*(.*)$", text, re.MULTILINE)
    return {"cpu": model[1].strip() if model else "unknown", "family": family and family[1], "model": number and number[1],
            "mhz": float(mhz[1]) if mhz else None, "cores": os.cpu_count(), "kernel": platform.release(), "huge": wr.huge()}


def steal_seconds():
    with open("/proc/stat", encoding="utf-8") as f:
        fields = f.readline().split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def nice():
    """Words before the command line that give server and generator the highest ordinary priority; none where that is refused.
    SCHED_FIFO is not better here: docs/performance.md, Tails."""
    return NICE if os.geteuid() == 0 else []


def ended_switches(pid):
    """How often each thread of a process was taken off its CPU: {thread: times}."""
    result = {}
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/status", encoding="utf-8") as f:
                text = f.read()
            name = re.search(r"^Name:\s*(.*)$", text, re.MULTILINE)[1]
            result[f"{name}:{tid}"] = int(re.search(r"^nonvoluntary_ctxt_switches:\s*(\d+)", text, re.MULTILINE)[1])
    except OSError:
        pass
    return result


def gaps(seconds, cpus):
    """Both CPUs at once, at the priority of the measurement: [[(start us, us)] of each CPU]."""
    run = subprocess.run([*nice(), os.path.join(wr.ROOT, "build", "tests", "bench", "gaps"), str(seconds), "0",
                          ",".join(map(str, cpus))], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if run.returncode != 0:
        raise wr.Failure(f"gaps: {run.stderr.strip()}")
    return [[tuple(g) for g in c["gaps"]] for c in json.loads(run.stdout)["cpus"]]


def pace(seconds, cpus, load, service_us):
    """Both CPUs at once, the server's first: the same small work over and over, and the queue that random requests of service_us each
    would form before a perfect server on that CPU, at this load of its median speed: {"p50_us", "p99_us", "p999_us", "piece_ns": …}."""
    run = subprocess.run([*nice(), os.path.join(wr.ROOT, "build", "tests", "bench", "pace"), str(seconds), ",".join(map(str, cpus)),
                          str(load), f"{service_us:.4f}"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if run.returncode != 0:
        raise wr.Failure(f"pace: {run.stderr.strip()}")
    return json.loads(run.stdout)


def quantile(waits, p, total):
    """The wait that 1 - p of the time exceeds: arrivals are spread evenly over (length, slope) stretches."""
    low, high = 0.0, max((w for w, _ in waits), default=0.0)
    for _ in range(50):
        middle = (low + high) / 2
        beyond = sum((w - middle) / slope for w, slope in waits if w > middle)
        low, high = (middle, high) if beyond > (1 - p) * total else (low, middle)
    return high


def floor(all_gaps, seconds, load):
    """What arrivals at even times wait on a machine that takes both CPUs away like this, at this load, if nothing else ever makes
    them wait: {"p99_us", "p999_us"}. Gaps that overlap are taken as if they did not: real waits are longer."""
    total = seconds * 1e6
    # The first arrival in a gap waits for all of it; each later one a little less, until what came meanwhile is worked off.
    waits = [(us, 1 - load) for g in all_gaps for _, us in g]
    return {"p99_us": round(quantile(waits, 0.99, total), 1), "p999_us": round(quantile(waits, 0.999, total), 1)}


def summary(all_gaps, seconds, cpus):
    return [{"cpu": cpu, "share": round(sum(us for _, us in g) / seconds / 1e6, 5), "longest_us": max((us for _, us in g), default=0),
             "over_20_us": sum(us > 20 for _, us in g), "over_100_us": sum(us > 100 for _, us in g),
             "over_1_ms": sum(us > 1000 for _, us in g)} for cpu, g in zip(cpus, all_gaps)]
