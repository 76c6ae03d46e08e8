#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Who may include whom. The table of parts in docs/architecture.md is the law: a file includes only parts of lower rank
and its own; an outside library is included by the one part named here. Headers of unknown origin are a problem too."""

import os
import re

import lintlib

# Outside library: pattern of its headers, parts that may include them. DPDK's basic types are free for every part.
OUTSIDE = [
    ("oneDNN", r"(oneapi/)?dnnl.*\.h", {"kernels"}),
    # oneDNN runs on OpenMP and must be pinned where it is called; training is the other user.
    ("OpenMP", r"omp\.h", {"kernels", "lib/learn"}),
    ("jansson", r"jansson\.h", {"lib/report"}),
    ("libsodium", r"sodium.*\.h", {"lib/wire"}),
    ("libinih", r"ini\.h", {"lib/config"}),
    ("zlib", r"zlib\.h", {"lib/bundle"}),
    ("Hyperscan", r"hs(/hs)?(_.*)?\.h", {"lib/intent"}),
    ("rte_hash", r"rte_(hash|jhash|hash_crc|fbk_hash|thash)\.h", {"lib/table"}),
    ("rte_lpm/rte_acl", r"rte_(lpm6?|acl)\.h", {"lib/admit"}),
    ("rte_telemetry", r"rte_telemetry\.h", {"lib/control"}),
    ("ethdev", r"rte_(ethdev|eth_.*|flow|bus_vdev|bus_pci|dev)\.h", {"lib/port", "lib/load"}),
    ("libpcap", r"pcap(/.*)?\.h", {"lib/load"}),
    ("libbpf/libxdp", r"(bpf|xdp)/.*\.h", {"lib/port", "kernels"}),
    ("kernels/xdp, which makes it at build time", r"wr_steer_object\.h", {"lib/port"}),
    ("DPDK's basic types", r"rte_.*\.h", None),
    ("CUnit", r"CUnit/.*\.h", {"tests"}),
    ("SIMDe", r"simde/.*\.h", {"tests"}),
    ("compiler and system", r"(x86intrin|immintrin|cpuid)\.h|(sys|linux|arpa|netinet|net)/.*\.h|"
     r"(assert|ctype|dirent|dlfcn|link|endian|errno|fcntl|float|ftw|getopt|glob|ifaddrs|inttypes|libgen|limits|locale|malloc|math|netdb|poll|"
     r"pthread|regex|sched|setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|strings|syslog|"
     r"termios|time|unistd|wchar)\.h", None),
]

# Includes that look upward and are meant: (file, header): why.
MEANT = {("kernels/simd512.h", "wr_simde.h"): "tests/kernels compiles the AVX-512 sources a second time over SIMDe"}


def table(root):
    """{part: rank} from the table in docs/architecture.md."""
    ranks = {}
    for line in lintlib.read(root, "docs/architecture.md").splitlines():
        row = re.match(r"\|\s*(\d+)\s*\|\s*`([^`]+)`", line)
        if row:
            ranks[row[2].rstrip("/*").rstrip("/")] = int(row[1])
    return ranks


def part_of(path, ranks):
    """lib/x, kernels, app or tests; None for a file that belongs to no part of the table."""
    top = path.split("/")[0]
    if top == "tests":
        return "tests"
    if top == "lib":
        part = "/".join(path.split("/")[:2])
        return part if part in ranks else None
    return top if top in ranks else None


def check(root, _build):
    ranks = table(root)
    if not ranks:
        return ["docs/architecture.md: no table of parts found"], []
    ranks["tests"] = max(ranks.values()) + 1
    paths = lintlib.files(root, (".c", ".h"), lintlib.SOURCE_FOLDERS)
    homes = {}
    for p in paths:
        if p.endswith(".h"):
            homes.setdefault(os.path.basename(p), []).append(p)
    problems = []
    for p in paths:
        part = part_of(p, ranks)
        if part is None:
            problems.append(f"{p}: its folder is no part of docs/architecture.md")
            continue
        for n, line in enumerate(lintlib.read(root, p).splitlines(), 1):
            include = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
            if include:
                reason = judge(root, p, part, include[1], ranks, homes)
                if reason:
                    problems.append(f"{p}:{n}: {reason}")
    for name, where in homes.items():
        if name.startswith("wr_") and len(where) > 1:
            problems.append(f"{name} exists twice: {' '.join(where)}")
    return problems, [f"{len(paths)} files, {len(ranks)} parts"]


def judge(root, path, part, header, ranks, homes):
    """Why this include is wrong, or None."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), header))
    own = [beside] if os.path.exists(os.path.join(root, beside)) else None
    own = own or ([header] if os.path.exists(os.path.join(root, header)) else homes.get(os.path.basename(header)))
    if own and not header.startswith("rte_"):
        home = part_of(own[0], ranks)
        if home == part or (path, header) in MEANT or (home and ranks[home] < ranks[part]):
            return None
        return f"{part} (rank {ranks[part]}) includes {header} of {home} (rank {ranks.get(home)})"
    for library, pattern, allowed in OUTSIDE:
        if re.fullmatch(pattern, header):
            if allowed is None or part == "tests" or part in allowed:
                return None
            return f"{header} belongs to {library}, which only {' and '.join(sorted(allowed))} may include"
    return f"{header} is of no library that tests/lint/ranks.py knows"


GOOD = {
    "docs/architecture.md": "| rank | part |\n|---|---|\n| 0 | `lib/base` | x |\n| 1 | `kernels` | x |\n"
                            "| 1 | `lib/report` | x |\n| 2 | `lib/wire` | x |\n| 8 | `app/*` | x |\n",
    "lib/base/wr_base.h": "#include <stdint.h>\n",
    "kernels/wr_kernels.h": '#include "wr_base.h"\n',
    "kernels/gemm.c": '#include "wr_kernels.h"\n#include <oneapi/dnnl/dnnl.h>\n',
    "lib/report/wr_report.h": "#include <jansson.h>\n",
    "lib/wire/wr_wire.h": '#include "wr_base.h"\n#include <rte_mbuf.h>\n',
    "app/wrctl/main.c": '#include "wr_wire.h"\n#include "wr_report.h"\n',
}
BADS = {
    "an upward include": {"lib/base/wr_base.h": '#include "wr_wire.h"\n'},
    "parts of one rank": {"kernels/gemm.c": '#include "wr_report.h"\n'},
    "another part's library": {"app/wrctl/main.c": "#include <jansson.h>\n"},
    "an unknown library": {"lib/wire/wr_wire.h": "#include <curl/curl.h>\n"},
    "a folder that is no part": {"lib/other/x.c": "#include <stdint.h>\n"},
    "a header name used twice": {"kernels/wr_base.h": "#include <stdint.h>\n"},
    "no table": {"docs/architecture.md": "nothing\n"},
}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS)
