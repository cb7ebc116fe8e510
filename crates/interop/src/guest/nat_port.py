"""Holds UDP port 4500 so that the kernel opens the ESP that arrives there, and lets it pass every policy."""

import signal
import socket
import struct

UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2
# struct xfrm_userpolicy_info is 168 octets; but for family, direction and action (allow) all of it is 0.
POLICY_OCTETS, FAMILY_AT, DIRECTION_AT = 168, 40, 160

FAMILIES = [
    (socket.AF_INET, "0.0.0.0", socket.IPPROTO_IP, 17),  # IP_XFRM_POLICY
    (socket.AF_INET6, "::", socket.IPPROTO_IPV6, 35),  # IPV6_XFRM_POLICY
]


def held(family, address, level, policy_option):
    port = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for direction in (0, 1):
        policy = bytearray(POLICY_OCTETS)
        struct.pack_into("=H", policy, FAMILY_AT, family)
        policy[DIRECTION_AT] = direction
        port.setsockopt(level, policy_option, bytes(policy))
    port.bind((address, 4500))
    port.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
    return port


ports = [held(*family) for family in FAMILIES]
print("ready", flush=True)
signal.pause()
