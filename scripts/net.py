# SPDX-License-Identifier: BSD-3-Clause
"""A veth with the addresses that wrload, the command files and the examples take for granted, and a namespace on its own (for a tap).
Both stop the processes of their Work before they go: a process inside would keep namespace and interfaces alive."""

import veth

SERVER_MAC, CLIENT_MAC = "02:00:00:00:47:00", "02:00:00:00:47:02"


def stop_all(work):
    for p in reversed(work.children):
        work.stop(p)


class Wire(veth.Pair):
    """10.47.0.1 and fd47::1 at the server's end, .2 at the client's, whose frames carry whole checksums."""

    IPV4, IPV6 = ("10.47.0.1", "10.47.0.2"), ("fd47::1", "fd47::2")

    def __init__(self, work):
        super().__init__()
        self.work = work
        self.server, self.client = self.interfaces

    def __enter__(self):
        super().__enter__()
        for side, mac in enumerate((SERVER_MAC, CLIENT_MAC)):
            veth.run("ip", "-n", self.spaces[side], "link", "set", self.interfaces[side], "address", mac)
        self.client_checksums(True)
        return self

    def __exit__(self, *_exc):
        stop_all(self.work)
        super().__exit__()

    def end(self, side):
        """The server's (0) or the client's (1) namespace and interface, for what works on a tap's as well."""
        return Namespace(self.work, name=self.spaces[side])


class Namespace:
    """A context: one namespace."""

    def __init__(self, work, suffix="", name=None):
        self.work, self.name = work, name or f"{work.tag}{suffix}"

    def __enter__(self):
        veth.run("ip", "netns", "add", self.name)
        return self

    def __exit__(self, *_exc):
        stop_all(self.work)
        veth.run("ip", "netns", "delete", self.name, check=False)

    def inside(self, *argv):
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv, check=True):
        return veth.run(*self.inside(*argv), check=check)

    def ip(self, *words):
        return veth.run("ip", "-n", self.name, *words)

    def up(self, interface, address):
        """Gives an interface that has just been made an IPv4 address and brings it up."""
        self.ip("address", "replace", f"{address}/24", "dev", interface)
        self.ip("link", "set", interface, "up")
