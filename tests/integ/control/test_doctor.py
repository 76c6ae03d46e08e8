# SPDX-License-Identifier: BSD-3-Clause
"""wrctl doctor: what is broken on purpose must be found, what is mended must be gone. Broken for real: hugepages that are
not there, a CPU shared by two polling workers, frames to a wrong port, too few session rows, no peer, a stopped daemon.
What cannot be broken here (other CPUs, hyperthreads, governors, nodes) is a folder of /proc and /sys files."""
import os
import re
import signal
import time

import rig as r
from rig import check

VNNI = 'fpu sse avx2 fma avx512f avx512bw avx512vl avx512_vnni constant_tsc nonstop_tsc'


def findings(result):
    return {c['check']: c for c in result['checks']}


def verdict(result, name):
    return findings(result).get(name, {}).get('verdict')


def consistent(rc, result):
    """Counts, exit status and changes agree with the verdicts."""
    count = {v: sum(c['verdict'] == v for c in result['checks']) for v in ('ok', 'hint', 'bad')}
    names = [c['check'] for c in result['checks']]
    return (count == {'ok': result['ok'], 'hint': result['hints'], 'bad': result['bad']} and rc == (1 if count['bad'] else 0)
            and len(set(names)) == len(names) and all(('do' in c) == (c['verdict'] != 'ok') for c in result['checks']))


def nothing_runs(_rig):
    rc, out, _ = r.wrctl('--name=wrc-nobody', 'doctor')
    check('no daemon is bad', rc == 1 and re.search(r'^bad +daemon ', out, re.M), out)
    check('and the machine is looked at all the same', re.search(r'^(ok|hint|bad) +cpu.levels', out, re.M), out)
    rc, out, _ = r.wrctl('--machine', 'doctor')
    check('--machine asks no daemon', not re.search(r'^\w+ +daemon ', out, re.M) and
          rc == (1 if re.search('^bad', out, re.M) else 0), out)
    rc, _, err = r.wrctl('--config=x', 'doctor')
    check('--config without --machine is a usage error', rc == 2 and '--machine' in err, err)


def healthy_then_broken(rig):
    d = rig.daemon()
    load = rig.start(d.load_command('--rate=2000', '--seconds=30', '--users=500'), stdout=-3, stderr=-3)
    time.sleep(3)
    rc, result = d.json('doctor')
    check('a running daemon: verdicts, counts and status agree', consistent(rc, result), result)
    for name in ('daemon', 'port.link', 'port.buffers', 'drops', 'daemon.clock'):
        check(f'{name} is ok', verdict(result, name) == 'ok', findings(result).get(name))
    check('memory.huge = no is a hint, not an error', verdict(result, 'memory.hugepages') == 'hint')
    check('the driver is told', 'net_memif' in findings(result)['port.queues']['value'])
    check('a worker that works shows', re.search(r'[1-9]', findings(result)['traffic.busy']['value']))
    rc, text, _ = d.wrctl('doctor')
    check('the table has the same findings', all(re.search(rf'^(ok|hint|bad) +{re.escape(c)} ', text, re.M)
                                                 for c in findings(result)), text)
    # Another daemon polls on the same CPU, with fewer rows than users, and nobody at its socket.
    other = rig.daemon(sessions__rows_per_lcore='128')
    rc, result = d.json('doctor')
    shared = findings(result)['workers.shared']
    check('a CPU that two workers poll on is bad', shared['verdict'] == 'bad' and str(other.process.pid) in shared['value'],
          shared)
    check('and the worker is seen waiting', verdict(result, 'workers.waiting') == 'bad', findings(result)['workers.waiting'])
    check('the status says so', rc == 1 and consistent(rc, result))
    _, result = other.json('doctor')
    check('a memif port without a peer is a hint', verdict(result, 'port.link') == 'hint', findings(result)['port.link'])
    rig.stop(load)
    time.sleep(0.3)
    load = rig.start(other.load_command('--rate=2000', '--seconds=30', '--users=500'), stdout=-3, stderr=-3)
    time.sleep(2)
    _, result = other.json('doctor')
    check('evictions are a hint', verdict(result, 'daemon.sessions') == 'hint', findings(result)['daemon.sessions'])
    rig.stop(load)
    other.stop()
    time.sleep(0.3)
    _, result = d.json('doctor')
    check('with the other gone, its process is too', str(other.process.pid) not in findings(result)['workers.shared']['value'])
    # A peer that goes may leave answers of its own behind.
    check('and nothing else was dropped', not any(c.startswith('drops.') and c != 'drops.tx_full' for c in findings(result)))
    blast = rig.start(d.load_command('--size=200', '--seconds=5', '--server-port=1', verb='blast'), stdout=-3, stderr=-3)
    time.sleep(2)
    rc, result = d.json('doctor')
    drop = findings(result).get('drops.frame_other_port')
    check('frames to a port that nobody has are bad, by name', drop and drop['verdict'] == 'bad' and rc == 1, result)
    rig.stop(blast, signal.SIGKILL)
    d.process.send_signal(signal.SIGSTOP)
    rc, out, _ = d.wrctl('--timeout=1', 'doctor')
    check('a daemon that hangs is bad', rc == 1 and re.search('^bad +daemon +.*no answer in time', out, re.M), out)
    d.process.send_signal(signal.SIGCONT)
    d.stop()


