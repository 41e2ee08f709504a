"""The vault: seals secrets before they reach the database, and hashes codes people carry.

One 32-byte master key, from a file or the environment, never the database. HKDF derives one key for each
use, so that neither tells anything of the other (RFC 5869):

    seal       AES-256-GCM; a sealed secret is  version (1) ‖ nonce (12) ‖ ciphertext ‖ tag (16),
               with version and purpose as associated data: one kind never opens as another
    hash_code  HMAC-SHA-256; a stolen database does not tell which short codes are open
    derive     HKDF once more, from a key for that alone: secrets that nobody has to store
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.errors import ConfigurationError, SealBroken

KEY_BYTES: Final = 32
KEY_VARIABLE: Final = "TAPSCAN_VAULT_KEY"
SECRET_BYTES_MAX: Final = 4_096

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_KEY_HEX: Final = re.compile(rf"[0-9a-fA-F]{{{2 * KEY_BYTES}}}", re.ASCII)
_MODE_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def meta_key_purpose(batch_number: int, key_version: int) -> str:
    """Return the purpose under which a meta key of a batch of NTAG 424 cards is sealed."""
    return f"ntag424 meta key, batch {batch_number}, version {key_version}"


def file_master_purpose(batch_number: int, key_version: int) -> str:
    """Return the purpose under which a file master key of a batch of NTAG 424 cards is sealed."""
    return f"ntag424 file master key, batch {batch_number}, version {key_version}"


def card_session_purpose(session_id: str, step: int) -> str:
    """Return the purpose under which the state of a card session is sealed, at this step and no other."""
    return f"card session {session_id}, step {step}"


class Vault:
    """Seals, opens and hashes under one master key; holds only keys derived from it."""

    __slots__ = ("_branch_key", "_cipher", "_code_key", "_draw_nonce")

    def __init__(self, key: bytes, *, draw_nonce: Callable[[int], bytes] = secrets.token_bytes) -> None:
        """Derive the working keys.

        Args:
            key: 32 bytes.
            draw_nonce: returns that many random bytes. A nonce decides nothing, but a repeated one would
                break the seal, so the default is the system's generator and only tests replace it.
        """
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"the vault key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(_derive(key, b"tapscan vault seal v1"))
        self._code_key = _derive(key, b"tapscan vault code hash v1")
        self._branch_key = _derive(key, b"tapscan vault branch v1")
        self._draw_nonce = draw_nonce

    def seal(self, secret: bytes, purpose: str) -> bytes:
        """Encrypt a secret of up to SECRET_BYTES_MAX bytes so that only `open` with this purpose reads it."""
        assert len(secret) <= SECRET_BYTES_MAX, "the vault keeps keys, not documents"
        nonce = self._draw_nonce(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, _bind(purpose))

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Return the secret.

        Raises:
            SealBroken: tampered with, sealed for another purpose, or under another key.
        """
        if len(sealed) < len(_VERSION) + _NONCE_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
            raise SealBroken("a sealed secret is not of the agreed form")
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, _bind(purpose))
        except InvalidTag:
            raise SealBroken(f"a sealed secret does not open with this key: {purpose}") from None

    def derive(self, purpose: str, length: int) -> bytes:
        """Return a secret of `length` bytes, the same wherever this vault key is; none tells of another."""
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=_bind(purpose)).derive(
            self._branch_key
        )

    def hash_code(self, code: str) -> bytes:
        """Return the 32 bytes under which a payment or enrolment code is stored and looked up."""
        return hmac.digest(self._code_key, code.encode("utf-8"), hashlib.sha256)


def has_vault_key(path: Path, env: Mapping[str, str]) -> bool:
    """Say whether there is a key to load; whether it is a good one `load_vault_key` finds out."""
    return KEY_VARIABLE in env or path.exists()


def load_vault_key(path: Path, env: Mapping[str, str]) -> bytes:
    """Return the master key from the environment, else from its file; both hold 64 hex digits.

    Raises:
        ConfigurationError: there is none, it is not of its form, or others than its owner may use the
            file. The detail never holds any of the key.
    """
    if KEY_VARIABLE in env:
        return _parse_key(env[KEY_VARIABLE], KEY_VARIABLE)
    try:
        if stat.S_IMODE(path.stat().st_mode) & _MODE_OTHERS:
            raise ConfigurationError(f"vault key file {path} can be used by others: chmod 600 it")
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no vault key file {path}, and {KEY_VARIABLE} is not set"
        ) from None
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"vault key file {path} can't be read") from None
    return _parse_key(text, f"vault key file {path}")


def create_vault_key(path: Path, key: bytes) -> None:
    """Write a new key file that only its owner may read; it is on disk when this returns.

    Raises:
        ConfigurationError: there is such a file already (it is never overwritten), or it can't be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigurationError(f"vault key file {path} can't be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def _parse_key(text: str, place: str) -> bytes:
    stripped = text.strip()
    if _KEY_HEX.fullmatch(stripped) is None:
        raise ConfigurationError(f"{place} must hold {2 * KEY_BYTES} hexadecimal digits")
    return bytes.fromhex(stripped)


def _derive(key: bytes, use: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=use).derive(key)


def _bind(purpose: str) -> bytes:
    return _VERSION + purpose.encode("utf-8")
