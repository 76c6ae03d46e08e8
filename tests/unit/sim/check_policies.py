# SPDX-License-Identifier: BSD-3-Clause
"""check_policies.py WRTRAIN RECORD: one world of the committed record, measured again, must give the recorded figures."""
import json
import subprocess
import sys

wrtrain, record_path = sys.argv[1:]
with open(record_path) as f:
    record = json.load(f)
assert [w["seed"] for w in record["worlds"]] == [1, 2, 3], "the record holds seeds 1 to 3"
for w in record["worlds"]:
    closed = (w["item_knn"]["ctr"] - w["popularity"]["ctr"]) / (w["oracle"]["ctr"] - w["popularity"]["ctr"])
    assert 0.30 <= closed <= 0.70, f"seed {w['seed']}: item-kNN closes {closed:.3f}"

want = record["worlds"][1]
args = [f"--{k}={record[k]}" for k in ("items", "users", "states")]
out = subprocess.run([wrtrain, "simulate", "--policies", "--seed=2", "--seeds=1", *args],
                     stdout=subprocess.PIPE, check=True).stdout
got = json.loads(out)["worlds"][0]
for policy in ("random", "popularity", "item_knn", "oracle"):
    for rate in ("ctr", "cvr"):
        a, b = got[policy][rate], want[policy][rate]
        assert abs(a - b) <= 1e-9, f"seed 2, {policy}, {rate}: {a} now, {b} in {record_path}"
print("seed 2 gives the recorded figures")
