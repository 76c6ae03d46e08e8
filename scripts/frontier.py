# SPDX-License-Identifier: BSD-3-Clause
"""`./run reproduce frontier`: students pruned from the reference student of MovieLens-1M (its run of 60 epochs below out/), an epoch of
recovery each, packed, judged in int8 and timed on the server's kernels beside the teacher's shape. Writes ml-1m-frontier-*.json,
frontier.json and frontier.svg into docs/records."""

import json
import os
import xml.sax.saxutils

import datasets
import records
import reference
import wr

RUNS = os.path.join(wr.OUT, "reproduce")
PREFIX = "ml-1m-frontier-"
TEACHER = "ml-1m-teacher"
FIT = ["--epochs=1", "--ema=0.99", "--seed=1"]
STUDENTS = {
    "reference": [],
    "w32": ["--window=32"],
    "w16": ["--window=16"],
    "kv1": ["--kv-heads=1"],
    "h1": ["--heads=1"],
    "f64": ["--ffn=64"],
    "d48": ["--d=48"],
    "d32": ["--d=32"],
    "b1": ["--blocks=1"],
    "b1-w16": ["--blocks=1", "--window=16"],
    "b1-d48": ["--blocks=1", "--d=48"],
    "w16-kv1-f64": ["--window=16", "--kv-heads=1", "--ffn=64"],
    "d48-kv1-f64": ["--d=48", "--kv-heads=1", "--ffn=64"],
    "b1-d32-kv1-w32-f64": ["--blocks=1", "--d=32", "--kv-heads=1", "--window=32", "--ffn=64"],
    "two-four": ["--two-four"],
}
NO_FASTER = ("two-four",)  # sparse weights that the kernels multiply all the same: judged, not on the plot


def folder(name):
    return os.path.join(RUNS, PREFIX + name)


def bundle(name):
    return os.path.join(RUNS, f"{PREFIX}{name}.wrb")


def make(work, name, commit):
    """Prunes, trains, packs and judges what is missing of one student."""
    data, cut, run = datasets.folder("ml-1m"), folder(name) + "-cut", folder(name)
    wrtrain = wr.tool("wrtrain")
    prune = [wrtrain, "prune", f"--data={data}", f"--run={reference.RUN}", f"--out={cut}", *STUDENTS[name]]
    if not os.path.exists(os.path.join(cut, "best.safetensors")):
        work.run(prune, f"{PREFIX}{name}-prune.log", timeout=3600)
    if not os.path.exists(os.path.join(run, "best.safetensors")):
        work.run([wrtrain, "fit", f"--data={data}", f"--out={run}", f"--from={cut}", *FIT,
                  *(["--keep-zeros"] if name == "two-four" else [])], f"{PREFIX}{name}.log", timeout=24 * 3600, show=True)
    best = os.path.join(run, "best.safetensors")
    if not os.path.exists(bundle(name)) or os.path.getmtime(bundle(name)) < os.path.getmtime(best):
        work.run([wrtrain, "pack", f"--data={data}", f"--run={run}", f"--out={bundle(name)}"], f"{PREFIX}{name}-pack.log", timeout=3600)
    path = records.path(PREFIX + name)
    if not os.path.exists(path):
        work.run([wrtrain, "eval", f"--data={data}", f"--run={run}", f"--bundle={bundle(name)}", "--int8", f"--record={path}",
                  "--dataset=ml-1m", f"--model=student, pruned: {' '.join(STUDENTS[name]) or 'nothing'}", f"--commit={commit}"],
                 f"{PREFIX}{name}-eval.log", timeout=3600)
        record = records.load(PREFIX + name)
        record["pruned_by"] = " ".join(["wrtrain", *prune[1:]])
        wr.write_record(path, record)


def cost_command(names):
    """Times every bundle, then int8 of the teacher's shape and its float pass; wants an idle core."""
    return [wr.tool("wrtrain"), "cost", *(bundle(n) for n in names), os.path.join(RUNS, TEACHER), "--seconds=0.5",
            f"--json={os.path.join(RUNS, 'frontier-cost.json')}"]


def costs(work, names):
    path = os.path.join(RUNS, "frontier-cost.json")
    if not os.path.exists(path) or os.path.getmtime(path) < max(os.path.getmtime(bundle(n)) for n in names):
        work.run(cost_command(names), "frontier-cost.log", timeout=3600, show=True)
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def point(name, cost):
    record = records.load(PREFIX + name)
    return {"name": name, "pruned": STUDENTS[name], "hr10": record["hr10"], "ndcg10": record["ndcg10"],
            "hr10_unfiltered": record["hr10_unfiltered"], "ndcg10_unfiltered": record["ndcg10_unfiltered"], "where": "int8",
            "bundle_bytes": os.path.getsize(bundle(name)),
            **{k: cost[k] for k in ("warm_macs", "session_bytes", "warm_us", "cold_us", "cold_macs", "cold_clicks", "score_us",
                                    "score_macs")}}


