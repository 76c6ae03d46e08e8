# SPDX-License-Identifier: BSD-3-Clause
"""The packet limit: dpdk-testpmd turning frames round (macswap) as a memif server on one core, a second testpmd as its peer on
the other. Frames circulate between the two, so that every poll finds full bursts; the figure is the server's frames per
CPU-second of polls that found something, receive and transmit included (record-core-cycles)."""

import contextlib
import os
import re
import signal
import statistics
import subprocess
import time

import wr

SIZES = (64, 256, 640, 1200)
WINDOWS = 5
TRIES = 5
IN_FLIGHT_BURSTS = 24  # of 32 frames: below the 1,023 that a ring holds, so that nothing is dropped

CYCLES = re.compile(r"CPU cycles/packet=([\d.]+) \(total cycles=(\d+) / total \w+ packets=(\d+)\) at (\d+) MHz Clock")


def start(work, role, core, socket, extra):
    prefix = f"{work.tag}t{role[0]}"
    work.prefixes.add(prefix)
    memory = ["--in-memory"] if wr.huge() else ["--no-huge"]
    return work.start(["stdbuf", "-oL", "dpdk-testpmd", f"--lcores=0@0,1@{core}", *memory, "-m", "96", "--no-pci", "--no-telemetry",
                       f"--file-prefix={prefix}", f"--vdev=net_memif0,role={role},id=0,socket={socket},socket-abstract=no",
                       "--", "-i", "--forward-mode=macswap", "--total-num-mbufs=8192", *extra],
                      f"testpmd-{role}.log", stdin=subprocess.PIPE)


def tell(p, command):
    p.stdin.write(command.encode() + b"\n")
    p.stdin.flush()


def wait_for(p, pattern, count=1, seconds=30):
    """Waits until the log holds count matches; returns them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with open(p.log, encoding="utf-8", errors="replace") as f:
            found = re.findall(pattern, f.read())
        if len(found) >= count:
            return found
        if p.poll() is not None:
            break
        time.sleep(0.05)
    raise wr.Failure(f"dpdk-testpmd gave no {pattern!r} (log: {p.log})\n{wr.tail(p.log)}")


class Pair:
    """Frames of one size on their way round."""

    def __init__(self, work, size, server_core, peer_core):
        self.work, self.socket, self.windows = work, work.path("testpmd.sock"), 0
        self.server = start(work, "server", server_core, self.socket, ["--record-core-cycles"])
        wait_for(self.server, "testpmd>")
        self.peer = start(work, "client", peer_core, self.socket, [f"--txpkts={size}"])
        wait_for(self.peer, "testpmd>")
        time.sleep(0.5)  # the link comes up
        tell(self.server, "start")
        tell(self.peer, f"start tx_first {IN_FLIGHT_BURSTS}")
        time.sleep(0.5)

    def window(self):
        """Millions of frames a CPU-second in a window of 0.7 s."""
        tell(self.server, "clear fwd stats all")
        time.sleep(0.7)
        tell(self.server, "show fwd stats all")
        self.windows += 1
        _, cycles, packets, mhz = wait_for(self.server, CYCLES, self.windows)[self.windows - 1]
        return int(packets) * int(mhz) / int(cycles)

    def pause(self, paused=True):
        """Leaves the CPUs to others, or goes on."""
        for p in (self.server, self.peer):
            p.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)
        if not paused:
            time.sleep(0.05)  # the iteration that was interrupted ends before a window begins

    def close(self):
        for p in (self.peer, self.server):
            p.send_signal(signal.SIGCONT)
            with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
                tell(p, "stop\nquit")
                p.wait(10)
            self.work.stop(p)
            with contextlib.suppress(BrokenPipeError):
                p.stdin.close()
        if os.path.exists(self.socket):
            os.unlink(self.socket)


def measure(work, size, server_core, peer_core):
    """(millions of frames a CPU-second: most, least, median). The most is the limit: what disturbs a window only takes from it."""
    pair = Pair(work, size, server_core, peer_core)
    try:
        figures = [pair.window() for _ in range(WINDOWS)]
    finally:
        pair.close()
    return max(figures), min(figures), statistics.median(figures)


def limits(work, server_core, peer_core, needed=SIZES):
    """{size: most} and {size: [least, median]}. On some starts the two circulate small bursts only and the figure is a third of
    the machine's or less. A smaller frame cannot cost more than a larger one, and none of the next size costs 2.5 times as
    much: such a size is measured again. What still is below a larger one's is taken to be the larger one's, which flatters nobody; one
    that stays far below the next smaller one's is no limit, which matters where it is needed."""
    most, rest = {}, {}
    for _ in range(TRIES):
        doubtful = [s for s in SIZES if s not in most or implausible(most, s)]
        if not doubtful:
            break
        for size in doubtful:
            best, least, median = measure(work, size, server_core, peer_core)
            if best > most.get(size, 0):
                most[size], rest[size] = best, [round(least, 2), round(median, 2)]
    for s in SIZES:
        most[s] = max(v for size, v in most.items() if size >= s)
    wrong = [s for s in SIZES if s in needed and implausible(most, s)]
    if wrong:
        raise wr.Failure(f"dpdk-testpmd gave no figure to believe at {wrong} bytes in {TRIES} tries: {most}")
    return {str(s): round(most[s], 2) for s in SIZES}, {str(s): rest[s] for s in SIZES}


def implausible(most, size):
    larger = [most[s] for s in SIZES if s > size and s in most]
    smaller = [most[s] for s in SIZES if s < size and s in most]
    return any(most[size] < 0.95 * v for v in larger) or bool(smaller) and most[size] < 0.4 * smaller[-1]
