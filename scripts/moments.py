# SPDX-License-Identifier: BSD-3-Clause
"""Limits of the machine at the time of a run. A shared CPU changes its speed by a third within seconds, and lines travel between two
virtual CPUs at two speeds, three times apart: a limit from its best moment over a rate from another says how the machine fared, not
how the server did. So what bounds a workload is measured again right before and right after each of its runs, while the daemon
stands still; of both the higher one counts."""

import contextlib
import json
import os
import signal

import testpmd
import wr

MIB = 256


@contextlib.contextmanager
def standing_still(daemon):
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)


class Moments:
    """Of workloads that packets bound, testpmd's frames of one size; of others arithmetic and memory."""

    def __init__(self, work, daemon, server_core, peer_core, isa, frame=None):
        self.work, self.daemon, self.core, self.isa = work, daemon, server_core, isa
        self.pair = testpmd.Pair(work, frame, server_core, peer_core) if frame else None
        if self.pair:
            self.pair.pause()

    def now(self, packets):
        """{limit: figure}, those that count for the workload."""
        with standing_still(self.daemon):
            if packets:
                self.pair.pause(False)
                try:
                    return {"testpmd_mpps": self.pair.window()}
                finally:
                    self.pair.pause()
            said = json.loads(self.work.run([os.path.join(wr.ROOT, "build", "tests", "bench", "limits"), str(self.core), str(MIB),
                                             self.isa, "1"], "limits-now.log"))
            return {k: said[k] for k in ("int8_gmacs", "mem_block_gbs", "mem_line_ns")}

    def close(self):
        if self.pair:
            self.pair.close()


def higher(before, after):
    return {k: (min if k == "mem_line_ns" else max)(v, after[k]) for k, v in before.items()}
