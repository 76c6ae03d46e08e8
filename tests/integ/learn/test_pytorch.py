#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Exchange with PyTorch: our checkpoint in docs/examples/pytorch/wirerank_student.py gives our logits; a SASRec-like model that PyTorch
trained comes in through wrtrain import-model, gives PyTorch's logits, is packed, and wirerankd answers with its lists. Skips, and says
so, where no Python with torch is found: this one, WR_TORCH_PYTHON, or out/peers-venv.

usage: test_pytorch.py SOURCE_ROOT BUILD_ROOT"""
import importlib.util
import os
import re
import subprocess
import sys

ROOT, BUILD = (os.path.abspath(p) for p in sys.argv[1:3])
TOLERANCE = 1e-4
sys.path[:0] = [os.path.join(ROOT, "scripts"), os.path.join(ROOT, "docs", "examples", "pytorch")]
checks, failures = 0, []


def find_torch():
    """Goes on under a Python that has torch."""
    if importlib.util.find_spec("torch"):
        return
    for python in (os.environ.get("WR_TORCH_PYTHON"), os.path.join(ROOT, "out", "peers-venv", "bin", "python3"),
                   os.path.join(ROOT, "out", "peers-venv", "bin", "python")):
        if python and os.access(python, os.X_OK) and "WR_TORCH_TRIED" not in os.environ:
            os.execve(python, [python, *sys.argv], {**os.environ, "WR_TORCH_TRIED": "1"})
    print("SKIP: no Python with torch (this one, WR_TORCH_PYTHON or out/peers-venv)")
    sys.exit(77)


def check(name, ok, detail=""):
    global checks
    checks += 1
    print(f'{"ok  " if ok else "FAIL"} {name} {detail}', flush=True)
    if not ok:
        failures.append(name)


def main():
    import torch

    import wirerank_sasrec
    import wirerank_student
    import wr
    torch.set_num_threads(1)

    def histories(data, n):
        """Rows (ids - 1) that test users know: all clicks but the last."""
        _, users = wirerank_sasrec.read_clicks(data)
        return [torch.tensor([i - 1 for i in u[:-1]]) for u in users if len(u) >= 3][:n]

    def ours(work, data, run, n):
        path = work.path("logits.safetensors")
        work.run([wrtrain, "logits", f"--data={data}", f"--run={run}", f"--users={n}", f"--out={path}"], "logits.log")
        return wirerank_student.read_safetensors(path)[0]["logits"]

    with wr.Work("pytorch", os.path.join(BUILD, "pytorch-logs")) as work:
        wrtrain = os.path.join(BUILD, "app", "wrtrain", "wrtrain")
        data, run = work.path("data"), work.path("run")
        work.run([wrtrain, "simulate", f"--out={data}", "--items=1000", "--users=400"], "simulate.log")
        n = 50
        known = histories(data, n)

        # Out: our checkpoint in PyTorch.
        work.run([wrtrain, "fit", f"--data={data}", f"--out={run}", "--d=32", "--ffn=48", "--window=20", "--heads=2", "--kv-heads=1",
                  "--epochs=2", "--lr=0.005", "--quiet"], "fit.log")
        student = wirerank_student.Student.load(os.path.join(run, "best.safetensors"))
        with torch.no_grad():
            theirs = torch.stack([student.logits(student(rows[None]))[0] for rows in known])
        worst = float((theirs - ours(work, data, run, n)).abs().max())
        check("our checkpoint gives our logits in PyTorch", worst <= TOLERANCE, f"(largest difference {worst:.1e})")

        # In: a model that PyTorch trained.
        model = work.path("model.safetensors")
        n_items, users = wirerank_sasrec.read_clicks(data)
        torch.manual_seed(3)
        sasrec = wirerank_sasrec.SASRecLike(n_items, d=32, blocks=2, heads=2, window=20, ffn=64)
        wirerank_sasrec.train(sasrec, users, epochs=4)
        wirerank_sasrec.export(sasrec, model)
        imported = work.path("imported")
        said = work.run([wrtrain, "import-model", f"--data={data}", f"--out={imported}", model], "import-model.log")
        check("its shape is found", "1000 items, d 32, 2 blocks, 2 heads (2 of keys), window 20, feed-forward 64" in said, said.strip())
        with torch.no_grad():
            theirs = torch.stack([sasrec(rows[None] + 1)[0, -1] for rows in known])
        worst = float((theirs - ours(work, data, imported, n)).abs().max())
        check("a PyTorch model gives its logits here", worst <= TOLERANCE, f"(largest difference {worst:.1e})")
        hit = float(re.search(r"HR@10 ([0-9.]+)", said)[1])
        check("it learned something", hit > 2 * 10 / 1000, f"(validation HR@10 {hit})")

        # Served: the bundle's int8 lists, from a daemon.
        bundle, lists = work.path("model.wrb"), work.path("lists.tsv")
        work.run([wrtrain, "pack", f"--data={data}", f"--run={imported}", f"--out={bundle}"], "pack.log")
        work.run([wrtrain, "eval", f"--data={data}", f"--bundle={bundle}", "--int8", f"--lists={lists}", "--users=200", "--steps=2"],
                 "lists.log")
        if os.path.samefile(BUILD, os.path.join(ROOT, "build")):
            daemon = wr.Daemon(work, bundle, cpus="0", overrides={"sessions.rows_per_lcore": "4096"})
            r = work.run_json([wr.tool("wrload"), "run", f"--memif={daemon.socket}", "--core=0", f"--lists={lists}", "--users=500",
                               "--populate", "--quiet", "--mix=warm:60,ask:20,event:20", "--rate=300", "--seconds=4",
                               "--verify-share=0.5", "--timeout-ms=5000"], "load.log", timeout=120, check=False)
            check("the daemon ends in order", daemon.stop() == 0)
            watched = r["watched"]
            check("wirerankd answers with its lists", not r["wrong"] and not watched["lists_wrong"] and watched["lists_checked"] > 50,
                  f"({watched['lists_checked']} lists checked, {watched['lists_wrong']} wrong)")
        else:
            print("SKIP the daemon: another build folder")

        # What has no place is refused by name.
        tensors, meta = wirerank_student.read_safetensors(model)
        for name, change, why in (
                ("a bias", {"blocks.0.ffn.fc1.bias": torch.zeros(64)}, "blocks.0.ffn.fc1.bias has no place"),
                ("positions", {"pos_emb.weight": torch.zeros(50, 32)}, "pos_emb.weight has no place"),
                ("no padding row", {"item_emb.weight": tensors["item_emb.weight"][1:]}, "has 1000 rows, the data 1000 items"),
                ("another width", {"blocks.1.attn.out_proj.weight": torch.zeros(16, 32)}, "out_proj.weight has another shape")):
            wirerank_student.write_safetensors(work.path("odd.safetensors"), {**tensors, **change}, meta)
            bad = subprocess.run([wrtrain, "import-model", f"--data={data}", f"--out={work.path('odd')}", work.path("odd.safetensors")],
                                 capture_output=True, text=True, check=False)
            check(f"refused: {name}", bad.returncode == 1 and why in bad.stderr and not os.path.exists(work.path("odd")),
                  bad.stderr.strip() if why not in bad.stderr else "")
        print(f"{checks} checks, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    find_torch()
    sys.exit(main())
