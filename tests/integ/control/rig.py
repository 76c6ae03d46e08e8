# SPDX-License-Identifier: BSD-3-Clause
"""What the Python tests of wrctl share: a daemon on memif in a temporary folder, wrctl and wrload against it, counted checks.
The programs come from the environment: WIRERANKD, WRCTL, WRLOAD, MAKE_BUNDLE."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

WIRERANKD, WRCTL, WRLOAD, MAKE_BUNDLE = (os.environ[n] for n in ('WIRERANKD', 'WRCTL', 'WRLOAD', 'MAKE_BUNDLE'))
failures = []
n_checks = 0


def check(name, ok, detail=''):
    global n_checks
    n_checks += 1
    print(f'{"ok  " if ok else "FAIL"} {name} {detail if not ok else ""}', flush=True)
    if not ok:
        failures.append(name)
    return ok


class Rig:
    """A folder with a bundle; daemons and other children, all stopped by their id at the end."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='wrctl-test-')
        self.children = []
        self.names = []

    def __enter__(self):
        for s in (signal.SIGINT, signal.SIGTERM):
            signal.signal(s, lambda n, _f: sys.exit(128 + n))
        self.bundle = self.path('model.wrb')
        subprocess.run([MAKE_BUNDLE, self.bundle], check=True)
        return self

    def __exit__(self, *_):
        for p in reversed(self.children):
            self.stop(p)
        for name in self.names:
            shutil.rmtree(os.path.join('/var/run/dpdk', name), ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, argv, **popen):
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, **popen)
        self.children.append(p)
        return p

    def stop(self, p, how=signal.SIGTERM):
        if p.poll() is None:
            p.send_signal(signal.SIGCONT)
            p.send_signal(how)
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                check('a child ends in time', False, str(p.args))
        if p in self.children:
            self.children.remove(p)
        return p.returncode

    def daemon(self, cpus='1', name=None, **keys):
        """keys: section__key=value. Waits for its ready line."""
        return Daemon(self, cpus, name or f'wrc{os.getpid()}_{len(self.names)}', keys)


class Daemon:
    def __init__(self, rig, cpus, name, keys):
        self.rig, self.name = rig, name
        if name not in rig.names:
            rig.names.append(name)
        self.socket = rig.path(f'{name}.sock')
        sets = {'server.name': name, 'server.lcores': cpus, 'bundle.path': rig.bundle, 'port.socket': self.socket,
                'sessions.rows_per_lcore': '8192', 'memory.huge': 'no',
                **{k.replace('__', '.'): v for k, v in keys.items()}}
        self.log = rig.path(f'{name}.log')
        with open(self.log, 'w', encoding='utf-8') as out:
            self.process = rig.start([WIRERANKD, *(f'--set={k}={v}' for k, v in sets.items())], stdout=out,
                                     stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while not re.search('^ready:', self.said(), re.M):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f'the daemon does not start:\n{self.said()}')
            time.sleep(0.05)

    def said(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def stop(self, how=signal.SIGTERM):
        return self.rig.stop(self.process, how)

    def wrctl(self, *words, timeout=60):
        """(exit status, stdout, stderr)"""
        return wrctl(f'--name={self.name}', *words, timeout=timeout)

    def json(self, *words):
        """Exit status and JSON."""
        rc, out, err = self.wrctl('--json', *words)
        try:
            return rc, json.loads(out)
        except ValueError:
            raise SystemExit(f'wrctl {words}: status {rc}, no JSON: {out[:300]} {err[:300]}') from None

    def load_command(self, *options, verb='run', queues=1):
        return [WRLOAD, verb, f'--memif={self.socket}', f'--queues={queues}', '--core=0', '--quiet', '--wait=20', *options]

    def load(self, *options, **kw):
        """Runs wrload to its end; its result."""
        out = self.rig.path('load.json')
        run = subprocess.run([*self.load_command(*options, **kw), f'--json={out}'], capture_output=True, text=True,
                             timeout=120, check=False)
        if not os.path.exists(out):
            raise SystemExit(f'wrload wrote nothing: {run.returncode} {run.stderr[-500:]}')
        with open(out, encoding='utf-8') as f:
            result = json.load(f)
        os.unlink(out)
        return result


def wrctl(*words, timeout=60):
    run = subprocess.run([WRCTL, *words], capture_output=True, text=True, timeout=timeout, check=False,
                         stdin=subprocess.DEVNULL)
    return run.returncode, run.stdout, run.stderr


def main(tests):
    """Runs every test; exit status 0 or 1."""
    with Rig() as rig:
        for test in tests:
            print(f'-- {test.__name__}', flush=True)
            test(rig)
    print(f'{n_checks} checks, {len(failures)} failed {failures if failures else ""}')
    sys.exit(1 if failures or not n_checks else 0)
