# SPDX-License-Identifier: BSD-3-Clause
"""A daemon on a tap port in a network namespace, its kernel tap in a second one, and what is asked of them from outside:
ordinary sockets, ping, frames of scapy's making, captures that tcpdump reads. Shared by the show and the integration test.

    clients' namespace  wr0 (tap) === daemon === wrk0 (kernel tap)  servers' namespace

The daemon runs in the clients' namespace; everything is deleted at the end, also after a failure."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import wr

PORT, KERNEL = "wr0", "wrk0"
OWN = ["10.47.0.1", "10.47.0.3", "fd47::1", "fd47::3"]
SERVICE = ["192.0.2.47", "2001:db8::47"]
CLIENT = {4: "10.47.0.2", 6: "fd47::2"}
MAC = "02:00:00:00:47:00"
KEYS = {"port.kind": "tap", "port.interface": PORT, "port.kernel_tap": KERNEL, "port.ipv4": "10.47.0.1, 10.47.0.3",
        "port.ipv6": "fd47::1, fd47::3", "port.service": ", ".join(SERVICE), "port.mac": MAC,
        "sessions.rows_per_lcore": "1024"}


def missing():
    """Why this machine cannot run it, or None."""
    if os.geteuid() != 0:
        return "needs root (network namespaces, /dev/net/tun)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is not there (module tun)"
    for tool in ("ip", "ping", "tcpdump"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    try:
        import scapy  # noqa: F401  pylint: disable=import-outside-toplevel,unused-import
    except ImportError:
        return "python3-scapy is not installed"
    name = f"wrprobe{os.getpid()}"
    for words in (["add", name], ["exec", name, "true"]):
        run = subprocess.run(["ip", "netns", *words], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            break
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return f"no network namespaces can be had here: {run.stderr.strip()}" if run.returncode else None


def family(address):
    return 6 if ":" in address else 4


class Rig:
    """Namespaces, daemon, captures. keys: {"section.key": value} beside KEYS."""

    def __init__(self, work, bundle, keys=None, build="build"):
        self.work, self.build = work, build
        self.clients, self.servers = f"wrc{os.getpid()}", f"wrs{os.getpid()}"
        self.bundle = bundle
        self.keys = {**KEYS, **(keys or {})}
        self.children = []

    def __enter__(self):
        try:
            for namespace in (self.clients, self.servers):
                self.host("ip", "netns", "add", namespace)
                self.inside(namespace, "ip", "link", "set", "lo", "up")
            self.daemon = Daemon(self.work, self.bundle, self.clients, self.keys, self.build)
            self.inside(self.clients, "ip", "addr", "add", CLIENT[4] + "/24", "dev", PORT)
            self.inside(self.clients, "ip", "addr", "add", CLIENT[6] + "/64", "dev", PORT, "nodad")
            self.inside(self.clients, "ip", "route", "add", SERVICE[0], "via", OWN[0])
            self.inside(self.clients, "ip", "-6", "route", "add", SERVICE[1], "via", OWN[2])
            if self.keys["port.kernel_tap"]:
                self.inside(self.clients, "ip", "link", "set", KERNEL, "netns", self.servers)
                self.inside(self.servers, "ip", "link", "set", KERNEL, "up")
                self.inside(self.servers, "ip", "addr", "add", OWN[0] + "/24", "dev", KERNEL)
                self.inside(self.servers, "ip", "addr", "add", OWN[2] + "/64", "dev", KERNEL, "nodad")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc):
        for p in self.children:
            self.work.stop(p)
        if hasattr(self, "daemon"):
            self.daemon.stop()
        for namespace in (self.clients, self.servers):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    @staticmethod
    def host(*argv):
        run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
        if run.returncode != 0:
            raise wr.Failure(f"{' '.join(argv)}: {run.stderr.strip() or run.stdout.strip()}")
        return run.stdout

    def inside(self, namespace, *argv):
        return self.host("ip", "netns", "exec", namespace, *argv)

    def start(self, namespace, argv, log):
        p = self.work.start(["ip", "netns", "exec", namespace, *argv], log)
        self.children.append(p)
        return p

    def stop(self, p):
        self.children.remove(p)
        return self.work.stop(p)

    def ping(self, address, *options):
        """Echo requests that were answered."""
        run = subprocess.run(["ip", "netns", "exec", self.clients, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", *options,
                              address], capture_output=True, text=True, timeout=30, check=False)
        found = re.search(r"(\d+) received", run.stdout)
        return int(found[1]) if found else 0

    def neighbours(self):
        """{address: MAC} that the clients' kernel has found by ARP and neighbour discovery."""
        text = self.inside(self.clients, "ip", "neigh", "show", "dev", PORT)
        return {line.split()[0]: line.split()[2] for line in text.splitlines() if " lladdr " in line}

    def client(self, verb, address, *words):
        """The Python client of docs/examples; its answer as {key: text}. It gives up within half a second, which a busy machine
        may need: it is started three times at most."""
        for attempt in range(3):
            try:
                text = self.inside(self.clients, sys.executable, os.path.join(wr.ROOT, "docs/examples/wr_client.py"), verb,
                                   address, "4700", *words)
                return dict(line.split(None, 1) for line in text.splitlines() if len(line.split(None, 1)) == 2)
            except wr.Failure as why:
                if attempt == 2 or "no answer" not in str(why):
                    raise
        return {}

    def script(self, namespace, name, *words):
        """Runs a function of this file in a namespace; its result."""
        text = self.inside(namespace, sys.executable, os.path.abspath(__file__), name, *words)
        return json.loads(text.splitlines()[-1])

    def capture(self, interface=PORT):
        return Capture(self, interface)


