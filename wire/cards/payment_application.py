"""The payment application on phones and applet cards: SELECT, then one command that signs the terms.

Where nobody can be asked, a third command, GET DATA, fetches the credential that vouches for the card's key.

The signing command is EMV's GET PROCESSING OPTIONS in form, because readers and test tools know it; the
answer is ours (protocol section 3a). Terminal side and card side stand next to each other, so that a
simulated card writes what a terminal reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wire.application_id import PAYMENT_AID
from wire.cards.apdu import DATA_BYTES_MAX, LE_MAX, CommandApdu
from wire.cards.dialogue import CardDialogue, expect_success
from wire.cards.payment_terms import PDOL, TERMS_BYTES, PaymentTerms
from wire.errors import CardError, EncodingError, TokenError
from wire.tlv import dump_tlv, find_tlv, parse_tlvs
from wire.tokens.credential import CREDENTIAL_BYTES_MAX, parse_credential, read_credential
from wire.tokens.nfc_token import COUNTER_MAX, read_nfc_claims
from wire.tokens.sign1 import parse_sign1

SIGNING_COMMAND_PREFIX: Final = bytes.fromhex("80A8")
"""First bytes of the one command that makes the card sign; a driver times its round trip."""
CAPABILITY_ONLINE: Final = 0x01
CAPABILITY_OFFLINE_CREDENTIAL: Final = 0x02
CAPABILITY_CONFIRMS_ON_DEVICE: Final = 0x04
"""Bits of DF01: online tokens, GET DATA of a credential, the holder confirms on the device (CDCVM)."""
PAYMENT_APDUS_MAX: Final = 3
NEEDS_CONNECTION: Final = "card_needs_connection"
"""The refusal for a card that can pay, but not while nobody can be asked."""

SELECT_APPLICATION: Final = CommandApdu(0x00, 0xA4, 0x04, 0x00, PAYMENT_AID, LE_MAX)
GET_CREDENTIAL: Final = CommandApdu(0x80, 0xCA, 0x00, 0xC2, b"", LE_MAX)
"""GET DATA of tag C2 (protocol section 3a)."""

_VERSION: Final = bytes.fromhex("0100")
_LABEL: Final = b"POSPAY"
_TERMS_COMMAND_BYTES: Final = 2 + TERMS_BYTES
_COUNTER_BYTES: Final = 2

_FCI, _AID, _PROPRIETARY, _LABEL_TAG, _VERSION_TAG, _PDOL_TAG = 0x6F, 0x84, 0xA5, 0x50, 0x9F08, 0x9F38
_DISCRETIONARY, _CAPABILITIES, _COMMAND_BYTES_MAX = 0xBF0C, 0xDF01, 0xDF02
_COMMAND_TEMPLATE, _ANSWER_TEMPLATE, _COUNTER, _TOKEN = 0x83, 0x77, 0x9F36, 0xC1
_CREDENTIAL: Final = 0xC2


@dataclass(frozen=True, slots=True)
class ApplicationProfile:
    """What an application says of itself when it is selected."""

    aid: bytes
    version: bytes
    pdol: bytes
    capabilities: int
    command_bytes_max: int
    """Longest command data field the card takes."""


def parse_application_answer(answer: bytes) -> ApplicationProfile:
    """Read the file control information a SELECT is answered with.

    Raises:
        EncodingError: not the template, or a field is missing, repeated or of the wrong length.
    """
    fci = parse_tlvs(_only(answer, _FCI))
    proprietary = parse_tlvs(find_tlv(fci, _PROPRIETARY))
    discretionary = parse_tlvs(find_tlv(proprietary, _DISCRETIONARY))
    return ApplicationProfile(
        aid=find_tlv(fci, _AID),
        version=_sized(find_tlv(proprietary, _VERSION_TAG), 2),
        pdol=find_tlv(proprietary, _PDOL_TAG),
        capabilities=_sized(find_tlv(discretionary, _CAPABILITIES), 1)[0],
        command_bytes_max=int.from_bytes(_sized(find_tlv(discretionary, _COMMAND_BYTES_MAX), 2), "big"),
    )


def check_application(answer: bytes) -> ApplicationProfile:
    """Return the profile of a selected application if it is one this terminal can pay with.

    Raises:
        CardError: `card_answer_invalid`; not a profile, or not the application that was selected.
            `card_not_supported`; another version, another list of terms, or no online payment.
    """
    try:
        profile = parse_application_answer(answer)
    except EncodingError as error:
        raise CardError(f"SELECT answer: {error}") from None
    if profile.aid != PAYMENT_AID:
        raise CardError("another application answered the SELECT")
    speaks_ours = profile.version == _VERSION and profile.pdol == PDOL
    takes_terms = profile.command_bytes_max >= _TERMS_COMMAND_BYTES
    if not speaks_ours or not takes_terms or not profile.capabilities & CAPABILITY_ONLINE:
        raise CardError("the application cannot sign our terms", code="card_not_supported")
    return profile


def check_can_pay_offline(profile: ApplicationProfile) -> None:
    """Return if the application can show a credential.

    Raises:
        CardError: `card_needs_connection`; it has none, so nobody here can tell whose card it is.
    """
    if not profile.capabilities & CAPABILITY_OFFLINE_CREDENTIAL:
        raise CardError("the application has no credential", code=NEEDS_CONNECTION)


def authorise_payment(terms: PaymentTerms) -> CardDialogue[bytes]:
    """Have the selected application sign the terms; return the token.

    Promises that the token is of our profile and carries the nonce just sent and the counter announced
    beside it. Does not promise that its signature holds or that the other terms are those sent: the
    gateway, which knows the key, judges both, and keeps a tampered token as evidence. Where the terms are
    offline nobody else judges in time, so there a token over other terms is refused.

    Raises:
        CardError: a status of the card; `card_changed`, the token answers another nonce, so another card
            or another tap; `card_answer_invalid`, it makes no sense.
    """
    answer = yield from expect_success(make_signing_command(terms.encode()))
    try:
        counter, token = parse_signing_answer(answer)
        claims = read_nfc_claims(parse_sign1(token))
    except (EncodingError, TokenError) as error:
        raise CardError(f"signing answer: {error}") from None
    if claims.terms.nonce != terms.nonce:
        raise CardError("the token answers another nonce", code="card_changed")
    if claims.counter != counter:
        raise CardError("the counter announced is not the one signed")
    if terms.is_offline and claims.terms != terms:
        raise CardError("the token is over other terms than were sent")
    return token


def fetch_credential(token: bytes) -> CardDialogue[bytes]:
    """Have the application that has just signed show its credential; return it.

    Promises that it is of our profile and is about the key that signed the token. Whether its issuer is
    ours, its signature holds and its limits are kept is judged by terminal/offline/rules.py.

    Args:
        token: what `authorise_payment` returned.

    Raises:
        CardError: `card_needs_connection`, the application has none after all; `card_answer_invalid`, it
            makes no sense or is about another key.
    """
    answer = yield from expect_success(GET_CREDENTIAL, refusal=lambda _: NEEDS_CONNECTION)
    try:
        credential = parse_credential_answer(answer)
        claims = read_credential(parse_credential(credential))
        signer = parse_sign1(token).key_id
    except (EncodingError, TokenError) as error:
        raise CardError(f"credential: {error}") from None
    if claims.device_key_id != signer:
        raise CardError("the credential is about another key than signed")
    return credential


def make_signing_command(terms_block: bytes) -> CommandApdu:
    """Make the command that asks for a signature over fifty bytes of terms."""
    cla, ins = SIGNING_COMMAND_PREFIX
    return CommandApdu(cla, ins, 0x00, 0x00, dump_tlv(_COMMAND_TEMPLATE, terms_block), LE_MAX)


def parse_signing_command(command: CommandApdu) -> bytes:
    """Return the terms block a signing command carries; the card's side of `make_signing_command`.

    Raises:
        EncodingError: the data field is not one template of fifty bytes.
    """
    return _sized(_only(command.data, _COMMAND_TEMPLATE), TERMS_BYTES)


def parse_signing_answer(answer: bytes) -> tuple[int, bytes]:
    """Return the counter and the token of a signing answer; objects of other tags are passed over.

    Raises:
        EncodingError: not the template, or one of the two is missing, repeated or of the wrong length.
    """
    items = parse_tlvs(_only(answer, _ANSWER_TEMPLATE))
    counter = _sized(find_tlv(items, _COUNTER), _COUNTER_BYTES)
    return int.from_bytes(counter, "big"), find_tlv(items, _TOKEN)


def dump_signing_answer(counter: int, token: bytes) -> bytes:
    """Write a signing answer; the card's side of `parse_signing_answer`."""
    assert 0 <= counter <= COUNTER_MAX, "9F36 has two bytes"
    announced = dump_tlv(_COUNTER, counter.to_bytes(_COUNTER_BYTES, "big"))
    return dump_tlv(_ANSWER_TEMPLATE, announced + dump_tlv(_TOKEN, token))


