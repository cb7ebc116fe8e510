"""An IKEv1 peer that authenticates by public key encryption, written from RFC 2408 and RFC 2409 alone.

It speaks main and aggressive mode, plain (RFC 2409 section 5.2) and revised (section 5.3), in either role, and then quick
mode. Arguments: the role, the mode, the form, the suite, our address, the peer's address, our private key, our certificate,
and the peer's certificate, or "-" where the peer must show it. With aes256-sha1, HASH_R of the revised aggressive mode is
encrypted as the text of section 5.3 has it; with aes128-sha256 it is in the clear as its diagram has it.
Each line that it prints tells what has happened.
"""

import hashlib
import hmac
import os
import socket
import struct
import sys

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MODP_2048 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1"
    "356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA4836"
    "1C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E"
    "86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
SA, KE, ID, CERT, HASH, NONCE = 1, 4, 5, 6, 8, 10
MAIN, AGGRESSIVE, QUICK = 2, 4, 32
ENCRYPTED = 1
# Name: octets of the key, number of the hash, its function.
SUITES = {"aes128-sha256": (16, 4, hashlib.sha256), "aes256-sha1": (32, 2, hashlib.sha1)}
METHODS = {"plain": 4, "revised": 5}


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
    (body,) = [payload[1] for payload in found if payload[0] == kind]
    return body


def attributes(*pairs):
    return b"".join(struct.pack(">HH", 0x8000 | kind, value) for kind, value in pairs)


def proposal(protocol, spi, transform_id, attribute_octets):
    transform = struct.pack(">BBHBBH", 0, 0, 8 + len(attribute_octets), 1, transform_id, 0) + attribute_octets
    body = struct.pack(">BBBB", 1, protocol, len(spi), 1) + spi + transform
    return struct.pack(">II", 1, 1) + struct.pack(">BBH", 0, 0, 4 + len(body)) + body


def phase_2(spi):
    return proposal(3, spi, 12, attributes((4, 1), (5, 5), (6, 128), (1, 1), (2, 3600)))


def network(text):
    address, length = text.split("/")
    mask = (0xFFFFFFFF << (32 - int(length))) & 0xFFFFFFFF
    return struct.pack(">BBH", 4, 0, 0) + socket.inet_aton(address) + struct.pack(">I", mask)


class Chaining:
    """The cipher of section 5.3: its IV goes on from one payload to the next."""

    def __init__(self, key):
        self.key, self.iv = key, bytes(16)

    def seal(self, body):
        zeros = 15 - len(body) % 16
        encryptor = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).encryptor()
        sealed = encryptor.update(body + bytes(zeros) + bytes([zeros])) + encryptor.finalize()
        self.iv = sealed[-16:]
        return sealed

    def open(self, sealed):
        decryptor = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).decryptor()
        body = decryptor.update(sealed) + decryptor.finalize()
        self.iv = sealed[-16:]
        zeros = body[-1]
        assert zeros < 16 and body[len(body) - 1 - zeros : -1] == bytes(zeros)
        return body[: len(body) - 1 - zeros]


