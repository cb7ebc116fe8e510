#!/usr/bin/env python3
"""Writes raw deflate streams of zlib for `deflate.txt` beside this file.

    python3 deflate.py > deflate.txt

One stream on a line: the inner packet and the stream, hexadecimal, separated by a blank.
"""

import random
import struct
import zlib


def checksum(header):
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def packet(payload):
    header = struct.pack(">BBHHHBBH4B4B", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, 253, 0, 10, 1, 0, 2, 10, 2, 0, 3)
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


source = random.Random(2394)
payloads = [
    b"",
    b"the quick brown fox jumps over the lazy dog, " * 12,
    source.randbytes(300),
    bytes(source.choice(b"abcdefgh") for _ in range(1300)),
]
for payload in payloads:
    for level, strategy in [(0, 0), (1, 0), (9, 0), (9, zlib.Z_FIXED)]:
        deflate = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
        stream = deflate.compress(packet(payload)) + deflate.flush()
        print(packet(payload).hex(), stream.hex())
