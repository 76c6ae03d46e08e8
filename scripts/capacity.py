# SPDX-License-Identifier: BSD-3-Clause
"""Capacity from one worker lcore to all, without a generator's core (tests/bench/capacity): `./run bench capacity`. Beside it
what the CPUs share, by the machine's limits on each alone and on all together."""

import json
import os

import wr

SESSIONS = 200_000  # of a worker, if memory holds them
ROW_BYTES = 17_000
FRAMES_MIB = 256
WORKLOADS = ("warm", "event", "echo", "cold")


def memory():
    """(bytes that session tables may take, whether they are hugepages): those that ./run reserved, if they are worth it, else a
    third of the free memory."""
    with open("/proc/meminfo", encoding="utf-8") as f:
        info = dict(line.split(":", 1) for line in f)
    number = {k: int(v.split()[0]) for k, v in info.items()}
    free_huge = number["HugePages_Free"] * number["Hugepagesize"] * 1024
    if wr.huge() and free_huge >= 512 << 20:
        return int(free_huge * 0.8), True
    return number["MemAvailable"] * 1024 // 3, False


def cpus():
    return sorted(os.sched_getaffinity(0))


def run(work, bundle, log, on, workloads=WORKLOADS, gemm="auto", rounds=9, ms=250, svg=None):
    """The bench on the CPUs `on`; its result."""
    have, huge = memory()
    n = max(1000, min(SESSIONS, int((have / len(on) - (64 << 20)) / ROW_BYTES / 1.125)))
    command = [os.path.join(wr.ROOT, "build", "tests", "bench", "capacity", "capacity"), f"--bundle={bundle}",
               f"--cpus={','.join(map(str, on))}", f"--users={n}", f"--workloads={','.join(workloads)}", f"--gemm={gemm}",
               f"--rounds={rounds}", f"--ms={ms}", f"--frames-mib={FRAMES_MIB}"]
    if not huge:
        command.append("--no-huge")
    if svg:
        command.append(f"--svg={svg}")
    return work.run_json(command, log, timeout=900)


def shared(work, on):
    """The limits of the CPUs alone and together."""
    text = work.run([os.path.join(wr.ROOT, "build", "tests", "bench", "limits_together"), ",".join(map(str, on)), "1024"],
                    "limits-together.log", timeout=300)
    return json.loads(text[text.index("{"):])


def onednn_share(workload, macs):
    """oneDNN's part of an answer's multiply-adds: the encoder's are counted, the others (scoring, attention) are own kernels'."""
    encoder = workload["encoder_macs_onednn"] + workload["encoder_macs_own"]
    return workload["encoder_macs_onednn"] / max(1, encoder) * workload["encoder_macs_per_answer"] / macs


def steal_ticks():
    with open("/proc/stat", encoding="utf-8") as f:
        return int(f.readline().split()[8])


def table(result):
    limits = result["limits_together"]
    lines = [f"machine: {result['machine']['cpu']}, {result['machine']['cores']} CPUs, isa {result['isa']}, gemm "
             f"{result['gemm']}, {result['sessions_per_lcore']:,} sessions a worker, "
             f"{'hugepages' if result['hugepages'] else 'ordinary pages'}, steal {result['steal_s']:.2f} s",
             "what the CPUs share, together against one: " +
             ", ".join(f"{name} {v['scale']:.2f}" for name, v in limits.items()), "",
             f"{'workload':9}{'lcores':>7}{'answers/s':>13}{'least':>12}{'most':>12}{'times one':>11}{'least':>7}{'most':>7}"
             f"{'feeding':>9}{'lists':>7}"]
    for w in result["workloads"]:
        for p in w["points"]:
            lines.append(f"{w['name']:9}{p['lcores']:7}{p['answers_s']:13,.0f}{p['least']:12,.0f}{p['most']:12,.0f}"
                         f"{p['scale']:11.3f}{p['scale_least']:7.2f}{p['scale_most']:7.2f}{p['feed_share']:9.1%}"
                         f"{w['lists_checked']:7}")
    return "\n".join(lines)


def measure(work, bundle, what):
    """All CPUs, all workloads: table, out/bench-capacity.json, out/bench-capacity.svg."""
    wr.say("bench: capacity: what the CPUs share")
    os.makedirs(wr.OUT, exist_ok=True)
    on, before = cpus(), steal_ticks()
    limits = shared(work, on)
    wr.say("bench: capacity: workers without a generator")
    result = run(work, bundle, "capacity.log", on, svg=os.path.join(wr.OUT, "bench-capacity.svg"))
    result["bundle"] = what
    result["limits_together"] = limits
    result["steal_s"] = (steal_ticks() - before) / os.sysconf("SC_CLK_TCK")
    with open(os.path.join(wr.OUT, "bench-capacity.json"), "w", encoding="utf-8") as f:
        json.dump(result, f, indent=2)
        f.write("\n")
    print(table(result))
    print("written: out/bench-capacity.json, out/bench-capacity.svg; answers a second of the workers' CPU time, without feeding")
    return result
