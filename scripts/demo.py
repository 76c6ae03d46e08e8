#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`./run demo`: a simulated customer-service centre from its log to an answered datagram: simulate, train, pack, serve, ask,
measure. Ends with a summary and out/demo.json; status 1 when a promise of the demo does not hold."""

import json
import os
import random
import sys
import time

import wr

SEED = 1
# About a minute on two cores; the time limit is for slower machines and leaves a model that serves all the same.
FIT = ["--epochs=10", "--max-seconds=150", "--lr=0.003", "--len=100", "--batch=32"]
LOAD_USERS = 20_000
LOAD_SECONDS = 10
LOAD_AT = 0.7  # of the highest rate
SHOWN, K = 8, 5


def step(number, text):
    print(f"\n[{number}/7] {text}", flush=True)


def read_tsv(path):
    with open(path, encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]


def pick_user(data):
    """(name, ids of the clicked items, oldest first) of a customer drawn by the seed, with a history worth reading."""
    history = {}
    for user, item, kind, _time in read_tsv(os.path.join(data, "interactions.tsv")):
        if kind == "click":
            history.setdefault(user, []).append(item)
    names = dict(read_tsv(os.path.join(data, "users.tsv")))
    user = random.Random(SEED).choice(sorted(u for u, items in history.items() if 12 <= len(items) <= 100))
    return names[user], history[user]


def ask(work, daemon, data, name, history, log, *options):
    command = wr.load_command(daemon, "ask", f"--user={name}", f"--history={','.join(history)}", f"--k={K}", f"--data={data}",
                              *options)
    answer = work.run_json(command, log)
    for i, item in enumerate(answer["items"], 1):
        why = "  (because of what was said)" if item["reason"] == 2 else ""
        print(f"      {i}. {item['title']}{why}")
    print(f"      answered in {answer['latency_us']:.0f} us, {answer['server_us']} us of them inside the server")


def train(work, data):
    """Returns the bundle, both files of expected lists and the figures of wrtrain eval."""
    run, bundle = work.path("run"), work.path("demo.wrb")
    lists, lists_steps = work.path("lists.tsv"), work.path("lists-steps.tsv")
    wrtrain = wr.tool("wrtrain")
    work.run([wrtrain, "fit", f"--data={data}", f"--out={run}", f"--seed={SEED}", *FIT], "fit.log", show=True)
    work.run([wrtrain, "pack", f"--data={data}", f"--run={run}", f"--rules={data}/rules.ini", f"--out={bundle}"], "pack.log")
    offline = work.run_json([wrtrain, "eval", f"--data={data}", f"--bundle={bundle}", "--baselines", f"--lists={lists}"],
                            "eval.log")
    work.run([wrtrain, "eval", f"--data={data}", f"--bundle={bundle}", f"--lists={lists_steps}", "--steps=3"], "eval-steps.log")
    return bundle, lists, lists_steps, offline


def talk(work, daemon, data):
    name, history = pick_user(data)
    titles = {row[0]: row[3] for row in read_tsv(os.path.join(data, "items.tsv"))}
    print(f"    {name} read, last of {len(history)}:")
    for item in history[-SHOWN:]:
        print(f"      - {titles[item]}")
    print("    and is recommended:")
    ask(work, daemon, data, name, history, "ask.log")
    said = random.Random(SEED).choice(read_tsv(os.path.join(data, "utterances.tsv")))[0]
    print(f'    now the same customer writes "{said}":')
    ask(work, daemon, data, name, history, "ask-said.log", f"--say={said}")


def load(work, daemon, lists):
    """Ten seconds of open-loop load below the highest rate, every answer checked, watched users' lists item for item."""
    options = [f"--users={LOAD_USERS}", "--workload=warm"]
    top = work.run_json(wr.load_command(daemon, "run", *options, "--populate", "--max=128", "--seconds=2"), "max.log")
    rate = max(top["qps"] * LOAD_AT, 100)
    result = work.run_json(wr.load_command(daemon, "run", *options, f"--rate={rate:.0f}", f"--seconds={LOAD_SECONDS}",
                                           f"--lists={lists}"), "load.log", show=True, check=False)
    return top, result


