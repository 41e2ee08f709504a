"""The issuer: signs credentials and status lists under keys that follow from the vault's.

Nothing is stored of a credential's bytes: the same facts and the same key sign the same bytes (RFC 6979).
Keys are numbered; the present one signs, and the one before it is still announced, so that credentials it
signed are believed until they are over.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.offline.model import Credential
from gateway.vault import Vault
from wire import es256
from wire.messages.offline import IssuerKey
from wire.money import Money, find_currency
from wire.tokens.credential import CredentialClaims, mint_credential
from wire.tokens.status_list import make_status_list, mint_status_list

_SEED_BYTES: Final = 48
"""128 bits more than the order has, so that the remainder is even to within 2^-128."""
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's group (SEC 2, section 2.4.2)."""
_ETAG_BYTES: Final = 16


class Issuer:
    """Signs for one gateway, or for all that share a vault key."""

    def __init__(self, vault: Vault, key_number: int = 1) -> None:
        """Derive the keys.

        Args:
            key_number: from 1; raised to change the key. Its predecessor is announced too.
        """
        self._key = _derive_key(vault, key_number)
        announced = [self._key]
        if key_number > 1:
            announced.append(_derive_key(vault, key_number - 1))
        self._public_keys = {es256.key_id_of(key.public_key()): key.public_key() for key in announced}

    @property
    def keys(self) -> list[IssuerKey]:
        """What terminals are told to believe, the present key first."""
        return [
            IssuerKey(key_id=key_id, public_key=es256.dump_public_key(key))
            for key_id, key in self._public_keys.items()
        ]

    def find_key(self, key_id: bytes) -> es256.PublicKey | None:
        """Return the announced key of this id, or None."""
        return self._public_keys.get(key_id)

    def mint(self, credential: Credential, device_public_key: bytes) -> bytes:
        """Sign a credential for a device's key, a compressed point of 33 bytes."""
        claims = CredentialClaims(
            credential_id=credential.tag,
            issued_s=credential.issued_ms // 1000,
            expires_s=credential.expires_ms // 1000,
            device_public_key=device_public_key,
            status_index=credential.status_index,
            per_payment_minor=credential.per_payment_minor,
            allowance=Money(credential.allowance_minor, find_currency(credential.currency)),
        )
        return mint_credential(claims, self._key)

    def mint_list(self, suspended: list[int], *, now_ms: int, refresh_ms: int) -> bytes:
        """Sign a status list issued now, in which exactly these indexes are set."""
        listed = make_status_list(now_ms // 1000, max(1, refresh_ms // 1000), suspended)
        return mint_status_list(listed, self._key)

    def tag_list(self, suspended: list[int], *, now_ms: int, refresh_ms: int) -> str:
        """Return the etag of the list as it is now.

        It follows from what the list says, by whom, and from the stretch of `refresh_ms` that `now_ms` lies
        in: a terminal counts a list's age from its issue, so one that has not changed is issued anew in time.
        """
        content = b"".join(index.to_bytes(2, "big") for index in sorted(suspended))
        head = es256.key_id_of(self._key.public_key()) + (now_ms // refresh_ms).to_bytes(8, "big")
        return hashlib.sha256(head + content).hexdigest()[: 2 * _ETAG_BYTES]


def _derive_key(vault: Vault, number: int) -> es256.PrivateKey:
    seed = int.from_bytes(vault.derive(f"offline issuer {number}", _SEED_BYTES), "big")
    return ec.derive_private_key(seed % (_ORDER - 1) + 1, ec.SECP256R1())
