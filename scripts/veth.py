# SPDX-License-Identifier: BSD-3-Clause
"""Two network namespaces with a veth pair between them, made and deleted by the process that uses them (its id is in every
name), and sockets inside of a namespace. For tests and shows; needs root, iproute2,
procps and ethtool."""

import ctypes
import json
import os
import socket
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000


class Unable(Exception):
    """This machine does not let us make namespaces or veth pairs; says why."""


def run(*words, check=True):
    p = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if check and p.returncode != 0:
        raise Unable(f"{' '.join(words)}: {(p.stderr or p.stdout).strip()}")
    return p.stdout


class Pair:
    """server: interface wsPID in namespace wrsPID, 10.98.0.1 and fd98::1; client: wcPID in wrcPID, .2."""

    IPV4, IPV6 = ("10.98.0.1", "10.98.0.2"), ("fd98::1", "fd98::2")

    def __init__(self, queues=1):
        pid = os.getpid()
        self.spaces = (f"wrs{pid}", f"wrc{pid}")
        self.interfaces = (f"ws{pid}", f"wc{pid}")
        self.queues = queues

    def __enter__(self):
        if os.geteuid() != 0:
            raise Unable("network namespaces need root")
        try:
            for space in self.spaces:
                run("ip", "netns", "add", space)
                # an address is to be used at once
                run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0",
                    "net.ipv6.conf.all.accept_dad=0")
            (s, c), (si, ci) = self.spaces, self.interfaces
            n = ["numtxqueues", str(self.queues), "numrxqueues", str(self.queues)]
            run("ip", "link", "add", si, "netns", s, *n, "type", "veth", "peer", "name", ci, "netns", c, *n)
            for side in (0, 1):
                ip = ["ip", "-n", self.spaces[side]]
                run(*ip, "link", "set", "lo", "up")
                run(*ip, "addr", "add", self.IPV4[side] + "/24", "dev", self.interfaces[side])
                run(*ip, "addr", "add", self.IPV6[side] + "/64", "dev", self.interfaces[side], "nodad")
                run(*ip, "link", "set", self.interfaces[side], "up")
            self.settle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def settle(self):
        """The carrier comes, and with it link-local addresses, a moment after both ends are up."""
        end = time.monotonic() + 5
        for side in (0, 1):
            while "fe80" not in run("ip", "-n", self.spaces[side], "-6", "addr", "show", "dev", self.interfaces[side]):
                if time.monotonic() > end:
                    raise Unable(f"{self.interfaces[side]} has no link-local address: is IPv6 switched off?")
                time.sleep(0.02)

    def __exit__(self, *_exc):
        for space in self.spaces:
            run("ip", "netns", "del", space, check=False)

    def client_checksums(self, on):
        """Whether the client's frames carry whole checksums; a veth sender leaves them to its peer otherwise."""
        run("ip", "netns", "exec", self.spaces[1], "ethtool", "-K", self.interfaces[1], "tx", "off" if on else "on")

    def inside(self, side, *argv):
        """argv as it is run in the server's (0) or the client's (1) namespace."""
        return ["ip", "netns", "exec", self.spaces[side], *argv]

    def link(self, side):
        """What ip says of the interface: (attributes that must not change, XDP program or None)."""
        text = run("ip", "-n", self.spaces[side], "-d", "-j", "link", "show", "dev", self.interfaces[side])
        link = json.loads(text)[0]
        xdp = link.pop("xdp", None)
        offloads = run(*self.inside(side, "ethtool", "-k", self.interfaces[side]))
        channels = run(*self.inside(side, "ethtool", "-l", self.interfaces[side]), check=False)
        return {"link": link, "offloads": offloads, "channels": channels}, xdp

    def program(self):
        """Name of the XDP program on the server's interface, or None."""
        xdp = self.link(0)[1]
        return xdp and (xdp.get("prog", {}).get("name") or "?")

    def ping(self, address, count=3):
        """Whether the server answers the client."""
        return subprocess.run(self.inside(1, "ping", "-q", "-n", "-i", "0.05", "-c", str(count), "-W", "1", address),
                              capture_output=True, check=False).returncode == 0

    def socket(self, side, *args):
        """A socket that lives in a namespace, whoever uses it."""
        with Space(self.spaces[side]):
            return socket.socket(*args)


class Space:
    """with Space(NAME): this thread is in that network namespace."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.back = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            enter(fd)
        finally:
            os.close(fd)

    def __exit__(self, *_exc):
        enter(self.back)
        os.close(self.back)


def enter(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class TcpEcho:
    """A TCP service of the server's kernel, IPv4 and IPv6: what came goes back."""

    def __init__(self, pair, port=4747):
        self.pair, self.port = pair, port
        self.listener = pair.socket(0, socket.AF_INET6, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("::", port))
        self.listener.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with s:
                while data := s.recv(65536):
                    s.sendall(data)

    def works(self, address, size=20000):
        """Sends size bytes from the client's namespace and gets them back."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        data = os.urandom(size)
        with self.pair.socket(1, family, socket.SOCK_STREAM) as s:
            s.settimeout(5)
            try:
                s.connect((address, self.port))
                s.sendall(data)
                got = b""
                while len(got) < size and (more := s.recv(65536)):
                    got += more
            except OSError:
                return False
        return got == data

    def close(self):
        # close alone would leave accept waiting
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
