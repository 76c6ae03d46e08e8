# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the installed library share: `meson install` into a temporary folder, compilers with pkg-config's
flags, counted checks."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile

SOURCE, BUILD = os.environ['SOURCE'], os.environ['BUILD']
EXAMPLE = os.path.join(SOURCE, 'docs', 'examples', 'client_example.c')
WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Werror']
failures = []
n_checks = 0


def check(name, ok, detail=''):
    global n_checks
    n_checks += 1
    print(f'{"ok  " if ok else "FAIL"} {name} {detail if not ok else ""}', flush=True)
    if not ok:
        failures.append(name)
    return bool(ok)


def run(argv, **kw):
    """(exit status, stdout, stderr)"""
    kw.setdefault('stdin', subprocess.DEVNULL)
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=60, **kw)
    return p.returncode, p.stdout, p.stderr


def skip_without(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        print(f'SKIP: {", ".join(missing)} missing (./run test installs them)')
        sys.exit(77)


class Installed:
    """A context: DESTDIR with everything that `meson install` puts there."""

    def __enter__(self):
        for s in (signal.SIGINT, signal.SIGTERM):
            signal.signal(s, lambda n, _f: sys.exit(128 + n))
        self.dir = tempfile.mkdtemp(prefix='libwirerank-test-')
        self.dest = os.path.join(self.dir, 'dest')
        rc, out, err = run(['meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', '--destdir', self.dest])
        if rc:
            raise SystemExit(f'meson install: {out}{err}')
        self.pc = self.one('libwirerank.pc')
        self.shared = self.one('libwirerank.so')
        self.static = self.one('libwirerank.a')
        self.include = os.path.dirname(self.one('wirerank.h'))
        self.env = {**os.environ, 'PKG_CONFIG_PATH': os.path.dirname(self.pc), 'PKG_CONFIG_SYSROOT_DIR': self.dest,
                    'LD_LIBRARY_PATH': os.path.dirname(self.shared)}
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def one(self, name):
        found = glob.glob(os.path.join(self.dest, '**', name), recursive=True)
        if len(found) != 1:
            raise SystemExit(f'{name}: installed {len(found)} times')
        return found[0]

    def path(self, name):
        return os.path.join(self.dir, name)

    def flags(self, *options):
        rc, out, err = run(['pkg-config', *options, 'libwirerank'], env=self.env)
        if rc:
            raise SystemExit(f'pkg-config {options}: {err}')
        return out.split()

    def compile(self, output, source, compiler='gcc', standard='-std=c11', static=False):
        """A program; how the compiler ended, and what it said."""
        libs = self.flags('--libs')
        if static:
            libs = [self.static if f == '-lwirerank' else f for f in self.flags('--libs', '--static')]
        rc, out, err = run([compiler, standard, '-D_GNU_SOURCE', *WARNINGS, source, *self.flags('--cflags'), *libs, '-o',
                            self.path(output)], env=self.env)
        return rc, out + err


def finish():
    print(f'{n_checks} checks, {len(failures)} failed {failures if failures else ""}')
    sys.exit(1 if failures or not n_checks else 0)
