#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`./run bench [WORKLOAD…]`: the workloads of docs/performance.md on one worker of wirerankd, beside the limits of this machine
measured in the same run. Prints a table and writes out/bench.json."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

import capacity
import machine
import moments
import testpmd
import wr

SERVER_CORE, GENERATOR_CORE = 1, 0
USERS = 200_000
ROW_BYTES = 21_000  # what a resident user costs at most: to ask for no more sessions than memory holds
SECONDS, GAP_SECONDS = 1.5, 1
WARM_UP = 0.3  # run before each measurement and not counted
RUNS = 5
WINDOW = 512
WAITED = 0.05  # of a rate run: a worker whose polls found nothing for longer was not what bound it
LOAD = 0.8  # of the highest rate: where latencies are taken
CURVE = (0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.95)
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


def available_bytes():
    with open("/proc/meminfo", encoding="utf-8") as f:
        return int(re.search(r"^MemAvailable:\s*(\d+)", f.read(), re.MULTILINE)[1]) * 1024


def measure_limits(work, isa):
    wr.say("bench: limits of this machine: testpmd at 4 sizes")
    mpps, mpps_range = testpmd.limits(work, SERVER_CORE, GENERATOR_CORE,
                                     {int(w["testpmd"]) for w in WORKLOADS.values()})
    wr.say("bench: limits of this machine: multiply-adds, memory")
    mib = LIMITS_MIB if available_bytes() > 3 * LIMITS_MIB << 20 else SMALL_MIB
    detail = json.loads(work.run([os.path.join(wr.ROOT, "build", "tests", "bench", "limits"), str(SERVER_CORE), str(mib), isa],
                                 "limits.log"))
    detail["testpmd_mpps_range"] = mpps_range
    # The best of the runs: what disturbs one only takes from it, and a limit that was disturbed flatters every share.
    limits = {"int8_gmacs": detail["int8_gmacs_most"], "mem_block_gbs": detail["mem_block_gbs_most"],
              "mem_line_ns": detail["mem_line_ns_least"],
              "int8_tile_gmacs": detail["int8_tile_gmacs_most"] if isa in ("auto", "amx") else 0}
    limits["testpmd_mpps"], limits["accounting_ns"] = mpps, accounting_ns()
    return limits, detail


def limit_times_ns(w, limits, then=None):
    """What the fixed work of one answer takes at each limit; then: limits that were measured beside a run (moments.py)."""
    at = {**limits, "testpmd_mpps": limits["testpmd_mpps"][w["testpmd"]], **(then or {})}
    return {"arithmetic": w["macs"] / at["int8_gmacs"], "bytes": w["bytes"] / at["mem_block_gbs"],
            "lines": w["lines"] * at["mem_line_ns"], "packets": w["packets"] * 1e3 / at["testpmd_mpps"]}


def tile_share(w, qps, limits, then):
    """The share if all multiply-adds ran on AMX tiles; None where the server has none. Products alone could; docs/performance.md."""
    tiles = limits["int8_tile_gmacs"]
    return max(limit_times_ns(w, limits, {**then, "int8_gmacs": tiles}).values()) * qps / 1e9 if tiles else None


def bound_by(w, limits):
    times = limit_times_ns(w, limits)
    return max(times, key=times.get)


def bundle(work):
    """(path, what it is)."""
    if os.path.exists(REFERENCE):
        return REFERENCE, "trained on ml-1m"
    path = work.path("random.wrb")
    work.run([os.path.join(wr.ROOT, "build", "tests", "bench", "make_bundle"), path], "make_bundle.log")
    return path, "random weights, shape of the reference student"


def stage_cycles(daemon):
    """({stage: cycles} of all workers so far, cycles a second, bursts so far)."""
    stats = daemon.ctl("stats")["all"]
    return stats["cycles"], stats["tsc_hz"], stats["counter"]["bursts"]


def accounting_ns():
    """Nanoseconds that the accounting of a burst of 1, 2, … stages takes, by itself."""
    tool = os.path.join(wr.ROOT, "build", "tests", "bench", "accounting", "accounting")
    run = subprocess.run(["taskset", "-c", str(SERVER_CORE), tool], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)["ns"]


def run_load(work, daemon, name, users, log, *options, seconds=SECONDS):
    return work.run_json([*machine.nice(), *wr.load_command(daemon, "run", f"--workload={name}", f"--users={users}",
                                                            f"--seconds={seconds}", "--quiet", *options, core=GENERATOR_CORE)],
                         log, timeout=300, check=False)


