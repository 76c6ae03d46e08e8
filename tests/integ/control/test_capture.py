# SPDX-License-Identifier: BSD-3-Clause
"""wrctl capture of a daemon under real traffic: every request and every answer is in the file, once, in both directions, with
its time; bounds hold; what is missed is counted; nobody gets a file written where it does not belong. memif, tap, AF_XDP."""
import os
import re
import shutil
import signal
import struct
import subprocess
import time

import rig as r
from rig import check

EPB, ISB = 6, 5


def blocks(path):
    """[(type, body)] of a pcapng file; raises when it does not end with a block."""
    with open(path, 'rb') as f:
        data = f.read()
    at, out = 0, []
    while at < len(data):
        kind, size = struct.unpack_from('<II', data, at)
        if size < 12 or at + size > len(data) or struct.unpack_from('<I', data, at + size - 4)[0] != size:
            raise SystemExit(f'{path}: broken block at {at} of {len(data)}')
        out.append((kind, data[at + 8:at + size - 4]))
        at += size
    return out


def options(data):
    out = {}
    while len(data) >= 4:
        code, size = struct.unpack_from('<HH', data)
        if code == 0:
            break
        out[code] = data[4:4 + size]
        data = data[4 + (size + 3) // 4 * 4:]
    return out


class Packet:
    def __init__(self, body):
        _, high, low, self.kept, self.length = struct.unpack_from('<IIIII', body)
        self.time = ((high << 32) + low) / 1e9
        self.data = body[20:20 + self.kept]
        flags = options(body[20 + (self.kept + 3) // 4 * 4:]).get(2, b'\0' * 4)
        self.direction = {1: 'in', 2: 'out'}.get(flags[0] & 3, '?')

    def message(self):
        """(source port, destination port, request id, user) of an IPv4 datagram in a plain frame, or None."""
        d = self.data
        if d[12:14] != b'\x08\x00' or d[23] != 17 or len(d) < 42 + 32:
            return None
        source, to = struct.unpack_from('>HH', d, 34)
        request, user = struct.unpack_from('<QQ', d, 42 + 8)
        return source, to, request, user


def packets(path):
    return [Packet(body) for kind, body in blocks(path) if kind == EPB]


def statistics(path):
    found = [options(body[12:]) for kind, body in blocks(path) if kind == ISB]
    return found[-1] if found else {}


def allowed(rig, name='captures', mode=0o700):
    folder = rig.path(name)
    os.mkdir(folder)
    os.chmod(folder, mode)
    return folder


def counters(d):
    every = d.json('stats')[1]['all']
    return every['counter']['received'], every['outcome']['answered'] + every['outcome']['answered_error']


def whole_conversation(rig):
    folder = allowed(rig)
    d = rig.daemon(cpus='0,1', control__capture_folder=folder)
    check('before the first: none', d.json('capture', 'status')[1] == {'capture': 'none'})
    check('stopping nothing is no error', d.wrctl('capture', 'stop')[0] == 0)
    began = time.time()
    rc, status = d.json('--output=all.pcapng', '--seconds=60', 'capture', 'start')
    check('started', rc == 0 and status['capture'] == 'running', status)
    rc, _, err = d.wrctl('--output=other.pcapng', 'capture', 'start')
    check('a second one is an error', rc == 1 and 'runs already' in err, err)
    check('and leaves no file', os.listdir(folder) == ['all.pcapng'], os.listdir(folder))
    result = d.load('--mix=recommend:60,event:30,hello:10', '--rate=500', '--seconds=3', '--users=100', queues=2)
    received, answered = counters(d)
    time.sleep(0.2)
    rc, status = d.json('capture', 'stop')
    path = os.path.join(folder, 'all.pcapng')
    ended = time.time()
    check('stopped', rc == 0 and status['capture'] == 'done' and status['ended_by'] == 'stopped', status)
    got = packets(path)
    inward, outward = ([p for p in got if p.direction == way] for way in ('in', 'out'))
    check('every frame that was received', len(inward) == received and received >= result['sent'] > 1000,
          (len(inward), received, result['sent']))
    check('every frame that was answered', len(outward) == answered, (len(outward), answered))
    check('nothing was missed, and the sums are told', status['missed'] == 0 and status['packets'] == len(got) and
          status['bytes'] == os.path.getsize(path), status)
    asked = {m[2:]: m for m in (p.message() for p in inward) if m}
    told = {m[2:]: m for m in (p.message() for p in outward) if m}
    check('every request has its answer, ports turned round', set(asked) == set(told) and len(asked) > 1000 and
          all(told[k][:2] == asked[k][1::-1] for k in asked), (len(asked), len(told)))
    check('times are of the capture, in order of arrival', all(began - 0.1 <= p.time <= ended + 0.1 for p in got),
          (got[0].time, began))
    check('whole frames', all(p.kept == p.length for p in got))
    check('statistics in the file', struct.unpack('<Q', statistics(path)[4])[0] == len(got) and
          struct.unpack('<Q', statistics(path)[5])[0] == 0, statistics(path))
    check('only its owner may read it', os.stat(path).st_mode & 0o777 == 0o600)
    if shutil.which('tcpdump'):
        text = subprocess.run(['tcpdump', '-nn', '-vv', '-r', path], capture_output=True, text=True, check=False).stdout
        check('tcpdump reads as many', len(re.findall('UDP, length', text)) == len(got), len(re.findall('UDP', text)))
        check('and finds their checksums right', 'udp sum ok' in text and 'bad' not in text, text[-300:])
    rc, _, err = d.wrctl('--output=all.pcapng', 'capture', 'start')
    check('a file is never replaced', rc == 1 and 'exists' in err, err)
    d.stop()


def bounds(rig):
    folder = allowed(rig, 'bounds')
    d = rig.daemon(control__capture_folder=folder, control__capture_limit='300k')
    load = rig.start(d.load_command('--mix=recommend:80,event:20', '--rate=2000', '--seconds=90', '--users=50'),
                     stdout=-3, stderr=-3)
    time.sleep(2)
    rc, status = d.json('--packets=100', '--output=packets.pcapng', 'capture')
    path = os.path.join(folder, 'packets.pcapng')
    check('packets: exactly', rc == 0 and status['ended_by'] == 'packets' and len(packets(path)) == 100, status)
    start = time.monotonic()
    _, status = d.json('--seconds=1', '--filter=in', '--snaplen=64', '--output=seconds.pcapng', 'capture')
    took = time.monotonic() - start
    got = packets(os.path.join(folder, 'seconds.pcapng'))
    check('seconds', status['ended_by'] == 'seconds' and 0.9 < took < 6, (status, took))
    check('filter and snaplen', got and all(p.direction == 'in' and p.kept == 64 < p.length for p in got), len(got))
    _, status = d.json('--output=bytes.pcapng', '--bytes=100000000', 'capture')
    size = os.path.getsize(os.path.join(folder, 'bytes.pcapng'))
    check('bytes, whatever is asked for', status['ended_by'] == 'bytes' and 50000 < size <= 300 * 1024, (status, size))
    own = rig.path('mine.pcapng')
    _, status = d.json('--packets=20', '--filter=out', f'--output={own}', 'capture')
    check('a path of the caller: fetched', status['file'] == own and len(packets(own)) == 20 and
          not os.path.exists(os.path.join(folder, 'mine.pcapng')), os.listdir(folder))
    user = next(m[3] for m in (p.message() for p in packets(path)) if m)
    _, status = d.json(f'--user={user}', '--seconds=2', '--output=user.pcapng', 'capture')
    got = [p.message() for p in packets(os.path.join(folder, 'user.pcapng'))]
    check('one user alone, asked and answered', got and all(m and m[3] == user for m in got) and
          len({m[0] == 4700 for m in got}) == 2, got[:4])
    followed = rig.start([r.WRCTL, f'--name={d.name}', '--seconds=60', f'--user={user}', '--output=int.pcapng', 'capture'], stdout=-3, stderr=-3)
    time.sleep(1)
    followed.send_signal(signal.SIGINT)
    check('Ctrl-C ends it and keeps the file', followed.wait(10) == 0 and
          d.json('capture', 'status')[1]['ended_by'] == 'stopped' and statistics(os.path.join(folder, 'int.pcapng')))
    rig.children.remove(followed)
    d.json('--seconds=60', f'--user={user}', '--output=last.pcapng', 'capture', 'start')
    time.sleep(0.5)
    check('the daemon ends soundly while it captures', d.stop() == 0, d.said()[-300:])
    check('and its file is complete', statistics(os.path.join(folder, 'last.pcapng')) != {})
    rig.stop(load)


def overload(rig):
    folder = allowed(rig, 'overload')
    d = rig.daemon(control__capture_folder=folder, control__capture_limit='2G')
    before = counters(d)
    d.json('--seconds=60', '--snaplen=128', '--output=flood.pcapng', 'capture', 'start')
    result = d.load('--workload=echo', '--max=512', '--seconds=2', '--timeout-ms=5000')
    after = counters(d)
    time.sleep(0.2)
    _, status = d.json('capture', 'stop')
    offered = sum(after) - sum(before)
    check('captured + missed = frames in and out', status['packets'] + status['missed'] == offered, (status, offered))
    check('and the file holds what it says', len(packets(os.path.join(folder, 'flood.pcapng'))) == status['packets'])
    check('in the file, too', struct.unpack('<Q', statistics(os.path.join(folder, 'flood.pcapng'))[5])[0] == status['missed'])
    check('every question was answered all the same', result['answered'] == result['sent'], result)
    print(f'     flood: {status["packets"]} captured, {status["missed"]} missed')
    for i in range(20):
        d.json('--seconds=60', f'--output=again{i}.pcapng', 'capture', 'start')
        d.json('capture', 'stop')
    check('again and again', len(os.listdir(folder)) == 21)
    d.stop()


def nobody_else(rig):
    shared = allowed(rig, 'shared', 0o777)
    d = rig.daemon(control__capture_folder=shared)
    rc, _, err = d.wrctl('capture')
    check('a folder that others may write to is refused', rc == 1 and 'others may write' in err, err)
    os.chmod(shared, 0o700)
    victim = rig.path('victim')
    os.symlink(victim, os.path.join(shared, 'link.pcapng'))
    rc, _, err = d.wrctl('--output=link.pcapng', 'capture')
    check('a link in the place of the file is refused', rc == 1 and not os.path.exists(victim), err)
    for name in ('..', '.hidden', 'a/../b', '/etc/x', 'a b', 'x' * 70, ''):
        rc, out, _ = d.wrctl('raw', f'/wirerank/capture_start,name={name}')
        check(f'name {name[:10]!r} is refused', rc == 0 and '"status": "error"' in out, out)
    for word in ('packets=0', 'packets=-1', 'seconds=0', 'snaplen=1', 'snaplen=9999', 'filter=up', 'user=x', 'what=1', 'x',
                 'bytes=99999999999999999999'):
        rc, out, _ = d.wrctl('raw', f'/wirerank/capture_start,name=a.pcapng,{word}')
        check(f'{word} is refused', rc == 0 and '"status": "error"' in out, out)
    check('nothing was written', os.listdir(shared) == ['link.pcapng'] and not os.path.exists(victim), os.listdir(shared))
    shutil.rmtree(shared)
    rc, _, err = d.wrctl('capture')
    check('a folder that is not there: how to make it', rc == 1 and 'mkdir' in err, err)
    os.symlink(rig.dir, shared)
    check('a link in the place of the folder is refused', d.wrctl('capture')[0] == 1)
    d.stop()
    d = rig.daemon(control__capture_folder='none')
    rc, _, err = d.wrctl('capture')
    check('none allows none', rc == 1 and 'not allowed' in err, err)
    d.stop()


def tap_and_xdp(rig):
    if os.geteuid():
        print('SKIP tap and AF_XDP: not root')
        return
    folder = allowed(rig, 'kinds')
    tag = f'wc{os.getpid() % 100000}'
    d = rig.daemon(control__capture_folder=folder, port__kind='tap', port__interface=tag)
    subprocess.run(['ip', 'addr', 'add', '10.47.0.2/24', 'dev', tag], check=True)
    subprocess.run(['ip', 'link', 'set', tag, 'up'], check=True)
    d.json('--seconds=60', '--output=tap.pcapng', 'capture', 'start')
    ping = subprocess.run(['ping', '-c', '3', '-i', '0.2', '-W', '2', '10.47.0.1'], capture_output=True, text=True, check=False)
    d.json('capture', 'stop')
    found = {c['check'] for c in d.json('doctor')[1]['checks']}
    check('an answered ping is no drop', 'drops' in found and 'drops.answered_aside' not in found, found)
    icmp = [p.direction for p in packets(os.path.join(folder, 'tap.pcapng'))
            if p.data[12:14] == b'\x08\x00' and p.data[23] == 1]
    check('tap: pings and their answers', ping.returncode == 0 and icmp.count('in') == 3 == icmp.count('out'), (icmp, ping.stdout))
    d.stop()
    ns, here = f'{tag}n', f'{tag}a'
    try:
        subprocess.run(['ip', 'netns', 'add', ns], check=True)
        subprocess.run(['ip', 'link', 'add', here, 'type', 'veth', 'peer', 'name', 'c0', 'netns', ns], check=True)
        subprocess.run(['ip', 'addr', 'add', '10.48.0.1/24', 'dev', here], check=True)
        subprocess.run(['ip', 'link', 'set', here, 'up'], check=True)
        for words in ('addr add 10.48.0.2/24 dev c0', 'link set c0 up'):
            subprocess.run(['ip', '-n', ns, *words.split()], check=True)
        subprocess.run(['ip', 'netns', 'exec', ns, 'ethtool', '-K', 'c0', 'tx', 'off'], check=True, stdout=-3)
        d = rig.daemon(control__capture_folder=folder, port__kind='af_xdp', port__interface=here, port__ipv4='10.48.0.1')
        d.json('--seconds=60', '--output=xdp.pcapng', 'capture', 'start')
        ask = subprocess.run(['ip', 'netns', 'exec', ns, r.WRCTL, 'ask', '--server=10.48.0.1', '--user=7', '--click=5,6'],
                             capture_output=True, text=True, check=False)
        d.json('capture', 'stop')
        ways = [p.direction for p in packets(os.path.join(folder, 'xdp.pcapng')) if p.message()]
        check('AF_XDP: questions and answers', ask.returncode == 0 and ways.count('in') == ways.count('out') > 0,
              (ways, ask.stdout, ask.stderr))
        found = {c['check']: c['value'] for c in d.json('doctor')[1]['checks']}
        check('the doctor sees how the interface is shared', 'native' in found.get('port.xdp', ''), found)
        d.stop()
    finally:
        subprocess.run(['ip', 'link', 'del', here], check=False)
        subprocess.run(['ip', 'netns', 'del', ns], check=False)


r.main([whole_conversation, bounds, overload, nobody_else, tap_and_xdp])