class Daemon(wr.Daemon):
    """A wirerankd inside of a network namespace."""

    def __init__(self, work, bundle, namespace, keys, build):
        super().__init__(work, bundle, overrides={k: v for k, v in keys.items() if v}, build=build,
                         cpus=keys.get("server.lcores", "0"), inside=("ip", "netns", "exec", namespace))

    def end(self):
        """Stops it; {name: number} of its last line."""
        if self.stop() != 0:
            raise wr.Failure(f"wirerankd ended with status {self.process.returncode} (log: {self.process.log})")
        with open(self.process.log, encoding="utf-8") as f:
            line = [text for text in f if text.startswith("stopped: ")][-1]
        return {name.strip(): int(n) for name, n in re.findall(r"([a-z ]+) (\d+)", line)}


class Capture:
    """Frames of an interface while the context lasts, as tcpdump -vv reads them afterwards."""

    def __init__(self, rig, interface):
        self.rig, self.interface = rig, interface
        self.path = rig.work.path("capture.pcap")

    def __enter__(self):
        self.process = self.rig.start(self.rig.clients, ["tcpdump", "-i", self.interface, "-n", "-U", "-s", "0", "-w",
                                                         self.path], "tcpdump.log")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with open(self.process.log, encoding="utf-8") as f:
                if "listening on" in f.read():
                    return self
            time.sleep(0.05)
        raise wr.Failure(f"tcpdump does not listen (log: {self.process.log})")

    def __exit__(self, *_exc):
        time.sleep(0.5)
        self.rig.stop(self.process)

    def checksums(self):
        """(right, wrong): what tcpdump says of every checksum that it looks at; lines of the wrong ones."""
        text = subprocess.run(["tcpdump", "-n", "-vv", "-r", self.path], capture_output=True, text=True, timeout=60,
                              check=True).stdout
        with open(os.path.join(self.rig.work.logs, "capture.txt"), "w", encoding="utf-8") as f:
            f.write(text)
        right = {what: len(re.findall(pattern, text)) for what, pattern in
                 (("udp", r"\[udp sum ok\]"), ("tcp", r"cksum 0x[0-9a-f]+ \(correct\)"), ("icmp6", r"\[icmp6 sum ok\]"))}
        right["ipv4"] = len(re.findall(r"^\S+ (?:\S+ )*IP \(", text, re.MULTILINE))
        right["icmp"] = len(re.findall(r"ICMP echo reply", text))
        wrong = [line for line in text.splitlines() if re.search(r"bad (\w+ )*cksum|incorrect|wrong icmp|bad icmp", line)]
        return right, wrong


