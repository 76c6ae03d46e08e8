#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Nothing derived from MovieLens or Amazon data is in the tree but figures and plots: no logs, catalogues, checkpoints, bundles,
lists or answers, by name, by size and by content. Their licences let everybody fetch them, not us hand them on."""

import json
import os
import re
import subprocess

import lintlib

# What data sets, models and archives are called.
NAMES = re.compile(r"\.(safetensors|wrb|pt|pth|ckpt|onnx|npy|npz|h5|pkl|parquet|feather|arrow|inter|item|user|dat|csv|tsv|jsonl|"
                   r"zip|gz|xz|bz2|zst|7z|tar|tgz|db|sqlite|draft|answers)$", re.IGNORECASE)
KNOWN_NAMES = {"ml-1m.txt", "movies.dat", "ratings.dat", "users.dat", "u.data", "u.item", "sas_to_original_items.txt", "Beauty.txt",
               "Sports_and_Outdoors.txt", "reviews_Beauty_5.json"}
MAX_BYTES = 256 << 10     # of any file; the longest source has a fifth of that
MAX_PLOT = 1 << 20        # of an SVG
MAX_LIST = 1024           # numbers in one list of a record: epochs, not users
MAX_TEXT = 4096           # bytes of one string of a record
PAIRS = re.compile(r"^\s*[A-Za-z0-9]+(\s+|,|::)[A-Za-z0-9]+((\s+|,|::)[0-9.]+){0,3}\s*$")
MAX_PAIRS = 400           # lines of `user item` in one file
FILM = re.compile(r"\b[A-Z][^\n\t|\"]{1,60} \((19|20)\d\d\)(?=[\t|\",<]|$)", re.MULTILINE)
MAX_FILMS = 12            # titles with their years; a page may name some for an example
ASIN = re.compile(r"\bB0(?=[0-9A-Z]*\d)[0-9A-Z]{8}\b")
MAX_ASINS = 3
CORPORA = os.path.join("tests", "fuzz", "corpus")  # made by make_corpora.py, small, binary


def tracked(root):
    """What git would commit; a tree without git is taken whole."""
    if os.path.exists(os.path.join(root, ".git")):
        run = subprocess.run(["git", "-c", f"safe.directory={root}", "-C", root, "ls-files", "-z", "--cached", "--others",
                              "--exclude-standard"], capture_output=True, check=False)
        if run.returncode == 0:
            return sorted(p for p in run.stdout.decode("utf-8", "replace").split("\0")
                          if p and os.path.isfile(os.path.join(root, p)))
    return lintlib.files(root, "")


def long_values(node, where=""):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from long_values(value, f"{where}.{key}")
    elif isinstance(node, list):
        if len(node) > MAX_LIST:
            yield f"a list of {len(node)} entries at {where or 'the top'}: a record holds figures by epoch, not by user or item"
        for value in node:
            yield from long_values(value, f"{where}[]")
    elif isinstance(node, str) and len(node) > MAX_TEXT:
        yield f"a text of {len(node)} bytes at {where}"


def check_file(root, path):
    full, name = os.path.join(root, path), os.path.basename(path)
    size = os.path.getsize(full)
    corpus = path.startswith(CORPORA)
    if (NAMES.search(name) and not corpus) or name in KNOWN_NAMES:
        yield "a data set, model or archive by its name; what trains it is committed, not the result"
        return
    if size > (MAX_PLOT if name.endswith(".svg") else MAX_BYTES):
        yield f"{size >> 10} KiB: longer than anything written by hand"
        return
    with open(full, "rb") as f:
        blob = f.read()
    if b"\0" in blob:
        if not corpus:
            yield "binary, and no corpus of a fuzzer"
        return
    text = blob.decode("utf-8", "replace")
    pairs = sum(1 for line in text.splitlines() if PAIRS.match(line) and any(c.isdigit() for c in line))
    if pairs > MAX_PAIRS:
        yield f"{pairs} lines that look like interactions"
    films = {m.group(0) for m in FILM.finditer(text)}
    if len(films) > MAX_FILMS:
        yield f"{len(films)} titles of films"
    asins = set(ASIN.findall(text))
    if len(asins) > MAX_ASINS:
        yield f"{len(asins)} numbers of products ({sorted(asins)[0]} …)"
    if name.endswith(".json"):
        try:
            yield from long_values(json.loads(text))
        except ValueError as why:
            yield f"no JSON: {why}"


def check(root, _build):
    paths = tracked(root)
    problems = [f"{path}: {what}" for path in paths for what in check_file(root, path)]
    return problems, [f"{len(paths)} files"]


GOOD = {"lib/a.c": "int x;\n", "docs/records/a.json": json.dumps({"hr10": 0.3, "curves": {"loss": [7.1] * 200}}),
        "docs/a.md": "| 1 | 0.3127 |\nMovieLens' \"Toy Story (1995)\" for example\n", "docs/a.svg": "<svg>" + "0 1 L " * 50000 + "</svg>"}
FILMS = "".join(f"{i}\tA Film Number {i} (19{i})\tDrama\n" for i in range(60, 90))
BADS = {
    "a checkpoint": {"docs/best.safetensors": "x"},
    "a bundle": {"demo.wrb": "x"},
    "a log by its name": {"tests/data/ml-1m.txt": "1 2\n"},
    "a log under another name": {"tests/data/log.txt": "".join(f"{i // 20} {i * 7 % 300}\n" for i in range(1000))},
    "ratings under another name": {"docs/x.md": "".join(f"{i}::{i * 7}::5::97830{i:04d}\n" for i in range(1000))},
    "a catalogue": {"docs/items.md": FILMS},
    "a catalogue in a source": {"lib/titles.h": "".join(f'"The Film {i} (19{i})",\n' for i in range(60, 90))},
    "products of Amazon": {"docs/items.md": "B0" "0004TMFE B0" "000530HU B0" "0005JS5C B0" "00052YAN\n"},
    "lists by user in a record": {"docs/records/a.json": json.dumps({"lists": list(range(6040))})},
    "binary weights": {"docs/w": "\0\0\0?"},
    "a huge file": {"docs/a.md": "words " * 100000},
}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS)
