# SPDX-License-Identifier: BSD-3-Clause
"""Programs of libwirerank against a real server: a daemon on a tap interface in a namespace of its own, asked by the
installed example (shared, static), by wrctl ask and by client_bench, over ordinary sockets."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import installed as i
from installed import check

WIRERANKD, WRCTL, MAKE_BUNDLE, CLIENT_BENCH = (os.environ[n] for n in ('WIRERANKD', 'WRCTL', 'MAKE_BUNDLE', 'CLIENT_BENCH'))
NAME = f'wrci{os.getpid()}'
SERVER, CLIENT = '10.47.0.1', '10.47.0.9'


class Server:
    """A namespace, and a daemon whose tap lies in it."""

    def __init__(self, folder):
        self.folder = folder
        self.bundle = os.path.join(folder, 'model.wrb')
        self.log = os.path.join(folder, 'daemon.log')
        self.process = None
        subprocess.run([MAKE_BUNDLE, self.bundle], check=True)

    def __enter__(self):
        subprocess.run(['ip', 'netns', 'add', NAME], check=True)
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGTERM)
        subprocess.run(['ip', 'netns', 'del', NAME], check=False)

    def start(self):
        keys = {'server.name': NAME, 'server.lcores': '0', 'bundle.path': self.bundle, 'port.kind': 'tap',
                'port.interface': 'wrt0', 'sessions.rows_per_lcore': '1024', 'memory.huge': 'no'}
        with open(self.log, 'w', encoding='utf-8') as out:
            self.process = subprocess.Popen(['ip', 'netns', 'exec', NAME, WIRERANKD, *(f'--set={k}={v}' for k, v in keys.items())],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while True:
            with open(self.log, encoding='utf-8', errors='replace') as f:
                said = f.read()
            if re.search('^ready:', said, re.M):
                break
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f'the daemon does not start:\n{said}')
            time.sleep(0.05)
        for words in (('addr', 'add', f'{CLIENT}/24', 'dev', 'wrt0'), ('link', 'set', 'wrt0', 'up')):
            subprocess.run(['ip', '-n', NAME, *words], check=True)

    def stop(self, how):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def run(self, *argv, **kw):
        return i.run(['ip', 'netns', 'exec', NAME, *argv], **kw)

    def wrctl(self, *words):
        return self.run(WRCTL, f'--name={NAME}', *words)


def in_two_parts(server, argv, text, env):
    """Like server.run, the second half of the input only when the first was answered."""
    half = text.index('\n', len(text) // 2) + 1
    with subprocess.Popen(['ip', 'netns', 'exec', NAME, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=env, text=True) as p:
        p.stdin.write(text[:half])
        p.stdin.flush()
        time.sleep(0.5)
        out, err = p.communicate(text[half:], timeout=30)
    return p.returncode, out, err


def example(lib, server):
    clicks = ''.join(f'user{n % 20} {1 + n % 50}\n' for n in range(200))
    for name, static in (('shared', False), ('static', True)):
        rc, said = lib.compile(name, i.EXAMPLE, static=static)
        check(f'example, {name}: builds', rc == 0, said)
        rc, out, err = in_two_parts(server, [lib.path(name), f'{SERVER}:4700'], clicks, lib.env)
        lines = re.findall(r'^(user\d+):((?: \d+){10}) \(\d+ us, server 0\)$', out, re.M)
        check(f'example, {name}: 200 lists of ten', rc == 0 and len(lines) == 200, (rc, len(lines), out[-300:], err))
        # The second program finds users that the first has told.
        told = int(re.search(r'(\d+) histories', err)[1])
        check(f'example, {name}: tells the history of unknown users', told == (0 if static else 20), err)
        check(f'example, {name}: different users get different lists', len({items for _, items in lines}) > 5, len(lines))
    source = lib.path('clicks')
    with open(source, 'w', encoding='utf-8') as f:
        f.write(clicks)
    with open(source, encoding='utf-8') as f:
        rc, out, _ = server.run(lib.path('shared'), f'{SERVER}:4700', env=lib.env, stdin=f)
    check('example: from a file', rc == 0 and out.count('server 0)') == 200, (rc, out[-300:]))
    rc, out, err = server.run(lib.path('shared'), f'{SERVER}:4700', env=lib.env, stdin=None, input='last 7')
    check('example: a last line without its end', rc == 0 and out.startswith('last: '), (rc, out, err))
    rc, out, _ = server.run(lib.path('shared'), f'{SERVER}:4799', env=lib.env, stdin=None, input='nobody 7\n')
    check('example: nobody there: says so, ends', rc == 1 and out == 'nobody: nothing (try again)\n', (rc, out))
    rc, out, _ = server.run(lib.path('shared'), f'{SERVER}:4799', SERVER, env=lib.env, stdin=None,
                            input=''.join(f'u{n} 3\n' for n in range(40)))
    check('example: of two servers one is dead: all are answered', rc == 0 and out.count('server 1)') == 40, (rc, out[-400:]))


def ask(server):
    rc, out, err = server.run(WRCTL, 'ask', f'--server={SERVER}:4700', '--user=anna', '--click=1,2,3', '--json')
    check('ask: JSON', rc == 0, err)
    a = json.loads(out)
    check('ask: ten items, by score', a['status'] == 'ok' and len(a['items']) == 10 and
          all(x['score'] >= y['score'] and x['reason'] == 'model' for x, y in zip(a['items'], a['items'][1:])), a)
    check('ask: none that was clicked', not {1, 2, 3} & {x['item'] for x in a['items']}, a)
    check('ask: the unknown user', 'history_wanted' in a['flags'] and not a['history_told'] and a['latency_us'] > 0, a)
    # The daemon is found by its name, and its bundle's titles with it.
    rc, out, err = server.wrctl('ask', '--user=anna', '--click=4', '--k=3')
    check('ask: finds address and titles', rc == 0 and out.startswith(f'{SERVER}:4700: ok in ') and
          len(re.findall(r'^ +\d+ +\d+ +-?\d+\.\d+  model    \S', out, re.M)) == 3, out + err)
    rc, told, _ = server.wrctl('ask', '--user=bob', '--click=9', '--history=5,6,7', '--json')
    first = json.loads(told)
    check('ask: the history is told', rc == 0 and first['history_told'] and 'approximate' not in first['flags'], told)
    for forget, same in (('', False), ('--forget', True)):
        words = [w for w in ('ask', '--user=bob', '--click=9', '--history=5,6,7', '--json', forget) if w]
        rc, out, _ = server.wrctl(*words)
        again = json.loads(out)
        check(f'ask {forget}: {"from the start" if same else "remembered"}', rc == 0 and again['history_told'] == same, again)
    check('ask: forgotten and told again: the same list', [x['item'] for x in again['items']] ==
          [x['item'] for x in first['items']], (first, again))
    rc, out, _ = server.wrctl('ask', '--user=1', '--k=0', '--json')
    check('ask: echo', rc == 0 and json.loads(out)['items'] == [], out)
    rc, _, err = server.run(WRCTL, 'ask', f'--server={SERVER}:4711', '--user=1', '--timeout=1')
    check('ask: nobody answers', rc == 1 and '4711 does not answer' in err, err)
    rc, _, err = server.run(WRCTL, '--name=wrci-nobody', 'ask', '--user=1')
    check('ask: no daemon and no --server', rc == 1 and '--server' in err, err)
    for words in (['--k=65'], ['--click=0'], ['--click=x'], ['--server=:1'], ['--bundle=a', '--items=b'], ['--say=\udcff']):
        rc, _, err = server.wrctl('ask', '--user=1', *words)
        check(f'ask {ascii(words)}: a usage error', rc == 2 and err.startswith('wrctl: '), (rc, err))
    other = os.path.join(server.folder, 'items.tsv')
    with open(other, 'w', encoding='utf-8') as f:
        f.write('#id\tname\tcategory\ttitle\n' + ''.join(f'{n}\tn{n}\tc\tTitle of {n}\n' for n in range(1, 5000)))
    rc, out, _ = server.wrctl('ask', '--user=anna', f'--items={other}', '--json')
    check('ask: titles of items.tsv', rc == 0 and all(x['title'] == f'Title of {x["item"]}' for x in json.loads(out)['items']), out)
    with open(other, 'a', encoding='utf-8') as f:
        f.write('7\tx\n')
    rc, _, err = server.wrctl('ask', '--user=anna', f'--items={other}')
    check('ask: a wrong line is named', rc == 1 and 'items.tsv:5001:' in err, err)


def bench(server):
    def result(*options, status=0):
        rc, out, err = server.run(CLIENT_BENCH, f'--server={SERVER}', '--quiet', '--json=-', *options)
        check(f'bench {" ".join(options)}: status', rc == status, (rc, err))
        return json.loads(out) if out else {}
    for workload in ('echo', 'event', 'warm'):
        r = result(f'--workload={workload}', '--rate=500', '--seconds=1', '--users=100', '--timeout-ms=1000')
        check(f'bench {workload}: all answered, none wrong', r['submitted'] == r['ok'] == 500 and not r['wrong'] + r['lost'] and
              0 < r['p50_us'] <= r['p99_us'], r)
    r = result('--workload=echo', '--rate=max', '--window=64', '--seconds=0.5', '--no-offload', '--timeout-ms=1000')
    check('bench: the window, plain', r['ok'] == r['submitted'] > 64 and not r['segmented'] and not r['offload'], r)
    r = result('--raw', '--rate=500', '--seconds=1')
    check('bench: datagrams alone come back', r['ok'] == r['submitted'] == 500 and r['lost'] == 0, r)
    lists = os.path.join(server.folder, 'lists.tsv')
    with open(lists, 'w', encoding='utf-8') as f:
        f.write('#k=3 filtered=1\n5\t0\t1,2,3\t4,5,6\n')
    r = result(f'--lists={lists}', status=2)
    check('bench: a list that is not the expected one is wrong', r['lists']['checked'] == 1 and r['lists']['wrong'] == 1, r)
    _, out, _ = server.wrctl('ask', '--user=5', '--forget', '--click=3', '--history=1,2', '--k=3', '--json')
    right = ','.join(str(x['item']) for x in json.loads(out)['items'])
    with open(lists, 'w', encoding='utf-8') as f:
        f.write(f'#k=3 filtered=1\n5\t0\t1,2,3\t{right}\n')
    r = result(f'--lists={lists}')
    check('bench: the right list is right', r['lists']['checked'] == 1 and r['lists']['wrong'] == 0 and
          r['lists']['unanswered'] == 0 and r['histories'] == 1, r)
    # The server is killed and started anew under load: asked again until answered, never wrong.
    p = subprocess.Popen(['ip', 'netns', 'exec', NAME, CLIENT_BENCH, f'--server={SERVER}', f'--lists={lists}', '--seconds=5',
                          '--rate=200', '--users=1', '--hello-ms=100', '--settle=10', '--quiet', '--json=-'],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    server.stop(signal.SIGKILL)
    server.start()
    out, _ = p.communicate(timeout=60)
    r = json.loads(out)
    check('bench: a restart under load', p.returncode == 0 and r['lists']['wrong'] == r['lists']['unanswered'] == 0 and
          r['lists']['checked'] > 20 and r['gave_up'] == r['lists']['asked_again'] > 0 and r['downs'] >= 1, r)
    rc, out, err = i.run([CLIENT_BENCH, '--loopback', '--runs=1', '--seconds=0.1', '--quiet', '--json=-'])
    r = json.loads(out[out.index('{'):]) if '{' in out else {}
    check('bench: loopback gives four modes', rc == 0 and [m['per_core']['median'] > 0 for m in r.get('modes', [])] == [True] * 4,
          (rc, out[-300:], err))


def main():
    i.skip_without('meson', 'gcc', 'pkg-config', 'ip')
    if os.geteuid() != 0 or not os.path.exists('/dev/net/tun'):
        print('SKIP: needs root and /dev/net/tun')
        sys.exit(77)
    with i.Installed() as lib, Server(lib.dir) as server:
        example(lib, server)
        ask(server)
        bench(server)
    i.finish()


if __name__ == '__main__':
    main()
