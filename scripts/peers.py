#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`./run bench --peers`: what others do with the same work on one core of the same machine in the same run: ONNX Runtime and PyTorch
with the same weights, our daemon on kernel sockets, one request at a time, Redis for look-ups, dpdk-testpmd for frames. All take
turns; medians of ROUNDS. Writes out/peers.json and docs/performance/peers.svg; docs/benchmarking.md, "Peers", says how each was
set up."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

import peers_chart
import reference
import testpmd
import wr

SERVER_CORE, GENERATOR_CORE = 1, 0
ROUNDS = 5
USERS, ROW_BYTES = 200_000, 21_000
FEW_USERS, FEW_ROWS = 20_000, 24_000
WINDOW = 512
PINS = ("onnx==1.23.2", "onnxruntime==1.32.0", "numpy==2.4.6", "torch==2.13.0")
FOLDER = os.path.join(wr.OUT, "peers")
VENV = os.path.join(wr.OUT, "peers-venv")
BEST = os.path.join(FOLDER, "best.json")
CHART = os.path.join(wr.ROOT, "docs", "performance", "peers.svg")
BENCH = os.path.join(wr.ROOT, "build", "tests", "bench")
SWEPT = ("onnx-int8", "onnx-float", "torch")
KEYS, VALUE_BYTES, MANY = 50_000, 15_000, 16
REDIS_SERVER = "/usr/bin/redis-check-rdb"  # Debian's redis-tools: one program, its name decides what it is


class Unable(Exception):
    """A peer that cannot be had here: a reason, in one line."""


def environment(work):
    """The virtual environment's python; made once, with the machine's own pip settings."""
    python, stamp = os.path.join(VENV, "bin", "python"), os.path.join(VENV, "pins")
    if os.path.exists(stamp) and open(stamp, encoding="utf-8").read().split() == list(PINS):
        return python
    wr.say("peers: ONNX Runtime and PyTorch into out/peers-venv (5 GB, minutes)")
    try:
        work.run(["/usr/bin/python3", "-m", "venv", "--clear", VENV], "venv.log")
        work.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS], "pip.log", timeout=3600)
        work.run([python, "-c", "import onnx, onnxruntime, numpy, torch"], "import.log")
    except wr.Failure as why:
        raise Unable(f"the Python packages {' '.join(PINS)} cannot be installed: {str(why).splitlines()[0]}") from why
    with open(stamp, "w", encoding="utf-8") as f:
        f.write("\n".join(PINS))
    return python


def model(work):
    """(checkpoint's folder, data, bundle, what it is): ml-1m's where it was trained, else a short training of the same shape."""
    if all(os.path.exists(p) for p in (reference.BUNDLE, os.path.join(reference.RUN, "best.safetensors"), reference.DATA)):
        return reference.RUN, reference.DATA, reference.BUNDLE, "trained on ml-1m"
    data, run, bundle = (os.path.join(FOLDER, n) for n in ("data", "run", "peers.wrb"))
    if not os.path.exists(bundle):
        wr.say("peers: no student of ml-1m here: a simulated log of 3,416 items, one epoch")
        work.run([wr.tool("wrtrain"), "simulate", f"--out={data}", "--users=3000", "--items=3416", "--seed=1", "--replace"], "simulate.log")
        work.run([wr.tool("wrtrain"), "fit", f"--data={data}", f"--out={run}", "--seed=1", "--epochs=1", "--lr=0.003"], "fit.log")
        work.run([wr.tool("wrtrain"), "pack", f"--data={data}", f"--run={run}", f"--out={bundle}"], "pack.log")
    return run, data, bundle, "shape of the reference student, one epoch of a simulated log"


