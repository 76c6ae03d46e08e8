# SPDX-License-Identifier: BSD-3-Clause
"""Reads capture files (pcap, micro- and nanoseconds) and takes UDP frames apart, lengths held against each other."""

import struct


def read(path):
    """[(time in ns, frame)], and whether the time stamps are nanoseconds. A last record that is cut is left out."""
    with open(path, "rb") as f:
        data = f.read()
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    if link != 1:
        raise ValueError(f"{path}: link type {link}, not Ethernet")
    unit = {0xA1B23C4D: 1, 0xA1B2C3D4: 1000}[magic]
    frames, at = [], 24
    while at + 16 <= len(data):
        seconds, part, captured, _length = struct.unpack_from("<IIII", data, at)
        if at + 16 + captured > len(data):
            break
        frames.append((seconds * 10**9 + part * unit, data[at + 16:at + 16 + captured]))
        at += 16 + captured
    return frames, unit == 1


def udp(frame):
    """MACs (from, to), addresses, ports, payload of an IPv4 or IPv6 UDP frame, behind VLAN tags or none; ValueError when a length lies.
    Ethernet's own padding of short frames is cut off."""
    while frame[12:14] in (b"\x81\x00", b"\x88\xa8"):
        frame = frame[:12] + frame[16:]
    kind = frame[12:14]
    if kind == b"\x08\x00":
        head, ends, size = 34, (frame[26:30], frame[30:34]), struct.unpack_from(">H", frame, 16)[0] + 14
        protocol = frame[23]
    elif kind == b"\x86\xdd":
        head, ends, size = 54, (frame[22:38], frame[38:54]), struct.unpack_from(">H", frame, 18)[0] + 54
        protocol = frame[20]
    else:
        raise ValueError(f"EtherType {kind.hex()}")
    if protocol != 17 or size > len(frame) or len(frame) > max(size, 60):
        raise ValueError(f"protocol {protocol}, {size} of {len(frame)} bytes")
    source, port, length, _sum = struct.unpack_from(">HHHH", frame, head)
    if length != size - head:
        raise ValueError(f"UDP length {length} of {size - head}")
    return {"macs": (frame[6:12].hex(":"), frame[:6].hex(":")), "ends": ends, "ports": (source, port),
            "payload": frame[head + 8:size]}


def header(message):
    """The fixed fields of a request or an answer (docs/protocol.md); ValueError when the length lies."""
    version, op, size, flags, _, request, user, time_ms = struct.unpack_from("<BBHHBxQQq", message)
    if version != 1 or size != len(message) or size % 4:
        raise ValueError(f"version {version}, length {size} of {len(message)}")
    return {"op": op, "size": size, "flags": flags, "id": request, "user": user, "time_ms": time_ms}