def lost_of(r):
    """What went wrong in a run, in numbers."""
    kept = ("offered", "answered", "lost", "unsent", "wrong", "tx_full", "duplicate", "after_lost", "unknown")
    why = {k: n for k, n in r["wrong_by_reason"].items() if n}
    return {k: r[k] for k in kept} | {"shortened": r["flags"]["shortened"], "wrong_by_reason": why}


def rate_run(work, daemon, name, users, limits, then):
    """Highest rate: WINDOW requests in flight, the warm-up left out. Its share is of the limits before and after it."""
    w = WORKLOADS[name]
    packets = bound_by(w, limits) == "packets"
    limits_before = then.now(packets)
    warm_up = run_load(work, daemon, name, users, f"{name}-warm-up.log", f"--max={WINDOW}", seconds=WARM_UP)
    (before, hz, bursts), cpu, steal, start = stage_cycles(daemon), daemon.cpu_seconds(), machine.steal_seconds(), time.monotonic()
    top = run_load(work, daemon, name, users, f"{name}-max.log", f"--max={WINDOW}")
    wall = time.monotonic() - start
    (after, _, now_bursts), cpu = stage_cycles(daemon), daemon.cpu_seconds() - cpu
    if top["answered"] == 0 or warm_up["answered"] == 0:
        raise wr.Failure(f"{name}: nothing was answered")
    cycles = {s: after[s] - before.get(s, 0) for s in after}
    answers = top["answered"] * w["answers"]
    busy_s = sum(c for s, c in cycles.items() if s not in ("idle", "housekeeping")) / hz
    per_wall, per_busy = top["qps"] * w["answers"], answers / busy_s
    moment = moments.higher(limits_before, then.now(packets))
    times = limit_times_ns(w, limits, moment)
    waited = max(0.0, 1 - per_wall / per_busy)
    bound = top["generator_bound"] or waited > WAITED
    qps = per_busy if bound else per_wall
    marked = [s for s, c in cycles.items() if c > 0 and s not in ("idle", "housekeeping")]
    accounting_s = (now_bursts - bursts) * limits["accounting_ns"][len(marked) - 1] / 1e9
    return {"accounting_share": accounting_s / busy_s, "frames_a_burst": top["answered"] / max(now_bursts - bursts, 1),
            "qps": qps, "per_wall_qps": per_wall, "per_busy_qps": per_busy, "share": max(times.values()) * qps / 1e9,
            "tile_share": tile_share(w, qps, limits, moment), "limits_then": moment, "limit_ns_then": max(times.values()),
            "busy_cycles_per_answer": busy_s * hz / answers, "tsc_hz": hz, "generator_bound": bound, "worker_waited": waited,
            "stage_ns": {s: c * 1e9 / hz / answers for s, c in cycles.items()}, "outcome": lost_of(top),
            "cold_share": top["flags"]["cold"] / top["answered"], "server_cpu_share": cpu / wall,
            "steal_s": machine.steal_seconds() - steal, "bottleneck": top["bottleneck"]}


def latency_run(work, daemon, name, users, messages_s, load):
    """Open loop at a share of the highest rate. Quantiles are of all requests: a lost one took longer than any other."""
    steal, switches = machine.steal_seconds(), machine.ended_switches(daemon.process.pid)
    r = run_load(work, daemon, name, users, f"{name}-latency.log", f"--rate={load * messages_s:.0f}", f"--warmup={WARM_UP}")
    after = machine.ended_switches(daemon.process.pid)
    taken = sum(n - switches.get(k, 0) for k, n in after.items() if "worker" in k)
    return {"load": load, "messages_s": r["qps"], "p50_us": r["whole_p50_us"], "p99_us": r["whole_p99_us"],
            "p999_us": r["whole_p999_us"], "max_us": r["max_us"], "ask_p50_us": r["ask_p50_us"], "ask_p99_us": r["ask_p99_us"],
            "ask_p999_us": r["ask_p999_us"], "ask_max_us": r["ask_max_us"], "server_p99_us": r["server_p99_us"],
            "lag_p99_us": r["lag_p99_us"], "worker_preempted": taken, "generator_bound": r["generator_bound"],
            "outcome": lost_of(r), "steal_s": machine.steal_seconds() - steal, "bottleneck": r["bottleneck"]}


