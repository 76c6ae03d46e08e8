# SPDX-License-Identifier: BSD-3-Clause
"""dpdk-testpmd with a command file of pktgen-scripts/testpmd: started as docs/benchmarking.md says, stopped, its counts read."""

import contextlib
import os
import re
import signal
import subprocess

import testpmd
import wr

FOLDER = "pktgen-scripts/testpmd"
TOTAL = re.compile(r"Accumulated forward statistics for all ports\++\s+RX-packets: (\d+).*?TX-packets: (\d+)", re.DOTALL)


def names():
    return sorted(n[:-len(".cmds")] for n in os.listdir(os.path.join(wr.ROOT, FOLDER)) if n.endswith(".cmds"))


class Run:
    """A context in which the file's commands have been given and frames are forwarded. Afterwards rx and tx are the frames that
    testpmd received and sent. peer_leaves: a memif server's peer goes while it polls; DPDK 22.11 unmaps the rings under it then, and
    now and then testpmd dies of that, after its work."""

    def __init__(self, work, name, label, vdevs, options=(), inside=(), peer_leaves=False):
        self.work, self.name, self.peer_leaves = work, name, peer_leaves
        self.log = f"testpmd-{name}-{label}.log"
        prefix = f"{work.tag}p{len(work.prefixes)}"
        work.prefixes.add(prefix)
        self.argv = [*inside, "stdbuf", "-oL", "dpdk-testpmd", "--lcores=0@0,1@0", "--no-huge", "-m", "192", "--no-pci",
                     "--no-telemetry", f"--file-prefix={prefix}", *(f"--vdev={v}" for v in vdevs), "--", "-i",
                     "--total-num-mbufs=16384", f"--cmdline-file={FOLDER}/{name}.cmds", *options]
        self.rx = self.tx = 0

    def __enter__(self):
        self.process = self.work.start(self.argv, self.log, stdin=subprocess.PIPE)
        testpmd.wait_for(self.process, r"Read CLI commands from")
        with open(self.process.log, encoding="utf-8", errors="replace") as f:
            said = f.read()
        wrong = re.search(r"(Bad arguments|Command not found|Ambiguous command)", said)
        if wrong:
            raise wr.Failure(f"{self.name}.cmds: {wrong[1]} (log: {self.process.log})")
        return self

    def __exit__(self, kind, *_rest):
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            testpmd.tell(self.process, "stop\nquit")
            self.process.wait(15)
        status = self.work.stop(self.process)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with open(self.process.log, encoding="utf-8", errors="replace") as f:
            total = TOTAL.search(f.read())
        died = self.peer_leaves and status == -signal.SIGSEGV
        if kind is None and not died and (status != 0 or not total):
            raise wr.Failure(f"dpdk-testpmd with {self.name}.cmds ended with {status} (log: {self.process.log})\n"
                             f"{wr.tail(self.process.log)}")
        if total:
            self.rx, self.tx = int(total[1]), int(total[2])
