# SPDX-License-Identifier: BSD-3-Clause
"""True lift in the simulated centre, and what replay makes of it. A world is simulated, a student and its heads are trained on the
log of its first 6,000 customers, and policies are judged on customers whom nothing was trained on; a policy that explores shows each
of them one slate, and replay estimates the same worth from that log alone. Settings were chosen in world 1; worlds 11 to 13 judge."""

import json
import os

import records
import wr

SEEDS = (11, 12, 13)
CUSTOMERS = 6000
JUDGED = 20000
FIT = ["--epochs=8", "--batch=32", "--lr=0.002", "--dropout=0.1", "--seed=1"]
BOUNDS = {"ctr": 0.10, "cvr": 0.15}
BASES = {"popularity": "over_popularity", "item-knn": "over_item_knn"}


def interval(x):
    return {k: round(x[k], 6) for k in ("mean", "low", "high")}


def policies(run):
    """Short names and what wrtrain calls them. The second leaves at most one item of a category in a list."""
    return {"popularity": "popularity", "item-knn": "item-knn", "vmis-knn": "vmis-knn", "als": "als", "student": run,
            "heads": f"click:{run}", "heads-diverse": f"click:{run}~1", "heads-convert": f"convert:{run}"}


def world(work, seed, customers=CUSTOMERS, judged=JUDGED):
    """Everything about one world; the files go with the work folder."""
    wrtrain, data, run, slates = wr.tool("wrtrain"), work.path(f"centre-{seed}"), work.path(f"run-{seed}"), work.path(f"slates-{seed}")
    log = f"seed-{seed}"
    work.run([wrtrain, "simulate", f"--out={data}", f"--users={customers}", f"--seed={seed}", "--impressions"], f"{log}-simulate.log")
    work.run([wrtrain, "fit", f"--data={data}", f"--out={run}", "--quiet", *FIT], f"{log}-fit.log", timeout=7200)
    heads = work.run_json([wrtrain, "fit-ctr", f"--data={data}", f"--run={run}", "--quiet"], f"{log}-fit-ctr.log", timeout=3600)
    names = policies(run)
    lift = work.run_json([wrtrain, "lift", f"--data={data}", f"--users={judged}", *names.values()], f"{log}-lift.log", timeout=3600)
    # What explores shows the lists of the policies that are to be told apart.
    told = ["item-knn", "popularity", names["heads"]]
    work.run([wrtrain, "lift", f"--data={data}", f"--users={judged}", f"--slates={slates}", "--resamples=100", *told],
             f"{log}-slates.log", timeout=3600)
    replay = work.run_json([wrtrain, "replay", f"--data={slates}", f"--train={data}", f"--heads={run}", *told], f"{log}-replay.log",
                           timeout=3600)
    short = {full: name for name, full in names.items()}
    true = {short.get(p["policy"], p["policy"]): p for p in lift["policies"]}
    return {"seed": seed, "heads": {k: {x: heads[k][x] for x in ("shown", "auc", "log_loss", "base_log_loss", "predicted", "observed",
                                                                 "calibration_error")}
                                    for k in ("click", "convert_given_click", "click_and_convert")} | {"looked_at": heads["looked_at"]},
            "true": {name: {k: interval(v) if isinstance(v, dict) and "mean" in v else
                            {m: interval(x) for m, x in v.items()} if isinstance(v, dict) else v
                            for k, v in p.items() if k != "policy"} for name, p in true.items()},
            "replay": {"slates": replay["slates"], "heads": replay["heads"],
                       "policies": {short[p["policy"]]: {k: v for k, v in p.items() if k != "policy"} for p in replay["policies"]}}}


def agreements(w):
    """(what, truth, interval) of every doubly robust figure: worth, and gain over item-kNN."""
    for name, p in w["replay"]["policies"].items():
        for reward in ("ctr", "cvr"):
            estimate, true = p[reward]["doubly_robust"], w["true"][name][reward]["mean"]
            yield f"{name} {reward}", true, estimate
            if "over_first" in estimate:
                yield f"{name} {reward} over item-knn", true / w["true"]["item-knn"][reward]["mean"] - 1, estimate["over_first"]


def judge(w):
    """(problems, figures) of one world."""
    problems, true = [], w["true"]
    said = []
    # Each baseline against the heads' lists as they are, or with one item of a category, whichever is at least as diverse as it.
    for base, key in BASES.items():
        fits = [n for n in ("heads", "heads-diverse") if true[n]["diversity"] >= true[base]["diversity"]]
        if not fits:
            problems.append(f"world {w['seed']}: no list is as diverse as those of {base}")
            continue
        name = fits[0]
        gain = {m: true[name][key][m] for m in BOUNDS}
        for m, bound in BOUNDS.items():
            if gain[m]["mean"] < bound:
                problems.append(f"world {w['seed']}: {m.upper()} of {name} {100 * gain[m]['mean']:+.1f} % over {base}")
        said.append(f"over {base} CTR {100 * gain['ctr']['mean']:+.1f} % CVR {100 * gain['cvr']['mean']:+.1f} % at diversity "
                    f"{true[name]['diversity']:.2f} to {true[base]['diversity']:.2f} ({name})")
    inside = [low["low"] <= truth <= low["high"] for _, truth, low in agreements(w)]
    missed = [what for what, truth, x in agreements(w) if not x["low"] <= truth <= x["high"]]
    said.append(f"{100 * true['heads']['closes_ctr']:.0f} % and {100 * true['heads']['closes_cvr']:.0f} % of the way to the oracle")
    said.append(f"replay: {sum(inside)} of {len(inside)} intervals hold the truth" + (f" (not {', '.join(missed)})" if missed else ""))
    return problems, f"world {w['seed']}: " + ", ".join(said), inside


def kept_world(work, seed, commit):
    """A world takes some minutes: a command that was stopped goes on with the worlds that it has of the same commit."""
    aside = os.path.join(wr.OUT, "reproduce", f"simulator-lift-{seed}.json")
    try:
        with open(aside, encoding="utf-8") as f:
            kept = json.load(f)
    except FileNotFoundError:
        kept = {}
    if kept.get("commit") != commit or commit.endswith("-dirty"):
        kept = {"commit": commit, "world": world(work, seed)}
        os.makedirs(os.path.dirname(aside), exist_ok=True)
        wr.write_record(aside, kept)
    return kept["world"]


def record(work, path, commit):
    worlds = [kept_world(work, seed, commit) for seed in SEEDS]
    wr.write_record(path, {
        "command": "./run reproduce simulator-lift", "commit": commit, "what": "true clicks (ctr) and conversions (cvr) per "
        "shown item, slates of 10 to customers whom nothing was trained on; replay from slates of a policy that explores",
        "items": 2000, "customers": CUSTOMERS, "judged": JUDGED, "fit": FIT, "worlds": worlds})
    for w in worlds:
        print(judge(w)[1])
    return worlds


def path():
    return records.path("simulator-lift")
