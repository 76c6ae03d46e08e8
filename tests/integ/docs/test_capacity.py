# SPDX-License-Identifier: BSD-3-Clause
"""Every command of docs/capacity.md (lines `$ wrctl plan …` in ``` blocks) still gives what stands below it: the words, and the
numbers within 3 %. `test_capacity.py REPO BUILD --write` makes the page anew."""
import os
import re
import subprocess
import sys

repo, build = map(os.path.abspath, sys.argv[1:3])
page = os.path.join(repo, 'docs/capacity.md')
wrctl = os.path.join(build, 'app/wrctl/wrctl')
BLOCK = re.compile(r'^```\n\$ (wrctl plan[^\n]*)\n(.*?)^```$', re.M | re.S)


def output(command):
    run = subprocess.run([wrctl, *command.split()[1:]], capture_output=True, text=True, timeout=60, check=False, cwd=repo)
    if run.returncode:
        sys.exit(f'{command}: {run.stderr}')
    return run.stdout


def same(a, b):
    """Word by word; numbers may differ by 3 %, for a field more in a structure is no other plan."""
    x, y = a.split(), b.split()
    if len(x) != len(y):
        return False
    for v, w in zip(x, y):
        try:
            near = abs(float(v) - float(w)) <= 0.03 * abs(float(w)) + 0.11
        except ValueError:
            near = v == w
        if not near:
            return False
    return True


with open(page, encoding='utf-8') as f:
    text = f.read()
if len(BLOCK.findall(text)) < 4:
    sys.exit('capacity.md has lost its examples')
if sys.argv[3:] == ['--write']:
    with open(page, 'w', encoding='utf-8') as f:
        f.write(BLOCK.sub(lambda m: f'```\n$ {m[1]}\n{output(m[1])}```', text))
    sys.exit(0)
for command, stands in BLOCK.findall(text):
    gives = output(command)
    if not same(stands, gives):
        sys.exit(f'{command}\ngives\n{gives}\nand docs/capacity.md says\n{stands}\nmake it anew: {sys.argv[0]} REPO BUILD --write')
    print(f'as the page says: {command}')