def summary(r, took):
    model, popular, knn = r["hr10"], r["hr10_popularity"], r["hr10_item_knn"]
    bound = "\n  (the load generator was the bottleneck of this run, not the server)" if r["generator_bound"] else ""
    return f"""
Summary, after {took:.0f} s in all
  {r['qps']:,.0f} answers a second on one core during the load ({r['max_qps']:,.0f} as fast as they come), sent {r['sent']:,},
  answered {r['answered']:,}, lost {r['lost']}, wrong {r['wrong']} ({r['lists_checked']:,} of them compared with their expected list){bound}
  half of them within {r['p50_us']:,.0f} us, 99 % within {r['p99_us']:,.0f} us, 99.9 % within {r['p999_us']:,.0f} us of the moment they were due
  hit rate: the next item that a customer really opened stands among the ten that came over the wire for {model:.1%} of
  {r['users']:,} customers; the ten most popular items hit {popular:.1%}, item-kNN {knn:.1%}
  lists over the wire equal to those computed offline: {r['lists_equal']:,} of {r['users']:,} customers
Written: out/demo.json; logs: out/demo/. Next: ./run test, ./run bench, README.md"""


def judge(r):
    """Promises that do not hold."""
    broken = []
    if r["wrong"] or r["lists_equal"] != r["users"]:
        broken.append("an answer was wrong")
    if r["answered"] == 0:
        broken.append("nothing was answered")
    if r["hr10"] < 1.5 * r["hr10_popularity"]:
        broken.append("the hit rate is below 1.5 times popularity's")
    if r["hr10"] <= r["hr10_item_knn"]:
        broken.append("the hit rate is not above item-kNN's")
    return broken


def body():
    start = time.monotonic()
    cores = os.cpu_count()
    with wr.Work("demo") as work:
        data = work.path("data")
        step(1, "simulating a customer-service centre: 2,000 articles and products, 6,000 customers")
        print("    " + work.run([wr.tool("wrtrain"), "simulate", f"--out={data}", f"--seed={SEED}"], "simulate.log")
              .strip().splitlines()[-1])
        step(2, "training on its log, about a minute")
        bundle, lists, lists_steps, offline = train(work, data)
        server = 1 if cores > 1 else 0
        if cores < 2:
            wr.say("run: one core only: server and load generator take turns on it, latencies mean little")
        step(3, f"serving the model on one core (CPU {server})")
        daemon = wr.Daemon(work, bundle, cpus=str(server), overrides={"sessions.rows_per_lcore": 2 * LOAD_USERS})
        status = daemon.ctl("status")
        print(f"    isa {status['isa']}, {status['memory_bytes'] / 1e6:.0f} MB, "
              f"{'hugepages' if wr.huge() else 'ordinary pages'}, memif")
        step(4, "asking it")
        talk(work, daemon, data)
        step(5, "hit rate over the wire: every customer's history is sent, the answer compared with what was opened next")
        wire = work.run_json(wr.load_command(daemon, "eval", f"--data={data}", f"--lists={lists}"), "wire.log", show=True,
                             check=False)
        step(6, f"{LOAD_SECONDS} seconds of load at {LOAD_AT:.0%} of the highest rate")
        top, run = load(work, daemon, lists_steps)
        if daemon.stop() != 0:
            raise wr.Failure(f"wirerankd ended with status {daemon.process.returncode} (log: {daemon.process.log})")
        result = {name: run[name] for name in ("qps", "p50_us", "p99_us", "p999_us", "sent", "answered", "wrong", "lost")}
        result |= {"hr10": wire["hr"], "ndcg10": wire["ndcg"],
                   "hr10_popularity": offline["popularity"]["seen_filtered"]["hr10"],
                   "hr10_item_knn": offline["item_knn"]["seen_filtered"]["hr10"], "users": wire["users"],
                   "lists_equal": wire["compared"] - wire["different"], "lists_checked": run["watched"]["lists_checked"],
                   "max_qps": top["qps"], "rate": run["rate"], "late": run["late"], "generator_bound": run["generator_bound"],
                   "isa": status["isa"], "huge": wr.huge(), "seconds": round(time.monotonic() - start, 1)}
        with open(os.path.join(wr.OUT, "demo.json"), "w", encoding="utf-8") as f:
            json.dump(result, f, indent=2)
            f.write("\n")
        step(7, "done")
        print(summary(result, time.monotonic() - start))
        broken = judge(result)
        for promise in broken:
            wr.say(f"run: demo: {promise}")
        return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(wr.main(body))