def middle(runs, key):
    """Median of the runs that have the figure; None when fewer than half do."""
    values = [r[key] for r in runs if r[key] is not None]
    return statistics.median(values) if len(values) * 2 > len(runs) else None


def spread(runs, key):
    values = [r[key] for r in runs if r[key] is not None]
    return [min(values), max(values)] if values else None


def measure_curve(work, daemon, name, users, messages_s, runs):
    """Latency at each load, by turns: medians over the runs, which stay inside."""
    at = {load: [] for load in CURVE}
    for i in range(runs):
        for load in CURVE:
            wr.say(f"bench: {name}: latency at {load:.0%}, run {i + 1} of {runs}")
            at[load].append(latency_run(work, daemon, name, users, messages_s, load))
    quantiles = [f"{kind}{q}_us" for kind in ("", "ask_") for q in ("p50", "p99", "p999")]
    return [{"load": load, "messages_s": middle(taken, "messages_s"), **{q: middle(taken, q) for q in quantiles}, "runs": taken}
            for load, taken in at.items()]


def conclude(name, rates, latencies, floors, limits):
    w = WORKLOADS[name]
    times = limit_times_ns(w, limits)
    qps = middle(rates, "qps")
    best = max(times.values()) * qps / 1e9
    mine = "ask_" if name == "mixed" else ""  # of mixed the RECOMMENDs alone
    whole = [{**r, "p50": r[mine + "p50_us"], "p99": r[mine + "p99_us"], "p999": r[mine + "p999_us"]} for r in latencies]
    bad = sum(r["outcome"]["lost"] + r["outcome"]["unsent"] for r in latencies)
    wrong = sum(r["outcome"]["wrong"] for r in rates + latencies)
    return {"name": name, "datagram": w["datagram"], "runs": len(rates), "per_core_qps": round(qps, 1),
            "per_core_qps_range": spread(rates, "qps"), "limit_share": round(middle(rates, "share"), 4),
            "limit_share_range": spread(rates, "share"), "share_of_best_moment": round(best, 4), "tile_share": middle(rates, "tile_share"),
            "limit_ns_then": round(middle(rates, "limit_ns_then"), 1), "bound_by": max(times, key=times.get),
            "limit_ns": {k: round(v, 1) for k, v in times.items()},
            "generator_bound": sum(r["generator_bound"] for r in rates) * 2 > len(rates),
            "worker_waited": round(middle(rates, "worker_waited"), 3), "per_wall_qps": round(middle(rates, "per_wall_qps"), 1),
            "p50_us": middle(whole, "p50"), "p99_us": middle(whole, "p99"), "p999_us": middle(whole, "p999"),
            "p99_us_range": spread(whole, "p99"), "p999_us_range": spread(whole, "p999"),
            "ask_max_us": max((r["ask_max_us"] for r in latencies), default=None),
            "latency_at": LOAD, "lost_in_latency_runs": bad, "wrong": wrong,
            "latency_reason": f"{bad} requests of the latency runs were lost or never sent" if bad else "",
            "machine_p99_us": middle(floors, "pace_p99_us"), "machine_p999_us": middle(floors, "pace_p999_us"),
            "machine_p99_us_range": spread(floors, "pace_p99_us"),
            "gaps_p99_us": middle(floors, "p99_us"), "gaps_p999_us": middle(floors, "p999_us"),
            "work": {k: w[k] for k in ("macs", "bytes", "lines", "packets")},
            "busy_cycles_per_answer": round(middle(rates, "busy_cycles_per_answer")), "tsc_hz": rates[0]["tsc_hz"],
            "stage_ns_per_answer": {s: round(statistics.median(r["stage_ns"][s] for r in rates), 1) for s in rates[0]["stage_ns"]},
            "accounting_share": round(middle(rates, "accounting_share"), 5), "frames_a_burst": round(middle(rates, "frames_a_burst"), 1),
            "cold_share": middle(rates, "cold_share"), "steal_s": round(sum(r["steal_s"] for r in rates + latencies), 2),
            "rate_runs": rates, "latency_runs": latencies, "floors": floors, "limits": limits}


