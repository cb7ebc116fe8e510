#!/usr/bin/env python3
"""Writes packets with all their headers, made by Scapy, for `headers.txt` beside this file.

    python3 headers.py > headers.txt      (Debian: python3-scapy)

One packet on a line, its fields separated by blanks:

    protocol   esp or ah
    mode       transport or tunnel
    suite      keyword of the algorithm
    esn        esn or noesn
    number     sequence number, decimal, all 64 bits of it
    key        hexadecimal
    inner      the inner packet, hexadecimal
    wire       the packet on the wire, hexadecimal

Scapy 2.5 forgets that AH covers the last address of a source route as the destination (RFC 4302 section 3.3.3.1.1.1);
such packets are sealed here as they arrive and sent as they leave.

The IV of an AEAD is the sequence number, and so is the outer identification in tunnel mode, as Keyway has them.
"""

import random
import sys

# The name of this very script would otherwise stand in for the package's.
sys.path.pop(0)

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP, IPOption_Router_Alert, IPOption_RR
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH, ESP, SecurityAssociation
from scapy.packet import Raw

SPI = 0x00123456
MACS = [
    ("sha256", "SHA2-256-128", 32),
    ("sha384", "SHA2-384-192", 48),
    ("sha512", "SHA2-512-256", 64),
    ("sha1", "HMAC-SHA1-96", 20),
    ("md5", "HMAC-MD5-96", 16),
    ("aescmac", "AES-CMAC-96", 16),
]
AEADS = [("aes128gcm16", "AES-GCM", 16)]
NUMBERS = [("noesn", 5), ("esn", 6), ("esn", 0x3_0000_0001)]
V4 = dict(src="203.0.113.1", dst="203.0.113.2")
V6 = dict(src="2001:db8:ffff::1", dst="2001:db8:ffff::2")

CHANGING = HBHOptUnknown(otype=0x3E, optdata=b"abcd")
LASTING = HBHOptUnknown(otype=0x1E, optdata=b"efgh")
ROUTE = IPv6ExtHdrRouting(addresses=["2001:db8::a", "2001:db8::b", "2001:db8::c"], segleft=3)

TRANSPORT = [
    IP(**V4, id=7, ttl=9, tos=0xB9, flags="DF") / UDP(sport=4000, dport=53) / Raw(b"plain"),
    IP(**V4, id=8, options=[IPOption_RR(routers=["0.0.0.0"] * 2), IPOption_Router_Alert()]) / ICMP(id=1, seq=2) / Raw(b"x" * 30),
    IP(**V4, id=9, options=[IPOption_NOP(), IPOption_LSRR(pointer=4, routers=["198.51.100.1", "198.51.100.2"])]) / TCP(),
    IPv6(**V6, tc=0x2E, fl=0x12345, hlim=3) / UDP(sport=4000, dport=53) / Raw(b"plain"),
    IPv6(**V6) / IPv6ExtHdrHopByHop(options=[CHANGING, LASTING]) / ICMPv6EchoRequest(data=b"y" * 21),
    IPv6(**V6) / IPv6ExtHdrDestOpt(options=[CHANGING, LASTING]) / ROUTE / IPv6ExtHdrDestOpt(options=[LASTING]) / TCP(),
    IPv6(**V6) / IPv6ExtHdrHopByHop(options=[LASTING]) / IPv6ExtHdrDestOpt(options=[CHANGING]) / UDP() / Raw(b"z"),
]
TUNNEL = [
    IP(src="10.1.0.2", dst="10.2.0.3", id=7, tos=0xB8, flags="DF") / ICMP(id=1, seq=2) / Raw(bytes(range(40))),
    IPv6(src="2001:db8:1::2", dst="2001:db8:2::3", tc=0x2E) / TCP(sport=4000, dport=443) / Raw(b"y" * 33),
]


def outer(family, inner, number):
    """The header that Keyway makes in tunnel mode: its class is the inner one's, and so is its Don't Fragment bit."""
    if family == 4:
        flags = "DF" if IPv6 in inner or inner.flags.DF else ""
        return IP(**V4, id=1 + number % 65535, ttl=64, tos=inner.tos if IP in inner else inner.tc, flags=flags)
    return IPv6(**V6, hlim=64, tc=inner.tos if IP in inner else inner.tc)


def seal(sa, inner, number, extended):
    """Seals with AH, the destination of a source route foreseen."""
    routes = [option for option in inner.options if isinstance(option, IPOption_LSRR)] if IP in inner else []
    arriving = inner.copy()
    if routes:
        arriving.dst = routes[0].routers[-1]
    wire = sa.encrypt(arriving, seq_num=number & 0xFFFFFFFF, **extended)
    if routes:
        wire.dst, wire.chksum = inner.dst, None
    return wire


def line(protocol, mode, suite, esn, number, key, inner, wire):
    print(protocol, mode, suite, esn, number, key.hex(), bytes(inner).hex(), bytes(wire).hex())


def main():
    source = random.Random(4302)
    for suite, name, key_len in MACS:
        for esn, number in NUMBERS:
            key = source.randbytes(key_len)
            extended = dict(esn_en=esn == "esn", esn=number >> 32)
            cases = [("transport", inner, None) for inner in TRANSPORT]
            cases += [("tunnel", inner, outer(family, inner, number)) for inner in TUNNEL for family in (4, 6)]
            for mode, inner, tunnel_header in cases:
                sa = SecurityAssociation(AH, spi=SPI, auth_algo=name, auth_key=key, tunnel_header=tunnel_header, **extended)
                line("ah", mode, suite, esn, number, key, inner, seal(sa, inner, number, extended))
    for suite, name, key_len in AEADS:
        for esn, number in NUMBERS:
            key = source.randbytes(key_len + 4)
            extended = dict(esn_en=esn == "esn", esn=number >> 32)
            for inner in TRANSPORT:
                sa = SecurityAssociation(ESP, spi=SPI, crypt_algo=name, crypt_key=key, **extended)
                iv = number.to_bytes(8, "big")
                wire = sa.encrypt(inner.copy(), seq_num=number & 0xFFFFFFFF, iv=iv, **extended)
                line("esp", "transport", suite, esn, number, key, inner, wire)


main()
