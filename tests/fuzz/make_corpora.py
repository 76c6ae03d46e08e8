#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the corpora of all fuzzers but wire's anew: make_corpora.py FOLDER (tests/fuzz/corpus). Small inputs, sound and not, that
reach every branch of a parser; what a fuzzer found joins them under a name of its own and is kept."""

import os
import struct
import sys
import zlib

ROOT = sys.argv[1]


def save(fuzzer, name, data):
    folder = os.path.join(ROOT, fuzzer)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


# ---- config ----
save("config", "sound", """# a daemon
[server]
name = w-1
isa = avx2 ; the level
gemm = own
lcores = 1-3,5
[bundle]
path = /x/y.wrb
[port]
kind = memif
socket = /run/a.sock
id = 3
role = client
mac = 02:00:00:00:47:01
ipv4 = 10.0.0.1
ipv6 = fd00::1
udp_port = 4800
ring_size = 11
mtu = 9000
[sessions]
rows_per_lcore = 4096
[corridor]
burst = 8
handover_ring = 128
[admit]
allow = 10.0.0.0/8, fd00::/8
cookie_rotate_s = 5
[memory]
huge = no
limit = 2G
""")
save("config", "addresses", "[port]\nipv4 = 10.0.0.1, 10.0.0.2\nipv6 = none\nservice = 192.0.2.1, fd00::5\n[bundle]\npath=b\n")
save("config", "kinds", "".join(f"[port]\nkind = {k}\ninterface = v0\ndevice = net_ring0\n" for k in ("af_xdp",)) + "[bundle]\npath=b\n")
save("config", "unknown-key", "[server]\nnme = x\n")
save("config", "unknown-section", "[servers]\nname = x\n")
save("config", "twice", "[server]\nname = x\nname = y\n")
save("config", "no-value", "[server]\nname\n[port\n= 3\n")
save("config", "ranges", "[port]\nudp_port = 65536\nmtu = 12\n[server]\nlcores = 1-,3--4\n[admit]\nallow = 10.0.0.1/8\n")
save("config", "long-line", "[bundle]\npath = " + "x" * 1100 + "\n")
save("config", "continuation", "[server]\nname = a\n  b\n\xef\xbb\xbf")
save("config", "sets", "server.name=x\nport.mac=02:00:00:00:00:01\nserver.lcores=1,2\nmemory.limit=3M\nx=1\nport.=\n.id=1\n")
save("config", "empty", "")

# ---- intent ----
save("intent", "sound", "# rules\n[refund]\npattern = refund|money back\nitems = item1 item2\nweight = 2.5\n\n[bill]\npattern = bill\n"
     "category = Billing\ncategory = Devices\n; end\n[both]\npattern = b\ncategory = Billing\nitems = item3\n")
save("intent", "names", "[a]\npattern = x\nitems = item0 item1 1 2 3\n[b]\npattern=y\ncategory = Nothing\n")
save("intent", "twice", "[a]\npattern = x\npattern = y\nitems = 1\n[a]\npattern = z\nitems = 1\n")
save("intent", "missing", "[a]\nitems = 1\n[b]\npattern = x\n")
save("intent", "broken", "[]\n[a\n= x\npattern\nweight = 1e9\n[" + "x" * 40 + "]\nfoo = bar\n")
save("intent", "weights", "[a]\npattern=x\nitems=item1\nweight=0\n[b]\npattern=x\nitems=item2\nweight=100\n")
save("intent", "not-a-number", "[c]\npattern=x\nitems=item3\nweight=nan\n")
save("intent", "bytes", b"[a]\r\npattern = \xff\xfe\r\nitems = 1\r\n\x00[b]\npattern = \xc3\xa9\nitems = 1\n")
save("intent", "empty", "")

# ---- control ----
for i, text in enumerate(("\x01all,0", "\x03" "2,9999", "\x00", "\x05,", "\x05,,", "\x05" "all", "\x02" "99999999999999999999,1",
                          "\x02-1,-1", "\x02" + "7" * 80, "\x02 1,1 ", "\x02" "0x1,1", "\x40" "63,1,2")):
    save("control", f"{i:02}", text)

# ---- lists ----
HEAD = "#k=10 filtered=1 bundle=c841d7da48cef76e3096b155ed4784c9\n"
save("lists", "sound", HEAD + "7\t0\t1,2,3\t4,5,6,7\n7\t1\t9\t4,5\n7\t2\t4\t8\n18446744073709551615\t0\t5\t1\n")
save("lists", "unfiltered", "#k=1 filtered=0 later=x\n1\t0\t5\t6\n")
save("lists", "no-header", "1\t0\t5\t6\n")
save("lists", "order", HEAD + "7\t1\t1\t2\n7\t0\t1\t2\n7\t3\t1\t2\n")
save("lists", "values", HEAD + "7\t0\t0,1073741824\t1\n")
save("lists", "commas", HEAD + "7\t0\t1,,2\t,\n7\t1\t1,2\t1\n")
save("lists", "too-many", HEAD + "7\t0\t1\t1,2,3,4,5,6,7,8,9,10,11\n")
save("lists", "bad-header", "#k=65 filtered=2 bundle=xyz\n")
save("lists", "cut", HEAD + "7\t0\t1,2")
save("lists", "nul", HEAD.encode() + b"7\t0\t1\x00,2\t3\n\r\n")

# ---- import: format byte, files ----
SEP = "\x1e"
save("import", "sasrec", "\x00" "1 10\n1 11\n1 12\n2 10\n2 13\n" + SEP + "10 100\n11 101\n" + SEP + "100::A (1999)::Drama|War\n101::B::\n")
save("import", "sasrec-one", "\x00" "alice 1\nbob 2\r\nalice 3\n\nalice 1")
save("import", "sasrec-bad", "\x00" "1 2 3\n1\n 2\n")
save("import", "recbole", "\x01user_id:token\titem_id:token\ttimestamp:float\nu\ta\t1.5\nu\tb\t2\nv\ta\t0\n" + SEP +
     "item_id:token\tmovie_title:token_seq\tclass:token_seq\na\tTitle A\tx, y\nb\tTitle B\t\n" + SEP + "user_id:token\tage:float\nu\t3\n")
save("import", "recbole-untimed", "\x01item_id:token\tuser_id:token\na\tu\nb\tu\nc\tu\n")
save("import", "recbole-bad", "\x01user_id:token\titem:float\nu\ta\tb\n")
save("import", "recbole-wide", "\x01" + "\t".join(f"c{i}:float" for i in range(70)) + "\tuser_id:token\titem_id:token\nx\n")
save("import", "movielens", "\x02" "1::10::5::978300760\n1::11::3::978300761\n2::10::4::978300000\n1::12::1::978300762\n" + SEP +
     "10::Stra\u00dfe (1998)::Action|Drama\n11::B::Comedy\n" + SEP + "1::F::1::10::48067\n")
save("import", "movielens-bad", "\x02" "1::10::5\n::::::\n1::10::9::x\n")
save("import", "same-user", "\x00" "7 1\n007 2\n9223372036854775808 3\n")
save("import", "numbers", "\x00" "1 3\n1 1\n1 2\n2 20\n2 3\n")
save("import", "control", b"\x00a\x01b 1\na\tb 2\n\xc3\xa9 3\n\xff 4\n")
save("import", "empty", "\x00\n\n")


# ---- safetensors ----
def tensors(header, data=b""):
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text)) + text + data


save("safetensors", "sound", tensors('{"__metadata__":{"step":"7"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
                                     '"b":{"dtype":"F32","shape":[4],"data_offsets":[24,40]}}', bytes(range(40))))
save("safetensors", "hole", tensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', bytes(8)))
save("safetensors", "overlap", tensors('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],'
                                       '"data_offsets":[4,12]}}', bytes(12)))
save("safetensors", "huge", tensors('{"a":{"dtype":"F32","shape":[4294967295,4294967295],"data_offsets":[0,4]}}', bytes(4)))
save("safetensors", "negative", tensors('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[-4,0]}}'))
save("safetensors", "types", tensors('{"a":{"dtype":"I8","shape":"x","data_offsets":{}},"b":3,"c":[],"__metadata__":[1]}'))
save("safetensors", "scalar", tensors('{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', bytes(4)))
save("safetensors", "no-json", tensors("{", b"1"))
save("safetensors", "deep", tensors("[" * 300))
save("safetensors", "long-head", struct.pack("<Q", 2**63) + b"{}")
save("safetensors", "short", b"\x01\x00")


# ---- bundle ----
def strings(*texts):
    raw = [t.encode() for t in texts]
    offsets = [0]
    for t in raw:
        offsets.append(offsets[-1] + len(t))
    return struct.pack(f"<{len(offsets) + 1}I", len(raw), *offsets) + b"".join(raw)


def bundle(sections, **head):
    at = 64 + 64 * len(sections)
    table, body = b"", b""
    for name, data in sections.items():
        pad = -(at + len(body)) % 64
        body += bytes(pad)
        table += struct.pack("<16sQQI28x", name.encode(), at + len(body), len(data), zlib.crc32(data))
        body += data
    size = at + len(body)
    fields = {"magic": b"WRBUNDLE", "format": FORMAT, "n": len(sections), "bytes": size, **head}
    raw = struct.pack("<8sIIQI36x", fields["magic"], fields["format"], fields["n"], fields["bytes"], 0)
    crc = zlib.crc32(table, zlib.crc32(raw))
    return struct.pack("<8sIIQI36x", fields["magic"], fields["format"], fields["n"], fields["bytes"], crc) + table + body


def small(n=3, d=16, ffn=16, window=2, heads=1, kv=1, width=16):
    """Every section of a model with one block."""
    model = struct.pack("<8IffI5I", n, d, 1, heads, kv, width, window, ffn, 2.0, 1e-6, 1, 0, 0, 0, 0, 0)
    qkv, o = (heads + 2 * kv) * width, heads * width
    s = {"model": model, "item.q": bytes(n * d), "item.scale": struct.pack(f"<{n}f", *[0.5] * n),
         "item.in": struct.pack(f"<{n}f", *[0.5] * n), "item.flags": bytes(n), "final.gain": struct.pack(f"<{d}f", *[1.0] * d),
         "popularity": struct.pack(f"<{n}I", *range(n)), "category": struct.pack(f"<{n}H", *([1] * n)),
         "cat.names": strings("", "c1"), "item.names": strings(*(f"i{i}" for i in range(n))),
         "item.titles": strings(*("T\u00e9" for _ in range(n))), "rules": b"[a]\npattern=x\nitems=i1\n"}
    for name, rows, cols in (("qkv", qkv, d), ("out", d, o), ("up", ffn, d), ("down", d, ffn)):
        s[f"b0.{name}.q"] = bytes(rows * cols)
        s[f"b0.{name}.s"] = struct.pack(f"<{rows}f", *[0.1] * rows)
    s["b0.bias"] = struct.pack(f"<{heads * window}f", *[0.0] * (heads * window))
    return s


FORMAT = int(sys.argv[2]) if len(sys.argv) > 2 else 1
sound = small()
save("bundle", "sound", bundle(sound))
save("bundle", "missing", bundle({k: v for k, v in sound.items() if k != "item.q"}))
save("bundle", "no-strings", bundle({k: v for k, v in sound.items() if not k.endswith(("names", "titles", "category"))}))
save("bundle", "category-without-names", bundle({k: v for k, v in sound.items() if k != "cat.names"}))
save("bundle", "strings-backward", bundle({**sound, "item.names": struct.pack("<5I", 3, 0, 4, 2, 1) + b"abcd"}))
save("bundle", "strings-beyond", bundle({**sound, "cat.names": struct.pack("<3I", 1, 0, 99)}))
save("bundle", "strings-many", bundle({**sound, "cat.names": struct.pack("<3I", 2**32 - 1, 0, 0)}))
save("bundle", "minus-128", bundle({**sound, "item.q": b"\x80" * 48}))
save("bundle", "not-finite", bundle({**sound, "item.scale": struct.pack("<3f", float("nan"), 1, 1)}))
save("bundle", "shape", bundle({**sound, "model": struct.pack("<8IffI5I", 2**30, 8, 9, 0, 0, 7, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0)}))
save("bundle", "head-only", bundle({}))
save("bundle", "many-sections", bundle({}, n=2**32 - 1))
save("bundle", "other-format", bundle({}, format=99))
# The feed-forward's second matrix kept in two planes.
kept = {**sound, "model": sound["model"][:48] + struct.pack("<4H2I", 0, 0, 0, 1, 0, 0), "b0.down.low": b"\x7f" * 256}
save("bundle", "kept", bundle(kept, format=2))
save("bundle", "kept-missing", bundle({k: v for k, v in kept.items() if k != "b0.down.low"}, format=2))
save("bundle", "kept-short", bundle({**kept, "b0.down.low": bytes(255)}, format=2))
save("bundle", "kept-minus-128", bundle({**kept, "b0.down.low": b"\x80" * 256}, format=2))
save("bundle", "kept-old-format", bundle(kept, format=1))
save("bundle", "kept-no-block", bundle({**kept, "model": sound["model"][:48] + struct.pack("<4H2I", 0, 2, 0, 0, 0, 0)}, format=2))
save("bundle", "empty", b"")
