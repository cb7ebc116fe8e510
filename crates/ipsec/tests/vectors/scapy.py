#!/usr/bin/env python3
"""Writes ESP packets sealed by Scapy, for `scapy.txt` beside this file.

    python3 scapy.py > scapy.txt          (Debian: python3-scapy)

One packet on a line, its fields separated by blanks:

    suite      keyword of the encryption algorithm, and of the integrity algorithm after a dash
    esn        esn or noesn
    number     sequence number, decimal, all 64 bits of it
    key        encryption key (with salt), then integrity key, hexadecimal
    inner      the inner packet, hexadecimal
    sealed     the ESP packet from the SPI to the ICV, hexadecimal

The IV of an AEAD or of counter mode is the sequence number, as Keyway has it; that of CBC is arbitrary.

Scapy 2.5 authenticates the high half of an extended sequence number with an AEAD, but forgets it with a MAC; there the
ICV is made here (RFC 4303 section 2.2.1). Of CCM it has the longest ICV alone.
"""

import hmac
import random
import sys
import warnings

# The name of this very script would otherwise stand in for the package's.
sys.path.pop(0)

# Old ciphers are what this is about.
warnings.simplefilter("ignore")

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

SPI = 0xC0DE1234

AEADS = [
    ("aes128gcm16", "AES-GCM", 16),
    ("aes192gcm16", "AES-GCM", 24),
    ("aes256gcm16", "AES-GCM", 32),
    ("chacha20poly1305", "CHACHA20-POLY1305", 32),
]
CIPHERS = [("aes128", 16), ("aes192", 24), ("aes256", 32)]
MACS = [("sha256", "SHA2-256-128", 32), ("sha384", "SHA2-384-192", 48), ("sha512", "SHA2-512-256", 64)]

# Cipher and MAC, by keyword; Scapy's name, octets of the key with its salt, octets of the IV.
OLD_CIPHERS = {
    "null": ("NULL", 0, 0),
    "aes128ctr": ("AES-CTR", 20, 8),
    "aes192ctr": ("AES-CTR", 28, 8),
    "aes256ctr": ("AES-CTR", 36, 8),
    "3des": ("3DES", 24, 8),
    "des": ("DES", 8, 8),
    "cast128": ("CAST", 16, 8),
    "blowfish128": ("Blowfish", 16, 8),
    "aes128": ("AES-CBC", 16, 16),
}
# Scapy's name, octets of the key.
OLD_MACS = {
    "sha256": ("SHA2-256-128", 32),
    "sha1": ("HMAC-SHA1-96", 20),
    "md5": ("HMAC-MD5-96", 16),
    "aescmac": ("AES-CMAC-96", 16),
}
OLD_SUITES = [
    "null-sha256",
    "null-sha1",
    "aes128ctr-sha1",
    "aes192ctr-md5",
    "aes256ctr-aescmac",
    "3des-sha1",
    "des-md5",
    "cast128-aescmac",
    "blowfish128-sha1",
    "aes128-aescmac",
    "aes128-md5",
]
NUMBERS = [("noesn", 5), ("noesn", 0xFFFFFFFE), ("esn", 6), ("esn", 0x3_0000_0001)]

INNERS = [
    IP(src="10.1.0.2", dst="10.2.0.3", id=7) / ICMP(id=1, seq=2) / Raw(bytes(range(56))),
    IP(src="10.1.0.2", dst="10.2.0.3", id=8) / UDP(sport=4000, dport=53) / Raw(b"x"),
    IPv6(src="2001:db8:1::2", dst="2001:db8:2::3") / TCP(sport=4000, dport=443, seq=9) / Raw(b"y" * 33),
    IPv6(src="2001:db8:1::2", dst="2001:db8:2::3") / ICMPv6EchoRequest(id=1, seq=3, data=b"z" * 7),
]


def associations(source):
    for keyword, name, length in AEADS:
        key = source.randbytes(length + 4)
        yield keyword, key, 8, dict(crypt_algo=name, crypt_key=key)
    for cipher, cipher_len in CIPHERS:
        for mac, mac_name, mac_len in MACS:
            crypt_key, auth_key = source.randbytes(cipher_len), source.randbytes(mac_len)
            yield f"{cipher}-{mac}", crypt_key + auth_key, 16, dict(
                crypt_algo="AES-CBC", crypt_key=crypt_key, auth_algo=mac_name, auth_key=auth_key
            )


    for keyword, length in [("aes128ccm16", 16), ("aes192ccm16", 24), ("aes256ccm16", 32)]:
        key = source.randbytes(length + 3)
        yield keyword, key, 8, dict(crypt_algo="AES-CCM", crypt_key=key)
    for suite in OLD_SUITES:
        cipher, mac = suite.split("-")
        (cipher_name, cipher_len, iv_len), (mac_name, mac_len) = OLD_CIPHERS[cipher], OLD_MACS[mac]
        crypt_key, auth_key = source.randbytes(cipher_len), source.randbytes(mac_len)
        yield suite, crypt_key + auth_key, iv_len, dict(
            crypt_algo=cipher_name, crypt_key=crypt_key, auth_algo=mac_name, auth_key=auth_key
        )


def whole_icv(mac, key, octets):
    if mac == "AES-CMAC-96":
        cmac = CMAC(AES(key))
        cmac.update(octets)
        return cmac.finalize()
    digest = {"HMAC-SHA1-96": "sha1", "HMAC-MD5-96": "md5"}.get(mac, f"sha{len(key) * 8}")
    return hmac.digest(key, octets, digest)


def seal(algorithms, esn, number, iv, inner):
    outer = IP(src="203.0.113.1", dst="203.0.113.2")
    extended, high = esn == "esn", number >> 32
    sa = SecurityAssociation(ESP, spi=SPI, tunnel_header=outer, esn_en=extended, esn=high, **algorithms)
    sealed = bytes(sa.encrypt(inner, seq_num=number & 0xFFFFFFFF, iv=iv, esn_en=extended, esn=high)[ESP])
    if extended and "auth_key" in algorithms:
        mac, key = algorithms["auth_algo"], algorithms["auth_key"]
        icv_len = 12 if mac.endswith("-96") else len(key) // 2
        front = sealed[:-icv_len]
        sealed = front + whole_icv(mac, key, front + high.to_bytes(4, "big"))[:icv_len]
    return sealed


def main():
    source = random.Random(4303)
    for turn, (suite, key, iv_len, algorithms) in enumerate(associations(source)):
        for nth, (esn, number) in enumerate(NUMBERS):
            inner = INNERS[(turn + nth) % len(INNERS)]
            counts = "auth_key" not in algorithms or algorithms["crypt_algo"] == "AES-CTR"
            iv = number.to_bytes(8, "big") if counts else source.randbytes(iv_len)
            sealed = seal(algorithms, esn, number, iv, inner)
            print(suite, esn, number, key.hex(), bytes(inner).hex(), sealed.hex())


main()
