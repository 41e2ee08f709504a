"""From one seed to everything a world must not share: each thing draws from a generator of its own.

Generators are named, so that a thing's keys depend on the seed and its name alone: adding a card to a
world file changes no other card, and two processes that agree on a seed agree on every key.
"""

from __future__ import annotations

import random
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from wire import es256

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256's base point (FIPS 186-4, D.1.2.3): a private key is 1 to this minus one."""


def make_rng(seed: int, *names: str) -> random.Random:
    """Return the generator of one thing: the same seed and names give the same draws for ever."""
    # A string seed goes through SHA-512, which no Python version or hash seed changes.
    return random.Random("/".join((str(seed), *names)))  # noqa: S311 - toy keys, repeatable on purpose


def draw_private_key(rng: random.Random) -> es256.PrivateKey:
    """Draw a P-256 key. Repeatable, hence worthless outside a simulation."""
    return ec.derive_private_key(rng.randrange(1, P256_ORDER), ec.SECP256R1())
