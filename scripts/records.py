# SPDX-License-Identifier: BSD-3-Clause
"""docs/records: what the commands of docs/records/PLAN.md wrote, and how their figures are said."""

import json
import math
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


def over_seeds(difference):
    """The same, but of the recipes: an interval over users tells these very runs apart, and seeds of one recipe differ too. Adds to its
    half width that of the mean over seeds, by the spread of the records of all runs compared (normal, pooled); None for one seed."""
    groups = [[load(run) for run in m["model"]] for m in (difference["models"][0], difference["models"][-1])]
    if any(run is None for group in groups for run in group) or min(map(len, groups)) < 2:
        return None
    said = []
    for what, key in KEYS:
        x = dict(more(difference))[what]
        pooled = sum(statistics.variance([run[key] for run in g]) * (len(g) - 1) for g in groups) / sum(len(g) - 1 for g in groups)
        seeds = 1.96 * math.sqrt(pooled * sum(1 / len(g) for g in groups))
        half = math.hypot((x["high"] - x["low"]) / 2, seeds)
        said.append(f"{what} {interval({'mean': x['mean'], 'low': x['mean'] - half, 'high': x['mean'] + half})}")
    return ", ".join(said)
