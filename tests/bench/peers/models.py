#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""ONNX Runtime and PyTorch as peers (`./run bench --peers`): runs in the virtual environment of scripts/peers.py, on one core, and
answers commands, a JSON object a line, with one each. What is timed is the model alone, from ready arrays to the ten best items:
no port, no protocol, no session store; what the server does beside is not asked of them. Batches take turns over enough
prepared ones that keys and values come out of memory, as a server's would."""

import gc
import importlib.metadata
import json
import logging
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "..", "docs", "examples", "pytorch")]
sys.dont_write_bytecode = True
logging.disable(logging.WARNING)

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402

import onnx_student  # noqa: E402
from wirerank_student import Student  # noqa: E402

BATCHES = (1, 8, 32, 64, 128, 256)
CLICKS = 50  # of a cold request
SEEN = 100  # of a warm user: the 99 clicks before and the new one
POOL_BYTES = 64 << 20
QUANTISED = {"tensor": (False, False), "channel": (True, False), "scores": (False, True)}
VARIANTS = {
    "onnx-float": [(form, None) for form in ("plain", "fused")],
    "onnx-int8": [(form, how) for form in ("plain", "fused") for how in QUANTISED],
    "torch": [("eager", None), ("traced", None)],
}


class Served(torch.nn.Module):
    """The student with its items' lengths, τ and ring biases computed once."""

    def __init__(self, student):
        super().__init__()
        self.student = student
        unit = torch.nn.functional.normalize(student.item.embedding, dim=-1) * student.logit.scale
        self.items = torch.nn.Parameter(unit.detach().T.contiguous(), requires_grad=False)
        self.ring = torch.nn.Parameter(student.ring_bias().detach(), requires_grad=False)


class ServedCold(Served):
    def forward(self, rows):
        return self.student.top(self.student(rows) @ self.items, rows)


class ServedWarm(Served):
    def forward(self, row, oldest, seen, keys, values):
        u, new_keys, new_values = self.student.step(row, keys, values, self.ring[:, oldest])
        return self.student.top(u @ self.items, seen), new_keys, new_values


class Models:
    def __init__(self, checkpoint, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.student = Student.load(checkpoint).eval().requires_grad_(False)
        self.weights = onnx_student.Weights(self.student)
        self.rng = np.random.default_rng(1)

    def onnx_session(self, engine, variant, workload, batch):
        form, how = variant
        path = os.path.join(self.folder, f"{workload}-{form}-{batch}.onnx")
        w = self.weights
        fused = form == "fused"
        model = onnx_student.cold(w, batch, CLICKS, fused) if workload == "cold" else onnx_student.warm(w, batch, SEEN, fused)
        onnx_student.save(model, path)
        if engine == "onnx-int8":
            path = onnx_student.quantised(path, *QUANTISED[how], w.n_items)
        o = onnxruntime.SessionOptions()
        o.intra_op_num_threads = o.inter_op_num_threads = 1
        o.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.log_severity_level = 3
        return onnxruntime.InferenceSession(path, o, providers=["CPUExecutionProvider"])

    def onnx_calls(self, session, inputs):
        """A call a prepared batch: inputs and outputs are bound once, nothing is copied."""
        calls = []
        for arrays in inputs:
            binding = session.io_binding()
            for name, a in arrays.items():
                binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(a))
            for out in session.get_outputs():
                kind = np.int64 if out.type == "tensor(int64)" else np.float32
                binding.bind_ortvalue_output(out.name, onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(out.shape, kind)))
            calls.append((session.run_with_iobinding, (binding,)))
        return calls

    def inputs(self, workload, batch, fused):
        """Prepared batches as arrays by input name."""
        w, slots = self.weights, self.weights.window - 1
        if workload == "cold":
            return [{"rows": self.rng.integers(0, w.n_items, (batch, CLICKS))} for _ in range(8)]
        shape = (batch, w.heads, w.head_dim, slots) if fused else (batch, w.heads, slots, w.head_dim)
        n = max(2, min(64, POOL_BYTES // (2 * w.n_blocks * 4 * int(np.prod(shape)))))
        made = []
        for _ in range(n):
            arrays = {"row": self.rng.integers(0, w.n_items, batch), "oldest": self.rng.integers(0, slots, batch),
                      "seen": self.rng.integers(0, w.n_items, (batch, SEEN))}
            for b in range(w.n_blocks):
                arrays[f"keys{b}"] = self.rng.standard_normal(shape, dtype=np.float32)
                arrays[f"values{b}"] = self.rng.standard_normal((batch, w.heads, slots, w.head_dim), dtype=np.float32)
            made.append(arrays)
        return made

    def torch_calls(self, variant, workload, batch):
        inputs = []
        for a in self.inputs(workload, batch, False):
            t = {name: torch.from_numpy(x) for name, x in a.items()}
            if workload == "cold":
                inputs.append((t["rows"],))
            else:
                blocks = range(self.weights.n_blocks)
                inputs.append((t["row"], t["oldest"], t["seen"], torch.stack([t[f"keys{b}"] for b in blocks]),
                               torch.stack([t[f"values{b}"] for b in blocks])))
        model = (ServedCold if workload == "cold" else ServedWarm)(self.student).eval()
        if variant[0] == "traced":
            with torch.no_grad():
                model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, inputs[0], check_trace=False)))
        return [(model, x) for x in inputs]

    def calls(self, engine, variant, workload, batch):
        if engine == "torch":
            return self.torch_calls(variant, workload, batch)
        session = self.onnx_session(engine, variant, workload, batch)
        return self.onnx_calls(session, self.inputs(workload, batch, variant[0] == "fused"))


