"""Key pairs of apps' own, and tokens under them, by another library than
Postern's."""
import base64
import functools
import hashlib
import json
import time

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import (
    ec, ed25519, padding, rsa, utils)

from lib.tokens import REGISTRATION, App, b64

KINDS = ("RS256", "ES256", "EdDSA")
PKCS8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
         serialization.NoEncryption())


def number(n, size=None):
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


class Pair:
    def __init__(self, kind):
        self.kind = kind
        self.private = {
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate}[kind]()
        self.public = self.private.public_key()

    def encoded(self, form):
        """The public key: "pem", "der", or "raw" numbers."""
        if form == "raw":
            if self.kind == "RS256":
                return self.public.public_numbers().n.to_bytes(256, "big")
            if self.kind == "EdDSA":
                return self.public.public_bytes(
                    serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return self.public.public_bytes(
                serialization.Encoding.X962,
                serialization.PublicFormat.UncompressedPoint)
        return self.public.public_bytes(
            serialization.Encoding[form.upper()],
            serialization.PublicFormat.SubjectPublicKeyInfo)

    def pem(self):
        """The private one."""
        return self.private.private_bytes(*PKCS8)

    def jwk(self, **more):
        if self.kind == "RS256":
            n = self.public.public_numbers()
            key = {"kty": "RSA", "n": number(n.n), "e": number(n.e)}
        elif self.kind == "ES256":
            n = self.public.public_numbers()
            key = {"kty": "EC", "crv": "P-256", "x": number(n.x, 32),
                   "y": number(n.y, 32)}
        else:
            key = {"kty": "OKP", "crv": "Ed25519", "x": b64(self.encoded("raw"))}
        return {**key, **more}

    def kid(self):
        text = json.dumps(self.jwk(), sort_keys=True, separators=(",", ":"))
        return b64(hashlib.sha256(text.encode()).digest())

    def sign(self, text):
        """JWS's form of a signature (RFC 7518 section 3, RFC 8037)."""
        if self.kind == "RS256":
            return self.private.sign(text, padding.PKCS1v15(), hashes.SHA256())
        if self.kind == "EdDSA":
            return self.private.sign(text)
        r, s = utils.decode_dss_signature(
            self.private.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def raw_token(self, header, claims, sign=None):
        """Any header (a dict, or bytes) and claims, signed."""
        if isinstance(header, dict):
            header = json.dumps(header)
        text = f"{b64(header)}.{b64(json.dumps(claims))}"
        return text + "." + b64((sign or self.sign)(text.encode()))

    def token(self, public, header=None, **claims):
        """One for the app with this public key."""
        claims = {"exp": int(time.time()) + 300, "aud": public, **claims}
        claims = {k: v for k, v in claims.items() if v is not None}
        return self.raw_token({"alg": self.kind, **(header or {})}, claims)


@functools.lru_cache(maxsize=None)
def pair(kind, n=0):
    """The nth of its kind: made once, for it takes long."""
    return Pair(kind)


class OwnApp(App):
    """An app whose tokens are signed with a pair."""

    def __init__(self, answer, key):
        assert "secret_key" not in answer
        super().__init__({"secret_key": None, **answer})
        self.key = key

    def token(self, secret=None, **claims):
        assert secret is None
        return self.key.token(self.public, **claims)


def register(s, key, status=201, name="An app", **more):
    """An app with this key of its own; or the refusal."""
    r = s.request("POST", "/v1/apps",
                  {"Authorization": "Bearer " + REGISTRATION},
                  {"name": name, "jwk": key.jwk(**more)
                   if isinstance(key, Pair) else key})
    assert r.status == status, r
    return OwnApp(r.json(), key) if status == 201 else r
