# SPDX-License-Identifier: BSD-3-Clause
"""A daemon on a tap port: neighbours, every operation, frames with tags, options and lies, the kernel tap, checksums.

usage: test_tap.py ROOT BUILD MAKE_BUNDLE"""
import os
import sys

ROOT, BUILD, MAKE_BUNDLE = (os.path.abspath(a) for a in sys.argv[1:4])
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import tap  # noqa: E402
import wr  # noqa: E402

failures = []
checks = 0


def check(name, ok, detail=""):
    global checks
    checks += 1
    print(f"{'ok  ' if ok else 'FAIL'} {name} {detail}", flush=True)
    if not ok:
        failures.append(name)


def rig(work, bundle, keys=None):
    return tap.Rig(work, bundle, keys, os.path.relpath(BUILD, ROOT))


def test_everything(work, bundle):
    """Two workers: frames for the kernel tap come from both."""
    with rig(work, bundle, {"server.lcores": "0,1"}) as r:
        with r.capture() as capture:
            for part in (tap.try_neighbours, tap.try_operations, tap.try_kernel):
                for result in part(r):
                    check(*result)
        right, wrong = capture.checksums()
        check("checksums of every frame", not wrong, str(wrong[:3]))
        check("checksums were looked at", right["udp"] > 30 and right["tcp"] > 500 and right["icmp6"] > 20 and
              right["icmp"] >= 9, str(right))
        for result in tap.try_frames(r):
            check(*result)
        for result in tap.try_books(r):
            check(*result)
        o, c = r.outcome, r.counter
        check("who got what", o["kernel_tap"] > 500 and o["answered_aside"] > 50 and o["answered"] > 40 and
              c["kernel_sent"] > 500 and c["announced"] >= 4, str({k: v for k, v in o.items() if v}))
        for name in ("frame_bad_source", "frame_source_route", "frame_bad_udp", "frame_bad_ip", "frame_other_mac"):
            check(f"{name} is counted", o[name] >= 1, str(o[name]))
        check("conflicts are counted", c["address_conflicts"] >= 1, str(c["address_conflicts"]))
        check("nothing is dropped unnamed", o["frame_not_ours"] == 0 and o["tx_full"] == 0, str(o["frame_not_ours"]))


def test_alone(work, bundle):
    """Without a kernel tap, and with checksums taken on trust."""
    with rig(work, bundle, {"port.kernel_tap": "", "port.rx_checksum": "trust", "port.service": "none"}) as r:
        check("ping", r.ping(tap.OWN[0]) == 3)
        check("ping of what is not ours", r.ping("10.47.0.9", "-c", "1") == 0)
        frames = dict(r.script(r.clients, "frames", *tap.OWN))
        check("a wrong UDP checksum is taken on trust", not frames["wrong UDP checksum"])
        check("a wrong IPv4 checksum is not", frames["wrong IPv4 checksum"])
        check("IPv6 needs a UDP checksum", frames["no UDP checksum over IPv6"])
        check("what was a service address is nobody's", r.ping(tap.SERVICE[0], "-c", "1") == 0)
        for result in tap.try_books(r):
            check(*result)
        check("not ours, and counted so", r.outcome["frame_not_ours"] > 0 and r.outcome["kernel_tap"] == 0)


def test_refused(work, bundle):
    """Names that are taken."""
    with rig(work, bundle) as r:
        try:
            tap.Daemon(work, bundle, r.clients, {**tap.KEYS, "port.interface": "wr1", "port.kernel_tap": tap.PORT},
                       r.build)
            check("a kernel tap with a name that is taken", False, "started")
        except wr.Failure as why:
            check("a kernel tap with a name that is taken", "there is an interface of that name" in str(why), "")


def main():
    why = tap.missing()
    if why:
        print(f"skip: {why}")
        return 77
    with wr.Work("tap", os.path.join(wr.OUT, "test-tap")) as work:
        bundle = work.path("model.wrb")
        work.run([MAKE_BUNDLE, bundle], "bundle.log")
        test_everything(work, bundle)
        test_alone(work, bundle)
        test_refused(work, bundle)
    print(f"{checks} checks, {len(failures)} failed")
    return 1 if failures or checks == 0 else 0


sys.exit(wr.main(main))
