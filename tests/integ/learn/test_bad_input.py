#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""wrtrain against what goes wrong outside of it: empty and damaged logs, one-item users, unknown ids, values that are not finite,
repeated rows, weights of other shapes, a full disk, a kill at any moment, a long file. Every case must end in one clear line and
status 1, or in what docs/learning.md ("Bad input") says; nothing that stood there before may change and no draft may stay.

usage: test_bad_input.py WRTRAIN [--rows=N]   (N: lines of the long file, 10^5; the show takes 10^7)"""
import filecmp
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

WRTRAIN = os.path.abspath(sys.argv[1])
ROWS = next((int(a.split("=")[1]) for a in sys.argv[2:] if a.startswith("--rows=")), 100_000)
WORK = tempfile.mkdtemp(prefix="wrtrain-bad-")
FIT = ["--epochs=1", "--d=32", "--ffn=16", "--window=8", "--batch=16", "--len=20", "--threads=1", "--quiet"]
SMALL_KIB = 64  # of the file system that is soon full
failures = []
checks = 0


def check(name, ok, detail=""):
    global checks
    checks += 1
    if not ok:
        failures.append(name)
    print(f'{"ok  " if ok else "FAIL"} {name} {detail if not ok else ""}', flush=True)


def path(*parts):
    return os.path.join(WORK, *parts)


def write(name, data):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return path(name)


def run(*argv, inside=()):
    """Status and what was said on stderr."""
    done = subprocess.run([*inside, WRTRAIN, *argv], capture_output=True, text=True, errors="replace", timeout=1500, check=False,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr.strip()


def refuse(name, why, *argv, inside=()):
    """Ends with status 1 and a last line that holds every word of why."""
    code, said = run(*argv, inside=inside)
    line = said.splitlines()[-1] if said else ""
    words = [why] if isinstance(why, str) else why
    check(name, code == 1 and line.startswith(f"wrtrain {argv[0]}: ") and all(w in line for w in words), f"{code}: {line!r}")


def accept(name, *argv):
    code, said = run(*argv)
    check(name, code == 0, f"{code}: {said[-300:]}")
    return code == 0


def listing(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def lines_of(name):
    with open(path(name), encoding="utf-8") as f:
        return [line for line in f if not line.startswith("#")]


# ---- logs ----
def logs():
    source = write("empty.txt", "")
    refuse("an empty log", "no interactions", "import", "--format=sasrec", source, f"--out={path('none')}")
    check("an empty log leaves nothing", listing(path("none")) == [])
    refuse("a log of blank lines", "no interactions", "import", "--format=sasrec", write("blank.txt", "\n\r\n\n"),
           f"--out={path('none')}")
    refuse("a log that is not there", "absent.txt", "import", "--format=sasrec", path("absent.txt"), f"--out={path('none')}")
    refuse("a folder for a log", "not a regular file", "import", "--format=sasrec", WORK, f"--out={path('none')}")
    for name, text, why in (("one field", "1 2\n3\n", "broken.txt:2:"), ("three fields", "1 2 3\n", "broken.txt:1:"),
                            ("a NUL byte", b"1 2\n1 \0 3\n", "broken.txt:2:"), ("no UTF-8", b"1 \xff\n", "broken.txt:1:")):
        refuse(f"sasrec: {name}", why, "import", "--format=sasrec", write("broken.txt", text), f"--out={path('none')}")
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    for value in ("nan", "inf", "-1", "1e400", "", "yesterday"):
        refuse(f"recbole: time '{value}'", ["t.inter:3:", "timestamp"], "import", "--format=recbole",
               write("t.inter", f"{head}a\tx\t1\na\ty\t{value}\n"), f"--out={path('none')}")
    refuse("recbole: a column too few", "t.inter:2:", "import", "--format=recbole", write("t.inter", f"{head}a\tx\n"),
           f"--out={path('none')}")
    refuse("recbole: no header", "column", "import", "--format=recbole", write("t.inter", "a\tx\t1\n"), f"--out={path('none')}")
    check("what was refused leaves nothing", listing(path("none")) == [])

    # Repeated rows are repeated clicks: every line is kept, in the order of time, then of the file.
    accept("repeated rows are taken", "import", "--format=recbole",
           write("t.inter", head + "a\tx\t5\na\tx\t5\na\ty\t5\na\tx\t1\n"), f"--out={path('repeated')}")
    ids = {line.split("\t")[1]: line.split("\t")[0] for line in lines_of("repeated/items.tsv")}
    got = [line.split("\t")[1] for line in lines_of("repeated/interactions.tsv")]
    check("repeated rows are kept in order", got == [ids["x"], ids["x"], ids["x"], ids["y"]], str(got))
    accept("descriptions of unknown items are left out", "import", "--format=recbole", path("t.inter"),
           write("t.item", "item_id:token\ttitle:token_seq\nx\tX\nghost\tnobody clicked it\n"), f"--out={path('described')}")
    check("no id for them", len(lines_of("described/items.tsv")) == 2)

    accept("one-item users are taken", "import", "--format=sasrec", write("one.txt", "1 5\n2 6\n3 7\n"), f"--out={path('one')}")
    refuse("nobody to train on", "no user has two clicks", "fit", f"--data={path('one')}", f"--out={path('one-run')}", *FIT)


def data_sets():
    items = "#id\tname\tcategory\ttitle\n1\ta\t\t\n2\tb\t\t\n"
    for name, items_tsv, log, why in (
            ("no item list", None, "1\t1\tclick\t0\n", "items.tsv"),
            ("an empty item list", "#id\n", "1\t1\tclick\t0\n", "no items"),
            ("an item list with a gap", "1\ta\t\t\n3\tb\t\t\n", "1\t1\tclick\t0\n", "items.tsv:2:"),
            ("an empty interaction file", items, "", "no clicks"),
            ("an unknown item", items, "1\t1\tclick\t0\n1\t3\tclick\t0\n", ["interactions.tsv:2:", "'3'", "not in items.tsv"]),
            ("item 0", items, "1\t0\tclick\t0\n", "interactions.tsv:1:"),
            ("an unknown kind", items, "1\t1\tlooked\t0\n", "interactions.tsv:1:"),
            ("a time that is no number", items, "1\t1\tclick\tnan\n", "interactions.tsv:1:"),
            ("a user in two places", items, "1\t1\tclick\t0\n2\t1\tclick\t0\n1\t2\tclick\t0\n", "not contiguous"),
            ("a line cut short", items, "1\t1\tclick\t0\n1\t2\tcl", "interactions.tsv:2:")):
        shutil.rmtree(path("set"), ignore_errors=True)
        os.makedirs(path("set"))
        if items_tsv is not None:
            write("set/items.tsv", items_tsv)
        write("set/interactions.tsv", log)
        refuse(f"data set: {name}", why, "fit", f"--data={path('set')}", f"--out={path('set-run')}", *FIT)
    log = "1\t1\tclick\t0\n1\t2\tclick\t0\n"
    for name, users, why in (
            ("a profile cut short", "#user\tname\tage\n1\ta\n", ["users.tsv:2:", "3 columns"]),
            ("a user described twice", "#user\tname\tage\n1\ta\t1\n1\ta\t1\n", "users.tsv:3:"),
            ("profiles that are not there", "#user\tname\n1\ta\n", ["profile", "users' file"])):
        write("set/items.tsv", items)
        write("set/interactions.tsv", log)
        write("set/users.tsv", users)
        refuse(f"data set: {name}", why, "fit", f"--data={path('set')}", f"--out={path('set-run')}", "--side-features=users", *FIT)
    refuse("data set: categories that are not there", ["category", "items' file"], "fit", f"--data={path('set')}",
           f"--out={path('set-run')}", "--side-features=items", *FIT)
    refuse("side features of another name", "items,users", "fit", f"--data={path('set')}", f"--out={path('set-run')}",
           "--side-features=colours", *FIT)
    check("no run was begun", listing(path("set-run")) == [])


def make_good():
    """A data set with one-item users among others, a run and a bundle."""
    r, text = random.Random(5), []
    for u in range(1, 201):
        at = r.randrange(40)
        for _ in range(1 if u % 4 == 0 else r.randrange(3, 30)):
            text.append(f"{u} {at + 1}\n")
            at = (at + 1 + r.randrange(3)) % 40
    ok = accept("a good log", "import", "--format=sasrec", write("good.txt", "".join(text)), f"--out={path('good')}")
    ok = ok and accept("one-item users beside others train", "fit", f"--data={path('good')}", f"--out={path('run')}", *FIT)
    ok = ok and accept("a good bundle", "pack", f"--data={path('good')}", f"--run={path('run')}", f"--out={path('good.wrb')}")
    ok = ok and accept("evaluation counts who has three clicks", "eval", f"--data={path('good')}", f"--run={path('run')}",
                       f"--json={path('eval.json')}")
    if not ok:
        sys.exit(1)
    counts = {}
    for line in text:
        counts[line.split()[0]] = counts.get(line.split()[0], 0) + 1
    with open(path("eval.json"), encoding="utf-8") as f:
        users = set(find_all(json.load(f), "users"))
    check("their number", sum(n >= 3 for n in counts.values()) in users, str(users))


def find_all(node, key):
    if isinstance(node, dict):
        for k, v in node.items():
            if k == key and isinstance(v, int):
                yield v
            yield from find_all(v, key)
    elif isinstance(node, list):
        for v in node:
            yield from find_all(v, key)


# ---- weights ----
def tensors_read(name):
    with open(name, "rb") as f:
        blob = f.read()
    n = struct.unpack("<Q", blob[:8])[0]
    header, data = json.loads(blob[8:8 + n]), blob[8 + n:]
    meta = header.pop("__metadata__", {})
    return meta, {k: (v["dtype"], v["shape"], data[v["data_offsets"][0]:v["data_offsets"][1]]) for k, v in header.items()}


def tensors_write(name, meta, tensors):
    header, at = {"__metadata__": meta}, 0
    for k, (dtype, shape, data) in tensors.items():
        header[k] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    with open(name, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(d for _, _, d in tensors.values()))


def weights():
    """A damaged checkpoint is refused by everything that reads one, and the bundle that stands there stays."""
    shutil.copytree(path("run"), path("hurt"))
    best = path("hurt", "best.safetensors")
    meta, good = tensors_read(best)
    before = open(path("good.wrb"), "rb").read()
    first = next(iter(good))

    def value(at, number):
        dtype, shape, data = good[first]
        return {**good, first: (dtype, shape, data[:at] + struct.pack("<f", number) + data[at + 4:])}

    def reshape(name, shape, data=None):
        return {**good, name: ("F32", shape, good[name][2] if data is None else data)}

    rows, d = good["item.embedding"][1]
    cases = [("NaN among the weights", meta, value(8, float("nan")), "not finite"),
             ("infinity among the weights", meta, value(0, float("inf")), "not finite"),
             ("a tensor that is missing", meta, {k: v for k, v in good.items() if k != "final.gain"}, "no tensor final.gain"),
             ("a matrix turned round", meta, reshape("item.embedding", [d, rows]), "item.embedding has another shape"),
             ("a row too few", meta, reshape("item.embedding", [rows - 1, d], good["item.embedding"][2][:-4 * d]),
              "item.embedding has another shape"),
             ("a vector for a matrix", meta, reshape("item.embedding", [rows * d]), "item.embedding has another shape"),
             ("half precision", meta, {**good, "final.gain": ("F16", [d], good["final.gain"][2][:2 * d])}, "F32"),
             ("metadata of another width", {**meta, "d": str(2 * d)}, good, "shape"),
             ("metadata of a monster", {**meta, "n_items": "16777216", "d": "1024", "n_heads": "8", "n_kv_heads": "8"}, good, "shape"),
             ("metadata of a head too wide", {**meta, "d": "1024"}, good, "shape"),
             ("metadata that is no number", {**meta, "window": "wide"}, good, "window"),
             ("no metadata", {}, good, "metadata"),
             ("weights of another catalogue", {**meta, "n_items": str(rows - 1)},
              reshape("item.embedding", [rows - 1, d], good["item.embedding"][2][:-4 * d]), "items")]
    for name, m, t, why in cases:
        tensors_write(best, m, t)
        refuse(f"pack: {name}", [why, "hurt"], "pack", f"--data={path('good')}", f"--run={path('hurt')}", f"--out={path('good.wrb')}")
        refuse(f"eval: {name}", why, "eval", f"--data={path('good')}", f"--run={path('hurt')}")
    whole = open(path("run", "best.safetensors"), "rb").read()
    for cut in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        with open(best, "wb") as f:
            f.write(whole[:cut])
        refuse(f"pack: weights cut at {cut} bytes", "best.safetensors", "pack", f"--data={path('good')}", f"--run={path('hurt')}",
               f"--out={path('good.wrb')}")
    check("the bundle that stood there is unchanged", open(path("good.wrb"), "rb").read() == before)
    check("no draft beside it", not [n for n in listing(WORK) if n.startswith("good.wrb") and n != "good.wrb"])
    meta, state = tensors_read(path("run", "checkpoint.safetensors"))
    hurt = path("hurt", "checkpoint.safetensors")
    name = next(k for k in state if k.startswith("adam.v."))
    tensors_write(hurt, meta, {k: v for k, v in state.items() if k != name})
    refuse("resume: a moment of the optimiser is missing", name, "fit", f"--data={path('good')}", f"--out={path('hurt')}",
           "--resume", "--epochs=2", "--quiet")
    for cut in (3, len(before) // 2, len(before) - 1):
        refuse(f"eval: a bundle cut at {cut} bytes", "cut.wrb", "eval", f"--data={path('good')}",
               f"--bundle={write('cut.wrb', before[:cut])}")
    accept("another catalogue", "import", "--format=sasrec", write("other.txt", "1 1\n1 2\n1 3\n"), f"--out={path('other')}")
    refuse("a run on another catalogue", "items", "eval", f"--data={path('other')}", f"--run={path('run')}")
    refuse("a bundle on another catalogue", "items", "eval", f"--data={path('other')}", f"--bundle={path('good.wrb')}")


def divergence():
    refuse("a learning rate that blows up", "give a number", "fit", f"--data={path('good')}", f"--out={path('blown')}", "--lr=nan", *FIT)
    refuse("an infinite rate", "give a number", "fit", f"--data={path('good')}", f"--out={path('blown')}", "--lr=inf", *FIT)


# ---- a full disk ----
def full_disk():
    """Everything that writes, on a file system of a few KiB in a mount namespace of its own."""
    inside = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    small = path("small")
    os.makedirs(small)
    probe = subprocess.run([*inside, "mount", "-t", "tmpfs", "none", small], capture_output=True, text=True, check=False)
    if probe.returncode:
        print(f"SKIP a full disk: no mount namespaces here: {probe.stderr.strip()}")
        return "skipped"
    best = os.path.getsize(path("run", "best.safetensors"))
    report = path("left")

    def attempt(name, room_kib, put, *argv):
        """put: {name: source} laid there first; they must be the same afterwards, with nothing beside them."""
        script = [f"mount -t tmpfs -o size={room_kib}k none '{small}'"]
        script += [f"mkdir -p \"$(dirname '{small}/{to}')\"; cp -r '{source}' '{small}/{to}'" for to, source in put.items()]
        # What room is left beyond the allowance goes to a filler, so that the command itself meets the full disk.
        script += [f"(cd '{small}'; find . -type f | sort | xargs -r sha256sum) >'{report}.before'",
                   '"$@"; rc=$?',
                   f"(cd '{small}'; find . -type f | sort | xargs -r sha256sum) >'{report}.after'; exit $rc"]
        code, said = 0, ""
        done = subprocess.run([*inside, "sh", "-c", "; ".join(script), "sh", WRTRAIN, *argv], capture_output=True, text=True,
                              timeout=300, check=False)
        code, said = done.returncode, done.stderr.strip()
        line = said.splitlines()[-1] if said else ""
        same = filecmp.cmp(f"{report}.before", f"{report}.after", shallow=False)
        check(f"full disk: {name}", code == 1 and line.startswith(f"wrtrain {argv[0]}: ") and
              ("No space left" in line or "no room" in line), f"{code}: {line!r}")
        check(f"full disk: {name}: all as before", same, open(f"{report}.after", encoding="utf-8").read())

    data, run_dir = path("good"), path("run")
    kib = best // 1024
    bundle = os.path.getsize(path("good.wrb")) // 1024
    attempt("import", 12, {}, "import", "--format=sasrec", path("good.txt"), f"--out={small}/set")
    attempt("import over a data set", 4 * ((os.path.getsize(path("good/interactions.tsv")) // 4096) + 6), {"set": data}, "import",
            "--format=sasrec", path("good.txt"), f"--out={small}/set")
    attempt("simulate", 200, {}, "simulate", "--items=1000", "--users=200", f"--out={small}/centre")
    attempt("pack", max(bundle // 2, 8), {}, "pack", f"--data={data}", f"--run={run_dir}", f"--out={small}/a.wrb")
    attempt("pack over a bundle", bundle * 3 // 2 + 8, {"a.wrb": path("good.wrb")}, "pack", f"--data={data}", f"--run={run_dir}",
            f"--out={small}/a.wrb")
    attempt("teach", 16, {}, "teach", f"--data={data}", f"--run={run_dir}", f"--out={small}/answers", "--quiet")
    attempt("eval --lists", 4, {}, "eval", f"--data={data}", f"--bundle={path('good.wrb')}", f"--lists={small}/lists")
    attempt("eval --json", 4, {"filler": write("filler", b"x" * 4096)}, "eval", f"--data={data}", f"--run={run_dir}",
            f"--json={small}/figures")
    # A run may leave what it wrote whole: settings and the checkpoint of an earlier epoch, never a torn file.
    run_files = {"run/checkpoint.safetensors": path("run", "checkpoint.safetensors"), "run/settings.json": path("run", "settings.json"),
                 "run/log.jsonl": path("run", "log.jsonl")}
    script = [f"mount -t tmpfs -o size={5 * kib + 24}k none '{small}'", f"mkdir '{small}/run'"]
    script += [f"cp '{source}' '{small}/{to}'" for to, source in run_files.items()]
    script += ['"$@"; rc=$?', f"rm -rf '{path('kept')}'; cp -r '{small}/run' '{path('kept')}'; exit $rc"]
    done = subprocess.run([*inside, "sh", "-c", "; ".join(script), "sh", WRTRAIN, "fit", f"--data={data}", f"--out={small}/run",
                           "--resume", "--epochs=2", "--quiet"], capture_output=True, text=True, timeout=300, check=False)
    check("full disk: fit", done.returncode == 1 and "No space left" in done.stderr, f"{done.returncode}: {done.stderr[-200:]}")
    check("full disk: fit leaves no draft", not [n for n in listing(path("kept")) if ".tmp" in n], str(listing(path("kept"))))
    accept("and the run goes on elsewhere", "fit", f"--data={data}", f"--out={path('kept')}", "--resume", "--epochs=2", "--quiet")
    return "done"


# ---- names of what a bundle keeps ----
def kept_names():
    """A bad name is told with those that are good, before anything is written."""
    before = open(path("good.wrb"), "rb").read()
    for name in ("block.2.up.weight", "item.embedding", "block.0.norm1.gain", "b0.attention", "up", "", "b0.up,,b1.up", "block.0.up.weight,nothing"):
        refuse(f"pack --keep={name}", ["is no projection", "block.B.qkv.weight", "from 0 to 1"], "pack", f"--data={path('good')}",
               f"--run={path('run')}", f"--out={path('good.wrb')}", f"--keep={name}")
        refuse(f"eval --by-layer --keep={name}", "is no projection", "eval", f"--data={path('good')}", f"--run={path('run')}", "--by-layer",
               f"--keep={name}", "--users=5")
    refuse("eval --keep without --by-layer", "--by-layer", "eval", f"--data={path('good')}", f"--run={path('run')}", "--keep=b0.up")
    check("the bundle that stood there is unchanged after bad names", open(path("good.wrb"), "rb").read() == before)
    accept("a kept bundle", "pack", f"--data={path('good')}", f"--run={path('run')}", f"--out={path('keep.wrb')}", "--keep=block.1.up.weight")
    whole = bytearray(open(path("keep.wrb"), "rb").read())
    check("a kept bundle has a format of its own", struct.unpack_from("<I", whole, 8)[0] == 2 and struct.unpack_from("<I", before, 8)[0] == 1)
    entry = next(at for at in range(64, len(whole), 64) if whole[at:at + 16].rstrip(b"\0") == b"b1.up.low")
    whole[struct.unpack_from("<Q", whole, entry + 16)[0]] ^= 1
    refuse("a damaged second plane", ["b1.up.low", "damaged"], "eval", f"--data={path('good')}", f"--bundle={write('hurt.wrb', bytes(whole))}")


# ---- a kill at any moment ----
def kills(n):
    """SIGKILL while a bundle is replaced: it is the old or the new one, never half of either."""
    out = path("killed.wrb")
    accept("a bundle to replace", "pack", f"--data={path('good')}", f"--run={path('run')}", f"--out={out}")
    whole, r = 0, random.Random(9)
    start = time.monotonic()
    run("pack", f"--data={path('good')}", f"--run={path('run')}", f"--out={out}")
    took = time.monotonic() - start
    for _ in range(n):
        p = subprocess.Popen([WRTRAIN, "pack", f"--data={path('good')}", f"--run={path('run')}", f"--out={out}"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * r.random())
        p.send_signal(signal.SIGKILL)
        p.wait()
        whole += run("eval", f"--data={path('good')}", f"--bundle={out}", "--users=5")[0] == 0
    check(f"{n} kills while packing: the bundle is whole", whole == n, f"{whole}")


# ---- a long file ----
def long_file():
    users, items = max(ROWS // 100, 1), 20000
    name = path("long.txt")
    r = random.Random(3)
    with open(name, "w", encoding="ascii") as f:
        for first in range(0, ROWS, 100):
            u, at = first // 100 + 1, r.randrange(items)
            f.write("".join(f"{u} {(at + k * k) % items + 1}\n" for k in range(min(100, ROWS - first))))
    start = time.monotonic()
    p = subprocess.Popen([WRTRAIN, "import", "--format=sasrec", name, f"--out={path('long')}"], stderr=subprocess.PIPE)
    said = p.stderr.read().decode()
    _, status, usage = os.wait4(p.pid, 0)
    took, mib = time.monotonic() - start, usage.ru_maxrss / 1024
    check(f"{ROWS} rows are imported", os.waitstatus_to_exitcode(status) == 0, said[-200:])
    with open(path("long", "dataset.json"), encoding="utf-8") as f:
        summary = json.load(f)
    check("all of them", summary["interactions"] == ROWS and summary["users"] == users, str(summary))
    check("within 4 GiB", mib <= 4096, f"{mib:.0f} MiB")
    p = subprocess.Popen([WRTRAIN, "fit", f"--data={path('long')}", f"--out={path('long-run')}", *FIT, "--max-seconds=0.2"],
                         stderr=subprocess.PIPE)
    said = p.stderr.read().decode()
    _, status, usage = os.wait4(p.pid, 0)
    check("training on them begins and stops with a checkpoint", os.waitstatus_to_exitcode(status) == 0 and
          os.path.exists(path("long-run", "checkpoint.safetensors")), said[-200:])
    check("within 4 GiB too", usage.ru_maxrss / 2**20 <= 4, f"{usage.ru_maxrss / 1024:.0f} MiB")
    print(f"{ROWS} rows: import {took:.1f} s, {mib:.0f} MiB at most; training {usage.ru_maxrss / 1024:.0f} MiB")


def main():
    logs()
    data_sets()
    make_good()
    weights()
    divergence()
    kept_names()
    disk = full_disk()
    kills(12)
    long_file()
    print(f"{checks} checks, {len(failures)} failed; full disk {disk}")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        status = main()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(status)
