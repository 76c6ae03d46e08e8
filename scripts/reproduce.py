#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`./run reproduce NAME`: trains again what docs/records/NAME.json tells of and writes the record. A run that was stopped goes
on from its checkpoint; one that is done is only evaluated. Runs go to out/reproduce/NAME, data to out/; docs/records/PLAN.md
lists what there is and how long each takes."""

import json
import os
import shutil
import subprocess
import sys
import time

import datasets
import frontier
import lift
import records
import reference
import wire
import wr

RUNS = os.path.join(wr.OUT, "reproduce")
TEACHER = "ml-1m-teacher"
ANSWERS = {"top": 64, "temperature": 1}

STUDENT = ["--epochs=60", "--ema=0.998"]
DISTIL = ["--soft-share=0.7", "--hidden-weight=0.1", "--attention-weight=0.1"]
PLAN = {
    TEACHER: {
        "dataset": "ml-1m", "model": "teacher",
        "fit": ["--d=128", "--blocks=4", "--heads=4", "--ffn=256", "--gated", "--activation=silu", "--rotary", "--window=200",
                "--context=200", "--dropout=0.3", "--attn-dropout=0.1", "--weight-decay=0.05", "--ema=0.998", "--seed=1"],
        "keep": ["--epochs=80", "--patience=15"],
    },
}
for seed in (1, 2, 3):
    PLAN[f"ml-1m-student-plain-{seed}"] = {
        "dataset": "ml-1m", "model": "student", "fit": [STUDENT[1], f"--seed={seed}"], "keep": [STUDENT[0]]}
    PLAN[f"ml-1m-student-distilled-{seed}"] = {
        "dataset": "ml-1m", "model": "student, distilled", "teacher": TEACHER,
        "fit": [STUDENT[1], *DISTIL, f"--seed={seed}"], "keep": [STUDENT[0]]}
    PLAN[f"ml-1m-student-distilled-{seed}-wire"] = {
        "dataset": "ml-1m", "model": "student, distilled", "served": f"ml-1m-student-distilled-{seed}"}
# Of two seeds: an interval takes the runs' folders, and those of seed 1 are on no machine any more.
PLAN["ml-1m-student-difference"] = {
    "dataset": "ml-1m", "compare": [[f"ml-1m-student-{kind}-{seed}" for seed in (2, 3)] for kind in ("plain", "distilled")]}

# Positions: rotary ones in place of the learned bias by age and beside it, keys by age beside it; without a teacher and with it.
POSITIONS = {"rotary-alone": (["--rotary", "--no-age-bias"], (2, 3)), "rotary": (["--rotary"], (2,)), "age-keys": (["--age-keys"], (2, 3))}
for kind, (knobs, seeds) in POSITIONS.items():
    for seed in seeds:
        PLAN[f"ml-1m-student-{kind}-{seed}"] = {"dataset": "ml-1m", "model": f"student, {kind.replace('-', ' ')}",
                                                "fit": [STUDENT[1], *knobs, f"--seed={seed}"], "keep": [STUDENT[0]]}
    PLAN[f"ml-1m-{kind}-difference"] = {
        "dataset": "ml-1m", "compare": [[f"ml-1m-student-{which}-{seed}" for seed in seeds] for which in ("plain", kind)]}
for kind in ("rotary-alone", "age-keys"):
    for seed in (2, 3):
        PLAN[f"ml-1m-student-distilled-{kind}-{seed}"] = {
            "dataset": "ml-1m", "model": f"student, distilled, {kind.replace('-', ' ')}", "teacher": TEACHER,
            "fit": [STUDENT[1], *DISTIL, *POSITIONS[kind][0], f"--seed={seed}"], "keep": [STUDENT[0]]}
    PLAN[f"ml-1m-distilled-{kind}-difference"] = {
        "dataset": "ml-1m", "compare": [[f"ml-1m-student-{which}-{seed}" for seed in (2, 3)] for which in ("distilled", f"distilled-{kind}")]}
PLAN["ml-1m-student-distilled-age-keys-2-wire"] = {
    "dataset": "ml-1m", "model": "student, distilled, age keys", "served": "ml-1m-student-distilled-age-keys-2"}

# With and without age in time; of the same recipe, found by short runs on validation.
SPARSE = ["--blocks=1", "--len=50", "--dropout=0.5", "--ema=0.99", "--weight-decay=0.05", "--sampled=512"]
# Of Sports SPARSE gave 0.0515 0.0301 (means of three seeds); what else was tried: docs/learning.md, "Sampled softmax".
WIDE = ["--d=128", "--ffn=256", "--blocks=1", "--len=50", "--dropout=0.6", "--ema=0.99", "--weight-decay=0.2", "--sampled=512"]
TIMED = {"ml-100k": (["--batch=32", "--dropout=0.3", "--ema=0.99"], ["--epochs=50"]),
         "food": ([*SPARSE, "--batch=64"], ["--epochs=20"]),
         "kitchen": ([*SPARSE, "--batch=64"], ["--epochs=20"])}
for seed in (1, 2, 3):
    for data, (fit, keep) in TIMED.items():
        PLAN[f"{data}-noage-{seed}"] = {"dataset": data, "model": "student", "fit": [*fit, f"--seed={seed}"], "keep": keep}
        PLAN[f"{data}-age-{seed}"] = {
            "dataset": data, "model": "student, age in time", "fit": [*fit, "--age-time", f"--seed={seed}"], "keep": keep}
    PLAN[f"beauty-{seed}"] = {
        "dataset": "beauty", "model": "student", "fit": [*SPARSE, "--batch=128", f"--seed={seed}"], "keep": ["--epochs=30"]}
    PLAN[f"sports-{seed}"] = {
        "dataset": "sports", "model": "student", "fit": [*WIDE, "--batch=128", f"--seed={seed}"], "keep": ["--epochs=30"]}
for data in TIMED:
    PLAN[f"{data}-age-difference"] = {
        "dataset": data, "compare": [[f"{data}-{kind}-{seed}" for seed in (1, 2, 3)] for kind in ("noage", "age")]}
for data in ("beauty", "sports"):
    PLAN[f"{data}-difference"] = {
        "dataset": data, "compare": [["item-knn-recent"], ["item-knn"], [f"{data}-{seed}" for seed in (1, 2, 3)]]}


def folder(name):
    """Where the run is."""
    return os.path.join(RUNS, name)


def answers(work, teacher):
    """The teacher's answers, made again when the teacher is newer."""
    path = os.path.join(RUNS, f"{teacher}.answers")
    best = os.path.join(folder(teacher), "best.safetensors")
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(best):
        work.run([wr.tool("wrtrain"), "teach", f"--data={reference.DATA}", f"--run={folder(teacher)}", f"--out={path}",
                  f"--top={ANSWERS['top']}", f"--temperature={ANSWERS['temperature']}"], "teach.log", timeout=7200, show=True)
    return path


