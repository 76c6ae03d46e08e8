# SPDX-License-Identifier: BSD-3-Clause
"""The reference student of docs/performance.md: MovieLens-1M imported, trained and packed below out/, each step only once.
A training that was interrupted goes on from its checkpoint."""

import json
import os
import re

import wr

DATA = os.path.join(wr.OUT, "ml-1m")
RUN = os.path.join(wr.OUT, "run-ml-1m")
BUNDLE = os.path.join(wr.OUT, "ml-1m.wrb")
EPOCHS = 60


def imported(work):
    """The dataset directory, or None when MovieLens-1M is not on this machine."""
    source = wr.ml1m()
    if source and not os.path.exists(os.path.join(DATA, "dataset.json")):
        work.run([wr.tool("wrtrain"), "import", "--format=sasrec", os.path.join(source, "ml-1m.txt"), f"--out={DATA}",
                  f"--titles={os.path.join(source, 'movies.dat')}",
                  f"--item-map={os.path.join(source, 'sas_to_original_items.txt')}"], "import.log")
    return DATA if source else None


def epochs_done():
    try:
        with open(os.path.join(RUN, "log.jsonl"), encoding="utf-8") as f:
            return [json.loads(line) for line in f if line.strip()]
    except OSError:
        return []


def trained(work):
    """Trains what is missing of EPOCHS epochs (a quarter to half a minute each on two cores); returns the log."""
    if len(epochs_done()) < EPOCHS:
        more = ["--resume"] if os.path.exists(os.path.join(RUN, "checkpoint.safetensors")) else []
        work.run([wr.tool("wrtrain"), "fit", f"--data={DATA}", f"--out={RUN}", f"--epochs={EPOCHS}", *more], "fit.log",
                 timeout=4 * 3600, show=True)
    return epochs_done()


def packed(work):
    """The bundle, packed again when the run is newer; None without the data."""
    if not imported(work):
        return None
    trained(work)
    best = os.path.join(RUN, "best.safetensors")
    if not os.path.exists(BUNDLE) or os.path.getmtime(BUNDLE) < os.path.getmtime(best):
        work.run([wr.tool("wrtrain"), "pack", f"--data={DATA}", f"--run={RUN}", f"--out={BUNDLE}"], "pack.log")
    return BUNDLE


def bundle_or_random(work):
    """(path, what it is): the bundle if it is packed already, else one of its shape with random weights: the same work."""
    if os.path.exists(BUNDLE):
        return BUNDLE, "trained on ml-1m"
    path = work.path("random.wrb")
    work.run([os.path.join(wr.ROOT, "build", "tests", "bench", "make_bundle"), path], "make_bundle.log")
    return path, "random weights, shape of the reference student"


def lists(work, bundle, name, *options):
    """Expected lists of a bundle from wrtrain eval; the file's path."""
    path = work.path(name)
    work.run([wr.tool("wrtrain"), "eval", f"--data={DATA}", f"--bundle={bundle}", "--int8", f"--lists={path}", *options],
             re.sub(r"\W", "-", name) + ".log", timeout=1800)
    return path


def verdict(name, problems, figures):
    """The last line of a show, and its status."""
    if problems:
        print(f"{name} fail: {'; '.join(problems)} ({figures})")
        return 1
    print(f"{name} pass: {figures}")
    return 0
