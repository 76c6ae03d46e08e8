# SPDX-License-Identifier: BSD-3-Clause
"""A wirerankd of a test's own on memif, and wrload's verdict on what it answers."""
import json
import os
import subprocess
import time


class Daemon:
    """with Daemon(wirerankd, wrload, folder, name, bundle) as d: serves until the block ends; ended_well says how it went."""

    def __init__(self, wirerankd, wrload, folder, name, bundle):
        self.programs, self.folder, self.ended_well = (wirerankd, wrload), folder, None
        self.socket = self.path("d.sock")
        with open(self.path("d.ini"), "w", encoding="utf-8") as f:
            f.write(f"[server]\nname = {name}\nlcores = 0\n[bundle]\npath = {bundle}\n[port]\nsocket = {self.socket}\n"
                    "[memory]\nhuge = no\n[sessions]\nrows_per_lcore = 1024\n")

    def path(self, name):
        return os.path.join(self.folder, name)

    def said(self):
        with open(self.path("d.log"), encoding="utf-8") as f:
            return f.read()

    def __enter__(self):
        self.out = open(self.path("d.log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([self.programs[0], f"--config={self.path('d.ini')}"], stdout=self.out, stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            if "\nready: " in "\n" + self.said():
                return self
            time.sleep(0.05)
        raise SystemExit(f"wirerankd did not start: {self.said()[-500:]}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.ended_well = self.process.wait(20) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.ended_well = False
        self.out.close()

    def wrload(self, verb, *options):
        subprocess.run([self.programs[1], verb, f"--memif={self.socket}", "--quiet", "--wait=20", f"--json={self.path('out.json')}",
                        *options], capture_output=True, timeout=120, check=False)
        with open(self.path("out.json"), encoding="utf-8") as f:
            return json.load(f)