def train(work, name):
    """Fits what is missing of a run, or of the runs that are compared."""
    plan = PLAN[name]
    if "compare" in plan:
        for run in (r for group in plan["compare"] for r in group if r in PLAN):
            train(work, run)
        return
    if "served" in plan:
        train(work, plan["served"])
        return
    begun = os.path.exists(os.path.join(folder(name), "checkpoint.safetensors"))
    command = [wr.tool("wrtrain"), "fit", f"--data={datasets.folder(plan['dataset'])}", f"--out={folder(name)}", *plan["keep"]]
    command += ["--resume"] if begun else plan["fit"]
    if "teacher" in plan:
        train(work, plan["teacher"])
        command += [f"--teacher={folder(plan['teacher'])}", f"--soft={answers(work, plan['teacher'])}"]
    if "stopped (go on" in work.run(command, f"{name}.log", timeout=7 * 24 * 3600, show=True):
        raise wr.Failure(f"{name} was stopped; ./run reproduce {name} goes on")


def commit():
    """The checkout's, -dirty where more than records was changed since."""
    def git(*args):
        return subprocess.run(["git", *args], cwd=wr.ROOT, capture_output=True, text=True, check=False)
    said = git("describe", "--always", "--abbrev=12", "--exclude=*").stdout.strip()
    changed = git("diff", "--quiet", "HEAD", "--", ".", ":!docs/records").returncode != 0
    return said + ("-dirty" if changed else "") if said else "unknown"


def difference(work, name, path):
    """Means over seeds of one model and another on the same users, with intervals; the first is what others are compared with.
    Of both held-out clicks of a user: the last one (test), and beside it the last but one (validation)."""
    plan = PLAN[name]
    models = [",".join(folder(run) if run in PLAN else run for run in group) for group in plan["compare"]]
    said = {split: work.run_json([wr.tool("wrtrain"), "compare", f"--data={datasets.folder(plan['dataset'])}", f"--split={split}",
                                  *models], f"{name}-{split}.log", timeout=3600) for split in ("test", "valid")}
    for result in said.values():
        for model, group in zip(result["models"], plan["compare"]):
            model["model"] = group
            model.pop("metrics", None)
    wr.write_record(path, {"dataset": plan["dataset"], "model": "difference", "split": "test", "resamples": said["test"]["resamples"],
                           "command": f"./run reproduce {name}", "commit": commit(), "models": said["test"]["models"],
                           "validation": {"models": said["valid"]["models"]}})
    print(f"{name}: {records.intervals(said['test'])}; on validation {records.intervals(said['valid'])}")


