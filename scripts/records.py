# SPDX-License-Identifier: BSD-3-Clause
"""docs/records: what the commands of docs/records/PLAN.md wrote, and how their figures are said."""

import json
import os
import statistics

import wr

FOLDER = os.path.join(wr.ROOT, "docs", "records")
KEYS = (("HR@10", "hr10"), ("NDCG@10", "ndcg10"))


def path(name):
    return os.path.join(FOLDER, f"{name}.json")


def load(name):
    """The record, or None while there is none."""
    try:
        with open(path(name), encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return None


def spread(values):
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.4f}" + (f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else "")


def more(difference):
    """(what, interval) of the last model less the first."""
    return [(what, difference["models"][-1]["more_than_first"][key]) for what, key in KEYS]


def interval(x):
    return f"{x['mean']:+.4f} [{x['low']:+.4f}, {x['high']:+.4f}]"


def intervals(difference):
    return ", ".join(f"{what} {interval(x)}" for what, x in more(difference))
