# SPDX-License-Identifier: BSD-3-Clause
"""wrctl top against a known load: rates of an interval, not of the whole life; sums over workers; drops by reason; a restart
in the middle; the screen on a real terminal (a pty) of two sizes, with its keys."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import rig as r
from rig import check


def between(value, low, high):
    return low <= value <= high


def known_load(rig):
    d = rig.daemon(cpus='0,1')
    # A past that must not count: a burst of echoes before the interval begins.
    past = d.load('--workload=echo', '--max=64', '--seconds=1', queues=2)
    load = rig.start(d.load_command('--mix=recommend:50,event:50', '--rate=1000', '--arrivals=constant', '--seconds=60',
                                    '--users=300', '--wrong-queue=0.25', queues=2), stdout=-3, stderr=-3)
    time.sleep(2)
    rc, f = d.json('--once', '--interval=3', 'top')
    check('status 0', rc == 0)
    check('the interval was three seconds', between(f['seconds'], 2.8, 4.5), f['seconds'])
    check('received is the rate of the interval', between(f['received'], 800, 1200), (f['received'], past['answered']))
    check('all are answered', abs(f['answered'] - f['received']) < 60 and f['errors'] == 0, f)
    check('half of it are recommendations', between(f['recommends'], 0.4 * f['received'], 0.6 * f['received']), f)
    check('a quarter is handed over', between(f['handed_over'], 0.15 * f['received'], 0.35 * f['received']), f['handed_over'])
    latency = f['latency_us']
    check('latency counts the interval only', between(latency['count'], 0.8 * f['answered'] * f['seconds'] - 100,
                                                      1.2 * f['answered'] * f['seconds'] + 100), latency)
    check('quantiles rise', 0 < latency['p50'] <= latency['p99'] <= latency['p999'] <= latency['max'], latency)
    check('two workers whose sums are the total', len(f['workers']) == 2 and
          abs(sum(w['received'] for w in f['workers']) - f['received']) < 0.2 * f['received'], f['workers'])
    check('busy shares are shares', all(0 < w['busy'] < 1 for w in f['workers']) and 0 < f['busy'] < 1, f['workers'])
    stages = f['stage_ns']
    work = sum(stages.values()) * f['answered'] / 1e9
    check('stages add up to the busy time', abs(work - sum(w['busy'] for w in f['workers'])) < 0.25, (work, f))
    check('no drops', f['drops'] == {} and f['dropped'] == 0 and not f['restarted'], f['drops'])
    rc, out, _ = d.wrctl('--once', '--interval=0.5', 'top')
    lines = out.splitlines()
    check('without a terminal: a heading and a line', rc == 0 and len(lines) == 2 and 'received/s' in lines[0], out)
    rig.stop(load)
    bad = rig.start(d.load_command('--count=4000000', verb='malform', queues=2), stdout=-3, stderr=-3)
    time.sleep(2)
    _, f = d.json('--once', '--interval=2', 'top')
    check('drops by reason', f['drops'].get('wire_length', 0) > 0 and f['drops'].get('frame_bad_udp', 0) > 0, f['drops'])
    check('their sum', f['dropped'] > 100 and abs(f['dropped'] - sum(f['drops'].values())) < 1, f['drops'])
    check('received = answered + errors + aside + dropped',
          abs(f['received'] - f['answered'] - f['errors'] - f['aside'] - f['dropped']) < 100, f)
    rig.stop(bad)
    rc, _, err = d.wrctl('--interval=0', 'top')
    check('an interval of nothing is a usage error', rc == 2 and '--interval' in err, err)
    d.stop()


def restart(rig):
    d = rig.daemon()
    d.load('--workload=echo', '--max=64', '--seconds=2')
    top = rig.start([r.WRCTL, f'--name={d.name}', '--json', '--interval=0.5', '--timeout=2', 'top'],
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(2)
    d.stop()
    d = rig.daemon(name=d.name)
    load = rig.start(d.load_command('--workload=echo', '--rate=500', '--seconds=30'), stdout=-3, stderr=-3)
    time.sleep(4)
    rig.stop(load)
    rig.stop(top)
    lines = [json.loads(line) for line in top.stdout.read().splitlines()]
    check('a line an interval, before and after', len(lines) >= 6, len(lines))
    check('the restart is said, once', sum(f['restarted'] for f in lines) == 1, [f['restarted'] for f in lines])
    check('no rate is made of counters that went back', all(0 <= f['received'] < 5000 for f in lines),
          [f['received'] for f in lines])
    check('the new one is followed', between(lines[-1]['received'], 100, 1000) or between(lines[-2]['received'], 100, 1000),
          [f['received'] for f in lines])
    d.stop()


def read_for(fd, seconds):
    data, end = b'', time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                data += os.read(fd, 65536)
            except OSError:
                break
    return data.decode('utf-8', 'replace')


def screen(rig):
    d = rig.daemon()
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(r.WRCTL, [r.WRCTL, f'--name={d.name}', '--interval=0.3', 'top'])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 100, 0, 0))
    text = read_for(fd, 2)
    frames = text.split('\033[H')
    last = re.sub(r'\033\[[0-9?]*[a-zA-Z]', '', frames[-1] if frames[-1].count('\n') > 5 else frames[-2]).split('\r\n')
    check('a screen is drawn again and again', len(frames) > 3, len(frames))
    check('it holds rates, workers and stages', all(any(w in line for line in last) for w in
                                                   ('received/s', 'worker', 'encode', 'drops/s')), last)
    check('it fits', len(last) <= 30 and all(len(line) <= 100 for line in last), last)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 6, 40, 0, 0))
    read_for(fd, 0.5)
    frames = read_for(fd, 1.5).split('\033[H')
    small = [re.sub(r'\033\[[0-9?]*[a-zA-Z]', '', f).split('\r\n') for f in frames[1:-1]]
    check('a small window gets a small screen', small and all(len(s) <= 6 and all(len(line) <= 40 for line in s)
                                                              for s in small), small[:1])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 100, 0, 0))
    os.write(fd, b'p')
    check('p pauses', 'PAUSED' in read_for(fd, 1))
    quiet = read_for(fd, 1)
    check('and nothing moves then', quiet.count('received/s') == 0, quiet)
    os.write(fd, b'q')
    end = read_for(fd, 1)
    _, status = os.waitpid(pid, 0)
    check('q quits with status 0 and gives the terminal back', os.waitstatus_to_exitcode(status) == 0 and '\033[?25h' in end, end)
    os.close(fd)
    d.stop()


def nobody(_rig):
    rc, _, err = r.wrctl('--name=wrc-nobody', 'top')
    check('without a daemon: status 1 and why', rc == 1 and 'does not run' in err, err)


if sys.version_info < (3, 9):
    sys.exit('Python 3.9 or later')
r.main([nobody, known_load, restart, screen])
