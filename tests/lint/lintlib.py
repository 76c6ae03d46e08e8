# SPDX-License-Identifier: BSD-3-Clause
"""What the lints share. A lint is a function check(root, build) that returns (problems, notes), each a list of lines.
It runs as `lint.py ROOT BUILD` (exit 1 on any problem) and `lint.py --self-test`: the lint must pass a small good tree
and fail each bad one, or it proves nothing."""

import os
import sys
import tempfile

SKIPPED_FOLDERS = {".git", "out", "__pycache__"}
SOURCE_FOLDERS = ("app", "kernels", "lib", "tests")


class Skip(Exception):
    """The lint cannot run here; says why."""


def files(root, suffixes, folders=None):
    """Paths below root (relative, sorted) that end in one of suffixes; folders limits to these top folders."""
    found = []
    for top in folders or [""]:
        for where, dirs, names in os.walk(os.path.join(root, top)):
            dirs[:] = sorted(d for d in dirs if d not in SKIPPED_FOLDERS and
                             not (d.startswith("build") and os.path.samefile(where, root)))
            found += [os.path.relpath(os.path.join(where, n), root) for n in names if n.endswith(suffixes)]
    return sorted(set(found))


def archives(build):
    """Static libraries of lib and kernels below a build folder, sorted."""
    found = []
    for where, _dirs, names in os.walk(build):
        if os.path.relpath(where, build).split("/")[0] in ("lib", "kernels"):
            found += [os.path.join(where, n) for n in names if n.endswith(".a")]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def make_tree(where, tree):
    """tree: {path: text}."""
    for path, text in tree.items():
        full = os.path.join(where, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)


def self_test(check, good, bads, prepare=None):
    """good: a tree without problems; bads: {name: changes to it that must be reported, None removes a file}.
    prepare(root) may build something in the tree and returns the build folder."""
    failures = 0
    for name, changes in [("a good tree", {})] + list(bads.items()):
        with tempfile.TemporaryDirectory() as root:
            tree = {p: t for p, t in {**good, **changes}.items() if t is not None}
            make_tree(root, tree)
            problems, _ = check(root, prepare(root) if prepare else root)
            wrong = bool(problems) if name == "a good tree" else not problems
            failures += wrong
            print(f"{'not ' if wrong else ''}ok: {name}: {problems[0] if problems else 'no problem found'}")
    return 1 if failures else 0


def main(check, good, bads, prepare=None):
    try:
        if sys.argv[1:] == ["--self-test"]:
            sys.exit(self_test(check, good, bads, prepare))
        problems, notes = check(sys.argv[1], sys.argv[2])
    except Skip as why:
        print(f"SKIP: {why}")
        sys.exit(77)
    for line in notes:
        print(line)
    for line in problems:
        print(f"PROBLEM {line}")
    print(f"{len(problems)} problems")
    sys.exit(1 if problems else 0)
