#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`./run bench [WORKLOAD…]`: the workloads of docs/performance.md on one worker of wirerankd, beside the limits of this machine
measured in the same run. Prints a table and writes out/bench.json."""

import json
import os
import platform
import re
import subprocess
import sys
import time

import capacity
import testpmd
import wr

SERVER_CORE, GENERATOR_CORE = 1, 0
USERS = 200_000
ROW_BYTES = 21_000  # what a resident user costs at most: to ask for no more sessions than memory holds
SECONDS = 4
WINDOW = 512
LATENCY_AT = (0.8, 0.65, 0.5, 0.35, 0.2)  # of the highest rate: the first at which nothing is lost and the generator keeps up
SMALL_MIB, LIMITS_MIB = 512, 2048
REFERENCE = os.path.join(wr.OUT, "ml-1m.wrb")  # what corridor.2 packs from out/run-ml-1m

# Fixed work of one answer: multiply-adds, bytes of session row, packets; the size of its datagram; testpmd's frame size that
# stands beside it; the share of messages that are answers in the sense of this table.
WORKLOADS = {
    "echo": {"macs": 0, "bytes": 0, "lines": 0, "packets": 1, "datagram": 256, "testpmd": "256", "answers": 1},
    "warm": {"macs": 297e3, "bytes": 14.9e3, "lines": 0, "packets": 1, "datagram": 256, "testpmd": "256", "answers": 1},
    "cold": {"macs": 2.46e6, "bytes": 0, "lines": 0, "packets": 1, "datagram": 640, "testpmd": "640", "answers": 1},
    "event": {"macs": 0, "bytes": 0, "lines": 0, "packets": 1, "datagram": 256, "testpmd": "256", "answers": 1},
    "mixed": {"macs": 532e3, "bytes": 14.9e3, "lines": 0, "packets": 5, "datagram": 256, "testpmd": "256", "answers": 0.2},
}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"^model name\s*:\s*(.*)$", f.read(), re.MULTILINE)
    return {"cpu": model[1].strip() if model else "unknown", "cores": os.cpu_count(), "kernel": platform.release(),
            "huge": wr.huge()}


def available_bytes():
    with open("/proc/meminfo", encoding="utf-8") as f:
        return int(re.search(r"^MemAvailable:\s*(\d+)", f.read(), re.MULTILINE)[1]) * 1024


def steal_seconds():
    with open("/proc/stat", encoding="utf-8") as f:
        fields = f.readline().split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def measure_limits(work):
    wr.say("bench: limits of this machine: testpmd at 4 sizes")
    mpps, mpps_range = testpmd.limits(work, SERVER_CORE, GENERATOR_CORE)
    wr.say("bench: limits of this machine: multiply-adds, memory")
    mib = LIMITS_MIB if available_bytes() > 3 * LIMITS_MIB << 20 else SMALL_MIB
    detail = json.loads(work.run([os.path.join(wr.ROOT, "build", "tests", "bench", "limits"), str(SERVER_CORE), str(mib)],
                                 "limits.log"))
    detail["testpmd_mpps_range"] = mpps_range
    limits = {name: detail[name] for name in ("int8_gmacs", "mem_block_gbs", "mem_line_ns")}
    limits["testpmd_mpps"] = mpps
    return limits, detail


def limit_times_ns(w, limits):
    """What the fixed work of one answer takes at each limit."""
    return {"arithmetic": w["macs"] / limits["int8_gmacs"], "bytes": w["bytes"] / limits["mem_block_gbs"],
            "lines": w["lines"] * limits["mem_line_ns"], "packets": w["packets"] * 1e3 / limits["testpmd_mpps"][w["testpmd"]]}


def bundle(work):
    """(path, what it is)."""
    if os.path.exists(REFERENCE):
        return REFERENCE, "trained on ml-1m"
    path = work.path("random.wrb")
    work.run([os.path.join(wr.ROOT, "build", "tests", "bench", "make_bundle"), path], "make_bundle.log")
    return path, "random weights, shape of the reference student"


def stage_cycles(daemon):
    """({stage: cycles} of all workers so far, cycles a second)."""
    stats = daemon.ctl("stats")["all"]
    return stats["cycles"], stats["tsc_hz"]


def run_load(work, daemon, name, users, log, *options):
    return work.run_json(wr.load_command(daemon, "run", f"--workload={name}", f"--users={users}", f"--seconds={SECONDS}",
                                         "--quiet", *options, core=GENERATOR_CORE), log, timeout=300)


def measure(work, daemon, name, users, limits):
    w = WORKLOADS[name]
    wr.say(f"bench: {name}: highest rate")
    (before, hz), cpu, steal, start = stage_cycles(daemon), daemon.cpu_seconds(), steal_seconds(), time.monotonic()
    top = run_load(work, daemon, name, users, f"{name}-max.log", f"--max={WINDOW}")
    wall = time.monotonic() - start
    (after, _), cpu, steal = stage_cycles(daemon), daemon.cpu_seconds() - cpu, steal_seconds() - steal
    if top["lost"] or top["wrong"] or top["answered"] == 0:
        raise wr.Failure(f"{name}: {top['answered']} answered, {top['lost']} lost, {top['wrong']} wrong: no rate to report")
    cycles = {s: after[s] - before.get(s, 0) for s in after}
    busy_s = sum(c for s, c in cycles.items() if s not in ("idle", "housekeeping")) / hz
    answers = top["answered"] * w["answers"]
    per_wall, per_busy = top["qps"] * w["answers"], answers / busy_s
    qps = per_busy if top["generator_bound"] else per_wall
    for latency_at in LATENCY_AT:
        wr.say(f"bench: {name}: latency at {latency_at:.0%} of it")
        rate = latency_at * min(per_wall, qps) / w["answers"]
        lat = run_load(work, daemon, name, users, f"{name}-latency.log", f"--rate={rate:.0f}")
        if not lat["lost"] and not lat["generator_bound"]:
            break
    if lat["lost"] or lat["wrong"]:
        raise wr.Failure(f"{name}: {lat['lost']} lost, {lat['wrong']} wrong at {rate:.0f} messages a second: no latency to report")
    if top["flags"]["shortened"] or lat["flags"]["shortened"]:
        raise wr.Failure(f"{name}: answers were shortened: this is not the workload")
    times = limit_times_ns(w, limits)
    bound = max(times, key=times.get)
    return {"name": name, "datagram": w["datagram"], "per_core_qps": round(qps, 1), "p50_us": lat["p50_us"],
            "p99_us": lat["p99_us"], "p999_us": lat["p999_us"], "limit_share": round(times[bound] * qps / 1e9, 4),
            "bound_by": bound, "generator_bound": top["generator_bound"], "limit_ns": {k: round(v, 1) for k, v in times.items()},
            "work": {k: w[k] for k in ("macs", "bytes", "lines", "packets")}, "per_wall_qps": round(per_wall, 1),
            "per_busy_qps": round(per_busy, 1), "messages_per_s": round(top["qps"], 1),
            "latency_rate": round(lat["qps"] * w["answers"], 1), "latency_at": latency_at,
            "latency_generator_bound": lat["generator_bound"], "cold_share": round(top["flags"]["cold"] / top["answered"], 4),
            "stage_ns_per_answer": {s: round(c * 1e9 / hz / answers, 1) for s, c in cycles.items()},
            "server_cpu_share": round(cpu / wall, 3), "steal_s": round(steal, 2), "bottleneck": top.get("bottleneck", "")}


def measure_client():
    """libwirerank and the system calls alone on loopback; prints its own table."""
    wr.say("bench: client: library and system calls by turns")
    os.makedirs(wr.OUT, exist_ok=True)
    path = os.path.join(wr.OUT, "bench-client.json")
    run = subprocess.run([os.path.join(wr.ROOT, "build", "tests", "bench", "client", "client_bench"), "--loopback", "--runs=7",
                          "--seconds=1", f"--core={GENERATOR_CORE}", f"--echo-core={SERVER_CORE}", f"--json={path}"],
                         stdin=subprocess.DEVNULL, check=False)
    if run.returncode != 0:
        raise wr.Failure(f"client_bench ended with status {run.returncode}")
    print("written: out/bench-client.json")


def table(result):
    limits = result["limits"]
    lines = [f"machine: {result['machine']['cpu']}, {result['machine']['cores']} cores, isa {result['isa']}, bundle: "
             f"{result['bundle']}, {result['users']:,} sessions",
             f"limits:  {limits['int8_gmacs']:.0f} G int8 multiply-adds/s, {limits['mem_block_gbs']:.1f} GB/s random blocks, "
             f"{limits['mem_line_ns']:.1f} ns a random line, testpmd " +
             ", ".join(f"{v:.1f} M/s at {k}" for k, v in limits["testpmd_mpps"].items()), "",
             f"{'workload':9}{'bytes':>6}{'answers/s/core':>16}{'p50 us':>9}{'p99 us':>9}{'p99.9 us':>10}{'limit ns':>10}"
             f"{'took ns':>10}{'share':>8}  bound by     "]
    for w in result["workloads"]:
        lines.append(f"{w['name']:9}{w['datagram']:6}{w['per_core_qps']:16,.0f}{w['p50_us']:9.1f}{w['p99_us']:9.1f}"
                     f"{w['p999_us']:10.1f}{max(w['limit_ns'].values()):10,.0f}{1e9 / w['per_core_qps']:10,.0f}"
                     f"{w['limit_share']:8.3f}  {w['bound_by']:11}{'generator was the bottleneck' if w['generator_bound'] else ''}")
    return "\n".join(lines)


def body():
    names = sys.argv[1:] or [*WORKLOADS, "client", "capacity"]
    client, lcores = "client" in names, "capacity" in names
    names = [n for n in names if n not in ("client", "capacity")]
    unknown = [n for n in names if n not in WORKLOADS]
    if unknown:
        raise wr.Failure(f"no workload {unknown[0]}; there are {' '.join(WORKLOADS)} client capacity")
    if os.cpu_count() < 2 and (client or names):
        raise wr.Failure("bench needs two cores: one for the server, one for the generator")
    if client:
        measure_client()
        if not names:
            return 0
    with wr.Work("bench") as work:
        if lcores:
            capacity.measure(work, *bundle(work))
            if not names:
                return 0
        limits, detail = measure_limits(work)
        users = min(USERS, int(available_bytes() / 3 / ROW_BYTES))
        if users < USERS:
            wr.say(f"bench: memory is short: {users} sessions instead of {USERS}")
        path, what = bundle(work)
        result = {"machine": machine(), "isa": None, "limits": limits, "limits_detail": detail, "bundle": what, "users": users,
                  "workloads": []}
        # Cold requests evict whoever lives there: they get a daemon of their own, which nobody populated.
        # Event comes last of the others: it leaves more pending clicks than a warm answer takes.
        others = sorted((n for n in names if n != "cold"), key=lambda n: n == "event")
        for group in (others, [n for n in names if n == "cold"]):
            if not group:
                continue
            daemon = wr.Daemon(work, path, cpus=str(SERVER_CORE), overrides={"sessions.rows_per_lcore": users + users // 8})
            status = daemon.ctl("status")
            result["isa"], result["gemm"] = status["isa"], status["gemm"]
            if "cold" not in group:
                wr.say(f"bench: giving {users:,} users 99 clicks each")
                run_load(work, daemon, "warm", users, "populate.log", "--populate", "--rate=1000")
            for name in group:
                result["workloads"].append(measure(work, daemon, name, users, limits))
            daemon.stop()
        result["workloads"].sort(key=lambda w: names.index(w["name"]))
        with open(os.path.join(wr.OUT, "bench.json"), "w", encoding="utf-8") as f:
            json.dump(result, f, indent=2)
            f.write("\n")
        print(table(result))
        print("written: out/bench.json; what the figures mean: docs/performance.md")
    return 0


if __name__ == "__main__":
    sys.exit(wr.main(body))