def pages_and_bundle(rig):
    with open('/proc/meminfo', encoding='utf-8') as f:
        free = int(re.search(r'HugePages_Free: +(\d+)', f.read())[1])
    d = rig.daemon(memory__huge='auto', sessions__rows_per_lcore='8192')
    _, result = d.json('doctor')
    pages = findings(result)['memory.hugepages']
    if free == 0:
        check('memory.huge = auto without hugepages is bad', pages['verdict'] == 'bad' and 'nr_hugepages' in pages['do'], pages)
    else:
        check('with hugepages there is nothing to say', pages['verdict'] == 'ok' or 'nr_hugepages' in pages['do'], pages)
    check('the bundle is the one that was loaded', verdict(result, 'daemon.bundle') == 'ok', findings(result)['daemon.bundle'])
    os.utime(rig.bundle)
    _, result = d.json('doctor')
    check('a bundle newer than the daemon is a hint', verdict(result, 'daemon.bundle') == 'hint')
    d.stop()


def write(root, path, text):
    full = root + path
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, 'w', encoding='utf-8') as f:
        f.write(text)


def machine(rig, flags=VNNI, clock='tsc', isolated='2-3', siblings=('2', '3'), governor='performance', pages=('64', '64'),
            irqbalance=False, swapped=0, realtime=0, rt_runtime=950000, lcores='2,3'):
    """A folder like a server of four CPUs on two nodes, workers on 2 and 3."""
    root = os.path.join(rig.dir, f'root{time.monotonic_ns()}')
    cpu = '/sys/devices/system/cpu'
    write(root, '/proc/cpuinfo', f'processor\t: 0\nmodel name\t: Test CPU 9000\ncpu MHz\t\t: 3000.000\nflags\t\t: {flags}\n')
    write(root, '/proc/meminfo', f'MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\nSwapTotal: 9 kB\nSwapFree: {9 - swapped} kB\n'
          'HugePages_Total: 128\nHugePages_Free: 100\nHugepagesize: 2048 kB\n')
    write(root, '/proc/stat', ''.join(f'cpu{i} 1 0 1 9 0 0 0 0 0 0\n' for i in range(4)))
    write(root, '/proc/interrupts', '       CPU0 CPU1 CPU2 CPU3\n 10: 1 1 1 1 nic\n')
    write(root, '/proc/1/limits', 'Limit Soft Hard\nMax locked memory 8388608 8388608 bytes\nMax open files 512 4096 files\n')
    for tid, name in ((1, 'init'), (7, 'irqbalance' if irqbalance else 'sshd')):
        write(root, f'/proc/{tid}/task/{tid}/stat', f'{tid} ({name}) S ' + '0 ' * 35 + '1 0 0\n')
        write(root, f'/proc/{tid}/task/{tid}/schedstat', '1000 1000 1\n')
    write(root, '/sys/devices/system/clocksource/clocksource0/current_clocksource', clock + '\n')
    write(root, f'{cpu}/online', '0-3\n')
    write(root, f'{cpu}/isolated', isolated + '\n')
    write(root, f'{cpu}/nohz_full', isolated + '\n')
    for i, list_ in zip((2, 3), siblings):
        write(root, f'{cpu}/cpu{i}/topology/thread_siblings_list', list_ + '\n')
        write(root, f'{cpu}/cpu{i}/cpufreq/scaling_governor', governor + '\n')
    write(root, '/sys/devices/system/node/online', '0-1\n')
    for node, cpus in ((0, '0-2'), (1, '3')):
        write(root, f'/sys/devices/system/node/node{node}/cpulist', cpus + '\n')
        write(root, f'/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages', pages[node] + '\n')
    write(root, '/proc/sys/kernel/sched_rt_runtime_us', f'{rt_runtime}\n')
    config = os.path.join(root, 'w.ini')
    write(root, '/w.ini', f'[server]\nlcores = {lcores}\nrealtime = {realtime}\n[bundle]\npath = {rig.bundle}\n')
    rc, out, err = r.wrctl('--json', '--machine', f'--sysroot={root}', f'--config={config}', 'doctor')
    if not out:
        raise SystemExit(f'{rc} {err}')
    return rc, __import__('json').loads(out)


