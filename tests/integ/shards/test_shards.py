# SPDX-License-Identifier: BSD-3-Clause
"""Another number of workers by restart, while clients ask: wrload over memif, libwirerank over a veth. A peer that comes back
at once while the daemon stops. A port with queues of its own choosing, whose kernel or driver takes no flow rules.

Lists are computed beforehand by wrtrain from a small data set and a random bundle."""
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

ROOT = os.environ["WR_ROOT"]
sys.path += [os.path.join(ROOT, "scripts"), os.path.join(ROOT, "tests", "integ", "control")]
import rig as r  # noqa: E402
import veth  # noqa: E402
from rig import check  # noqa: E402

WRTRAIN, CLIENT_BENCH = os.environ["WRTRAIN"], os.environ["CLIENT_BENCH"]
spec = importlib.util.spec_from_file_location("wr_client", os.path.join(ROOT, "docs", "examples", "wr_client.py"))
wr = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wr)


class Rig(r.Rig):
    """Daemons may live in a namespace."""
    inside = ()

    def start(self, argv, **popen):
        return super().start([*self.inside, *argv] if argv[0] == r.WIRERANKD else argv, **popen)


def make_lists(rig):
    """200 users of 12 to 160 clicks on the bundle's 3,416 items."""
    rng, folder, path = random.Random(5), rig.path("data"), rig.path("steps.tsv")
    os.mkdir(folder)
    with open(os.path.join(folder, "items.tsv"), "w", encoding="utf-8") as f:
        f.write("#id\tname\tcategory\ttitle\n")
        for i in range(1, 3417):
            f.write(f"{i}\t{i}\t-\titem {i}\n")
    with open(os.path.join(folder, "users.tsv"), "w", encoding="utf-8") as f:
        f.write("#user\tname\n" + "".join(f"{u}\t{u}\n" for u in range(1, 201)))
    n = 0
    with open(os.path.join(folder, "interactions.tsv"), "w", encoding="utf-8") as f:
        f.write("#user\titem\tkind\ttime_ms\n")
        for user in range(1, 201):
            for item in rng.sample(range(1, 3417), rng.randint(12, 160)):
                f.write(f"{user}\t{item}\tclick\t{1600000000000 + 60000 * n}\n")
                n += 1
    with open(os.path.join(folder, "dataset.json"), "w", encoding="utf-8") as f:
        json.dump({"source": "test", "users": 200, "items": 3416, "interactions": n}, f)
    run = subprocess.run([WRTRAIN, "eval", f"--data={folder}", f"--bundle={rig.bundle}", "--int8", f"--lists={path}",
                          "--steps=4"], capture_output=True, text=True, timeout=120, check=False)
    if run.returncode:
        raise SystemExit(f"wrtrain eval: {run.stderr}")
    return path


def phases(rig, alive, seconds=2, **keys):
    """One worker, two, one; (epoch, RECOMMENDs by worker) of each life."""
    lives = []
    for cpus in ("0", "0,1", "0"):
        d = rig.daemon(cpus=cpus, **keys)
        if not lives:
            alive(start=True)
        time.sleep(seconds)
        if not alive():
            check("the client lives", False)
        if len(lives) == 2:
            return lives, d
        lives.append(life(d))
        check(f"stops cleanly with {cpus}", d.stop() == 0, d.said())
    return None


def life(d):
    _, table = d.json("shards")
    _, stats = d.json("stats")
    return table["epoch"], [w["counter"]["recommends"] for w in stats["workers"] or [stats["all"]]]


def judge(name, lives):
    epochs = [e for e, _ in lives]
    check(f"{name}: epochs", 0 not in epochs and epochs[0] == epochs[2] != epochs[1], epochs)
    check(f"{name}: every worker had its share", [len(w) for _, w in lives] == [1, 2, 1] and
          min(n for _, w in lives for n in w) > 20, lives)


def result(process, path):
    process.wait(60)
    with open(path, encoding="utf-8") as f:
        return process.returncode, json.load(f)


class Client:
    """A client that is started with the first daemon."""

    def __init__(self, rig, *argv):
        self.rig, self.argv, self.process = rig, argv, None

    def __call__(self, start=False):
        if start:
            self.process = self.rig.start(list(self.argv))
        return self.process.poll() is None


def memif(rig):
    out, socket = rig.path("memif.json"), rig.path("m.sock")
    for queues in ("1", "2"):
        client = Client(rig, r.WRLOAD, "run", f"--memif={socket}", f"--queues={queues}", "--core=1", "--outage=30", "--wait=20",
                        f"--lists={rig.lists}", "--verify-share=1", "--rate=500", "--seconds=14", "--timeout-ms=1000", "--quiet",
                        f"--json={out}")
        lives, d = phases(rig, client, port__socket=socket)
        status, got = result(client.process, out)
        lives.append(life(d))
        check("stops cleanly at the end", d.stop() == 0, d.said())
        name, watched = f"memif, {queues} queue(s)", got["watched"]
        judge(name, lives)
        check(f"{name}: nothing wrong, nothing lost", status == 0 and got["wrong"] == got["lost"] == watched["lists_wrong"] ==
              watched["failed"] == 0 and watched["lists_checked"] > 500, got)
        check(f"{name}: both restarts were followed", got["epoch_changes"] == got["reconnects"] == 2, got)
        check(f"{name}: hand-over by the table", got["handover_unexpected"] == got["handover_missing"] == 0 and
              (got["flags"]["handed_over"] > 0) == (queues == "1"), got["flags"])


