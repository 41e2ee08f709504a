"""Under which name a payment's receipt page is found: its id, and a keyed hash of it that nobody can make up.

Nothing can be found by trying. The hash has 128 bits: a million guesses a second at one payment's page
would take some 10^25 years. It is compared in constant time, before the database is asked, and a name that
is wrong is answered like one of a payment that never was. Payment ids are no secret, and none of them opens
a page without its hash. The key is drawn from the vault's: a database alone makes no names, and another
vault key ends them all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from gateway.entropy import CROCKFORD
from gateway.vault import Vault

KEY_BYTES: Final = 32
HASH_BYTES: Final = 16
ULID_CHARS: Final = 26
HASH_CHARS: Final = 26
"""128 bits, five to a character."""
PATH: Final = "/r/"

_FORM: Final = re.compile(rf"[0-7][{CROCKFORD}]{{25}}[{CROCKFORD}]{{{HASH_CHARS}}}", re.ASCII)


class ReceiptPages:
    """Makes the names of pages and takes them apart."""

    __slots__ = ("_key", "_public_url")

    def __init__(self, vault: Vault, public_url: str | None) -> None:
        """Prepare.

        Args:
            public_url: where the world finds this gateway; None: no till is told of any page.
        """
        self._key = vault.derive("receipt pages", KEY_BYTES)
        self._public_url = public_url

    def url_of(self, payment_id: str) -> str | None:
        """Return where a payment's page is; None where the gateway was not told its own address."""
        return None if self._public_url is None else f"{self._public_url}{PATH}{self.name_of(payment_id)}"

    def name_of(self, payment_id: str) -> str:
        """Return the name of a payment's page: 52 characters."""
        return payment_id + self._hash_of(payment_id)

    def payment_of(self, name: str) -> str | None:
        """Return the payment whose page has this name; None for a name that was never given."""
        if _FORM.fullmatch(name) is None:
            return None
        payment_id, given = name[:ULID_CHARS], name[ULID_CHARS:]
        return payment_id if hmac.compare_digest(given, self._hash_of(payment_id)) else None

    def _hash_of(self, payment_id: str) -> str:
        digest = hmac.digest(self._key, payment_id.encode("ascii"), hashlib.sha256)[:HASH_BYTES]
        number = int.from_bytes(digest, "big")
        return "".join(CROCKFORD[number >> shift & 31] for shift in range(5 * (HASH_CHARS - 1), -1, -5))