def other_machines(rig):
    rc, sound = machine(rig)
    check('a sound machine: nothing bad', rc == 0 and consistent(rc, sound), sound)
    for name in ('cpu.levels', 'clock.source', 'workers.isolated', 'workers.tickless', 'workers.siblings', 'workers.frequency', 'workers.realtime',
                 'memory.hugepages', 'irqbalance', 'workers.shared'):
        check(f'sound: {name} is ok', verdict(sound, name) == 'ok', findings(sound).get(name))
    check('two nodes are a hint', verdict(sound, 'workers.nodes') == 'hint', findings(sound)['workers.nodes'])
    cases = [
        ('no VNNI', 'cpu.levels', 'hint', {'flags': VNNI.replace('avx512_vnni', '')}),
        ('no AVX2', 'cpu.levels', 'bad', {'flags': VNNI.replace('avx2 fma', '')}),
        ('clock that changes', 'clock.source', 'bad', {'flags': VNNI.replace('constant_tsc', '')}),
        ('clock source hpet', 'clock.source', 'hint', {'clock': 'hpet'}),
        ('one worker not isolated', 'workers.isolated', 'hint', {'isolated': '2'}),
        ('ticks', 'workers.tickless', 'hint', {'isolated': ''}),
        ('workers on one core', 'workers.siblings', 'bad', {'siblings': ('2-3', '2-3')}),
        ('a hyperthread beside', 'workers.siblings', 'hint', {'siblings': ('0,2', '3')}),
        ('governor', 'workers.frequency', 'hint', {'governor': 'powersave'}),
        ('a node without pages', 'memory.hugepages', 'bad', {'pages': ('128', '0')}),
        ('irqbalance', 'irqbalance', 'hint', {'irqbalance': True}),
        ('paused real-time workers', 'workers.realtime', 'bad', {'realtime': 50}),
        ('real-time workers', 'workers.realtime', 'ok', {'realtime': 50, 'rt_runtime': -1}),
        ('real-time workers everywhere', 'workers.realtime', 'bad', {'realtime': 50, 'rt_runtime': -1, 'lcores': '0-3'}),
    ]
    for what, name, expected, change in cases:
        rc, result = machine(rig, **change)
        check(f'{what}: {name} is {expected}', verdict(result, name) == expected and consistent(rc, result),
              findings(result).get(name))
    _, result = machine(rig)
    check('few open files are a hint', verdict(result, 'limits') == 'hint', findings(result)['limits'])


r.main([nothing_runs, other_machines, healthy_then_broken, pages_and_bundle])
