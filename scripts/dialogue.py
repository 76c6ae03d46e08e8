# SPDX-License-Identifier: BSD-3-Clause
"""dialogue.py HOST PORT LISTS USERS RESULT: the example client (docs/examples/wr_client.py) talks to a real daemon; every answer is
held against the protocol and the expected lists of wrtrain eval. Writes {"problems": […], "figures": {…}} to RESULT. In the
middle it says "restart now" and waits for a line: the daemon is then to be another one with two workers."""

import importlib.util
import json
import os
import sys
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
spec = importlib.util.spec_from_file_location("wr_client", os.path.join(ROOT, "docs", "examples", "wr_client.py"))
wr_client = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wr_client)

FIRST_MS, STEP_MS, K = 1600000000000, 60000, 10  # of an expected list's events (docs/architecture.md, "Lists")
MOST_HISTORY = 118  # what one RECOMMEND takes beside ASK, EVENTS and COOKIE, with room to spare


class Talk:
    def __init__(self, host, port):
        self.client = wr_client.Client(host, port, timeout=0.4)
        self.problems = []
        self.n = Counter()

    def check(self, what, ok, detail=""):
        self.n["checks"] += 1
        if not ok and len(self.problems) < 20:
            self.problems.append(f"{what}: {detail}" if detail else what)

    def same(self, what, answer, expected):
        got = [row[0] for row in answer["items"]]
        self.n["lists"] += 1
        self.check(what, answer["status"] == wr_client.OK and got == expected, f"{got} instead of {expected}")

    def hello(self):
        h = self.client.hello()
        self.check("HELLO", h["status"] == wr_client.OK and h["version_max"] >= 1 and len(h["shards"]) == 256 and
                   max(h["shards"]) < len(h["ports"]) and h["shard_epoch"] == h["epoch"] and "cookie" in h, str(h))
        return h

    def short_answer(self, user):
        """An unproven source gets no more than it sent: 9 items for 256 bytes; with HELLO's cookie all 10."""
        proof, self.client.cookie = self.client.cookie, None
        answer = self.client.exchange(wr_client.RECOMMEND, user, [wr_client.ask(K)], pad_to=256)
        self.check("unproven answer is shortened", len(answer["items"]) == 9 and "shortened" in answer["flags"], str(answer))
        self.check("unproven answer carries a cookie", "cookie" in answer)
        self.client.cookie = proof
        answer = self.client.recommend(user, K)
        self.check("proven answer is whole", len(answer["items"]) == K and "shortened" not in answer["flags"], str(answer))

    def unknown(self, user):
        answer = self.client.recommend(user, K)
        self.check("an unknown user's history is wanted", "history_wanted" in answer["flags"] and answer["degrade"] == 1 and
                   user in self.client.wanted, str(answer))

    def click(self, user, item, i, by_event, expected):
        """The i-th click of the user, told by EVENT or with the question; told again it changes nothing."""
        rows = wr_client.events([(item, wr_client.CLICK, FIRST_MS + STEP_MS * i, 0, 0)])
        question = [wr_client.ask(K)]
        if by_event:
            answer = self.client.call(wr_client.EVENT, user, [rows])
            self.check("EVENT", answer["status"] == wr_client.OK and answer["durability"] >= 1 and not answer["items"] and
                       "duplicate" not in answer["flags"], str(answer))
        else:
            question = [rows] + question
        answer = self.client.call(wr_client.RECOMMEND, user, question)
        self.same("list after a click", answer, expected)
        self.check("a new click is none that was known", "duplicate" not in answer["flags"], str(answer["flags"]))
        answer = self.client.call(wr_client.EVENT, user, [rows])
        self.check("a click told twice is a duplicate", "duplicate" in answer["flags"], str(answer["flags"]))
        self.same("list after the duplicate", self.client.recommend(user, K), expected)

    def forget(self, user, expected):
        proof, self.client.cookie = self.client.cookie, None
        answer = self.client.exchange(wr_client.FORGET, user, [], pad_to=256)
        self.check("FORGET without proof is denied", answer["status"] == wr_client.DENIED, str(answer))
        self.client.cookie = proof
        self.same("list after the denied FORGET", self.client.recommend(user, K), expected)
        self.check("FORGET", self.client.forget(user)["status"] == wr_client.OK)
        self.unknown(user)

    def user(self, user, steps):
        """steps: [(items told, list)], the whole history first."""
        past, expected = steps[0]
        rows = [(item, wr_client.CLICK, FIRST_MS + STEP_MS * i) for i, item in enumerate(past)]
        asked = []
        self.unknown(user)
        answer = self.client.recommend(user, K, past=lambda u: asked.append(u) or rows)
        self.check("the history is asked for once", asked == [user] and "history_wanted" not in answer["flags"], str(answer))
        self.same("list after the history", answer, expected)
        for i, (items, after) in enumerate(steps[1:]):
            self.n["changed"] += after != expected
            self.click(user, items[0], len(past) + i, i % 2 == 0, after)
            expected = after
        self.forget(user, expected)
        self.n["users"] += 1


def read_lists(path):
    """{user: [(events, list) of step 0, 1, …]}."""
    users = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("#"):
                continue
            user, _step, told, items = line.rstrip("\n").split("\t")
            users.setdefault(int(user), []).append(([int(i) for i in told.split(",") if i], [int(i) for i in items.split(",") if i]))
    return {u: steps for u, steps in users.items() if 0 < len(steps[0][0]) <= MOST_HISTORY and len(steps) > 1}


def follow(talk, users):
    """The same client, another daemon: after what it must try again, everybody is asked at his new port."""
    print("restart now", flush=True)
    sys.stdin.readline()
    client, before = talk.client, talk.client.table
    answers = {}
    for user in users:
        for _ in range(5):
            try:
                answers[user] = client.recommend(user, K)
                break
            except TimeoutError:
                talk.n["timeouts"] += 1
    talk.check("everybody is answered after the restart", len(answers) == len(users), f"{len(answers)} of {len(users)}")
    talk.check("the shard table is followed", len(client.table["ports"]) == 2 and
               client.table["shard_epoch"] != before["shard_epoch"], str(client.table))
    late = list(answers.values())[2:]
    talk.check("everybody is unknown again", all("history_wanted" in a["flags"] and len(a["items"]) == K for a in late))
    talk.check("both ports are used", len({wr_client.port_of_user(client.table, u) for u in users}) == 2)


def main():
    host, port, lists, n_users, result = sys.argv[1:]
    talk = Talk(host, int(port))
    users = list(read_lists(lists).items())[:int(n_users)]
    try:
        talk.hello()
        talk.short_answer(users[0][0])
        for user, steps in users:
            talk.user(user, steps)
        follow(talk, [user for user, _ in users])
    except (OSError, ValueError) as why:
        talk.problems.append(str(why))
    talk.check("enough was compared", talk.n["users"] == int(n_users) and talk.n["changed"] > 0, str(dict(talk.n)))
    with open(result, "w", encoding="utf-8") as f:
        json.dump({"problems": talk.problems, "figures": talk.n}, f)
    return 0


if __name__ == "__main__":
    sys.exit(main())
