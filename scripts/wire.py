# SPDX-License-Identifier: BSD-3-Clause
"""Every test user's list asked of wirerankd over memif, at each ISA level of this CPU, beside the bundle's offline int8 lists."""

import filecmp

import wr


def offline(work, data, bundle, isa):
    """(figures, file of lists) of int8 evaluation at one level."""
    path = work.path(f"lists-{isa}.tsv")
    figures = work.run_json([wr.tool("wrtrain"), "eval", f"--data={data}", f"--bundle={bundle}", "--int8", f"--isa={isa}",
                             f"--lists={path}"], f"eval-{isa}.log", timeout=3600)
    return figures, path


def ask(work, data, bundle, isa, lists):
    """(figures, the daemon's status) of the same users over the wire, each answer compared with its line of lists."""
    daemon = wr.Daemon(work, bundle, overrides={"server.isa": isa, "sessions.rows_per_lcore": "8192"})
    result = work.run_json(wr.load_command(daemon, "eval", f"--data={data}", f"--lists={lists}", "--quiet"), f"wire-{isa}.log",
                           timeout=1800, check=False)
    status = daemon.ctl("status")
    if daemon.stop() != 0:
        raise wr.Failure(f"wirerankd ended with an error, see {daemon.process.log}")
    return result, status


def levels(work, data, bundle, users):
    """({isa: {"offline", "wire", "status"}}, problems): nothing is wrong when every level gives the same lists offline and all
    users got theirs over the wire."""
    found, problems, first = {}, [], None
    for isa in wr.isa_levels():
        figures, lists = offline(work, data, bundle, isa)
        first = first or lists
        if not filecmp.cmp(first, lists, shallow=False):
            problems.append(f"the offline lists of {isa} differ from those of ref")
        wire, status = ask(work, data, bundle, isa, lists)
        if wire["users"] != users or wire["compared"] != users:
            problems.append(f"{isa}: {wire['compared']} of {users} users compared")
        if wire["different"] or wire["wrong"] or wire["failed"] or wire["errors"]:
            problems.append(f"{isa}: {wire['different']} lists differ, {wire['wrong']} answers wrong, {wire['failed']} unanswered, "
                            f"{wire['errors']} errors")
        found[isa] = {"offline": figures, "wire": wire, "status": status}
    return found, problems


def said(isa, wire):
    """One level in words."""
    return (f"{isa}: HR@10 {wire['hr']:.4f} NDCG@10 {wire['ndcg']:.4f} on the wire (unfiltered {wire['hr_unfiltered']:.4f} "
            f"{wire['ndcg_unfiltered']:.4f}), {wire['compared'] - wire['different']} of {wire['compared']} lists equal")