class Peer:
    def __init__(self, role, mode, form, suite, own, remote, key, certificate, peers_certificate):
        self.role, self.form, self.remote, self.suite = role, form, remote, suite
        self.exchange = MAIN if mode == "main" else AGGRESSIVE
        self.key_length, number, self.hash_function = SUITES[suite]
        pairs = (1, 7), (14, 8 * self.key_length), (2, number), (4, 14), (3, METHODS[form]), (11, 1), (12, 28800)
        self.offer = proposal(1, b"", 1, attributes(*pairs))
        with open(key, "rb") as file:
            self.private_key = serialization.load_pem_private_key(file.read(), None)
        self.certificate = self.read(certificate)
        self.peers_certificate = None if peers_certificate == "-" else self.read(peers_certificate)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((own, 500))
        self.socket.settimeout(40)
        self.private = int.from_bytes(os.urandom(32), "big")
        self.public = pow(2, self.private, MODP_2048).to_bytes(256, "big")
        self.nonce = os.urandom(20)
        self.identity = struct.pack(">BBH", 2, 0, 0) + b"a.example.org"

    @staticmethod
    def read(file):
        with open(file, "rb") as opened:
            return x509.load_pem_x509_certificate(opened.read())

    def prf(self, key, *parts):
        return hmac.new(key, b"".join(parts), self.hash_function).digest()

    def stretched(self, secret):
        if len(secret) >= self.key_length:
            return secret[: self.key_length]
        block = self.prf(secret, b"\0")
        stream = block
        while len(stream) < self.key_length:
            block = self.prf(secret, block)
            stream += block
        return stream[: self.key_length]

    # --- Messages

    def send(self, exchange, flags, message_id, kind, body):
        header = self.cookies + struct.pack(">BBBBII", kind, 0x10, exchange, flags, message_id, 28 + len(body))
        self.socket.sendto(header + body, (self.remote, 500))

    def send_clear(self, chain):
        octets, kind = payloads(chain)
        self.send(self.exchange, 0, 0, kind, octets)

    def receive(self, exchange, message_id=None):
        """Gives cookies, message id, first payload type and body of the next message of an exchange."""
        while True:
            octets, _ = self.socket.recvfrom(65535)
            kind, _, found, _, found_id, length = struct.unpack_from(">BBBBII", octets, 16)
            if found == exchange and message_id in (None, found_id) and octets != getattr(self, "last", None):
                self.last = octets
                return octets[:16], found_id, kind, octets[28:length]

    def receive_clear(self):
        self.cookies, _, kind, body = self.receive(self.exchange)
        return parsed(kind, body)

    def seal(self, exchange, message_id, iv, chain):
        octets, kind = payloads(chain)
        octets += b"\0" * (-len(octets) % 16)
        encryptor = Cipher(algorithms.AES(self.key), modes.CBC(iv)).encryptor()
        body = encryptor.update(octets) + encryptor.finalize()
        self.send(exchange, ENCRYPTED, message_id, kind, body)
        return body[-16:]

    def open(self, kind, iv, body):
        decryptor = Cipher(algorithms.AES(self.key), modes.CBC(iv)).decryptor()
        return parsed(kind, decryptor.update(body) + decryptor.finalize()), body[-16:]

    # --- What each end says about itself, encrypted to the other

    def encrypt(self, body):
        return self.peers_certificate.public_key().encrypt(body, padding.PKCS1v15())

    def decrypt(self, body):
        return self.private_key.decrypt(body, padding.PKCS1v15())

    def hint(self):
        encoded = self.peers_certificate.public_bytes(serialization.Encoding.DER)
        return [(HASH, self.hash_function(encoded).digest())]

    def ephemeral(self, nonce, cookie):
        return Chaining(self.stretched(self.prf(nonce, cookie)))

    def said(self, cookie):
        """Gives our half of the exchange."""
        if self.form == "plain":
            return [(KE, self.public), (ID, self.encrypt(self.identity)), (NONCE, self.encrypt(self.nonce))]
        self.cipher = self.ephemeral(self.nonce, cookie)
        chain = [(NONCE, self.encrypt(self.nonce)), (KE, self.cipher.seal(self.public))]
        chain.append((ID, self.cipher.seal(self.identity)))
        if self.role == "initiator":
            encoded = self.certificate.public_bytes(serialization.Encoding.DER)
            # An X.509 certificate for signatures or, in another suite, for key exchange.
            encoding = b"\4" if self.suite == "aes128-sha256" else b"\5"
            chain.append((CERT, self.cipher.seal(encoding + encoded)))
        return chain

    def heard(self, found, cookie):
        """Reads the peer's half; gives its HASH_R where that is among it."""
        hashes = [body for kind, body, _ in found if kind == HASH]
        if self.form == "plain":
            self.peers_public = one(found, KE)
            self.peers_identity = self.decrypt(one(found, ID))
            self.peers_nonce = self.decrypt(one(found, NONCE))
        else:
            self.peers_nonce = self.decrypt(one(found, NONCE))
            cipher = self.ephemeral(self.peers_nonce, cookie)
            kinds = [kind for kind, _, _ in found]
            length = self.hash_function().digest_size
            opened = []
            for kind, body, _ in found[kinds.index(NONCE) + 1 :]:
                in_clear = kind == HASH and len(body) == length
                opened.append((kind, body if in_clear else cipher.open(body)))
            self.peers_public, self.peers_identity = one(opened, KE), one(opened, ID)
            certificates = [body for kind, body in opened if kind == CERT]
            if certificates:
                assert certificates[0][0] == 4
                self.peers_certificate = x509.load_der_x509_certificate(certificates[0][1:])
        assert self.peers_identity == struct.pack(">BBH", 2, 0, 0) + b"b.example.org"
        assert 8 <= len(self.peers_nonce) <= 256
        return hashes[0] if hashes else None

    def check_hint(self, found):
        own = self.certificate.public_bytes(serialization.Encoding.DER)
        assert one(found, HASH) == self.hash_function(own).digest(), "HASH(1) names our certificate"

    # --- Keys and proofs

    def secure(self):
        initiator = self.role == "initiator"
        shared = pow(int.from_bytes(self.peers_public, "big"), self.private, MODP_2048).to_bytes(256, "big")
        nonces = [self.nonce, self.peers_nonce] if initiator else [self.peers_nonce, self.nonce]
        publics = [self.public, self.peers_public] if initiator else [self.peers_public, self.public]
        identities = [self.identity, self.peers_identity] if initiator else [self.peers_identity, self.identity]
        skeyid = self.prf(self.hash_function(nonces[0] + nonces[1]).digest(), self.cookies)
        self.d = self.prf(skeyid, shared, self.cookies, b"\0")
        self.a = self.prf(skeyid, self.d, shared, self.cookies, b"\1")
        self.key = self.stretched(self.prf(skeyid, self.a, shared, self.cookies, b"\2"))
        self.iv = self.hash_function(publics[0] + publics[1]).digest()[:16]
        i, r = self.cookies[:8], self.cookies[8:]
        self.hash_i = self.prf(skeyid, publics[0], publics[1], i, r, self.offer, identities[0])
        self.hash_r = self.prf(skeyid, publics[1], publics[0], r, i, self.offer, identities[1])

    # --- Phase 1

    def main_mode_initiator(self):
        self.cookies = os.urandom(8) + bytes(8)
        self.send_clear([(SA, self.offer)])
        assert one(self.receive_clear(), SA) == self.offer
        self.send_clear(self.hint() + self.said(self.cookies[:8]))
        assert self.heard(self.receive_clear(), self.cookies[8:]) is None
        self.secure()
        self.iv = self.seal(MAIN, 0, self.iv, [(HASH, self.hash_i)])
        _, _, kind, body = self.receive(MAIN)
        found, self.iv = self.open(kind, self.iv, body)
        assert one(found, HASH) == self.hash_r and not [kind for kind, _, _ in found if kind == ID]

    def main_mode_responder(self):
        found = self.receive_clear()
        self.cookies = self.cookies[:8] + os.urandom(8)
        assert one(found, SA)[8:] and struct.unpack(">I", one(found, SA)[:4]) == (1,)
        self.take(one(found, SA))
        self.send_clear([(SA, self.offer)])
        found = self.receive_clear()
        self.check_hint(found)
        self.heard(found, self.cookies[:8])
        self.send_clear(self.said(self.cookies[8:]))
        self.secure()
        _, _, kind, body = self.receive(MAIN)
        found, self.iv = self.open(kind, self.iv, body)
        assert one(found, HASH) == self.hash_i and not [kind for kind, _, _ in found if kind == ID]
        self.iv = self.seal(MAIN, 0, self.iv, [(HASH, self.hash_r)])

    def aggressive_mode_initiator(self):
        self.cookies = os.urandom(8) + bytes(8)
        self.send_clear([(SA, self.offer)] + self.hint() + self.said(self.cookies[:8]))
        found = self.receive_clear()
        assert one(found, SA) == self.offer
        proof = self.heard(found, self.cookies[8:])
        self.secure()
        assert proof == self.hash_r
        self.iv = self.seal(AGGRESSIVE, 0, self.iv, [(HASH, self.hash_i)])

    def aggressive_mode_responder(self):
        found = self.receive_clear()
        self.cookies = self.cookies[:8] + os.urandom(8)
        self.take(one(found, SA))
        self.check_hint(found)
        self.heard(found, self.cookies[:8])
        chain = [(SA, self.offer)] + self.said(self.cookies[8:])
        self.secure()
        proof = self.hash_r
        if self.form == "revised" and self.suite == "aes256-sha1":
            proof = self.cipher.seal(proof)
        self.send_clear(chain + [(HASH, proof)])
        _, _, kind, body = self.receive(AGGRESSIVE)
        found, self.iv = self.open(kind, self.iv, body)
        assert one(found, HASH) == self.hash_i

    def take(self, offer):
        """The peer offers one transform; its lifetime is its own affair."""
        assert offer[15] == 1, "one transform is offered"
        assert attributes((3, METHODS[self.form])) in offer
        self.offer = offer

    # --- Quick mode

    def first_iv(self, message_id):
        return self.hash_function(self.iv + struct.pack(">I", message_id)).digest()[:16]

    def hash(self, message_id, prefix, chain):
        octets, _ = payloads(chain)
        return (HASH, self.prf(self.a, struct.pack(">I", message_id), prefix, octets))

    def checked(self, message_id, prefix, found):
        (kind, proof, following) = found[0]
        length = sum(4 + len(body) for _, body, _ in found[1:])
        assert kind == HASH and proof == self.prf(self.a, struct.pack(">I", message_id), prefix, following[:length])

    def third(self, message_id, nonces):
        return [(HASH, self.prf(self.a, b"\0", struct.pack(">I", message_id), nonces))]

    def quick_mode_initiator(self):
        message_id = int.from_bytes(os.urandom(4), "big") | 1
        nonce = os.urandom(32)
        rest = [(SA, phase_2(os.urandom(4))), (NONCE, nonce), (ID, network("10.1.0.0/24")), (ID, network("10.2.0.0/24"))]
        iv = self.seal(QUICK, message_id, self.first_iv(message_id), [self.hash(message_id, b"", rest)] + rest)
        _, _, kind, body = self.receive(QUICK, message_id)
        found, iv = self.open(kind, iv, body)
        self.checked(message_id, nonce, found)
        self.seal(QUICK, message_id, iv, self.third(message_id, nonce + one(found, NONCE)))

    def quick_mode_responder(self):
        _, message_id, kind, body = self.receive(QUICK)
        found, iv = self.open(kind, self.first_iv(message_id), body)
        self.checked(message_id, b"", found)
        nonce_i, nonce = one(found, NONCE), os.urandom(32)
        answer = one(found, SA)
        # The one transform that was offered, with an SPI of ours.
        answer = answer[:16] + os.urandom(4) + answer[20:]
        rest = [(SA, answer), (NONCE, nonce)] + [(ID, body) for kind, body, _ in found if kind == ID]
        iv = self.seal(QUICK, message_id, iv, [self.hash(message_id, nonce_i, rest)] + rest)
        _, _, kind, body = self.receive(QUICK, message_id)
        found, _ = self.open(kind, iv, body)
        assert one(found, HASH) == self.third(message_id, nonce_i + nonce)[0][1]


role, mode = sys.argv[1:3]
peer = Peer(role, mode, *sys.argv[3:])
print("ready", flush=True)
getattr(peer, f"{mode}_mode_{role}")()
print("phase 1", flush=True)
getattr(peer, f"quick_mode_{role}")()
print("quick mode", flush=True)
sys.stdin.read()
