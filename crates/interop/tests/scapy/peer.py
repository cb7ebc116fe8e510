"""Seals and opens packets with Scapy for the test beside this file: one JSON object in a line asks, one answers.

    do            seal or open
    packet        hexadecimal: what is to be sealed, or what was; so is the answer's
    protocol      ESP or AH
    spi, number   the number with all its 64 bits
    esn           whether the ICV covers the high half
    crypt, auth   Scapy's names of the algorithms, their keys in crypt_key and auth_key (hexadecimal), or null
    icv_len       octets of an AEAD's ICV, or null
    outer         addresses of the tunnel, or null for transport mode
    udp           whether ESP goes in UDP

An answer holds a packet or, if Scapy found fault, an error. Scapy 2.5 leaves ESP out of the length of a UDP header in IPv4,
and the UDP header in what it opens in transport mode over IPv6; both is put right here.
"""

import json
import logging
import sys

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH, ESP, SecurityAssociation


def parsed(octets):
    return IPv6(octets) if octets[0] >> 4 == 6 else IP(octets)


def header(outer):
    source, destination = outer
    return IPv6(src=source, dst=destination) if ":" in source else IP(src=source, dst=destination)


def association(ask):
    def key(name):
        return bytes.fromhex(ask[name]) if ask[name] is not None else None

    return SecurityAssociation(
        {"ESP": ESP, "AH": AH}[ask["protocol"]],
        spi=ask["spi"],
        crypt_algo=ask["crypt"],
        crypt_key=key("crypt_key"),
        crypt_icv_size=ask["icv_len"],
        auth_algo=ask["auth"],
        auth_key=key("auth_key"),
        tunnel_header=header(ask["outer"]) if ask["outer"] else None,
        nat_t_header=UDP(sport=4500, dport=4500) if ask["udp"] else None,
    )


def answer(ask):
    packet = parsed(bytes.fromhex(ask["packet"]))
    low, high = ask["number"] & 0xFFFFFFFF, ask["number"] >> 32
    sa = association(ask)
    if ask["do"] == "seal":
        sealed = sa.encrypt(packet, seq_num=low, esn_en=ask["esn"], esn=high)
        if ask["udp"]:
            sealed[UDP].len = 8 + len(sealed[ESP])
        return sealed
    if ask["udp"] and not ask["outer"] and IPv6 in packet:
        esp = packet[ESP]
        packet[IPv6].remove_payload()
        packet = packet / esp
        packet.nh = 50
    return sa.decrypt(packet, esn_en=ask["esn"], esn=high)


for line in sys.stdin:
    try:
        reply = {"packet": bytes(answer(json.loads(line))).hex()}
    except Exception as fault:
        reply = {"error": f"{type(fault).__name__}: {fault}"}
    print(json.dumps(reply), flush=True)
