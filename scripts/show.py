#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`./run show NAME`: runs scripts/show/NAME, which proves one promise and ends with the line `NAME pass|fail|skip: figures`
and the exit status 0, 1 or 77. `all` runs every one; its status is 1 when any failed, 77 when nothing passed."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter

FOLDER = os.path.join("scripts", "show")
STATUS = {"pass": 0, "fail": 1, "skip": 77}


def natural(name):
    return [int(w) if w.isdigit() else w for w in re.split(r"(\d+)", name)]


def names():
    return sorted((n for n in os.listdir(FOLDER) if os.access(os.path.join(FOLDER, n), os.X_OK) and re.search(r"\.\d+$", n)),
                  key=natural)


def stop(signum, _frame):
    sys.exit(128 + signum)


def show(name):
    """Runs one; returns its word. What it prints before its last line goes through to stderr."""
    os.makedirs(os.path.join("out", "show", name), exist_ok=True)
    child = subprocess.Popen([os.path.join(FOLDER, name)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        out, _ = child.communicate()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
    lines = [line for line in out.splitlines() if line.strip()]
    said = re.fullmatch(rf"{re.escape(name)} (pass|fail|skip): .+", lines[-1]) if lines else None
    if said and STATUS[said[1]] == child.returncode:
        word, line = said[1], lines.pop()
    else:
        word, line = "fail", f"{name} fail: it ended with status {child.returncode} and without a verdict"
    for text in lines:
        print(text, file=sys.stderr)
    print(line, flush=True)
    with open(os.path.join("out", "show", name, "verdict"), "w", encoding="utf-8") as f:
        f.write(line + "\n")
    return word


def main():
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, stop)
    wanted = names() if sys.argv[1:] == ["all"] else sys.argv[1:]
    unknown = [n for n in wanted if n not in names()]
    if unknown or not wanted:
        print(f"run: nothing to show called {' '.join(unknown)}; there are: {' '.join(names())}", file=sys.stderr)
        return 2
    words = Counter(show(n) for n in wanted)
    if len(wanted) > 1:
        print(f"{words['pass']} pass, {words['fail']} fail, {words['skip']} skip")
    return 1 if words["fail"] else 0 if words["pass"] else 77


if __name__ == "__main__":
    sys.exit(main())
