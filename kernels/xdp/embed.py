#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""embed.py OBJECT HEADER: the BPF object's bytes as an array, so that the daemon carries its program with it."""

import sys


def main():
    source, target = sys.argv[1:3]
    with open(source, "rb") as f:
        data = f.read()
    with open(target, "w", encoding="utf-8") as f:
        f.write("/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */\n"
                "/* Made from wr_steer.bpf.c; one file includes it. */\n"
                f"static const unsigned char wr_steer_object[{len(data)}] = {{\n")
        for at in range(0, len(data), 16):
            f.write("\t" + " ".join(f"{b}," for b in data[at:at + 16]) + "\n")
        f.write("};\n")


if __name__ == "__main__":
    main()