def on_the_wire(work, name, path):
    """The run's bundle, served; float's and int8's figures of the same users stand beside the wire's."""
    plan, begun = PLAN[name], time.monotonic()
    data, run, bundle = datasets.folder(plan["dataset"]), folder(plan["served"]), folder(plan["served"]) + ".wrb"
    work.run([wr.tool("wrtrain"), "pack", f"--data={data}", f"--run={run}", f"--out={bundle}"], f"{name}-pack.log", timeout=3600)
    float_figures = work.run_json([wr.tool("wrtrain"), "eval", f"--data={data}", f"--run={run}"], f"{name}-float.log", timeout=3600)["float"]
    found, problems = wire.levels(work, data, bundle, float_figures["users"])
    if problems:
        raise wr.Failure(f"{name}: {'; '.join(problems)}")
    keys = {"hr10": "hr", "ndcg10": "ndcg", "hr10_unfiltered": "hr_unfiltered", "ndcg10_unfiltered": "ndcg_unfiltered"}
    asked = list(found.values())[-1]["wire"]
    wr.write_record(path, {
        "dataset": plan["dataset"], "model": plan["model"], "seed": int(plan["served"][-1]),
        **{key: asked[of] for key, of in keys.items()}, "where": "wire", "seconds": round(time.monotonic() - begun, 1),
        "command": f"./run reproduce {name}", "commit": commit(), "users": asked["users"], "float": flat(float_figures),
        "levels": {isa: {"int8": flat(level["offline"]["int8"]), "lists": level["wire"]["compared"],
                         "different": level["wire"]["different"]} for isa, level in found.items()}})
    print(f"{name}: " + "; ".join(wire.said(isa, level["wire"]) for isa, level in found.items()))


def flat(figures):
    """The four figures that every record has, of those that eval writes."""
    return {key + tail: figures[part][key] for part, tail in (("seen_filtered", ""), ("unfiltered", "_unfiltered"))
            for key in ("hr10", "ndcg10")}


def record(work, name):
    plan, path = PLAN[name], records.path(name)
    if "compare" in plan:
        difference(work, name, path)
        return
    if "served" in plan:
        on_the_wire(work, name, path)
        return
    work.run([wr.tool("wrtrain"), "eval", f"--data={datasets.folder(plan['dataset'])}", f"--run={folder(name)}", f"--record={path}",
              f"--dataset={plan['dataset']}", f"--model={plan['model']}", f"--commit={commit()}"], f"{name}-eval.log", timeout=3600)
    shutil.copy(os.path.join(folder(name), "loss.svg"), os.path.join(records.FOLDER, f"{name}.svg"))
    with open(path, encoding="utf-8") as f:
        r = json.load(f)
    print(f"{name}: HR@10 {r['hr10']:.4f} NDCG@10 {r['ndcg10']:.4f} (unfiltered {r['hr10_unfiltered']:.4f} "
          f"{r['ndcg10_unfiltered']:.4f}), {r['seconds'] / 3600:.2f} h; {os.path.relpath(path, wr.ROOT)}")


# Records that are no runs of PLAN and want no data set.
OTHER = {"frontier": lambda work: frontier.run(work, commit()),
         "simulator-lift": lambda work: lift.record(work, lift.path(), commit())}


def main():
    names = list(PLAN) if sys.argv[1:] == ["all"] else sys.argv[1:]
    unknown = [n for n in names if n not in PLAN and n not in OTHER]
    if unknown or not names:
        print(f"run: nothing to reproduce called {' '.join(unknown)}; there are: all {' '.join([*PLAN, *OTHER])}", file=sys.stderr)
        return 2
    with wr.Work("reproduce", os.path.join(wr.OUT, "reproduce", "logs")) as work:
        for name in names:
            if name in OTHER:
                OTHER[name](work)
                continue
            if not datasets.imported(work, PLAN[name]["dataset"]):
                print(f"{name}: {PLAN[name]['dataset']} is not on this machine (WR_DATA names its folder)", file=sys.stderr)
                return 77
            os.makedirs(RUNS, exist_ok=True)
            train(work, name)
            record(work, name)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except wr.Failure as why:
        print(f"reproduce: {why}", file=sys.stderr)
        sys.exit(1)