class Models:
    """tests/bench/peers/models.py at work."""

    def __init__(self, work, python, checkpoint):
        self.log = os.path.join(work.logs, "models.log")
        with open(self.log, "w", encoding="utf-8") as errors:
            self.p = subprocess.Popen([python, os.path.join(wr.ROOT, "tests", "bench", "peers", "models.py"), str(SERVER_CORE),
                                       os.path.join(checkpoint, "best.safetensors"), work.path("onnx")],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        work.children.append(self.p)
        self.versions = self.read()["ready"]

    def read(self):
        line = self.p.stdout.readline()
        reply = json.loads(line) if line.strip() else {"error": f"it ended (log: {self.log})\n{wr.tail(self.log)}"}
        if "error" in reply:
            raise wr.Failure(f"peers: models: {reply['error']}")
        return reply

    def ask(self, do, **command):
        self.p.stdin.write(json.dumps({"do": do, **command}) + "\n")
        self.p.stdin.flush()
        return self.read()


def best_settings(models, checkpoint):
    """{engine: {workload: {variant, batch, …}}}: found by trying each, kept in out/peers/best.json as long as machine, packages
    and weights stay the same."""
    weights = os.path.getmtime(os.path.join(checkpoint, "best.safetensors"))
    key = [models.versions, cpu_model(), weights]
    if os.path.exists(BEST):
        with open(BEST, encoding="utf-8") as f:
            kept = json.load(f)
        if kept["key"] == json.loads(json.dumps(key)):
            return kept["best"], kept["tried"]
    best, tried = {}, {}
    for engine in SWEPT:
        for workload in ("warm", "cold"):
            wr.say(f"peers: best settings of {engine}, {workload}")
            r = models.ask("sweep", engine=engine, workload=workload, seconds=0.3)
            best.setdefault(engine, {})[workload] = r["best"]
            tried.setdefault(engine, {})[workload] = r["tried"]
    with open(BEST, "w", encoding="utf-8") as f:
        json.dump({"key": key, "best": best, "tried": tried}, f, indent=1)
    return best, tried


def prove_equal(work, models, run, data, bundle, best):
    """The module's logits beside lib/learn's, and how much of our lists each peer's lists hold."""
    rows, scores = os.path.join(work.logs, "rows.txt"), work.path("scores.f32")
    work.run([os.path.join(BENCH, "peers", "float_scores"), run, data, "200", scores], "rows.txt")
    proof = {"logits": models.ask("check", rows=rows, scores=scores)}
    for workload, options in (("cold", ["--max-history=50"]), ("warm", ["--max-history=99", "--steps=1"])):
        lists = work.path(f"{workload}.tsv")
        work.run([wr.tool("wrtrain"), "eval", f"--data={data}", f"--bundle={bundle}", "--int8", f"--lists={lists}", "--users=1000",
                  *options], f"lists-{workload}.log")
        for engine in SWEPT:
            proof.setdefault(engine, {})[workload] = models.ask(
                "overlap", lists=lists, engine=engine, variant=best[engine][workload]["variant"], workload=workload)
    return proof


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        text = f.read()
    return " ".join(re.search(rf"^{what}\s*:\s*(.*)$", text, re.MULTILINE)[1] for what in ("model name", "cpu family", "model"))


def steal_seconds():
    with open("/proc/stat", encoding="utf-8") as f:
        return int(f.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


class Turn:
    """One daemon of several on the same core: it runs only inside the block."""

    def __init__(self, daemon):
        self.p = daemon.process

    def __enter__(self):
        self.p.send_signal(signal.SIGCONT)

    def __exit__(self, *_exc):
        time.sleep(0.1)  # its peer has gone, and it has seen that
        self.p.send_signal(signal.SIGSTOP)


def ask_ours(work, daemon, workload, seconds, *options, users=USERS, flight=WINDOW):
    """wrload against a daemon on memif, as fast as answers come. When the generator was the bottleneck the rate is answers a second
    of the worker's non-empty polls."""
    with Turn(daemon):
        before = daemon.ctl("stats")["all"]
        r = work.run_json(wr.load_command(daemon, "run", f"--workload={workload}", f"--users={users}", f"--seconds={seconds}",
                                          f"--max={flight}", "--quiet", *options, core=GENERATOR_CORE), f"ours-{workload}.log")
        after = daemon.ctl("stats")["all"]
    if r["lost"] or r["wrong"] or not r["answered"] or r["flags"]["shortened"]:
        raise wr.Failure(f"peers: {workload}: {r['answered']} answered, {r['lost']} lost, {r['wrong']} wrong")
    ns = {s: (c - before["cycles"].get(s, 0)) * 1e9 / after["tsc_hz"] / r["answered"] for s, c in after["cycles"].items()}
    busy = sum(t for s, t in ns.items() if s not in ("idle", "housekeeping"))
    bound = r["generator_bound"] and flight > 1
    return {"per_s": 1e9 / busy if bound else r["qps"], "per_wall_s": r["qps"], "per_busy_s": 1e9 / busy, "generator_bound": bound,
            "stage_ns": {s: round(t, 1) for s, t in ns.items()}, "cold": r["flags"]["cold"] / r["answered"]}


def ask_sockets(work, daemon, options, seconds):
    """client_bench over loopback; answers a second, and for a CPU second of the server."""
    with Turn(daemon):
        before = daemon.cpu_seconds()
        r = work.run_json([os.path.join(BENCH, "client", "client_bench"), f"--server=127.0.0.1:{daemon.port}", f"--seconds={seconds}",
                           f"--core={GENERATOR_CORE}", f"--window={WINDOW}", "--quiet", *options], "sockets.log", check=False)
        cpu = daemon.cpu_seconds() - before
    if r.get("wrong") or not r["ok"]:
        raise wr.Failure(f"peers: sockets: {r['ok']} answered, {r.get('wrong')} wrong")
    return {"per_s": r["qps"], "client_per_cpu_s": r["ok"] / max(r["cpu_s"], 1e-3), "server_cpu_s": cpu, "lost": r["lost"]}


class Redis:
    """A server without persistence on its own core, asked over a unix socket by redis-benchmark on the other."""

    def __init__(self, work):
        if not os.path.exists(REDIS_SERVER) or not os.path.exists("/usr/bin/redis-benchmark"):
            raise Unable("package redis-tools is not installed")
        self.work, self.socket = work, work.path("redis.sock")
        program = work.path("redis-server")
        os.symlink(REDIS_SERVER, program)
        self.p = work.start(["taskset", "-c", str(SERVER_CORE), program, "--port", "0", "--unixsocket", self.socket, "--save", "",
                             "--appendonly", "no", "--dir", work.dir], "redis.log")
        end = time.monotonic() + 20
        while not os.path.exists(self.socket):
            if self.p.poll() is not None or time.monotonic() > end:
                raise wr.Failure(f"redis-server does not start\n{wr.tail(self.p.log)}")
            time.sleep(0.05)
        fill = (f"local v = string.rep('x', {VALUE_BYTES}) for i = 0, {KEYS - 1} do local n = string.format('%012d', i) "
                "redis.call('SET', 's:' .. n, v) redis.call('HSET', 'h:' .. n, 'kv', v) end return redis.call('DBSIZE')")
        said = work.run(["redis-cli", "-s", self.socket, "EVAL", fill, "0"], "redis-fill.log").split()
        if str(2 * KEYS) not in said:
            raise wr.Failure(f"redis-server holds {said}, not {2 * KEYS} rows")

    def rate(self, n, rows, clients, pipeline, *command):
        """Rows a wall second and a CPU second of the server."""
        before = wr.cpu_seconds(self.p.pid)
        text = self.work.run(["taskset", "-c", str(GENERATOR_CORE), "redis-benchmark", "-s", self.socket, "-n", str(n), "-r", str(KEYS),
                              "-c", str(clients), "-P", str(pipeline), "--csv", *command], "redis-benchmark.log")
        cpu = wr.cpu_seconds(self.p.pid) - before
        rps = float(re.findall(r'"([^"]*)"', text)[-7])  # test, rps, and six latencies
        return {"per_s": rps * rows, "per_cpu_s": n * rows / max(cpu, 1e-3)}

    def measure(self):
        return {"redis GET, one at a time": self.rate(10_000, 1, 1, 1, "GET", "s:__rand_int__"),
                "redis GET, pipelined": self.rate(60_000, 1, 4, 32, "GET", "s:__rand_int__"),
                "redis HGET, pipelined": self.rate(60_000, 1, 4, 32, "HGET", "h:__rand_int__", "kv"),
                f"redis MGET of {MANY}, pipelined": self.rate(5_000, MANY, 4, 4, "MGET", *["s:__rand_int__"] * MANY)}


def add(figures, name, figure):
    figures.setdefault(name, []).append(figure)


def start(work, bundle, rows, **more):
    overrides = {"sessions.rows_per_lcore": rows, **more.pop("overrides", {})}
    return wr.Daemon(work, bundle, cpus=str(SERVER_CORE), overrides=overrides, **more)


def models_and_ours(work, bundle, models, best, figures):
    """Our daemon, warm and cold, against the models and Redis."""
    available = int(re.search(r"^MemAvailable:\s*(\d+)", open("/proc/meminfo", encoding="utf-8").read(), re.MULTILINE)[1]) * 1024
    users = min(USERS, available // 3 // ROW_BYTES)
    warm = start(work, bundle, users + users // 8)
    wr.say(f"peers: giving {users:,} users 99 clicks each")
    ask_ours(work, warm, "warm", 1, "--populate", users=users)
    cold = start(work, bundle, FEW_ROWS)
    warm.process.send_signal(signal.SIGSTOP)
    ask_ours(work, cold, "cold", 1)
    for engine in SWEPT:
        for workload in ("warm", "cold"):
            models.ask("prepare", engine=engine, workload=workload, **settings(best, engine, workload))
    redis = Redis(work)
    for i in range(ROUNDS):
        wr.say(f"peers: round {i + 1} of {ROUNDS}: models and look-ups")
        add(figures, "wirerankd warm", ask_ours(work, warm, "warm", 2, users=users))
        add(figures, "wirerankd warm, one in flight", ask_ours(work, warm, "warm", 1, users=users, flight=1))
        for engine in SWEPT:
            for workload in ("warm", "cold"):
                add(figures, f"{engine} {workload}", models.ask("measure", engine=engine, workload=workload,
                                                                 seconds=1 if engine == SWEPT[0] else 0.6,
                                                                 **settings(best, engine, workload)))
        add(figures, "wirerankd cold", ask_ours(work, cold, "cold", 2))
        for name, figure in redis.measure().items():
            add(figures, name, figure)
    for p in (redis.p, warm.process, cold.process):
        work.stop(p)
    return users


def settings(best, engine, workload):
    b = best[engine][workload]
    return {"variant": b["variant"], "batch": b["batch"]}


def ways(work, bundle, figures):
    """The same worker code on memif, with bursts of one, and on kernel sockets."""
    memif = start(work, bundle, FEW_ROWS)
    Turn(memif).__exit__()
    single = start(work, bundle, FEW_ROWS, overrides={"corridor.burst": 1})
    Turn(single).__exit__()
    sockets = {}
    for mode, port in (("plain", 4710), ("offload", 4711)):
        sockets[mode] = start(work, bundle, FEW_ROWS, program=os.path.join(BENCH, "peers", "wirerankd_sockets"),
                              overrides={"port.kind": "vdev", "port.device": "net_null0", "port.udp_port": port},
                              env={**os.environ, "WR_SOCKETS_OFFLOAD": "1" if mode == "offload" else "0"})
        sockets[mode].port = port
        Turn(sockets[mode]).__exit__()
    client = {"plain": ["--no-offload"], "offload": []}
    warm = ["--workload=warm", f"--users={FEW_USERS}"]
    for d in (memif, single):
        ask_ours(work, d, "warm", 1, "--populate", users=FEW_USERS)
    for mode, d in sockets.items():  # every user tells his history once
        ask_sockets(work, d, [*client[mode], *warm], 3)
    for i in range(ROUNDS):
        wr.say(f"peers: round {i + 1} of {ROUNDS}: ways of a datagram")
        add(figures, "memif warm", ask_ours(work, memif, "warm", 1, users=FEW_USERS))
        add(figures, "memif warm, bursts of 1", ask_ours(work, single, "warm", 1, users=FEW_USERS))
        add(figures, "memif echo", ask_ours(work, memif, "echo", 1, users=FEW_USERS))
        for mode, d in sockets.items():
            add(figures, f"sockets warm, {mode}", ask_sockets(work, d, [*client[mode], *warm], 1))
            add(figures, f"sockets echo, {mode}", ask_sockets(work, d, [*client[mode], "--raw"], 1))
    for d in (memif, single, *sockets.values()):
        d.stop()


def summary(figures):
    """{name: {median, least, most, …}} of per_s."""
    out = {}
    for name, runs in figures.items():
        values = [r["per_s"] for r in runs]
        out[name] = {"median": statistics.median(values), "least": min(values), "most": max(values), "runs": runs}
    return out


def testpmd_figure(work):
    runs = [testpmd.measure(work, 256, SERVER_CORE, GENERATOR_CORE) for _ in range(2)]
    return {"median": max(r[0] for r in runs) * 1e6, "least": min(r[1] for r in runs) * 1e6, "most": max(r[0] for r in runs) * 1e6,
            "runs": runs}


def run(work):
    """Everything; the result as written to out/peers.json. Unable: a peer's programs cannot be had."""
    if os.cpu_count() < 2:
        raise Unable("two cores are needed: one for the server or a peer, one for who asks")
    os.makedirs(FOLDER, exist_ok=True)
    python = environment(work)
    checkpoint, data, bundle, what = model(work)
    models = Models(work, python, checkpoint)
    best, tried = best_settings(models, checkpoint)
    proof = prove_equal(work, models, checkpoint, data, bundle, best)
    figures, steal, begun = {}, steal_seconds(), time.monotonic()
    users = models_and_ours(work, bundle, models, best, figures)
    work.stop(models.p)
    ways(work, bundle, figures)
    rows = summary(figures)
    rows["testpmd macswap"] = testpmd_figure(work)
    locate = statistics.median(sum(r["stage_ns"].get(s, 0) for s in ("locate", "recall")) for r in figures["wirerankd warm"])
    rows["wirerankd locate and recall"] = {"median": 1e9 / locate, "least": 1e9 / locate, "most": 1e9 / locate, "runs": []}
    inside = statistics.median(sum(r["stage_ns"].get(s, 0) for s in ("encode", "score", "arrange")) for r in figures["wirerankd warm"])
    result = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "command": "./run bench --peers", "cpu": cpu_model(),
              "levels": wr.isa_levels(), "huge": wr.huge(), "bundle": what, "users": users, "few_users": FEW_USERS, "rounds": ROUNDS,
              "versions": models.versions, "best": best, "tried": tried, "proof": proof, "rows": rows,
              "model_alone_per_s": 1e9 / inside if inside else None,
              "steal_s": round(steal_seconds() - steal, 2), "seconds": round(time.monotonic() - begun)}
    with open(os.path.join(wr.OUT, "peers.json"), "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    os.makedirs(os.path.dirname(CHART), exist_ok=True)
    peers_chart.write(CHART, result)
    return result


def ratios(result):
    """What must be shown: ours in multiples of a peer's, medians over the rounds, for the machine's speed changes between them."""
    rows = result["rows"]

    def times(ours, peer):
        return statistics.median(o["per_s"] / p["per_s"] for o, p in zip(rows[ours]["runs"], rows[peer]["runs"], strict=True))

    def sockets(workload):
        return max((f"sockets {workload}, plain", f"sockets {workload}, offload"), key=lambda name: rows[name]["median"])

    return {"warm to ONNX Runtime int8": times("wirerankd warm", "onnx-int8 warm"),
            "cold to ONNX Runtime int8": times("wirerankd cold", "onnx-int8 cold"),
            "bursts to one at a time": times("wirerankd warm", "wirerankd warm, one in flight"),
            "bursts of 64 to bursts of 1": times("memif warm", "memif warm, bursts of 1"),
            "memif to sockets, warm": times("memif warm", sockets("warm")),
            "memif to sockets, echo": times("memif echo", sockets("echo"))}


def table(result):
    lines = [f"{'':<34}{'a second on one core':>40}  settings"]
    for name, r in result["rows"].items():
        engine, _, workload = name.rpartition(" ")
        b = result["best"].get(engine, {}).get(workload)
        note = f"batch {b['batch']}, {' '.join(x for x in b['variant'] if x)}" if b else ""
        if b and result["proof"][engine][workload]["overlap"] is not None:
            note += f"; {result['proof'][engine][workload]['overlap']:.3f} of our lists"
        figures = f"{r['median']:,.0f} [{r['least']:,.0f} … {r['most']:,.0f}]"
        lines.append(f"{name:<34}{figures:>40}  {note}")
    lines += [f"{name}: {x:.2f}" for name, x in ratios(result).items()]
    return "\n".join(lines)


def body():
    with wr.Work("peers") as work:
        try:
            result = run(work)
        except Unable as why:
            print(f"bench --peers skip: {why}")
            return 77
    print(table(result))
    print("written: out/peers.json, docs/performance/peers.svg; what the figures mean: docs/performance.md, \"Peers\"")
    return 0


if __name__ == "__main__":
    sys.exit(wr.main(body))
