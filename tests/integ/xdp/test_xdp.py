# SPDX-License-Identifier: BSD-3-Clause
"""A daemon shares a veth's end with the kernel of its namespace: ordinary sockets of another namespace are answered over
IPv4 and IPv6, everything else still reaches the kernel, and nothing of the daemon is left on the interface, however it ends.
Somebody else's XDP program is never touched."""
import ctypes
import importlib.util
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

ROOT = os.environ["WR_ROOT"]
sys.path += [os.path.join(ROOT, "scripts"), os.path.join(ROOT, "tests", "integ", "control")]
import rig as r  # noqa: E402
import veth  # noqa: E402
from rig import check  # noqa: E402

spec = importlib.util.spec_from_file_location("wr_client", os.path.join(ROOT, "docs", "examples", "wr_client.py"))
wr = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wr)

PORT = 4700
PROGRAM = "wr_steer"
pair = None


class Rig(r.Rig):
    """Its daemons run in the server's namespace."""

    def start(self, argv, **popen):
        return super().start(pair.inside(0, *argv) if argv[0] == r.WIRERANKD else argv, **popen)


def keys(**more):
    return {"port__kind": "af_xdp", "port__interface": pair.interfaces[0], **more}


def refused(rig, **more):
    """Exit status and the last line of a daemon that does not start."""
    sets = {"server.name": f"wrx{os.getpid()}", "bundle.path": rig.bundle, "sessions.rows_per_lcore": "1024", "memory.huge": "no",
            **{k.replace("__", "."): v for k, v in keys(**more).items()}}
    p = subprocess.run(pair.inside(0, r.WIRERANKD, *(f"--set={k}={v}" for k, v in sets.items())), capture_output=True,
                       text=True, timeout=60, check=False)
    return p.returncode, (p.stderr.strip().splitlines() or [""])[-1]


def client(address, port=PORT, tries=3):
    with veth.Space(pair.spaces[1]):
        return wr.Client(address, port, timeout=0.5, tries=tries)


def answered(address, user, port=PORT):
    """A recommendation's answer, or None."""
    try:
        return client(address, port).call(wr.RECOMMEND, user, [wr.ask(5), wr.history([(260, wr.CLICK, 0)], True)])
    except TimeoutError:
        return None


def works(name, port=PORT):
    for address in (pair.IPV4[0], pair.IPV6[0]):
        a = answered(address, 1, port)
        check(f"{name}: {address} answers", a and a["status"] == 0 and len(a["items"]) == 5, a)


def counts(daemon):
    _, port = daemon.json("raw", "/wirerank/port")
    port = port.get("/wirerank/port", port)
    return {k: port[k] for k in port if k.startswith("xdp_")}


def served(rig):
    before = pair.link(0)[0]
    tcp = veth.TcpEcho(pair)
    d = rig.daemon(**keys())
    check("it says what it got", re.search(rf"^ready: .* af_xdp {pair.interfaces[0]}, 1 queue, native XDP, copy, UDP port 4700",
                                           d.said(), re.M), d.said())
    check("our program is on the interface", pair.program() == PROGRAM, pair.program())
    works("recommend")
    link_local = veth.run("ip", "-n", pair.spaces[0], "-6", "-o", "addr", "show", "dev", pair.interfaces[0], "scope", "link")
    with veth.Space(pair.spaces[1]):
        scope = socket.if_nametoindex(pair.interfaces[1])
    c = client(pair.IPV6[0])
    c.address = (re.search(r"(fe80::\S+)/", link_local)[1], PORT, 0, scope)
    check("link-local address: HELLO", c.hello()["ports"] == [PORT])
    c = client(pair.IPV4[0])
    check("EVENT", c.call(wr.EVENT, 7, [wr.events([(260, wr.CLICK, int(time.time() * 1000), 0, 0)])])["status"] == 0)
    check("FORGET", c.call(wr.FORGET, 7, [])["status"] == 0)
    for address in (pair.IPV4[0], pair.IPV6[0]):
        check(f"ping {address}", pair.ping(address))
        check(f"TCP to {address}", tcp.works(address))
    to_kernel(d)
    tagged(d)
    addresses(d)
    had = counts(d)
    _, stats = d.json("stats")
    received = stats["all"]["counter"]["received"]
    check("the program's count and ours agree", had["xdp_taken"] == received > 0, (had, received))
    check("every buffer was one that the kernel knows", had["xdp_invalid"] == 0, had)
    check("no frame missed a socket", had["xdp_no_socket"] == 0 and had["xdp_passed"] > 20 and had["xdp_native"] == 1, had)
    check("SIGTERM", d.stop() == 0, d.said())
    check("no program is left", pair.program() is None, pair.program())
    after = pair.link(0)[0]
    check("the interface is as it was", before == after, f"{before}\n{after}")
    check("TCP afterwards", tcp.works(pair.IPV4[0]))
    tcp.close()


