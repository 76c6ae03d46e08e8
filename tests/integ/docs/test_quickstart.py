# SPDX-License-Identifier: BSD-3-Clause
"""Runs the ```sh blocks of docs/quickstart.md in order, as one bash -e script, in an empty folder and a network namespace of its
own. usage: test_quickstart.py REPO BUILD. Status 77 where a namespace cannot be had."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

repo, build = map(os.path.abspath, sys.argv[1:3])
if os.geteuid() or subprocess.run(['unshare', '-n', 'true'], check=False, stderr=-3).returncode:
    print('SKIP: a network namespace needs root')
    sys.exit(77)
with open(os.path.join(repo, 'docs/quickstart.md'), encoding='utf-8') as f:
    blocks = re.findall(r'^```sh\n(.*?)^```$', f.read(), re.M | re.S)
if len(blocks) < 4:
    sys.exit(f'quickstart.md has {len(blocks)} blocks of commands')
work = tempfile.mkdtemp(prefix='wirerank-quickstart-')
programs = ':'.join(os.path.join(build, 'app', p) for p in ('wrtrain', 'wirerankd', 'wrctl', 'wrload'))
env = {**os.environ, 'PATH': f'{programs}:/usr/sbin:/usr/bin:/sbin:/bin', 'REPO': repo, 'PYTHONDONTWRITEBYTECODE': '1'}
status = 1
try:
    script = 'set -euxo pipefail\n' + '\n'.join(blocks) + '\nset +x; echo quickstart: every command ran\n'
    run = subprocess.run(['unshare', '-n', 'bash', '-c', script], cwd=work, env=env, stdin=subprocess.DEVNULL, timeout=280,
                         check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(run.stdout)
    status = 0 if run.returncode == 0 and run.stdout.endswith('every command ran\n') else 1
finally:
    try:
        with open(os.path.join(work, 'daemon.pid'), encoding='utf-8') as f:
            pid = int(f.read())
        if os.path.realpath(f'/proc/{pid}/cwd') == os.path.realpath(work):
            os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        pass
    shutil.rmtree(work, ignore_errors=True)
sys.exit(status)