def panel(points, teacher, key, title, left):
    """One plot: NDCG@10 against points[key]."""
    width, height, top = 400, 300, 60
    low = min(p["ndcg10"] for p in points) - 0.004
    high = max([p["ndcg10"] for p in points] + ([teacher["ndcg10"]] if teacher else [])) + 0.004
    most = max(p[key] for p in points) * 1.12

    def x(v):
        return left + width * v / most

    def y(v):
        return top + height * (high - v) / (high - low)
    out = [f'<text x="{left + width / 2}" y="{top - 14}" text-anchor="middle" font-size="14">{title}</text>',
           f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>']
    for i in range(5):
        v = low + (high - low) * i / 4
        out.append(f'<text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.3f}</text>')
        v = most * i / 4
        out.append(f'<text x="{x(v):.1f}" y="{top + height + 16}" text-anchor="middle">{v / 1000:.0f}k</text>')
    if teacher:
        out.append(f'<line x1="{left}" x2="{left + width}" y1="{y(teacher["ndcg10"]):.1f}" y2="{y(teacher["ndcg10"]):.1f}" '
                   f'stroke="#c33" stroke-dasharray="5 4"/><text x="{left + 6}" y="{y(teacher["ndcg10"]) - 4:.1f}" fill="#c33">'
                   f'teacher, float ({teacher[key] / 1000:.0f}k)</text>')
    best = []
    for p in sorted(points, key=lambda p: (p[key], -p["ndcg10"])):
        if not best or p["ndcg10"] > best[-1]["ndcg10"]:
            best.append(p)
    out.append('<polyline fill="none" stroke="#37c" points="' + " ".join(f'{x(p[key]):.1f},{y(p["ndcg10"]):.1f}' for p in best) + '"/>')
    for p in points:
        out.append(f'<circle cx="{x(p[key]):.1f}" cy="{y(p["ndcg10"]):.1f}" r="3.5" fill="{"#37c" if p in best else "#999"}"/>'
                   f'<text x="{x(p[key]) + 5:.1f}" y="{y(p["ndcg10"]) + 3:.1f}" font-size="9">'
                   f'{xml.sax.saxutils.escape(p["name"])}</text>')
    return out


def draw(data, path):
    points, teacher = [p for p in data["students"] if p["name"] not in NO_FASTER], data["teacher"]
    body = panel(points, teacher, "warm_macs", "NDCG@10 against multiply-adds of a warm answer", 60)
    body += panel(points, teacher, "session_bytes", "NDCG@10 against session bytes of a warm answer", 540)
    with open(path, "w", encoding="utf-8") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" width="980" height="400" font-family="sans-serif" font-size="11">'
                '<rect width="980" height="400" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n")


def save(data):
    wr.write_record(records.path("frontier"), data)
    draw(data, os.path.join(records.FOLDER, "frontier.svg"))


def run(work, commit):
    """All of it; what is there already is not made again."""
    os.makedirs(RUNS, exist_ok=True)
    if not reference.imported(work):
        raise wr.Failure("MovieLens-1M is not on this machine (WR_DATA names its folder)")
    if not os.path.exists(os.path.join(RUNS, TEACHER, "best.safetensors")):
        raise wr.Failure(f"the teacher is timed too: ./run reproduce {TEACHER} first")
    reference.trained(work)
    names = [n for n in STUDENTS if os.environ.get("WR_FRONTIER") is None or n in os.environ["WR_FRONTIER"].split()]
    for name in names:
        make(work, name, commit)
    cost = costs(work, names)
    models = cost["models"]
    teacher = {k: v for k, v in models[len(names)].items() if k != "model"}
    record = records.load(TEACHER)
    if record:
        teacher |= {"hr10": record["hr10"], "ndcg10": record["ndcg10"], "where": "float"}
    data = {"dataset": "ml-1m", "commit": commit, "machine": cost["machine"], "recovery": " ".join(FIT),
            "students": [point(n, c) for n, c in zip(names, models)], "teacher": teacher}
    save(data)  # what is plotted does not wait for the rest
    compressed = os.path.join(RUNS, "frontier-compress.json")
    if not os.path.exists(compressed):
        work.run([wr.tool("wrtrain"), "compress", f"--data={datasets.folder('ml-1m')}", f"--run={reference.RUN}",
                  f"--json={compressed}"], "frontier-compress.log", timeout=3600)
    layers = os.path.join(RUNS, "frontier-layers.json")
    if not os.path.exists(layers):
        work.run([wr.tool("wrtrain"), "eval", f"--data={datasets.folder('ml-1m')}", f"--run={reference.RUN}", "--by-layer",
                  f"--json={layers}"], "frontier-layers.log", timeout=3600)
    for key, path in (("item_vectors", compressed), ("int8", layers)):
        with open(path, encoding="utf-8") as f:
            data[key] = json.load(f)["ways" if key == "item_vectors" else "by_layer"]
    save(data)
    print(f"frontier: {len(names)} students, docs/records/frontier.json and frontier.svg")