def measure_group(work, daemon, group, users, limits, options):
    """Runs of the group's workloads by turns: rate, latency at LOAD, and what the machine does meanwhile."""
    rates, latencies, floors, curves = ({n: [] for n in group} for _ in range(4))
    cpus = (GENERATOR_CORE, SERVER_CORE)
    frames = [int(WORKLOADS[n]["testpmd"]) for n in group if bound_by(WORKLOADS[n], limits) == "packets"]
    then = moments.Moments(work, daemon, SERVER_CORE, GENERATOR_CORE, options.isa, *frames[:1])
    for i in range(options.runs):
        for name in group:
            wr.say(f"bench: {name}: run {i + 1} of {options.runs}")
            rates[name].append(rate_run(work, daemon, name, users, limits, then))
            messages = middle(rates[name], "per_wall_qps") / WORKLOADS[name]["answers"]
            latencies[name].append(latency_run(work, daemon, name, users, messages, LOAD))
            with moments.standing_still(daemon):
                gaps = machine.gaps(GAP_SECONDS, cpus)
                pace = machine.pace(GAP_SECONDS, (SERVER_CORE, GENERATOR_CORE), LOAD, 1e6 / messages)
            floors[name].append({**machine.floor(gaps, GAP_SECONDS, LOAD), "cpus": machine.summary(gaps, GAP_SECONDS, cpus),
                                 "pace": pace, "pace_p99_us": pace["p99_us"], "pace_p999_us": pace["p999_us"]})
    then.close()
    for name in group if options.curve else ():
        messages = middle(rates[name], "per_wall_qps") / WORKLOADS[name]["answers"]
        curves[name] = measure_curve(work, daemon, name, users, messages, options.runs)
    return [{**conclude(n, rates[n], latencies[n], floors[n], limits), "curve": curves[n]} for n in group]


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


def figure(value, width, digits=1):
    return f"{'lost' if value is None else f'{value:,.{digits}f}':>{width}}"


def by_tiles(w):
    """Both rulers stand in every table of a machine with tiles."""
    if not w.get("tile_share") or not w["work"]["macs"]:
        return ""
    return f"share {w['tile_share']:.3f} if all multiply-adds ran on tiles ({w['limits']['int8_tile_gmacs']:,.0f} G/s), "


def waiting(w):
    if not w["generator_bound"]:
        return ""
    return f"  the generator was the bottleneck: the worker waited {w['worker_waited']:.0%}, {w['per_wall_qps']:,.0f}/s of wall time"


def table(result):
    lines = [f"machine: {result['machine']['cpu']}, {result['machine']['cores']} cores, isa {result['isa']}, bundle: "
             f"{result['bundle']}, {result['users']:,} sessions"
             f"{'' if result['hugepages'] else ', ORDINARY PAGES: slower than the machine (./run bench reserves hugepages)'}",
             f"{'workload':9}{'answers/s/core':>16}{'share':>8} {'bound by':11}{'limit ns':>9}{'took ns':>9}{'p50 us':>9}{'p99 us':>10}"
             f"{'p99.9 us':>10}   machine alone: p99, p99.9 us"]
    for w in result["workloads"]:
        lines.append(f"{w['name']:9}{w['per_core_qps']:16,.0f}{w['limit_share']:8.3f} {w['bound_by']:11}"
                     f"{w['limit_ns_then']:9,.0f}{1e9 / w['per_core_qps']:9,.0f}{figure(w['p50_us'], 9)}"
                     f"{figure(w['p99_us'], 10)}{figure(w['p999_us'], 10)}   {figure(w['machine_p99_us'], 8)}"
                     f"{figure(w['machine_p999_us'], 10)}"
                     f"{waiting(w)}"
                     f"{'  ' + w['latency_reason'] if w['latency_reason'] else ''}")
        limits = w["limits"]
        lines.append(f"{'':9}rates {' … '.join(f'{v:,.0f}' for v in w['per_core_qps_range'])}, shares "
                     f"{' … '.join(f'{v:.3f}' for v in w['limit_share_range'])} in {w['runs']} runs; {w['share_of_best_moment']:.3f} of the best "
                     f"moments' limits, "
                     f"{by_tiles(w)}"
                     f"{limits['int8_gmacs']:.0f} G/s, {limits['mem_block_gbs']:.1f} GB/s, {limits['mem_line_ns']:.1f} ns, testpmd "
                     f"{limits['testpmd_mpps'][WORKLOADS[w['name']]['testpmd']]:.1f} M/s; steal {w['steal_s']} s; {w['frames_a_burst']} frames "
                     f"a burst, accounting of stages {100 * w['accounting_share']:.2f} %")
    return "\n".join(lines)