# ---- what a user would try, in order; each yields (name, whether it went as it must, detail) ----
def try_neighbours(rig):
    for address in OWN + SERVICE:
        n = rig.ping(address)
        yield f"ping {address}", n == 3, f"{n} of 3"
    found = rig.neighbours()
    for address in OWN:
        yield f"neighbour {address}", found.get(address) == MAC, found.get(address, "not found")
    for address in SERVICE:
        yield f"{address} is behind a router", address not in found, found.get(address, "")


def try_operations(rig):
    for address in OWN + SERVICE:
        answer = rig.client("hello", address)
        yield f"HELLO {address}", answer.get("status") == "ok" and int(answer.get("n_items", 0)) > 0, str(answer.get("status"))
    for address, user in ((OWN[1], "1001"), (OWN[3], "1002"), (SERVICE[0], "1003"), (SERVICE[1], "1004")):
        items = re.findall(r"'item': (\d+)|\((\d+), ", rig.client("recommend", address, user).get("items", ""))
        yield f"RECOMMEND {address}", len(items) == 10, f"{len(items)} items"
        for verb, words in (("event", ("--click", "5", "--click", "7")), ("forget", ())):
            answer = rig.client(verb, address, user, *words)
            yield f"{verb.upper()} {address}", answer.get("status") == "ok", str(answer.get("status"))


def try_frames(rig):
    for name, right in rig.script(rig.clients, "frames", *OWN, *SERVICE):
        yield name, right, "" if right else "not as it must be"


