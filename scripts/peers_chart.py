# SPDX-License-Identifier: BSD-3-Clause
"""docs/performance/peers.svg: bars of `./run bench --peers`, a group a question, each group on its own scale from 0."""

import html

GROUPS = (
    ("Warm answers a second, one core", (
        ("wirerankd warm", "wirerankd, memif, all stages"), ("onnx-int8 warm", "ONNX Runtime int8, model alone"),
        ("onnx-float warm", "ONNX Runtime float, model alone"), ("torch warm", "PyTorch float, model alone"),
        ("wirerankd warm, one in flight", "wirerankd, one request at a time"))),
    ("Cold answers a second, 50 clicks, one core", (
        ("wirerankd cold", "wirerankd, memif, all stages"), ("onnx-int8 cold", "ONNX Runtime int8, model alone"),
        ("onnx-float cold", "ONNX Runtime float, model alone"), ("torch cold", "PyTorch float, model alone"))),
    ("The same worker, warm, on other ways (20,000 users)", (
        ("memif warm", "memif"), ("memif warm, bursts of 1", "memif, bursts of 1"),
        ("sockets warm, offload", "kernel sockets, GSO and GRO"), ("sockets warm, plain", "kernel sockets, plain"))),
    ("256-byte frames a second, nothing recommended", (
        ("testpmd macswap", "dpdk-testpmd macswap, memif"), ("memif echo", "wirerankd, memif"),
        ("sockets echo, offload", "wirerankd, kernel sockets, GSO and GRO"), ("sockets echo, plain", "wirerankd, kernel sockets, plain"))),
    ("15 KB session rows looked up a second", (
        ("wirerankd locate and recall", "wirerankd, locate and recall"), ("redis GET, pipelined", "Redis GET, pipelined"),
        ("redis HGET, pipelined", "Redis HGET, pipelined"), ("redis MGET of 16, pipelined", "Redis MGET of 16, pipelined"),
        ("redis GET, one at a time", "Redis GET, one at a time"))),
)
WIDTH, LEFT, BAR, ROOM = 860, 300, 18, 26
OURS, THEIRS, LINE = "#1f6f8b", "#b8b8b8", "#444444"


def short(value):
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k" if value >= 1e3 else f"{value:.0f}"


def text(x, y, said, **more):
    attributes = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return f'<text x="{x}" y="{y}"{attributes}>{html.escape(said)}</text>'


def group(parts, y, title, bars, rows):
    """Appends one group; returns where the next begins."""
    parts.append(text(10, y + 14, title, font_weight="bold"))
    y += ROOM
    most = max(rows[name]["most"] for name, _ in bars if name in rows)
    scale = (WIDTH - LEFT - 190) / most
    for name, label in bars:
        if name not in rows:
            continue
        r = rows[name]
        ours = not name.startswith(("onnx", "torch", "redis", "testpmd"))
        parts.append(text(LEFT - 8, y + 13, label, text_anchor="end"))
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{max(r["median"] * scale, 1):.1f}" height="{BAR}" fill="{OURS if ours else THEIRS}"/>')
        least, top = LEFT + r["least"] * scale, LEFT + r["most"] * scale
        parts.append(f'<path d="M{least:.1f} {y + BAR / 2}H{top:.1f}M{least:.1f} {y + 5}v8M{top:.1f} {y + 5}v8" stroke="{LINE}" fill="none"/>')
        parts.append(text(round(top + 8, 1), y + 13, f"{short(r['median'])}/s"))
        y += ROOM
    return y + 14


def write(path, result):
    """result: what scripts/peers.py writes to out/peers.json."""
    parts = []
    y = 64
    for title, bars in GROUPS:
        y = group(parts, y, title, bars, result["rows"])
    head = [text(10, 22, "Wirerank beside its peers, one core each, in one run", font_size="16", font_weight="bold"),
            text(10, 42, f"Medians of {result['rounds']} rounds, lines from least to most. {result['cpu']}, {result['levels'][-1]}; "
                         f"{result['command']}, {result['when'][:10]}", fill=LINE)]
    with open(path, "w", encoding="utf-8") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
                'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n')
        f.write("\n".join(head + parts) + "\n</svg>\n")
