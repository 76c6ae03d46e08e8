# SPDX-License-Identifier: BSD-3-Clause
"""wrctl plan, without any daemon: its arithmetic made again here, memory the daemon's own, rates from a bench's file, what it
refuses."""
import json
import math
import os
import subprocess
import sys
import tempfile

WRCTL, WIRERANKD = os.environ['WRCTL'], os.environ['WIRERANKD']


def run(*options, fails=False):
    r = subprocess.run([WRCTL, 'plan', *options], capture_output=True, text=True, timeout=60, check=False)
    assert (r.returncode != 0) == fails, (options, r.returncode, r.stdout, r.stderr)
    return r.stderr if fails else r.stdout


def plan(*options):
    return json.loads(run('--json', *options))


def near(a, b, share=1e-3):
    assert abs(a - b) <= share * max(abs(a), abs(b)), (a, b)


def arithmetic():
    p = plan('--load=3M', '--mix=warm:3,cold:1', '--users=10M', '--cores=8', '--headroom=0.25', '--spare=2')
    busy = sum(3e6 * k['share'] / k['per_core'] for k in p['kinds'].values())
    near(p['busy_cores'], busy)
    near(p['kinds']['warm']['share'], 0.75)
    assert p['servers'] == math.ceil(busy / 0.75 / 8) and p['servers_in_all'] == p['servers'] + 2, p
    s = p['server']
    assert s['cores'] <= 8 and s['cores'] * p['servers'] * 0.75 >= busy * 0.999, s
    near(p['utilisation_one_failed'], busy / (s['cores'] * (p['servers'] + 1)))
    near(s['packets_s_each_way'], 3e6 / p['servers'])
    near(s['gbits_s_each_way'], 3e6 / p['servers'] * (0.75 * 256 + 0.25 * 640 + 66) * 8 / 1e9)
    near(s['sessions_per_core'], 1.1 * 10e6 / p['servers'] / s['cores'])
    # The table of design: 78 k multiply-adds to encode a warm token, 219 k to score, 2.46 M cold with scoring.
    assert p['kinds']['warm']['encode_macs'] == 78336 and p['kinds']['warm']['score_macs'] == 218624, p['kinds']
    near(p['kinds']['cold']['encode_macs'] + p['kinds']['cold']['score_macs'], 2.46e6, 0.01)


def memory():
    """What wirerankd plans for the same configuration, to the byte."""
    p = plan('--load=2M', '--users=2M', '--model=items:20000,d:32,blocks:3,heads:2,kv:1,W:20,ffn:64')
    s = p['server']
    words = [WIRERANKD, '--plan', '--model=20000,32,3,2,1,16,20,64,0', '--set=port.kind=nic',
             '--set=server.lcores=' + ','.join(map(str, range(s['cores']))),
             f'--set=sessions.rows_per_lcore={s["sessions_per_core"]}']
    daemon = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert daemon == s['memory'], (daemon, s['memory'])
    assert daemon['total_bytes'] == sum(line['bytes'] for line in daemon['lines'])
    # A server's memory bounds the plan: more servers, each within it; so does the link.
    tight = plan('--load=2M', '--users=200M', '--memory=40G')
    assert tight['bound_by'] == 'memory' and tight['server']['memory_gb'] <= 40, tight
    fewer = plan('--load=2M', '--users=200M', f'--memory={tight["server"]["memory_gb"] * 1.2e9:.0f}')
    assert fewer['servers'] < tight['servers'], (fewer['servers'], tight['servers'])
    link = plan('--load=20M', '--mix=echo', '--cores=64', '--nic=10G')
    assert link['bound_by'] == 'network' and link['server']['gbits_s_each_way'] <= 8, link