def rate(calls, batch, seconds):
    """(answers a wall second, answers a CPU second) of calls by turns."""
    with torch.inference_mode():
        for call, arguments in calls[:3]:
            call(*arguments)
        n, start, cpu = 0, time.perf_counter(), time.process_time()
        while True:
            for call, arguments in calls:
                call(*arguments)
                n += 1
                wall = time.perf_counter() - start
                if wall >= seconds:
                    return n * batch / wall, n * batch / (time.process_time() - cpu)


def worst_difference(models, rows_file, scores_file):
    """Largest difference of logits to those of lib/learn (float_scores)."""
    worst, n = 0.0, 0
    scores = np.fromfile(scores_file, dtype=np.float32).reshape(-1, models.weights.n_items)
    with torch.inference_mode(), open(rows_file, encoding="utf-8") as f:
        for line, expected in zip(f, scores):
            rows = torch.tensor([[int(x) for x in line.split(",")]])
            mine = models.student.logits(models.student(rows))[0].numpy()
            worst, n = max(worst, float(np.abs(mine - expected).max())), n + 1
    return {"worst": worst, "users": n}


def read_lists(path):
    """[(history rows, list), …] per user of a lists file: step 0, then step 1."""
    users, order = {}, []
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("#"):
                continue
            user, step, events, items = line.rstrip("\n").split("\t")[:4]
            if user not in users:
                users[user] = []
                order.append(user)
            users[user].append(([int(e) - 1 for e in events.split(",")], [int(i) - 1 for i in items.split(",") if i]))
            assert len(users[user]) == int(step) + 1
    return [users[u] for u in order]


def overlap(models, lists_file, engine, variant, workload):
    """Mean share of ten items that a peer's list and ours have in common: cold lists of CLICKS clicks (step 0), warm ones of one
    click behind SEEN - 1 (step 1)."""
    session = None if engine == "torch" else models.onnx_session(engine, variant, workload, 1)
    shares = []
    for steps in read_lists(lists_file):
        rows, ours = steps[0]
        feed, wanted = None, CLICKS if workload == "cold" else SEEN - 1
        if len(rows) != wanted or (workload == "warm" and len(steps) < 2):
            continue
        with torch.inference_mode():
            if workload == "cold":
                feed = {"rows": np.array([rows])}
                if engine == "torch":
                    top = ServedCold(models.student)(torch.tensor([rows]))[0]
            else:
                keys, values = models.student.cache(torch.tensor([rows]))
                new, ours = steps[1]
                seen = np.array([rows + new])
                if engine == "torch":
                    top = ServedWarm(models.student)(torch.tensor(new), torch.tensor([0]), torch.from_numpy(seen), keys, values)[0][0]
                else:
                    feed = {"row": np.array(new), "oldest": np.array([0]), "seen": seen}
                    for b in range(models.weights.n_blocks):
                        k = keys[b].numpy()
                        feed[f"keys{b}"] = np.ascontiguousarray(k.transpose(0, 1, 3, 2)) if variant[0] == "fused" else k
                        feed[f"values{b}"] = values[b].numpy()
        if session:
            top = session.run(["top"], feed)[0][0]
        shares.append(len(set(int(x) for x in top) & set(ours)) / onnx_student.TOP)
    return {"overlap": statistics.mean(shares) if shares else None, "users": len(shares)}


def sweep(models, engine, workload, seconds):
    """Every variant and batch size once, the four best of them again and longer; the best of these."""
    tried = []
    for variant in VARIANTS[engine]:
        for batch in BATCHES:
            try:
                wall, _ = rate(models.calls(engine, variant, workload, batch), batch, seconds)
            except Exception as why:  # a variant that this version cannot run is no candidate; it is reported
                tried.append({"variant": variant, "batch": batch, "error": str(why)[:200]})
                continue
            finally:
                gc.collect()
            tried.append({"variant": variant, "batch": batch, "per_s": round(wall)})
    good = sorted((t for t in tried if "per_s" in t), key=lambda t: -t["per_s"])[:4]
    for t in good:
        t["again_per_s"] = round(rate(models.calls(engine, t["variant"], workload, t["batch"]), t["batch"], 2 * seconds)[0])
        gc.collect()
    return {"best": max(good, key=lambda t: t["again_per_s"]), "tried": tried}


def main():
    core, checkpoint, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    models, held = Models(checkpoint, folder), {}
    versions = {name: importlib.metadata.version(name) for name in ("onnxruntime", "onnx", "torch", "numpy")}
    print(json.dumps({"ready": versions, "torch_cpu": torch.backends.cpu.get_cpu_capability()}), flush=True)
    for line in sys.stdin:
        c = json.loads(line)
        try:
            if c["do"] == "check":
                reply = worst_difference(models, c["rows"], c["scores"])
            elif c["do"] == "overlap":
                reply = overlap(models, c["lists"], c["engine"], c["variant"], c["workload"])
            elif c["do"] == "sweep":
                reply = sweep(models, c["engine"], c["workload"], c["seconds"])
            else:
                key = (c["engine"], c["workload"])
                if key not in held:
                    held[key] = models.calls(c["engine"], c["variant"], c["workload"], c["batch"])
                if c["do"] == "measure":
                    wall, cpu = rate(held[key], c["batch"], c["seconds"])
                    reply = {"per_s": wall, "per_cpu_s": cpu}
                else:
                    reply = {}
        except Exception as why:  # told to whoever asked
            reply = {"error": f"{type(why).__name__}: {why}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
