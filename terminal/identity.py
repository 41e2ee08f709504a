"""Who this terminal is: a key that never leaves its folder, and what the gateway said at enrolment.

    key-<16 hex digits of its id>.pem   a private key; written before it is sent anywhere
    identity.json                       names the key in use; replaced in one step

An enrolment whose answer was lost leaves a key that no identity names: the next try takes that key again,
so that the same code and key reach the gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from terminal.data_folder import write_file_durably
from terminal.errors import ConfigurationError, NotEnrolled
from wire import es256
from wire.messages.enrolment import EnrolmentAnswer

IDENTITY_FILE: Final = "identity.json"
_KEY_FILES: Final = "key-*.pem"


class StoredIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The content of identity.json."""

    gateway_url: str
    key_id_hex: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    enrolment: EnrolmentAnswer


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled terminal."""

    private_key: es256.PrivateKey
    gateway_url: str
    enrolment: EnrolmentAnswer


def prepare_enrolment_key(folder: Path, make_key: Callable[[], es256.PrivateKey]) -> es256.PrivateKey:
    """Return the key to enrol with: the one of an unfinished enrolment, else a new one.

    The key is on disk when this returns, so a lost answer never leaves the gateway with a key that
    nobody has.

    Raises:
        ConfigurationError: the key can't be written or read.
    """
    for path in _find_unused_keys(folder):
        return _load_key(path)
    key = make_key()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        write_file_durably(_key_path(folder, _key_id_hex(key)), pem)
    except OSError as error:
        raise ConfigurationError(f"the key can't be written to data_folder: {error.strerror}") from None
    return key


def store_identity(folder: Path, identity: Identity) -> None:
    """Make this the terminal's identity; the keys of earlier ones are removed.

    Raises:
        ConfigurationError: it can't be written; the identity before it is still in force.
    """
    key_id_hex = _key_id_hex(identity.private_key)
    stored = StoredIdentity(
        gateway_url=identity.gateway_url, key_id_hex=key_id_hex, enrolment=identity.enrolment
    )
    try:
        write_file_durably(folder / IDENTITY_FILE, msgspec.json.encode(stored))
        for path in _find_unused_keys(folder):
            path.unlink()
    except OSError as error:
        raise ConfigurationError(f"the identity can't be written: {error.strerror}") from None


def load_identity(folder: Path) -> Identity:
    """Read the terminal's identity and its key.

    Raises:
        NotEnrolled: there is none yet.
        ConfigurationError: the files are damaged.
    """
    stored = _read_stored(folder)
    if stored is None:
        raise NotEnrolled("this daemon is not enrolled: run `tapscan-terminal enrol`")
    key = _load_key(_key_path(folder, stored.key_id_hex))
    if _key_id_hex(key) != stored.key_id_hex:
        raise ConfigurationError("the terminal's key is not the one its identity names")
    return Identity(key, stored.gateway_url, stored.enrolment)


def is_enrolled(folder: Path) -> bool:
    """Say whether an identity is stored here."""
    return _read_stored(folder) is not None


def _read_stored(folder: Path) -> StoredIdentity | None:
    try:
        return msgspec.json.decode((folder / IDENTITY_FILE).read_bytes(), type=StoredIdentity)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):
        raise ConfigurationError(f"{IDENTITY_FILE} can't be read: remove it and enrol again") from None


def _find_unused_keys(folder: Path) -> list[Path]:
    stored = _read_stored(folder)
    used = _key_path(folder, stored.key_id_hex) if stored else None
    return sorted(path for path in folder.glob(_KEY_FILES) if path != used)


def _load_key(path: Path) -> es256.PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        raise ConfigurationError(f"the terminal's key {path.name} can't be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ConfigurationError(f"the terminal's key {path.name} is not on P-256")
    return key


def _key_path(folder: Path, key_id_hex: str) -> Path:
    return folder / f"key-{key_id_hex}.pem"


def _key_id_hex(key: es256.PrivateKey) -> str:
    return es256.key_id_of(key.public_key()).hex()
