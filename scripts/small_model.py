# SPDX-License-Identifier: BSD-3-Clause
"""A model for what must be proven of doors, not of recommendations: the simulated centre with 1,500 customers, two epochs, packed
below out/small, each step only once. About half a minute the first time; wants no data set."""

import os
import shutil

import wr

FOLDER = os.path.join(wr.OUT, "small")
DATA, BUNDLE = os.path.join(FOLDER, "data"), os.path.join(FOLDER, "small.wrb")


def packed(work):
    """Path of the bundle."""
    if os.path.exists(BUNDLE):
        return BUNDLE
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    run = work.path("small-run")
    wrtrain = wr.tool("wrtrain")
    work.run([wrtrain, "simulate", f"--out={DATA}", "--users=1500", "--seed=1"], "small-simulate.log")
    work.run([wrtrain, "fit", f"--data={DATA}", f"--out={run}", "--seed=1", "--epochs=2", "--len=100", "--batch=32", "--lr=0.003"],
             "small-fit.log")
    work.run([wrtrain, "pack", f"--data={DATA}", f"--run={run}", f"--rules={DATA}/rules.ini", f"--out={BUNDLE}"], "small-pack.log")
    return BUNDLE


def lists(work, bundle, users, steps):
    """Expected lists of so many users: the history, then so many clicks one by one; the file's path."""
    path = work.path("lists.tsv")
    work.run([wr.tool("wrtrain"), "eval", f"--data={DATA}", f"--bundle={bundle}", "--int8", f"--lists={path}", f"--users={users}",
              f"--steps={steps}"], "small-lists.log")
    return path