def try_kernel(rig):
    server = rig.start(rig.servers, [sys.executable, os.path.abspath(__file__), "serve", "179"], "server.log")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with open(server.log, encoding="utf-8") as f:
            if "listening" in f.read():
                break
        time.sleep(0.05)
    for address in (OWN[0], OWN[2]):
        equal, seconds = rig.script(rig.clients, "connect", address, "179", "1000000")
        yield f"TCP {address}", equal, f"1 MB and back in {seconds:.2f} s"
        for size in (100, 4000):
            yield (f"other UDP port {address}, {size} bytes", rig.script(rig.clients, "datagram", address, "179", str(size)),
                   "in fragments" if size > 1500 else "")
    rig.stop(server)
    yield "the kernel reaches out", "3 received" in rig.inside(
        rig.servers, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", CLIENT[4]), ""


def try_books(rig):
    """Stops the daemon: every frame has one outcome, nothing stays behind."""
    counter, outcome = rig.daemon.counters()
    end = rig.daemon.end()
    yield "received = sum of outcomes", end["received"] == end["outcomes"] > 0, f"{end['received']} and {end['outcomes']}"
    left = subprocess.run(["ip", "-n", rig.clients, "link", "show", PORT], capture_output=True, check=False)
    yield "the interface is gone", left.returncode != 0, ""
    rig.counter, rig.outcome = counter, outcome


# ---- what runs inside of the namespaces; each prints its result as JSON ----
def run_frames(*addresses):
    """Frames of scapy's making by AF_PACKET: ARP, ND, echo and HELLO with 0, 1 and 2 tags, from
    the addresses given. [[name, answered as it must be]]"""
    sys.path.insert(0, os.path.join(wr.ROOT, "docs/examples"))
    import wr_client  # pylint: disable=import-outside-toplevel
    from scapy import all as s  # pylint: disable=import-outside-toplevel
    s.conf.verb = 0
    me = s.get_if_hwaddr(PORT)
    link = s.conf.L2socket(iface=PORT)
    hello = wr_client.message(wr_client.HELLO, 77, 0, 0, [], pad_to=540)
    results = []

    def tags(frame):
        found = []
        while frame.haslayer(s.Dot1Q) and frame.payload:
            if isinstance(frame, (s.Dot1Q, s.Dot1AD)):
                found.append((frame.vlan, frame.prio))
            frame = frame.payload
        return found + ([(frame.vlan, frame.prio)] if isinstance(frame, (s.Dot1Q, s.Dot1AD)) else [])

    def sums_right(frame):
        """Whether the checksums stay what they are when scapy computes them."""
        raw = bytes(frame)
        copy = s.Ether(raw)
        for layer in (s.IP, s.UDP, s.ICMP, s.ICMPv6EchoReply, s.ICMPv6ND_NA):
            if copy.haslayer(layer):
                for field in ("chksum", "cksum"):
                    if hasattr(copy[layer], field):
                        delattr(copy[layer], field)
        return bytes(copy)[:len(raw)] == raw

    def ask(name, n_tags, body, matches, dst=MAC, wants=True):
        frame = s.Ether(src=me, dst=dst)
        for i in range(n_tags):
            outer = n_tags == 2 and i == 0
            frame /= (s.Dot1AD if outer else s.Dot1Q)(vlan=100 + i, prio=5 - i)
        frame /= body
        link.send(frame)
        end = time.monotonic() + (2 if wants else 0.3)
        got = None
        while got is None and time.monotonic() < end:
            if not s.select_objects([link], 0.1):
                continue
            back = link.recv()
            if back is not None and back.src == MAC and matches(back):
                got = back
        if not wants:
            results.append([name, got is None])
            return
        results.append([name, got is not None and sums_right(got) and tags(got) == tags(s.Ether(bytes(frame)))])

    def answered(back, source, kind=s.UDP):
        ip = s.IPv6 if ":" in source else s.IP
        return back.haslayer(ip) and back[ip].src == source and back.haslayer(kind)

    for n in range(3):
        label = f"{n} tags"
        for own in OWN[:2]:
            ask(f"ARP {own}, {label}", n, s.ARP(hwsrc=me, psrc=CLIENT[4], pdst=own),
                lambda b, own=own: b.haslayer(s.ARP) and b[s.ARP].op == 2 and b[s.ARP].psrc == own and
                b[s.ARP].hwsrc == MAC and b[s.ARP].pdst == CLIENT[4], "ff:ff:ff:ff:ff:ff")
        for own in OWN[2:]:
            group = s.inet_ntop(s.socket.AF_INET6, s.in6_getnsma(s.inet_pton(s.socket.AF_INET6, own)))
            ask(f"ND {own}, {label}", n, s.IPv6(src=CLIENT[6], dst=group, hlim=255) / s.ICMPv6ND_NS(tgt=own) /
                s.ICMPv6NDOptSrcLLAddr(lladdr=me),
                lambda b, own=own: b.haslayer(s.ICMPv6ND_NA) and b[s.ICMPv6ND_NA].tgt == own and b[s.IPv6].src == own,
                s.in6_getnsmac(s.inet_pton(s.socket.AF_INET6, group)))
            ask(f"duplicate address {own}, {label}", n, s.IPv6(src="::", dst=group, hlim=255) / s.ICMPv6ND_NS(tgt=own),
                lambda b, own=own: b.haslayer(s.ICMPv6ND_NA) and b[s.ICMPv6ND_NA].tgt == own and
                b[s.IPv6].dst == "ff02::1" and b.dst == "33:33:00:00:00:01",
                s.in6_getnsmac(s.inet_pton(s.socket.AF_INET6, group)))
        for to in addresses:
            ip = s.IPv6(src=CLIENT[6], dst=to) if ":" in to else s.IP(src=CLIENT[4], dst=to)
            echo = s.ICMPv6EchoRequest(id=n, data=b"wirerank") if ":" in to else s.ICMP(id=n) / b"wirerank"
            ask(f"echo {to}, {label}", n, ip / echo,
                lambda b, to=to: answered(b, to, s.ICMPv6EchoReply if ":" in to else s.ICMP))
            ask(f"HELLO {to}, {label}", n, ip / s.UDP(sport=5000 + n, dport=4700) / hello,
                lambda b, to=to, n=n: answered(b, to) and b[s.UDP].dport == 5000 + n and b[s.UDP].sport == 4700)
        ask(f"IPv4 options, {label}", n, s.IP(src=CLIENT[4], dst=OWN[0], options=[s.IPOption_Router_Alert(), s.IPOption_NOP()])
            / s.UDP(sport=5100, dport=4700) / hello, lambda b: answered(b, OWN[0]) and b[s.IP].ihl == 5)
        ask(f"IPv6 extension headers, {label}", n, s.IPv6(src=CLIENT[6], dst=OWN[2]) / s.IPv6ExtHdrHopByHop() /
            s.IPv6ExtHdrDestOpt() / s.IPv6ExtHdrRouting(type=0, addresses=[], segleft=0) /
            s.UDP(sport=5101, dport=4700) / hello, lambda b: answered(b, OWN[2]) and b[s.IPv6].nh == 17)
    everybody = "ff:ff:ff:ff:ff:ff"
    ask("claim of an address, defended", 0, s.ARP(hwsrc=me, psrc=OWN[1], pdst=OWN[1]),
        lambda b: b.haslayer(s.ARP) and b[s.ARP].op == 2 and b[s.ARP].psrc == OWN[1] and b[s.ARP].hwsrc == MAC, everybody)
    ask("ARP for a service address", 0, s.ARP(hwsrc=me, psrc=CLIENT[4], pdst=SERVICE[0]), lambda b: b.haslayer(s.ARP),
        everybody, wants=False)
    udp = s.UDP(sport=5200, dport=4700)
    for name, body in {
            "from loopback": s.IP(src="127.0.0.1", dst=OWN[0]) / udp / hello,
            "from a mapped address": s.IPv6(src="::ffff:10.0.0.1", dst=OWN[2]) / udp / hello,
            "wrong UDP checksum": s.IP(src=CLIENT[4], dst=OWN[0]) / s.UDP(sport=5200, dport=4700, chksum=0xbad) / hello,
            "no UDP checksum over IPv6": s.IPv6(src=CLIENT[6], dst=OWN[2]) / s.UDP(sport=5200, dport=4700, chksum=0) / hello,
            "wrong IPv4 checksum": s.IP(src=CLIENT[4], dst=OWN[0], chksum=0xbad) / udp / hello,
            "source route": s.IP(src=CLIENT[4], dst=OWN[0], options=[s.IPOption_LSRR(routers=["10.0.0.1"])]) / udp / hello,
            "routing header": s.IPv6(src=CLIENT[6], dst=OWN[2]) / s.IPv6ExtHdrRouting(type=4, addresses=[], segleft=1) / udp /
            hello}.items():
        ask(name, 0, body, lambda b: b.haslayer(s.UDP) and b[s.UDP].dport == 5200, wants=False)
    ask("another station", 0, s.IP(src=CLIENT[4], dst=OWN[0]) / udp / hello,
        lambda b: b.haslayer(s.UDP) and b[s.UDP].dport == 5200, "02:00:00:00:47:99", wants=False)
    return results


def run_serve(port):
    """A TCP and a UDP server that send back what they get."""
    import socket  # pylint: disable=import-outside-toplevel
    import threading  # pylint: disable=import-outside-toplevel

    def udp():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.bind(("::", int(port)))
            while True:
                data, peer = s.recvfrom(65536)
                s.sendto(data, peer)

    threading.Thread(target=udp, daemon=True).start()
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as s:
        print("listening", flush=True)
        while True:
            peer, _ = s.accept()
            with peer:
                while data := peer.recv(65536):
                    peer.sendall(data)


def run_connect(address, port, n_bytes):
    """n_bytes through a TCP connection and back: [equal, seconds]"""
    import socket  # pylint: disable=import-outside-toplevel
    import threading  # pylint: disable=import-outside-toplevel
    data, back = os.urandom(int(n_bytes)), bytearray()
    start = time.monotonic()
    with socket.create_connection((address, int(port)), 10) as s:
        s.settimeout(20)
        sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        while chunk := s.recv(65536):
            back += chunk
        sender.join()
    return [bytes(back) == data, time.monotonic() - start]


def run_datagram(address, port, n_bytes):
    """One datagram there and back, in fragments when it is long."""
    import socket  # pylint: disable=import-outside-toplevel
    data = os.urandom(int(n_bytes))
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((address, int(port)))
        s.send(data)
        return s.recv(65536) == data


if __name__ == "__main__":
    print(json.dumps(globals()["run_" + sys.argv[1]](*sys.argv[2:])))