def rates(folder):
    path = os.path.join(folder, 'bench.json')
    stages = {'encode': 2000.0, 'score': 6000.0, 'rx': 1000.0}
    with open(path, 'w', encoding='utf-8') as f:
        json.dump({'machine': {'cpu': 'Testcore 9'}, 'workloads': [
            {'name': 'warm', 'per_core_qps': 100000.0, 'stage_ns_per_answer': stages},
            {'name': 'locate', 'ns': 1}]}, f)
    p = plan(f'--bench={path}')
    assert p['kinds']['warm']['per_core'] == 100000 and p['rates_machine'] == 'Testcore 9', p
    # Twice the items: the scoring part twice, nothing else.
    p = plan(f'--bench={path}', '--model=items:6832')
    near(p['kinds']['warm']['per_core'], 1e9 / 16000)
    assert any('scaled' in n for n in p['notes']), p['notes']
    assert 'no rate of cold' in run(f'--bench={path}', '--mix=cold', fails=True)
    with open(path, 'w', encoding='utf-8') as f:
        json.dump({'machine': {'cpu': 'x'}, 'workloads': [{'name': 'cold', 'points': [
            {'lcores': 1, 'answers_s': 50000.0, 'stage_ns_per_answer': {'encode': 15000.0, 'score': 2000.0}}]}]}, f)
    assert plan(f'--bench={path}', '--mix=cold')['kinds']['cold']['per_core'] == 50000
    with open(path, 'w', encoding='utf-8') as f:
        f.write('{}')
    assert './run bench' in run(f'--bench={path}', fails=True)


def refusals():
    for bad, says in (('--load=many', '--load'), ('--mix=lukewarm', 'lukewarm'), ('--mix=warm:0', 'nothing'),
                      ('--model=items', 'items'), ('--model=d:60', 'multiple'), ('--cores=65', '--cores'),
                      ('--headroom=1', '--headroom'), ('--bundle=/nonexistent', '/nonexistent'),
                      ('--nic=100M', 'too small'), ('--bench=/nonexistent', '/nonexistent')):
        more = ['--load=1G'] if bad.startswith('--nic') else []
        text = run(bad, *more, fails=True)
        assert says in text, (bad, text)


def same_in_words():
    """The table says what the JSON says; a bundle is planned like its shape."""
    p, text = plan('--load=5M', '--users=3M'), run('--load=5M', '--users=3M')
    assert f'servers    {p["servers"]} and 1 spare' in text and 'session tables' in text, text
    assert f'{p["server"]["sessions_per_core"]} sessions a core' in text, text


def bundle(folder):
    path = os.path.join(folder, 'b.wrb')
    subprocess.run([os.environ['MAKE_BUNDLE'], path], check=True, stdout=subprocess.DEVNULL)
    p, q = plan(f'--bundle={path}'), plan()
    for key in ('items', 'd', 'blocks', 'heads', 'kv_heads', 'window', 'ffn'):
        assert p['model'][key] == q['model'][key], (key, p['model'], q['model'])
    assert p['server'] == q['server']
    # Everything of the second block in two planes: three products for one, and twice the weights with sums and scales.
    subprocess.run([os.environ['MAKE_BUNDLE'], path, '2'], check=True, stdout=subprocess.DEVNULL)
    k, p = plan(f'--bundle={path}', '--mix=warm,cold'), plan('--mix=warm,cold')
    weights, outputs = 64 * (192 + 64 + 128 + 128), 192 + 64 + 128 + 64
    assert k['model']['kept'] == 4 and p['model']['kept'] == 0, k['model']
    assert k['kinds']['warm']['encode_macs'] == p['kinds']['warm']['encode_macs'] + 2 * weights, k['kinds']
    assert k['kinds']['cold']['encode_macs'] == p['kinds']['cold']['encode_macs'] + 2 * (weights + 49 * 64 * 128), k['kinds']
    def lines(x):
        return {line['what']: line['bytes'] for line in x['server']['memory']['lines']}
    assert lines(k)['model'] - lines(p)['model'] == weights + 8 * outputs, (lines(p), lines(k))
    assert any('scaled' in n for n in k['notes']), k['notes']
    assert ', 4 projections kept in two planes' in run(f'--bundle={path}')


with tempfile.TemporaryDirectory() as work:
    arithmetic()
    memory()
    rates(work)
    refusals()
    same_in_words()
    bundle(work)
help_text = subprocess.run([WRCTL, 'completion'], capture_output=True, text=True, check=True).stdout
assert ' plan ' in help_text and '--headroom=' in help_text
print('plan: arithmetic, memory, rates, refusals, words, bundle')
sys.exit(0)
