"""The issuer's keys follow from the vault, and what it signs is what terminals verify."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.offline.issuer import Issuer
from gateway.offline.model import Credential, CredentialState
from gateway.vault import Vault
from wire import es256
from wire.money import Money, find_currency
from wire.tokens.credential import STATUS_INDEX_MAX, parse_credential, verify_credential
from wire.tokens.status_list import STATUS_LIST_BYTES_MAX, parse_status_list, verify_status_list

NOW_MS = 1_767_225_600_000
WEEK_MS = 7 * 86_400_000
VAULT = Vault(bytes(range(32)))
DEVICE_KEY = es256.dump_public_key(ec.derive_private_key(5, ec.SECP256R1()).public_key())
CREDENTIAL = Credential(
    credential_id="0CREDENTIAL000000000000000",
    request_digest=bytes(32),
    instrument_id="INSTRUMENT1",
    tag=b"8 bytes.",
    account_id=bytes(16),
    status_index=513,
    allowance_minor=5_000,
    per_payment_minor=1_500,
    currency="EUR",
    issued_ms=NOW_MS,
    expires_ms=NOW_MS + WEEK_MS,
    ends_ms=NOW_MS + 2 * WEEK_MS,
    state=CredentialState.LIVE,
    left_minor=5_000,
    listed_ms=None,
)


def test_a_credential_says_what_was_issued_and_is_the_same_each_time() -> None:
    issuer = Issuer(VAULT)
    minted = issuer.mint(CREDENTIAL, DEVICE_KEY)
    assert Issuer(Vault(bytes(range(32)))).mint(CREDENTIAL, DEVICE_KEY) == minted
    sealed = parse_credential(minted)
    key = issuer.find_key(sealed.key_id)
    assert key is not None
    claims = verify_credential(sealed, key, now_ms=NOW_MS)
    assert (claims.credential_id, claims.status_index) == (b"8 bytes.", 513)
    assert (claims.issued_s, claims.expires_s) == (NOW_MS // 1000, (NOW_MS + WEEK_MS) // 1000)
    assert (claims.per_payment_minor, claims.allowance) == (1_500, Money(5_000, find_currency("EUR")))
    assert claims.device_public_key == DEVICE_KEY


def test_the_key_before_the_present_one_is_still_announced_and_no_other() -> None:
    first, second, third = (Issuer(VAULT, number) for number in (1, 2, 3))
    assert len(first.keys) == 1
    assert second.keys[1:] == first.keys
    assert third.keys[1:] == second.keys[:1]
    assert third.find_key(first.keys[0].key_id) is None
    assert Issuer(Vault(bytes(32))).keys != first.keys


def test_a_list_has_exactly_the_suspended_bits_and_fits_its_bound_whatever_it_says() -> None:
    issuer = Issuer(VAULT)
    for suspended in ([], [0, 9, STATUS_INDEX_MAX], list(range(0, STATUS_INDEX_MAX + 1, 3))):
        data = issuer.mint_list(suspended, now_ms=NOW_MS, refresh_ms=900_000)
        assert len(data) <= STATUS_LIST_BYTES_MAX
        token = parse_status_list(data)
        key = issuer.find_key(token.key_id)
        assert key is not None
        listed = verify_status_list(token, key)
        assert (listed.issued_s, listed.ttl_s) == (NOW_MS // 1000, 900)
        found = [index for index in range(STATUS_INDEX_MAX + 1) if listed.is_suspended(index)]
        assert found == suspended


def test_a_tag_tells_lists_apart_by_content_issuer_and_time() -> None:
    tags = {
        Issuer(VAULT, number).tag_list(suspended, now_ms=now_ms, refresh_ms=900_000)
        for number in (1, 2)
        for suspended in ([], [7], [7, 8])
        for now_ms in (NOW_MS, NOW_MS + 900_000)
    }
    assert len(tags) == 12
    issuer = Issuer(VAULT)
    assert issuer.tag_list([8, 7], now_ms=NOW_MS, refresh_ms=900_000) in tags
    assert issuer.tag_list([7, 8], now_ms=NOW_MS + 899_999, refresh_ms=900_000) in tags