def sockets(rig):
    try:
        with veth.Pair() as pair:
            pair.client_checksums(True)
            rig.inside = tuple(pair.inside(0))
            out = rig.path("sockets.json")
            client = Client(rig, *pair.inside(1, CLIENT_BENCH, f"--server={pair.IPV4[0]}", f"--lists={rig.lists}", "--users=40",
                                              "--rate=300", "--seconds=14", "--settle=30", "--timeout-ms=100", "--tries=8",
                                              "--hello-ms=200", "--quiet", f"--json={out}"))
            lives, d = phases(rig, client, port__kind="af_xdp", port__interface=pair.interfaces[0])
            status, got = result(client.process, out)
            lives.append(life(d))
            check("stops cleanly at the end", d.stop() == 0, d.said())
            judge("sockets", lives)
            had = got["lists"]
            check("sockets: nothing wrong, nothing unanswered", status == 0 and got["wrong"] == had["wrong"] ==
                  had["unanswered"] == got["gave_up"] == 0 and had["checked"] > 300, got)
            check("sockets: both restarts were followed", got["epoch_changes"] == 2 and had["told_again"] > 0, got)
    except veth.Unable as why:
        print(f"skip: libwirerank over a veth: {why}")
    finally:
        rig.inside = ()


def impatient(rig):
    """The peer comes back while the daemon takes its port apart: six times over."""
    socket = rig.path("i.sock")
    w = rig.start([r.WRLOAD, "run", f"--memif={socket}", "--queues=1", "--core=1", "--outage=30", "--wait=20", "--rate=300",
                   "--seconds=120", "--workload=echo", "--quiet"], stderr=subprocess.DEVNULL)
    for i in range(6):
        d = rig.daemon(cpus="0", port__socket=socket)
        time.sleep(0.4)
        check(f"stop {i} with a peer that comes back", d.stop() == 0 and not os.path.exists(socket), d.said())
    rig.stop(w)


def tap(rig):
    """net_tap has two queues and spreads as it likes; whether this kernel takes its flow rules is seen in the ready line."""
    space, interface = f"wrt{os.getpid()}", f"wt{os.getpid()}"
    if os.geteuid() != 0:
        print("skip: tap: needs root")
        return
    veth.run("ip", "netns", "add", space)
    try:
        rig.inside = ("ip", "netns", "exec", space)
        d = rig.daemon(cpus="0,1", port__kind="tap", port__interface=interface)
        said = re.search(r"^ready: .* 2 queues, (.*?)(, UDP port|$)", d.said(), re.M)
        _, table = d.json("shards")
        rules = table["spread"] == "flow rules"
        check("it says how frames are spread", said and table["queues"] == 2 and said[1].startswith(
            "4 flow rules" if rules else "hand-over (no flow rules: "), (d.said()[-400:], table))
        veth.run("ip", "-n", space, "addr", "add", "10.47.0.2/24", "dev", interface)
        veth.run("ip", "-n", space, "link", "set", interface, "up")
        with veth.Space(space):
            client = wr.Client("10.47.0.1", 4700, timeout=1, tries=5)
            hello = client.hello()
            check("HELLO tells both ports", hello["ports"] == [4700, 4701], hello)
            right = wrong = 0
            for user in range(60):
                a = client.call(wr.RECOMMEND, user, [wr.ask(5), wr.history([(1 + user, wr.CLICK, 0)], True)])
                right += a["status"] == 0 and len(a["items"]) == 5
                wrong += "handed_over" in a["flags"]
        check("every user is answered, whatever queue the frame came to", right == 60, right)
        check("no hand-over behind flow rules", not rules or wrong == 0, wrong)
        _, stats = d.json("stats")
        each = [w["sessions"] for w in stats["workers"]]
        check("users live where the table says", sum(each) == 60 and min(each) > 15, each)
        check("SIGTERM", d.stop() == 0, d.said())
    finally:
        rig.inside = ()
        veth.run("ip", "netns", "del", space, check=False)


def main():
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda n, _f: sys.exit(128 + n))
    with Rig() as rig:
        rig.lists = make_lists(rig)
        for test in (memif, sockets, impatient, tap):
            print(f"-- {test.__name__}", flush=True)
            test(rig)
    print(f"{r.n_checks} checks, {len(r.failures)} failed {r.failures if r.failures else ''}")
    return 1 if r.failures or not r.n_checks else 0


if __name__ == "__main__":
    sys.exit(main())
