"""The vault: what is sealed opens only whole, for its purpose, with its key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError, SealBroken
from gateway.vault import (
    KEY_VARIABLE,
    Vault,
    create_vault_key,
    file_master_purpose,
    load_vault_key,
    meta_key_purpose,
)

KEY = bytes(range(32))
VAULT = Vault(KEY)
SECRET = b"sixteen byte key"


@given(st.binary(max_size=200), st.text(max_size=40))
def test_opens_what_it_sealed(secret: bytes, purpose: str) -> None:
    assert VAULT.open(VAULT.seal(secret, purpose), purpose) == secret


def test_sealed_bytes_hold_nothing_of_the_secret_and_never_repeat() -> None:
    first, second = VAULT.seal(SECRET, "p"), VAULT.seal(SECRET, "p")
    assert first != second
    assert SECRET not in first


@given(st.integers(0, 44), st.integers(1, 255))
def test_refuses_any_changed_byte(index: int, flip: int) -> None:
    sealed = bytearray(VAULT.seal(SECRET, "p"))
    sealed[index] ^= flip
    with pytest.raises(SealBroken):
        VAULT.open(bytes(sealed), "p")


@given(st.binary(max_size=80))
def test_refuses_any_other_bytes(sealed: bytes) -> None:
    with pytest.raises(SealBroken):
        VAULT.open(sealed, "p")


def test_refuses_another_purpose() -> None:
    sealed = VAULT.seal(SECRET, meta_key_purpose(1, 1))
    for purpose in (file_master_purpose(1, 1), meta_key_purpose(2, 1), ""):
        with pytest.raises(SealBroken):
            VAULT.open(sealed, purpose)


def test_refuses_another_key() -> None:
    with pytest.raises(SealBroken):
        Vault(bytes(32)).open(VAULT.seal(SECRET, "p"), "p")


def test_code_hashes_depend_on_code_and_key() -> None:
    code = "470000000000000007"
    assert VAULT.hash_code(code) == Vault(KEY).hash_code(code)
    assert len({VAULT.hash_code(code), VAULT.hash_code(code[::-1]), Vault(bytes(32)).hash_code(code)}) == 3


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ConfigurationError):
        Vault(bytes(length))


class TestKeyFile:
    def test_is_made_for_its_owner_only_and_read_back(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "vault.key"
        create_vault_key(path, KEY)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert load_vault_key(path, {}) == KEY

    def test_is_never_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "vault.key"
        create_vault_key(path, KEY)
        with pytest.raises(ConfigurationError):
            create_vault_key(path, bytes(32))
        assert load_vault_key(path, {}) == KEY

    def test_is_refused_when_others_may_read_it(self, tmp_path: Path) -> None:
        path = tmp_path / "vault.key"
        create_vault_key(path, KEY)
        path.chmod(0o640)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            load_vault_key(path, {})

    def test_absent_is_said_with_its_path(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"vault\.key"):
            load_vault_key(tmp_path / "vault.key", {})

    @pytest.mark.parametrize("content", [b"", b"00" * 31, b"zz" * 32, b"\xff" * 64])
    def test_with_anything_else_is_refused_without_repeating_it(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "vault.key"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigurationError) as caught:
            load_vault_key(path, {})
        assert "zz" not in str(caught.value)

    def test_environment_comes_first(self, tmp_path: Path) -> None:
        create_vault_key(tmp_path / "vault.key", bytes(32))
        assert load_vault_key(tmp_path / "vault.key", {KEY_VARIABLE: KEY.hex()}) == KEY

    def test_environment_with_anything_else_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=KEY_VARIABLE):
            load_vault_key(tmp_path / "vault.key", {KEY_VARIABLE: "secret"})
