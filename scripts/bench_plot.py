#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/bench_plot.py [FOLDER]: latency against load from out/bench-curve.json (`./run bench --curve`) and the roofline from
out/bench.json (`./run bench`), as SVG (docs/performance)."""

import json
import math
import os
import sys
from xml.sax.saxutils import escape

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
W, H, LEFT, RIGHT, TOP, BOTTOM = 860, 500, 80, 170, 56, 84
COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#7b4fa3", "#b08900")


class Plot:
    """Logarithmic y; x logarithmic or not."""

    def __init__(self, title, x_label, y_label, x, y, x_log=False):
        self.x, self.y, self.x_log, self.parts = x, y, x_log, []
        self.text(LEFT, 30, title, size=17, weight="bold")
        self.text((LEFT + W - RIGHT) / 2, H - BOTTOM + 40, x_label, anchor="middle")
        self.parts.append(f'<text transform="translate(22 {(TOP + H - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')

    def px(self, v):
        a, b = self.x
        share = (math.log10(v / a) / math.log10(b / a)) if self.x_log else (v - a) / (b - a)
        return LEFT + share * (W - LEFT - RIGHT)

    def py(self, v):
        a, b = self.y
        return H - BOTTOM - math.log10(max(v, a) / a) / math.log10(b / a) * (H - TOP - BOTTOM)

    def text(self, x, y, words, anchor="start", size=13, colour="#222", weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" '
                          f'font-weight="{weight}">{escape(words)}</text>')

    def line(self, points, colour, width=2.0, dash=""):
        path = " ".join(f"{self.px(x):.1f},{self.py(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"'
                          f'{f" stroke-dasharray={chr(34)}{dash}{chr(34)}" if dash else ""}/>')

    def band(self, points, colour):
        """points: (x, least, most)."""
        edge = [(x, low) for x, low, _ in points] + [(x, high) for x, _, high in reversed(points)]
        path = " ".join(f"{self.px(x):.1f},{self.py(y):.1f}" for x, y in edge)
        self.parts.append(f'<polygon points="{path}" fill="{colour}" fill-opacity="0.1"/>')

    def dot(self, x, y, colour, r=4.0):
        self.parts.append(f'<circle cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" r="{r}" fill="{colour}"/>')

    def axes(self, x_ticks, y_ticks, x_word=str, y_word=str):
        for v in x_ticks:
            self.line([(v, self.y[0]), (v, self.y[1])], "#e3e3e3", 1)
            self.text(self.px(v), H - BOTTOM + 18, x_word(v), "middle", 12)
        for v in y_ticks:
            self.line([(self.x[0], v), (self.x[1], v)], "#e3e3e3", 1)
            self.text(LEFT - 8, self.py(v) + 4, y_word(v), "end", 12)

    def write(self, path, note):
        self.text(LEFT, H - 14, note, size=11, colour="#555")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{W}" height="{H}" viewBox="0 0 {W} {H}" '
                    f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>\n'
                    + "\n".join(self.parts) + "\n</svg>\n")


def decades(a, b):
    return [10.0 ** e for e in range(math.ceil(math.log10(a) - 1e-9), math.floor(math.log10(b) + 1e-9) + 1)]


def microseconds(v):
    return f"{v / 1e6:g} s" if v >= 1e6 else f"{v / 1000:g} ms" if v >= 1000 else f"{v:g} us"


def machine_line(bench):
    m = bench["machine"]
    return f"{m['cpu']} (family {m['family']}, model {m['model']}), {m['cores']} virtual CPUs, {bench['isa']}"


def latency(bench, path):
    """p50, p99 and p99.9 of each workload against the share of its highest rate, medians; the runs' p99 as a band; gaps where the
    quantile is of lost requests."""
    drawn = [w for w in bench["workloads"] if w.get("curve")]
    if not drawn:
        return False
    dashes = {"p50": "", "p99": "7 4", "p999": "2 3"}
    slowest = max(r[f"{q}_us"] or 1 for w in drawn for p in w["curve"] for r in [p, *p["runs"]] for q in dashes)
    top = 10.0 ** math.ceil(math.log10(slowest))
    plot = Plot("Latency against load", "load, share of the highest rate", "latency from the intended time", (0, 1), (1, top))
    plot.axes([0, 0.2, 0.4, 0.6, 0.8, 1], decades(1, top), lambda v: f"{v:.0%}", microseconds)
    y = TOP + 12
    for w, colour in zip(drawn, COLOURS):
        prefix = "ask_" if w["name"] == "mixed" else ""
        runs = [(p["load"], [r[f"{prefix}p99_us"] for r in p["runs"] if r[f"{prefix}p99_us"]]) for p in w["curve"]]
        plot.band([(x, min(v), max(v)) for x, v in runs if v], colour)
        for q, dash in dashes.items():
            points = [(p["load"], p[f"{prefix}{q}_us"]) for p in w["curve"] if p[f"{prefix}{q}_us"]]
            plot.line(points, colour, 2 if q == "p50" else 1.6, dash)
            for x, v in points:
                plot.dot(x, v, colour, 2.5)
        plot.text(W - RIGHT + 14, y, w["name"] + (" (RECOMMEND)" if prefix else ""), colour=colour, weight="bold")
        y += 20
    y += 10
    for q, words in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")):
        x = W - RIGHT + 14
        plot.parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 34}" y2="{y - 4}" stroke="#444" stroke-width="2" '
                          f'stroke-dasharray="{dashes[q] or "none"}"/>')
        plot.text(x + 42, y, words)
        y += 20
    plot.text(W - RIGHT + 14, y, "band: p99 of all runs", size=11, colour="#555")
    times = len(drawn[0]["curve"][0]["runs"])
    plot.write(path, f"{machine_line(bench)}; medians of {times} times 1.5 s; ./run bench --curve; scripts/bench_plot.py")
    return True


def roofline(bench, path):
    """What a workload does with the bytes that it must move, below what the machine can."""
    drawn = [w for w in bench["workloads"] if w["work"]["macs"]]
    if not drawn:
        return False
    limits = drawn[0]["limits"]
    top, slope = limits["int8_gmacs"], limits["mem_block_gbs"]
    plot = Plot("Roofline", "multiply-adds for a byte that must move (session row; cold: the request)", "G multiply-adds/s",
                (1, 10000), (1, 1000), x_log=True)
    plot.axes(decades(1, 10000), decades(1, 1000), lambda v: f"{v:,.0f}", lambda v: f"{v:,.0f}")
    ridge = top / slope
    plot.line([(1, slope), (ridge, top), (10000, top)], "#222", 2.4)
    plot.text(plot.px(ridge) + 6, plot.py(top) - 8, f"{top:.0f} G int8 multiply-adds/s")
    plot.text(plot.px(1) + 8, plot.py(slope) + 20, f"{slope:.1f} GB/s of random blocks")
    names = []  # where they stand: those of neighbours move down
    for w, colour in zip(drawn, COLOURS[1:]):
        intensity = w["work"]["macs"] / (w["work"]["bytes"] or w["datagram"])
        rate = w["per_core_qps"] * w["work"]["macs"] / 1e9
        roof = min(top, slope * intensity)
        plot.line([(intensity, rate), (intensity, roof)], colour, 1.2, "3 3")
        plot.dot(intensity, rate, colour, 5.5)
        x, y = plot.px(intensity) + 9, plot.py(rate) + 16
        while any(abs(x - a) < 260 and abs(y - b) < 18 for a, b in names):
            y += 18
        names.append((x, y))
        plot.text(x, y, f"{w['name']}: {rate:.0f} G/s, {rate / roof:.0%} of its roof",
                  colour=colour, weight="bold")
    plot.write(path, f"{machine_line(bench)}; ./run bench; scripts/bench_plot.py")
    return True


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs", "performance")
    os.makedirs(folder, exist_ok=True)
    for name, source, draw in (("latency.svg", "bench-curve.json", latency), ("roofline.svg", "bench.json", roofline)):
        path, source = os.path.join(folder, name), os.path.join(ROOT, "out", source)
        if not os.path.exists(source):
            print(f"{name}: there is no {source}")
            continue
        with open(source, encoding="utf-8") as f:
            drawn = draw(json.load(f), path)
        print(f"written: {path}" if drawn else f"{name}: nothing measured to draw it from")
    return 0


if __name__ == "__main__":
    sys.exit(main())