def to_kernel(daemon):
    """A kernel socket on the service's own port sees what the program must not take, and nothing else."""
    with pair.socket(0, socket.AF_INET6, socket.SOCK_DGRAM) as kernel, \
            pair.socket(1, socket.AF_INET, socket.SOCK_DGRAM) as s4, pair.socket(1, socket.AF_INET6, socket.SOCK_DGRAM) as s6:
        kernel.bind(("::", PORT))
        kernel.settimeout(1)

        def arrives(name, send):
            taken = counts(daemon)["xdp_taken"]
            send()
            try:
                got = len(kernel.recv(65536))
            except socket.timeout:
                got = 0
            check(f"{name} goes to the kernel", got and counts(daemon)["xdp_taken"] == taken, got)

        arrives("a fragmented datagram (IPv4)", lambda: s4.sendto(bytes(4000), (pair.IPV4[0], PORT)))
        arrives("a fragmented datagram (IPv6)", lambda: s6.sendto(bytes(4000), (pair.IPV6[0], PORT)))
        s4.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([1, 1, 1, 0]))
        arrives("IPv4 options", lambda: s4.sendto(bytes(64), (pair.IPV4[0], PORT)))
        s4.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"")
        s6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
        arrives("an IPv6 extension header", lambda: s6.sendto(bytes(64), (pair.IPV6[0], PORT)))
        s4.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        arrives("a broadcast", lambda: s4.sendto(bytes(64), ("10.98.0.255", PORT)))
        kernel.settimeout(0.2)
        works("with a kernel socket on the same port")
        try:
            stray = kernel.recv(65536)
        except socket.timeout:
            stray = b""
        check("nothing of the service's goes to the kernel", not stray, len(stray))
    with pair.socket(0, socket.AF_INET, socket.SOCK_DGRAM) as other, pair.socket(1, socket.AF_INET, socket.SOCK_DGRAM) as s:
        other.settimeout(1)
        for port in (PORT - 1, PORT + 1):
            taken = counts(daemon)["xdp_taken"]
            s.sendto(b"other", (pair.IPV4[0], port))
        other.bind(("", PORT + 1))
        s.sendto(b"other", (pair.IPV4[0], PORT + 1))
        check("another UDP port is the kernel's", other.recv(100) == b"other" and counts(daemon)["xdp_taken"] == taken)
    # a host behind us: routed here, but none of our addresses
    with veth.Space(pair.spaces[1]):
        subprocess.run(["ip", "route", "add", "10.97.0.0/24", "via", pair.IPV4[0]], check=True)
    with pair.socket(1, socket.AF_INET, socket.SOCK_DGRAM) as s:
        before = counts(daemon)
        s.sendto(bytes(64), ("10.97.0.5", PORT))
        time.sleep(0.1)
        after = counts(daemon)
        check("traffic to others passes", after["xdp_taken"] == before["xdp_taken"] and
              after["xdp_passed"] > before["xdp_passed"], (before, after))


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tagged(daemon):
    """One and two VLAN tags in the frame are taken and answered; a third is the kernel's."""
    def mac(side):
        return bytes.fromhex(pair.link(side)[0]["link"]["address"].replace(":", ""))

    server, me = mac(0), mac(1)
    message = wr.message(wr.HELLO, 5, 0, 0, [], pad_to=540)
    addresses = socket.inet_aton(pair.IPV4[1]) + socket.inet_aton(pair.IPV4[0])
    udp = struct.pack(">HHHH", 5000, PORT, 8 + len(message), 0) + message
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + addresses
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    with pair.socket(1, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as s:
        s.bind((pair.interfaces[1], 3))
        s.settimeout(0.5)
        for tags in (b"", b"\x81\x00\x00\x05", b"\x88\xa8\x00\x07\x81\x00\x00\x05",
                     b"\x88\xa8\x00\x07\x81\x00\x00\x05\x81\x00\x00\x06"):
            n = len(tags) // 4
            before = counts(daemon)
            s.send(server + me + tags + b"\x08\x00" + ip + udp)
            end, answer = time.monotonic() + 0.5, None
            while answer is None and time.monotonic() < end:
                try:
                    data = s.recv(2048)
                except socket.timeout:
                    break
                if data[:6] == me and data[-len(message):-len(message) + 2] != message[:2] and b"\x12\x5c" in data[:60]:
                    answer = data
            after = counts(daemon)
            taken = after["xdp_taken"] - before["xdp_taken"]
            check(f"{n} VLAN tag(s): {'taken and answered' if n < 3 else 'to the kernel'}",
                  (taken, answer is not None) == ((1, True) if n < 3 else (0, False)), (taken, answer))


def addresses(daemon):
    """Addresses come and go while the daemon runs."""
    extra = "10.98.0.77"
    veth.run("ip", "-n", pair.spaces[0], "addr", "add", extra + "/32", "dev", "lo")
    with veth.Space(pair.spaces[1]):
        subprocess.run(["ip", "route", "add", extra, "via", pair.IPV4[0]], check=True)
    time.sleep(1.5)
    check("an address that came is served", answered(extra, 2) is not None)
    veth.run("ip", "-n", pair.spaces[0], "addr", "del", extra + "/32", "dev", "lo")
    time.sleep(1.5)
    before = counts(daemon)
    with pair.socket(1, socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(bytes(64), (extra, PORT))
    time.sleep(0.1)
    check("an address that went is not", counts(daemon)["xdp_taken"] == before["xdp_taken"])


def killed(rig):
    before = pair.link(0)[0]
    d = rig.daemon(**keys())
    works("before SIGKILL")
    d.stop(signal.SIGKILL)
    check("the kernel takes the program off", pair.program() is None, pair.program())
    check("the interface is as it was", before == pair.link(0)[0])
    check("ping after SIGKILL", pair.ping(pair.IPV4[0]))
    d = rig.daemon(**keys())
    works("restarted")
    check("SIGTERM", d.stop() == 0, d.said())


def attach(path, hold):
    """Attaches a program by netlink, as net_af_xdp does by itself; hold: and keeps it, in another process."""
    code = ("import ctypes, sys, time\n"
            "b = ctypes.CDLL('libbpf.so.1')\n"
            "b.bpf_object__open_file.restype = b.bpf_object__next_program.restype = ctypes.c_void_p\n"
            "o = ctypes.c_void_p(b.bpf_object__open_file(sys.argv[1].encode(), None))\n"
            "assert b.bpf_object__load(o) == 0\n"
            "p = ctypes.c_void_p(b.bpf_object__next_program(o, None))\n"
            "i = ctypes.CDLL(None).if_nametoindex(sys.argv[2].encode())\n"
            "assert b.bpf_xdp_attach(i, b.bpf_program__fd(p), 1, None) == 0\n"
            "print('attached', flush=True)\n"
            "time.sleep(60)\n")
    p = subprocess.Popen(pair.inside(0, sys.executable, "-c", code, path, pair.interfaces[0]), stdout=subprocess.PIPE, text=True)
    attached = p.stdout.readline() == "attached\n"
    if not (attached and hold):
        p.kill()
        p.wait()
    return p if attached else None


def detach():
    veth.run("ip", "-n", pair.spaces[0], "link", "set", "dev", pair.interfaces[0], "xdp", "off")


def others(rig):
    holder = attach(os.environ["WR_STEER"], hold=True)
    rc, said = refused(rig)
    check("our program with a living owner: refused, the owner named", rc == 1 and f"process {holder.pid}" in said, said)
    check("and left there", pair.program() == PROGRAM)
    holder.kill()
    holder.wait()
    check("it outlives its owner", pair.program() == PROGRAM, pair.program())
    d = rig.daemon(**keys())
    check("a stale one is taken off, and said", "dead process" in d.said(), d.said())
    works("after a stale program")
    rc, said = refused(rig, server__name=f"wry{os.getpid()}")
    check("a second daemon is refused", rc == 1 and "another wirerankd" in said, said)
    works("beside a refused daemon")
    d.stop()
    check("somebody else's program is there", attach(os.environ["XDP_FOREIGN"], hold=False) and pair.program() == "somebody")
    rc, said = refused(rig)
    check("it is refused by name", rc == 1 and "somebody" in said and pair.interfaces[0] in said, said)
    check("and left there", pair.program() == "somebody", pair.program())
    detach()


def modes(rig):
    before = pair.link(0)[0]
    d = rig.daemon(**keys(port__xdp_mode="generic", port__xdp_busy_budget="64"))
    check("generic XDP is said", "generic XDP" in d.said(), d.said())
    works("generic")
    check("SIGTERM of generic", d.stop() == 0 and pair.program() is None and pair.link(0)[0] == before)
    veth.run("ip", "-n", pair.spaces[0], "link", "set", pair.interfaces[0], "promisc", "on")
    d = rig.daemon(**keys())
    flags = pair.link(0)[0]["link"]["flags"]
    d.stop()
    check("a promiscuous interface stays so", "PROMISC" in flags and "PROMISC" in pair.link(0)[0]["link"]["flags"], flags)
    veth.run("ip", "-n", pair.spaces[0], "link", "set", pair.interfaces[0], "promisc", "off")
    for side in (0, 1):
        veth.run("ip", "-n", pair.spaces[side], "link", "set", pair.interfaces[side], "mtu", "9000")
    d = rig.daemon(**keys())
    works("on an interface with jumbo frames")
    check("large packets pass", veth.TcpEcho(pair, 4848).works(pair.IPV4[0], 300000))
    d.stop()
    for side in (0, 1):
        veth.run("ip", "-n", pair.spaces[side], "link", "set", pair.interfaces[side], "mtu", "1500")


def refusals(rig):
    for name, more, words in (
            ("no such interface", {"port__interface": "nosuch0"}, "nosuch0: No such device"),
            ("a name that is none", {"port__interface": "a/b"}, "no name of an interface"),
            ("zero-copy that is not there", {"port__xdp_copy": "zero_copy"}, "the driver of"),
            ("an MTU beyond a frame", {"port__mtu": "2000"}, "1770 bytes")):
        rc, said = refused(rig, **more)
        check(f"{name} is refused", rc == 1 and words in said, said)
        check(f"{name}: nothing is left", pair.program() is None)
    veth.run("ip", "-n", pair.spaces[0], "link", "set", pair.interfaces[0], "down")
    rc, said = refused(rig)
    check("an interface that is down is refused", rc == 1 and "is down" in said, said)
    veth.run("ip", "-n", pair.spaces[0], "link", "set", pair.interfaces[0], "up")
    veth.run("ip", "-n", pair.spaces[0], "-6", "addr", "replace", pair.IPV6[0] + "/64", "dev", pair.interfaces[0], "nodad")
    sets = [f"--set={k.replace('__', '.')}={v}" for k, v in keys(bundle__path=rig.bundle, memory__huge="no").items()]
    for caps, words in (("-all", "AF_XDP socket"), ("-all,+net_raw", "BPF map")):
        p = subprocess.run(pair.inside(0, "setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}", r.WIRERANKD, "--check",
                                       *sets), capture_output=True, text=True, check=False)
        check(f"capabilities {caps}: refused", p.returncode == 1 and words in p.stderr, p.stderr)
    p = subprocess.run(pair.inside(0, r.WIRERANKD, "--check", *sets), capture_output=True, text=True, check=False)
    check("--check of what would start", p.returncode == 0 and pair.program() is None, p.stderr)


def two_lcores(rig):
    """One queue, two workers: every user is answered whatever port is asked, and by the shard's owner."""
    d = rig.daemon(cpus="0,1", **keys())
    check("one queue for two workers", "1 queue" in d.said())
    hello = client(pair.IPV6[0]).hello()
    handed = {False: 0, True: 0}
    n = 200
    ports = (PORT, PORT + 1)
    clients = [client(pair.IPV4[0], p, 5) for p in ports] + [client(pair.IPV6[0], p, 5) for p in ports]
    for i in range(n):
        user = 1000 + i
        a = clients[i % 4].call(wr.RECOMMEND, user, [wr.ask(3), wr.history([(260, wr.CLICK, 0)], True)])
        away = hello["shards"][wr.shard(user)] != 0
        handed[away] += ("handed_over" in a["flags"]) == away and a["status"] == 0 and len(a["items"]) == 3
    check("all answered, exactly those of the other worker handed over", sum(handed.values()) == n and min(handed.values()) > 50,
          handed)
    end = time.monotonic() + 5
    while True:  # an answer arrives before the worker that sends it has counted it
        _, stats = d.json("stats")
        counter = stats["all"]["counter"]
        if counter["received"] == sum(stats["all"]["outcome"].values()) or time.monotonic() > end:
            break
    check("hand-overs counted", counter["handed_over"] == counter["taken_over"] >= handed[True], counter)
    check("every frame has its end", counter["received"] == sum(stats["all"]["outcome"].values()), stats["all"])
    works("the second port", PORT + 1)
    check("SIGTERM of two", d.stop() == 0, d.said())


def main():
    global pair
    try:
        socket.socket(getattr(socket, "AF_XDP", 44), socket.SOCK_RAW).close()
        ctypes.CDLL("libbpf.so.1")
        with veth.Pair() as pair:
            pair.client_checksums(True)
            tests = (served, killed, others, modes, refusals, two_lcores)
            wanted = sys.argv[1:]
            with Rig() as rig:
                for test in tests:
                    if not wanted or test.__name__ in wanted:
                        print(f"-- {test.__name__}", flush=True)
                        test(rig)
    except (OSError, veth.Unable) as why:
        if r.n_checks == 0:
            print(f"skip: no veth pair with AF_XDP can be had here: {why}")
            return 77
        raise
    print(f"{r.n_checks} checks, {len(r.failures)} failed {r.failures if r.failures else ''}")
    return 1 if r.failures or not r.n_checks else 0


if __name__ == "__main__":
    sys.exit(main())
