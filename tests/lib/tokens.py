"""Apps and their tokens, and sealed keys by another implementation than
Postern's."""
import base64
import hashlib
import hmac
import json
import secrets
import time

import jwt
from Cryptodome.Cipher import AES

REGISTRATION = "registration-token-for-the-tests-0001"
ADMIN = "admin-token-for-the-tests-000000000001"


class App:
    def __init__(self, answer):
        self.id = answer["id"]
        self.public = answer["public_key"]
        self.secret = answer["secret_key"]
        self.answer = answer

    def token(self, exp=300, secret=None, headers=None, algorithm="HS256",
              **claims):
        if exp is not None:
            claims.setdefault("exp", int(time.time()) + exp)
        return jwt.encode(claims, secret or self.secret, algorithm=algorithm,
                          headers=headers)

    def auth(self, **kw):
        return {"X-Public-Key": self.public,
                "Authorization": "Bearer " + self.token(**kw)}


def made_up():
    """An app that is not registered."""
    return App({"id": None, "public_key": secrets.token_hex(32),
                "secret_key": secrets.token_hex(32)})


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_token(secret, header='{"alg":"HS256"}', payload=None, digest="sha256",
              mac=None):
    """Sign any bytes as header and payload."""
    if payload is None:
        payload = json.dumps({"exp": int(time.time()) + 300})
    signed = f"{b64(header)}.{b64(payload)}"
    if mac is None:
        mac = hmac.new(secret.encode(), signed.encode(), digest).digest()
    return f"{signed}.{b64(mac)}"


def gcm(master_hex, nonce, aad):
    """AES-GCM by another implementation than Postern's."""
    cipher = AES.new(bytes.fromhex(master_hex), AES.MODE_GCM, nonce=nonce)
    cipher.update(aad.encode())
    return cipher


def gcm_seal(master_hex, raw, aad=""):
    """hex(nonce, ciphertext, tag); without aad as goliauth writes it."""
    nonce = secrets.token_bytes(12)
    text, tag = gcm(master_hex, nonce, aad).encrypt_and_digest(raw)
    return (nonce + text + tag).hex()


def gcm_open(master_hex, sealed, aad=""):
    box = bytes.fromhex(sealed)
    return gcm(master_hex, box[:12], aad).decrypt_and_verify(
        box[12:-16], box[-16:])


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()
