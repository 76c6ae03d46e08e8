# SPDX-License-Identifier: BSD-3-Clause
"""libwirerank as it is installed: exactly the declared functions are exported, C and C++ programs build and link, shared
and static; every function has a page and no page a warning."""
import os
import re
import sys

import installed as i
from installed import check

CPP = r'''
#include <wirerank.h>
#include <cstdio>
int main() {
	wr_errmsg msg{};
	wr_client_options options{};
	options.max_outstanding = 1;
	wr_client *c = wr_client_new(&options, &msg);
	if (!c || wr_client_add_server(c, "127.0.0.1", 9, 0, &msg) != 0)
		return 1;
	int ended = 0;
	wr_client_request r{};
	r.user_id = wr_wire_user_id("anna", 4);
	r.arg = &ended;
	r.done = [](void *arg, const wr_client_answer *a) { *static_cast<int *>(arg) += a->result == WR_EINTR; };
	if (wr_client_recommend(c, &r) != WR_OK || wr_client_recommend(c, &r) != WR_EFULL)
		return 2;
	wr_client_free(c);
	std::printf("%d %s %u\n", ended, wr_strerror(WR_EFULL), unsigned{wr_wire_shard(r.user_id)});
	return 0;
}
'''


def declared(lib):
    """Functions that wirerank.h declares, after the preprocessor; inline ones are not exported."""
    source = lib.path('declared.c')
    with open(source, 'w', encoding='utf-8') as f:
        f.write('#include <wirerank.h>\n')
    rc, text, err = i.run(['gcc', '-E', '-P', source, *lib.flags('--cflags')], env=lib.env)
    if rc:
        raise SystemExit(err)
    text = re.sub(r'__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)', '', text)
    while '{' in text:  # bodies, innermost first
        text = re.sub(r'\{[^{}]*\}', '@', text)
    names = set()
    for statement in re.split(r'[;@]', text):
        m = re.search(r'\b(wr_\w+)\s*\((?!\s*\*)[^()]*\)\s*$', statement.strip())
        if m and 'typedef' not in statement and 'inline' not in statement:
            names.add(m[1])
    return names


def symbols(lib):
    exported = {line.split()[0].split('@')[0] for line in
                i.run(['nm', '-D', '--defined-only', '--format=posix', lib.shared])[1].splitlines()
                if line.split()[1] in 'TDRBVW'}
    want = declared(lib)
    check('the headers declare functions', len(want) > 40 and {'wr_client_new', 'wr_wire_user_id', 'wr_fail'} <= want, want)
    check('what is declared is exported', want <= exported, want - exported)
    check('nothing else is exported', exported <= want, exported - want)
    _, dynamic, _ = i.run(['objdump', '-p', lib.shared])
    soname = re.search(r'SONAME\s+(\S+)', dynamic)
    needed = set(re.findall(r'NEEDED\s+(\S+)', dynamic))
    check('soname', soname and soname[1] == 'libwirerank.so.0', dynamic)
    check('needs libsodium and libc only', {n.split('.')[0] for n in needed} <= {'libsodium', 'libm', 'libc'}, needed)
    return want


def headers(lib):
    for header in ('wirerank.h', 'wr_client.h', 'wr_wire.h', 'wr_base.h'):
        for compiler, standard, language in (('gcc', '-std=c11', 'c'), ('g++', '-std=c++17', 'c++')):
            rc, _, err = i.run([compiler, standard, '-D_GNU_SOURCE', '-fsyntax-only', *i.WARNINGS, '-x', language,
                                f'-I{lib.include}', '-include', header, '/dev/null'])
            check(f'{header} alone in {language}', rc == 0, err)
    with open(os.path.join(lib.include, 'wr_base.h'), encoding='utf-8') as f:
        check('internals are there, but hidden from users', 'wr_opt_parse' in f.read())


def programs(lib):
    rc, said = lib.compile('shared', i.EXAMPLE)
    check('the example builds, shared', rc == 0, said)
    rc, said = lib.compile('static', i.EXAMPLE, static=True)
    check('the example builds, static', rc == 0, said)
    linked = {name: 'libwirerank.so.0' in i.run(['objdump', '-p', lib.path(name)])[1] for name in ('shared', 'static')}
    check('one needs libwirerank.so.0, the other does not', linked == {'shared': True, 'static': False}, linked)
    for name in ('shared', 'static'):
        rc, _, err = i.run([lib.path(name)], env=lib.env)
        check(f'{name}: starts', rc == 2 and 'usage' in err, err)
        rc, _, err = i.run([lib.path(name), 'no.such.host.invalid'], env=lib.env)
        check(f'{name}: an unknown host is named', rc == 1 and 'no.such.host.invalid' in err, err)
    source = lib.path('program.cc')
    with open(source, 'w', encoding='utf-8') as f:
        f.write(CPP)
    rc, said = lib.compile('cpp', source, 'g++', '-std=c++17')
    check('a C++ program builds', rc == 0, said)
    rc, out, err = i.run([lib.path('cpp')], env=lib.env)
    check('and runs', rc == 0 and re.fullmatch(r'1 full \d+\n', out), (rc, out, err))


def page_warnings(path):
    return i.run(['groff', '-mandoc', '-ww', '-z', '-K', 'utf8', path])[2]


def pages(lib, functions):
    folder = os.path.dirname(lib.one('libwirerank.3'))
    bad = lib.path('bad.3')
    with open(bad, 'w', encoding='utf-8') as f:
        f.write('.Dd x\n.Dt X 3\n.Os\n.Sh NAME\n.NoSuchMacro\n')
    check('a bad page is noticed', page_warnings(bad))
    named = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        with open(path, encoding='utf-8') as f:
            text = f.read()
        if text.startswith('.so '):
            named[name] = text.split()[1].removeprefix('man3/')
            continue
        named[name] = name
        said = page_warnings(path)
        check(f'{name}: no warning', not said, said)
    for f in sorted(functions):
        page = named.get(f'{f}.3')
        if not check(f'{f} has a page', page and page in named, page):
            continue
        with open(os.path.join(folder, page), encoding='utf-8') as text:
            check(f'{page} names {f}', re.search(rf'^\.Nm {f}\b', text.read(), re.M))


def main():
    i.skip_without('meson', 'gcc', 'g++', 'groff', 'pkg-config', 'nm', 'objdump')
    with i.Installed() as lib:
        functions = symbols(lib)
        headers(lib)
        programs(lib)
        pages(lib, functions)
    i.finish()


if __name__ == '__main__':
    sys.exit(main())
