# SPDX-License-Identifier: BSD-3-Clause
"""Public data sets, imported below out/ from where they lie (WR_DATA, or shared/data beside the checkout); none is shipped."""

import json
import os

import reference
import wr


def found(*path):
    """A file of the data folder, or None."""
    for where in (os.environ.get("WR_DATA"), os.path.join(wr.ROOT, "..", "shared", "data"), os.path.join(wr.ROOT, "shared", "data")):
        if where and os.path.exists(os.path.join(where, *path)):
            return os.path.join(where, *path)
    return None


def ml_100k(_work):
    """RecBole's atomic files, as they are."""
    inter = found("ml-100k", "ml-100k.inter")
    return inter and ["--format=recbole", inter, inter[:-len("inter")] + "item", inter[:-len("inter")] + "user"]


def amazon(name):
    """`user item item ...` lines to pairs; the order is the time's."""
    def source(work):
        log = found("amazon", name, "sequential.txt")
        if not log:
            return None
        pairs = work.path(f"{name}.txt")
        with open(log, encoding="utf-8") as f, open(pairs, "w", encoding="utf-8") as out:
            for line in f:
                user, *items = line.split()
                out.writelines(f"{user} {item}\n" for item in items)
        return ["--format=sasrec", pairs]
    return source


def domain(name, number):
    """One domain of `user item|unix_time ...` lines, as an atomic file."""
    def source(work):
        log, names = found("food-kitchen", "interactions.txt"), found("food-kitchen", "map_item.txt")
        if not log or not names:
            return None
        with open(names, encoding="utf-8") as f:
            mine = {str(item) for item, of in json.load(f).values() if of == number}
        atomic = work.path(f"{name}.inter")
        with open(log, encoding="utf-8") as f, open(atomic, "w", encoding="utf-8") as out:
            out.write("user_id:token\titem_id:token\ttimestamp:float\n")
            for line in f:
                user, *events = line.split()
                for item, seconds in (e.split("|") for e in events):
                    if item in mine:
                        out.write(f"{user}\t{item}\t{seconds}\n")
        return ["--format=recbole", atomic]
    return source


SOURCES = {"ml-100k": ml_100k, "beauty": amazon("beauty"), "sports": amazon("sports"), "food": domain("food", 0),
           "kitchen": domain("kitchen", 1)}


def folder(name):
    """Where a data set is imported to."""
    return reference.DATA if name == "ml-1m" else os.path.join(wr.OUT, name)


def imported(work, name):
    """The dataset directory, or None when the data is not on this machine."""
    if name == "ml-1m":
        return reference.imported(work)
    if not os.path.exists(os.path.join(folder(name), "dataset.json")):
        source = SOURCES[name](work)
        if not source:
            return None
        work.run([wr.tool("wrtrain"), "import", *source, f"--out={folder(name)}"], f"import-{name}.log")
    return folder(name)
