# SPDX-License-Identifier: BSD-3-Clause
"""What demo, bench and the shows share: a temporary folder, processes that are always stopped by their id, a daemon with its
configuration, and the tools' JSON."""

import glob
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "out")


class Failure(Exception):
    """One line for the user: what failed and where to look."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def tool(name, build="build"):
    return os.path.join(ROOT, build, "app", name, name)


def tail(path, lines=15):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return "".join("    " + line for line in f.readlines()[-lines:])
    except OSError:
        return ""


def write_record(path, what):
    """A record as JSON: written aside and renamed, so that the one before stays whole whatever happens."""
    aside = path + ".new"
    with open(aside, "w", encoding="utf-8") as f:
        json.dump(what, f, indent=2)
        f.write("\n")
        f.flush()
        os.fsync(f.fileno())
    os.rename(aside, path)


def wait(p, seconds):
    """Popen.wait, but asleep until the process ends: that one looks 20 times a second, which a generator on the same CPU feels."""
    fd = os.pidfd_open(p.pid)
    try:
        ends = select.poll()
        ends.register(fd, select.POLLIN)
        if not ends.poll(seconds * 1000):
            raise subprocess.TimeoutExpired(p.args, seconds)
    finally:
        os.close(fd)
    return p.wait()


def build(kind, *targets):
    """Builds another kind of tree (scripts/build.sh lists them)."""
    run = subprocess.run(["bash", "-c", '. scripts/common.sh; . scripts/build.sh; build_tree "$@"', "bash", kind, *targets],
                         cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    if run.returncode != 0:
        raise Failure(f"{kind} could not be built")


class Work:
    """A context: a folder, children, DPDK files of their names; all of it gone at the end, whatever happened."""

    def __init__(self, name, logs=None):
        self.name = name
        self.tag = f"wr{os.getpid()}"
        self.children = []
        self.prefixes = set()
        self.logs = logs or os.path.join(OUT, name)

    def __enter__(self):
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, lambda n, _f: sys.exit(128 + n))
        self.dir = tempfile.mkdtemp(prefix=f"wirerank-{self.name}-")
        os.makedirs(self.logs, exist_ok=True)
        return self

    def __exit__(self, *_exc):
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        for p in reversed(self.children):
            self.stop(p)
        shutil.rmtree(self.dir, ignore_errors=True)
        for prefix in self.prefixes:
            for where in [os.path.join(m, f"{prefix}map_*") for m in hugetlb_mounts()]:
                for path in glob.glob(where):
                    os.unlink(path)
            shutil.rmtree(os.path.join("/var/run/dpdk", prefix), ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, argv, log, **popen):
        with open(os.path.join(self.logs, log), "w", encoding="utf-8") as out:
            popen.setdefault("stdin", subprocess.DEVNULL)
            p = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, **popen)
        p.log = os.path.join(self.logs, log)
        self.children.append(p)
        return p

    def stop(self, p, patience=15):
        """SIGTERM, then SIGKILL; returns the status."""
        if p.poll() is None:
            p.send_signal(signal.SIGCONT)
            p.terminate()
            try:
                wait(p, patience)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        if p in self.children:
            self.children.remove(p)
        return p.returncode

    def run(self, argv, log, timeout=600, show=False, check=True):
        """Runs to the end; stdout (and stderr, unless shown) goes to the log and is returned."""
        path = os.path.join(self.logs, log)
        with open(path, "w", encoding="utf-8") as out:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=None if show else subprocess.STDOUT,
                                 cwd=ROOT)
            self.children.append(p)
            try:
                wait(p, timeout)
            except subprocess.TimeoutExpired:
                self.stop(p)
                raise Failure(f"{os.path.basename(argv[0])} was not done after {timeout} s (log: {path})") from None
            finally:
                self.stop(p)
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        if check and p.returncode != 0:
            raise Failure(f"{' '.join(map(os.path.basename, argv[:2]))} ended with status {p.returncode} (log: {path})\n"
                          f"{tail(path)}")
        return text

    def run_json(self, argv, log, **kw):
        """Runs a tool with --json=FILE and reads that file."""
        path = self.path(re.sub(r"\W", "-", log) + ".json")
        text = self.run([*argv, f"--json={path}"], log, **kw)
        if not os.path.exists(path):
            raise Failure(f"{os.path.basename(argv[0])} wrote no JSON (log: {os.path.join(self.logs, log)})\n{text[-500:]}")
        with open(path, encoding="utf-8") as f:
            return json.load(f)


def hugetlb_mounts():
    with open("/proc/mounts", encoding="utf-8") as f:
        return [line.split()[1] for line in f if " hugetlbfs " in line]


def huge():
    """Whether ./run reserved hugepages."""
    return os.environ.get("WR_HUGE") == "1"


def cpu_seconds(pid):
    """User and system time of the whole process so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Daemon:
    """A wirerankd, on memif unless told otherwise. overrides: {"section.key": value}; inside: words before the command line, such
    as those that enter a network namespace; program: another executable with the daemon's command line."""

    def __init__(self, work, bundle, cpus="1", overrides=None, build="build", wait_s=120, inside=(), program=None, **popen):
        self.work = work
        self.name = f"{work.tag}d{len(work.prefixes)}"
        work.prefixes.add(self.name)
        self.socket = work.path(f"{self.name}.sock")
        keys = {"server.name": self.name, "server.lcores": cpus, "bundle.path": bundle, "port.socket": self.socket,
                "memory.huge": "auto" if huge() else "no", **(overrides or {})}
        config = work.path(f"{self.name}.ini")
        with open(config, "w", encoding="utf-8") as f:
            section = None
            for key in sorted(keys):
                s, k = key.split(".")
                if s != section:
                    f.write(f"[{s}]\n")
                    section = s
                f.write(f"{k} = {keys[key]}\n")
        self.build = build
        self.process = work.start([*inside, program or tool("wirerankd", build), f"--config={config}"], f"{self.name}.log", **popen)
        self.wait_ready(wait_s)

    def wait_ready(self, wait_s):
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failure(f"wirerankd did not start (log: {self.process.log})\n{tail(self.process.log)}")
            with open(self.process.log, encoding="utf-8", errors="replace") as f:
                if re.search(r"^ready: ", f.read(), re.MULTILINE):
                    return
            time.sleep(0.05)
        raise Failure(f"wirerankd was not ready after {wait_s} s (log: {self.process.log})\n{tail(self.process.log)}")

    def ctl(self, *words):
        """A table of wrctl as JSON."""
        run = subprocess.run([tool("wrctl", self.build), f"--name={self.name}", "--json", *words], capture_output=True,
                             text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
        if run.returncode != 0:
            raise Failure(f"wrctl {' '.join(words)}: {run.stderr.strip() or run.stdout.strip()}")
        return json.loads(run.stdout)

    def counters(self):
        """Sums over the workers: ({counter: n}, {outcome: n})."""
        every = self.ctl("stats")["all"]
        return every["counter"], every["outcome"]

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def stop(self):
        return self.work.stop(self.process)


def load_command(daemon, verb, *options, core=0, queues=1):
    """The command line of wrload against a daemon."""
    return [tool("wrload", daemon.build), verb, f"--memif={daemon.socket}", f"--core={core}", f"--queues={queues}", *options]


def ml1m():
    """The folder of MovieLens-1M, or None: where WR_DATA says, else beside the checkout."""
    for where in (os.environ.get("WR_DATA"), os.path.join(ROOT, "..", "shared", "data"), os.path.join(ROOT, "shared", "data")):
        if where and os.path.exists(os.path.join(where, "ml-1m", "ml-1m.txt")):
            return os.path.join(where, "ml-1m")
    return None


def isa_levels():
    """The levels that this CPU has, lowest first."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        flags = re.search(r"^flags\s*:(.*)$", f.read(), re.MULTILINE)[1].split()
    levels = ["ref"]
    if {"avx2", "fma"} <= set(flags):
        levels.append("avx2")
    if {"avx512f", "avx512bw", "avx512vl", "avx512_vnni"} <= set(flags):
        levels.append("avx512vnni")
        if {"amx_tile", "amx_int8"} <= set(flags):
            levels.append("amx")
    return levels


def main(body):
    """Runs body() and turns a Failure into one line and status 1."""
    try:
        return body()
    except Failure as why:
        say(f"run: {why}")
        return 1
