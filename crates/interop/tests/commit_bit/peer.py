"""An IKEv1 peer in Python's own library and OpenSSL's command, written from RFC 2408 and RFC 2409 alone.

It speaks main mode with a pre-shared key and quick mode in either role, and sets the commit bit in quick mode. Arguments:
the role, our address, the peer's address, and when CONNECTED is to be sent: so many seconds after message 3.
Suites: AES-128-CBC, SHA-2-256, MODP-2048; ESP with AES-128-CBC and HMAC-SHA-2-256, tunnel mode, no PFS.
Each line that it prints tells what has happened.
"""

import hashlib
import hmac
import os
import socket
import struct
import subprocess
import sys
import time

MODP_2048 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1"
    "356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA4836"
    "1C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E"
    "86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
SA, KE, ID, HASH, NONCE, NOTIFY = 1, 4, 5, 8, 10, 11
MAIN, INFORMATIONAL, QUICK = 2, 5, 32
ENCRYPTED, COMMIT = 1, 2
CONNECTED = 16384
SECRET = b"correct horse battery staple"


def payloads(chain):
    """Gives a chain of (type, body) as octets, and the type of its first."""
    octets = b""
    for index, (_, body) in enumerate(chain):
        following = chain[index + 1][0] if index + 1 < len(chain) else 0
        octets += struct.pack(">BBH", following, 0, 4 + len(body)) + body
    return octets, chain[0][0]


def parsed(kind, octets):
    """Gives (type, body, all that follows it)."""
    found = []
    while kind:
        following, _, length = struct.unpack_from(">BBH", octets)
        found.append((kind, octets[4:length], octets[length:]))
        kind, octets = following, octets[length:]
    return found


def one(found, kind):
    return next(body for other, body, _ in found if other == kind)