def parse_credential_answer(answer: bytes) -> bytes:
    """Return the credential of a GET DATA answer.

    Raises:
        EncodingError: not the one object, or longer than CREDENTIAL_BYTES_MAX.
    """
    credential = _only(answer, _CREDENTIAL)
    if len(credential) > CREDENTIAL_BYTES_MAX:
        raise EncodingError(f"a credential has at most {CREDENTIAL_BYTES_MAX} bytes")
    return credential


def dump_credential_answer(credential: bytes) -> bytes:
    """Write a GET DATA answer; the card's side of `parse_credential_answer`."""
    return dump_tlv(_CREDENTIAL, credential)


def dump_application_answer(capabilities: int) -> bytes:
    """Write the answer to a SELECT; the card's side of `parse_application_answer`."""
    discretionary = dump_tlv(_CAPABILITIES, bytes((capabilities,))) + dump_tlv(
        _COMMAND_BYTES_MAX, DATA_BYTES_MAX.to_bytes(2, "big")
    )
    proprietary = (
        dump_tlv(_LABEL_TAG, _LABEL)
        + dump_tlv(_VERSION_TAG, _VERSION)
        + dump_tlv(_PDOL_TAG, PDOL)
        + dump_tlv(_DISCRETIONARY, discretionary)
    )
    return dump_tlv(_FCI, dump_tlv(_AID, PAYMENT_AID) + dump_tlv(_PROPRIETARY, proprietary))


def _only(data: bytes, tag: int) -> bytes:
    items = parse_tlvs(data)
    if len(items) != 1:
        raise EncodingError(f"tag {tag:X} does not stand alone")
    return find_tlv(items, tag)


def _sized(value: bytes, length: int) -> bytes:
    if len(value) != length:
        raise EncodingError(f"a value has {len(value)} bytes and not {length}")
    return value
