#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the suites through `meson test` and sums up: a line a suite, every failure with the end of its output, and as the
last line `N passed, N failed, N skipped`. Exit 1 when anything failed or nothing ran.

A name on the command line chooses a suite (unit kernels fuzz integ lint); `asan` is the unit, kernel and fuzz suites
again, built with AddressSanitizer and UBSan; `clang`, which only runs when it is named, these and integ built by clang, where
warnings are errors, too."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}
SUITES = ["unit", "kernels", "fuzz", "integ", "lint"]
# In another build.
AGAIN = {"asan": ["unit", "kernels", "fuzz"], "clang": ["unit", "kernels", "fuzz", "integ"]}
# Timeouts in meson.build are for a quiet machine; a loaded one gets this many times as long.
TIMEOUT_FACTOR = "4"


def stop(signum, _frame):
    sys.exit(128 + signum)


def results(build):
    with open(os.path.join(build, "meson-logs", "testlog.json"), encoding="utf-8") as log:
        return [json.loads(line) for line in log if line.strip()]


def run_suite(build, label, suite, totals):
    """One `meson test` over a suite; a suite without tests is silent."""
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    environment = dict(os.environ, ASAN_OPTIONS="abort_on_error=0:exitcode=99:detect_leaks=1",
                       UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
    with open(os.path.join("out", f"test-{label}.log"), "w", encoding="utf-8") as out:
        child = subprocess.Popen(["meson", "test", "-C", build, "--no-rebuild", "--suite", suite, "--num-processes",
                                  "1" if suite == "integ" else str(os.cpu_count()), "-t", TIMEOUT_FACTOR],
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            code = child.wait()
        finally:
            if child.poll() is None:  # we are being stopped
                child.terminate()
                child.wait()
    if not os.path.exists(log):
        if code != 0:  # no test of that name is status 0; anything else is a failure of the runner
            print(f"{label:14} FAILED: meson test ended with {code}, see out/test-{label}.log")
            totals["failed"] += 1
        return
    here = Counter()
    for t in results(build):
        kind = "passed" if t["result"] in PASSED else "skipped" if t["result"] in SKIPPED else "failed"
        here[kind] += 1
        name = t["name"].split(" / ")[-1]
        if kind == "failed":
            print(f"\n{label}: {name}: {t['result']} (status {t.get('returncode')}, {t['duration']:.1f} s)")
            for line in ((t.get("stdout") or "") + (t.get("stderr") or "")).splitlines()[-40:]:
                print("    " + line)
        elif kind == "skipped":
            why = [line for line in (t.get("stdout") or "").splitlines() if "SKIP" in line.upper()]
            print(f"{label}: {name}: skipped{': ' + why[-1].strip() if why else ''}")
    if code != 0 and not here["failed"]:
        here["failed"] += 1
        print(f"{label:14} FAILED: meson test ended with {code}, see out/test-{label}.log")
    print(f"{label:14} {here['passed']} passed, {here['failed']} failed, {here['skipped']} skipped", flush=True)
    totals.update(here)


def main():
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, stop)
    chosen = sys.argv[1:] or SUITES + ["asan"]
    unknown = [s for s in chosen if s not in [*SUITES, *AGAIN]]
    if unknown:
        sys.exit(f"unknown suite {unknown[0]}; there are {' '.join([*SUITES, *AGAIN])}")
    os.makedirs("out", exist_ok=True)
    totals = Counter()
    for suite in chosen:
        for again in AGAIN.get(suite, ()):
            run_suite(f"build-{suite}", f"{suite}-{again}", again, totals)
        if suite in SUITES:
            run_suite("build", suite, suite, totals)
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 1 if totals["failed"] or totals["passed"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