def prf(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def aes(direction, key, iv, octets):
    command = ["openssl", "enc", "-aes-128-cbc", direction, "-nopad", "-K", key.hex(), "-iv", iv.hex()]
    return subprocess.run(command, input=octets, stdout=subprocess.PIPE, check=True).stdout


def attributes(*pairs):
    return b"".join(struct.pack(">HH", 0x8000 | kind, value) for kind, value in pairs)


def proposal(protocol, spi, transform_id, attribute_octets):
    transform = struct.pack(">BBHBBH", 0, 0, 8 + len(attribute_octets), 1, transform_id, 0) + attribute_octets
    body = struct.pack(">BBBB", 1, protocol, len(spi), 1) + spi + transform
    return struct.pack(">II", 1, 1) + struct.pack(">BBH", 0, 0, 4 + len(body)) + body


PHASE_1 = proposal(1, b"", 1, attributes((1, 7), (14, 128), (2, 4), (4, 14), (3, 1), (11, 1), (12, 28800)))


def phase_2(spi):
    return proposal(3, spi, 12, attributes((4, 1), (5, 5), (6, 128), (1, 1), (2, 3600)))


def network(text):
    address, length = text.split("/")
    mask = (0xFFFFFFFF << (32 - int(length))) & 0xFFFFFFFF
    return struct.pack(">BBH", 4, 0, 0) + socket.inet_aton(address) + struct.pack(">I", mask)


class Peer:
    def __init__(self, role, own, remote):
        self.role, self.own, self.remote = role, own, remote
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((own, 500))
        self.socket.settimeout(40)
        self.private = int.from_bytes(os.urandom(32), "big")
        self.public = pow(2, self.private, MODP_2048).to_bytes(256, "big")
        self.nonce = os.urandom(32)

    def send(self, exchange, flags, message_id, kind, body):
        header = self.cookies + struct.pack(">BBBBII", kind, 0x10, exchange, flags, message_id, 28 + len(body))
        self.socket.sendto(header + body, (self.remote, 500))

    def receive(self, exchange, message_id=None):
        """Gives header fields, first payload type and body of the next message of an exchange."""
        while True:
            octets, _ = self.socket.recvfrom(65535)
            kind, _, found, flags, found_id, length = struct.unpack_from(">BBBBII", octets, 16)
            if found == exchange and message_id in (None, found_id) and octets != getattr(self, "last", None):
                self.last = octets
                return octets[:16], flags, found_id, kind, octets[28:length]

    def seal(self, exchange, flags, message_id, iv, chain):
        octets, kind = payloads(chain)
        octets += b"\0" * (-len(octets) % 16)
        body = aes("-e", self.key, iv, octets)
        self.send(exchange, ENCRYPTED | flags, message_id, kind, body)
        return body[-16:]

    def open(self, kind, iv, body):
        return parsed(kind, aes("-d", self.key, iv, body)), body[-16:]

    def secure(self, sa_body, public, nonce):
        """Makes the keys of phase 1 from the peer's public value and nonce."""
        shared = pow(int.from_bytes(public, "big"), self.private, MODP_2048).to_bytes(256, "big")
        initiator = self.role == "initiator"
        nonces = self.nonce + nonce if initiator else nonce + self.nonce
        self.skeyid = prf(SECRET, nonces)
        d = prf(self.skeyid, shared, self.cookies, b"\0")
        self.a = prf(self.skeyid, d, shared, self.cookies, b"\1")
        self.key = prf(self.skeyid, self.a, shared, self.cookies, b"\2")[:16]
        publics = [self.public, public] if initiator else [public, self.public]
        self.iv = hashlib.sha256(publics[0] + publics[1]).digest()[:16]
        i, r = self.cookies[:8], self.cookies[8:]
        self.proofs = {
            "initiator": lambda body: prf(self.skeyid, publics[0], publics[1], i, r, sa_body, body),
            "responder": lambda body: prf(self.skeyid, publics[1], publics[0], r, i, sa_body, body),
        }

    def identity(self):
        return struct.pack(">BBH", 2, 0, 0) + (b"a.example.org" if self.own.startswith("192") else b"b.example.org")

    def main_mode_initiator(self):
        self.cookies = os.urandom(8) + bytes(8)
        octets, kind = payloads([(SA, PHASE_1)])
        self.send(MAIN, 0, 0, kind, octets)
        self.cookies, _, _, kind, body = self.receive(MAIN)
        octets, kind = payloads([(KE, self.public), (NONCE, self.nonce)])
        self.send(MAIN, 0, 0, kind, octets)
        _, _, _, kind, body = self.receive(MAIN)
        found = parsed(kind, body)
        self.secure(PHASE_1, one(found, KE), one(found, NONCE))
        own = self.identity()
        self.iv = self.seal(MAIN, 0, 0, self.iv, [(ID, own), (HASH, self.proofs["initiator"](own))])
        _, _, _, kind, body = self.receive(MAIN)
        found, self.iv = self.open(kind, self.iv, body)
        assert one(found, HASH) == self.proofs["responder"](one(found, ID))

    def main_mode_responder(self):
        cookies, _, _, kind, body = self.receive(MAIN)
        self.cookies = cookies[:8] + os.urandom(8)
        offer = one(parsed(kind, body), SA)
        octets, kind = payloads([(SA, offer)])
        self.send(MAIN, 0, 0, kind, octets)
        _, _, _, kind, body = self.receive(MAIN)
        found = parsed(kind, body)
        octets, kind = payloads([(KE, self.public), (NONCE, self.nonce)])
        self.send(MAIN, 0, 0, kind, octets)
        self.secure(offer, one(found, KE), one(found, NONCE))
        _, _, _, kind, body = self.receive(MAIN)
        found, self.iv = self.open(kind, self.iv, body)
        assert one(found, HASH) == self.proofs["initiator"](one(found, ID))
        own = self.identity()
        self.iv = self.seal(MAIN, 0, 0, self.iv, [(ID, own), (HASH, self.proofs["responder"](own))])

    def first_iv(self, message_id):
        return hashlib.sha256(self.iv + struct.pack(">I", message_id)).digest()[:16]

    def hash(self, message_id, prefix, chain):
        octets, _ = payloads(chain)
        return (HASH, prf(self.a, struct.pack(">I", message_id), prefix, octets))

    def checked(self, message_id, prefix, found):
        (kind, proof, following) = found[0]
        length = sum(4 + len(body) for _, body, _ in found[1:])
        assert kind == HASH and proof == prf(self.a, struct.pack(">I", message_id), prefix, following[:length])

    def third(self, message_id, nonces):
        return [(HASH, prf(self.a, b"\0", struct.pack(">I", message_id), nonces))]

    def quick_mode_initiator(self):
        message_id = int.from_bytes(os.urandom(4), "big") | 1
        nonce = os.urandom(32)
        rest = [(SA, phase_2(os.urandom(4))), (NONCE, nonce), (ID, network("10.1.0.0/24")), (ID, network("10.2.0.0/24"))]
        iv = self.seal(QUICK, COMMIT, message_id, self.first_iv(message_id), [self.hash(message_id, b"", rest)] + rest)
        print("sent message 1 with the commit bit", flush=True)
        _, _, _, kind, body = self.receive(QUICK, message_id)
        found, iv = self.open(kind, iv, body)
        self.checked(message_id, nonce, found)
        self.seal(QUICK, COMMIT, message_id, iv, self.third(message_id, nonce + one(found, NONCE)))
        print("sent message 3", flush=True)
        return message_id

    def quick_mode_responder(self):
        _, _, message_id, kind, body = self.receive(QUICK)
        found, iv = self.open(kind, self.first_iv(message_id), body)
        self.checked(message_id, b"", found)
        nonce_i, nonce = one(found, NONCE), os.urandom(32)
        answer = one(found, SA)
        # The one transform that was offered, with an SPI of ours.
        answer = answer[:16] + os.urandom(4) + answer[20:]
        rest = [(SA, answer), (NONCE, nonce)] + [(ID, body) for kind, body, _ in found if kind == ID]
        chain = [self.hash(message_id, nonce_i, rest)] + rest
        iv = self.seal(QUICK, COMMIT, message_id, iv, chain)
        print("sent message 2 with the commit bit", flush=True)
        _, _, _, kind, body = self.receive(QUICK, message_id)
        found, _ = self.open(kind, iv, body)
        assert one(found, HASH) == self.third(message_id, nonce_i + nonce)[0][1]
        print("got message 3", flush=True)
        return message_id

    def connected(self, message_id):
        rest = [(NOTIFY, struct.pack(">IBBHI", 1, 3, 4, CONNECTED, 0))]
        chain = [self.hash(message_id, b"", rest)] + rest
        self.seal(INFORMATIONAL, COMMIT, message_id, self.first_iv(message_id), chain)
        print("sent CONNECTED", flush=True)


role, own, remote, delay = sys.argv[1:]
peer = Peer(role, own, remote)
print("ready", flush=True)
if role == "initiator":
    peer.main_mode_initiator()
    quick = peer.quick_mode_initiator()
else:
    peer.main_mode_responder()
    quick = peer.quick_mode_responder()
time.sleep(float(delay))
peer.connected(quick)
sys.stdin.read()
