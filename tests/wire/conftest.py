"""Keys and vectors that the wire's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import settings

from wire.es256 import PrivateKey

# Property tests judge results, not times: a busy machine must not fail them.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of vectors by others, which is no part of this repository."""
    if not VECTORS.is_dir():
        pytest.skip("the vectors by others are not beside this checkout (../shared/vectors)")
    return VECTORS


@pytest.fixture(scope="session")
def device_key() -> PrivateKey:
    """A payer's device; any scalar does."""
    return ec.derive_private_key(0x7A95CA, ec.SECP256R1())


@pytest.fixture(scope="session")
def other_key() -> PrivateKey:
    """Somebody else's device."""
    return ec.derive_private_key(0xBAD, ec.SECP256R1())