def parse(argv):
    p = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    p.add_argument("names", nargs="*", metavar="WORKLOAD", help=f"{' '.join(WORKLOADS)} client capacity (all of them)")
    p.add_argument("--runs", type=int, default=RUNS, help="of every workload, by turns; figures are medians (%(default)s)")
    p.add_argument("--isa", default="auto", choices=["auto", *wr.isa_levels()], help="level of the server's kernels and of the "
                   "multiply-add limit (%(default)s)")
    p.add_argument("--curve", action="store_true", help="also latency from a tenth of the highest rate to 95 %%, medians of the runs, for scripts/bench_plot.py; written to "
                   "out/bench-curve.json")
    p.add_argument("--add", action="store_true", help="keep the other workloads of out/bench.json, measured with their own limits")
    options = p.parse_args(argv)
    every = [*WORKLOADS, "client", "capacity"]
    unknown = [n for n in options.names if n not in every]
    if unknown:
        raise wr.Failure(f"no workload {unknown[0]}; there are {' '.join(every)}")
    options.names = options.names or every
    return options


def workloads(work, names, options):
    limits, detail = measure_limits(work, options.isa)
    users = min(USERS, int(available_bytes() / 3 / ROW_BYTES))
    if users < USERS:
        wr.say(f"bench: memory is short: {users} sessions instead of {USERS}")
    path, what = bundle(work)
    result = {"machine": machine.describe(), "isa": None, "limits": limits, "limits_detail": detail, "bundle": what, "users": users,
              "nice": machine.nice() != [], "hugepages": wr.huge(), "workloads": []}
    if not wr.huge():
        wr.say("bench: NO HUGEPAGES: call it as ./run bench, which reserves them; warm and cold are a fifth to a third slower without")
    # Cold requests evict whoever lives there: they get a daemon of their own, which nobody populated.
    # Event comes last of the others: it leaves more pending clicks than a warm answer takes.
    others = sorted((n for n in names if n != "cold"), key=lambda n: n == "event")
    for group in ([n for n in others if n != "event"], [n for n in others if n == "event"], [n for n in names if n == "cold"]):
        if not group:
            continue
        daemon = wr.Daemon(work, path, cpus=str(SERVER_CORE), inside=machine.nice(),
                           overrides={"sessions.rows_per_lcore": users + users // 8, "server.isa": options.isa})
        status = daemon.ctl("status")
        result["isa"], result["gemm"] = status["isa"], status["gemm"]
        if group != ["cold"] and group != ["echo"]:
            wr.say(f"bench: giving {users:,} users 99 clicks each")
            run_load(work, daemon, "warm", users, "populate.log", "--populate", "--rate=1000", seconds=0.2)
        result["workloads"] += measure_group(work, daemon, group, users, limits, options)
        daemon.stop()
        keep(result, options)
    return result


def kept_path(options):
    kind = ("" if options.isa == "auto" else f"-{options.isa}") + ("-curve" if options.curve else "")
    return os.path.join(wr.OUT, f"bench{kind}.json")


def keep(result, options):
    """Writes what is measured so far, so that a run that is cut short leaves its finished workloads."""
    path, mine, older = kept_path(options), {w["name"] for w in result["workloads"]}, []
    if options.add and os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            older = [w for w in json.load(f)["workloads"] if w["name"] not in mine]
    order = list(WORKLOADS)
    whole = {**result, "workloads": sorted(result["workloads"] + older, key=lambda w: order.index(w["name"]))}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(whole, f, indent=2)
        f.write("\n")
    return whole


def save(result, options):
    print(table(keep(result, options)))
    print(f"written: {os.path.relpath(kept_path(options), wr.ROOT)}; what the figures mean: docs/performance.md")


def body():
    options = parse(sys.argv[1:])
    names = [n for n in options.names if n in WORKLOADS]
    if os.cpu_count() < 2 and (names or "client" in options.names):
        raise wr.Failure("bench needs two cores: one for the server, one for the generator")
    if "client" in options.names:
        measure_client()
    if not names and "capacity" not in options.names:
        return 0
    with wr.Work("bench") as work:
        if "capacity" in options.names:
            capacity.measure(work, *bundle(work))
        if names:
            save(workloads(work, names, options), options)
    return 0


if __name__ == "__main__":
    sys.exit(wr.main(body))
