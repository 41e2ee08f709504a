"""What the people of a world carry: phones, cards and tags, made from the seed and their own names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from simulators.cards.foreign_card import ForeignCard
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import Ntag424Memory, deliver_chip, personalise_chip
from simulators.cards.payment_card import PaymentCard
from simulators.cards.uid_tag import UidTag
from simulators.errors import NoSuchThing, SimulatorError
from simulators.phones.phone import Phone
from simulators.seeds import draw_private_key, make_rng
from simulators.world.file import THINGS_MAX, WorldFile
from simulators.world.messages import CardKeysView, ThingView
from wire import es256
from wire.cards.ntag424.card_profile import derive_card_keys
from wire.codes.luhn import luhn_digit
from wire.money import Money
from wire.tokens.credential import CREDENTIAL_ID_BYTES, CredentialClaims, mint_credential

CARD_KEY_BATCH: Final = 1
KEY_BYTES: Final = 16
LINK_BASE: Final = "https://pay.example.com/t"
NXP_UID_PREFIX: Final = b"\x04"
"""NTAG 424 DNA is NXP's, whose manufacturer code begins every 7-byte UID (ISO 7816-6)."""
FOREIGN_UID_PREFIX: Final = b"\x5a"
"""For plain tags: a prefix nobody probes for (readers.md, 2c)."""
FORGED_LIFE_S: Final = 3_600
PAN_PREFIX: Final = "999999"
"""ISO 7812: 9 is for national use; no payment scheme has these numbers."""

Card = PaymentCard | Ntag424Card | UidTag | ForeignCard
APPLET_CARD: Final = "applet_card"
NTAG424_CARD: Final = "ntag424_card"
PHONE_KEY: Final = "phone_key"
UID_TAG: Final = "uid_tag"
BLANK_CARD: Final = "blank_card"
FOREIGN_CARD: Final = "foreign_card"


@dataclass(frozen=True, slots=True)
class CardKeys:
    """What a batch of NTAG 424 cards was personalised with."""

    batch: int
    meta_key: bytes
    file_master: bytes

    @property
    def view(self) -> CardKeysView:
        """The same, as the control interface says it."""
        return CardKeysView(
            batch=self.batch, meta_key_hex=self.meta_key.hex(), file_master_hex=self.file_master.hex()
        )


def draw_card_keys(seed: int) -> CardKeys:
    """Draw the keys of the world's one batch."""
    rng = make_rng(seed, "card-keys")
    return CardKeys(CARD_KEY_BATCH, rng.randbytes(KEY_BYTES), rng.randbytes(KEY_BYTES))


def draw_key_of(seed: int, kind: str, name: str) -> es256.PrivateKey:
    """Draw the private key of a phone or an applet card."""
    return draw_private_key(make_rng(seed, kind, name, "key"))


def draw_token_pan(seed: int, name: str) -> str:
    """Draw the card number a phone's codes carry for routing; it names no account."""
    digits = PAN_PREFIX + f"{make_rng(seed, PHONE_KEY, name, 'pan').randrange(10**9):09d}"
    return digits + luhn_digit(digits)


def draw_uid_of(seed: int, name: str) -> bytes:
    """Draw the seven bytes an NTAG 424 card was made with; in a field it shows random ones."""
    return NXP_UID_PREFIX + make_rng(seed, NTAG424_CARD, name, "uid").randbytes(6)


def make_phone(seed: int, name: str) -> Phone:
    """Make the phone of that name."""
    return Phone(
        draw_key_of(seed, PHONE_KEY, name),
        rng=make_rng(seed, PHONE_KEY, name),
        token_pan=draw_token_pan(seed, name),
    )


def make_applet_card(seed: int, name: str) -> PaymentCard:
    """Make the applet card of that name."""
    return PaymentCard(draw_key_of(seed, APPLET_CARD, name), rng=make_rng(seed, APPLET_CARD, name))


def make_ntag_card(seed: int, name: str, keys: CardKeys) -> Ntag424Card:
    """Make the NTAG 424 card of that name, with the batch's keys and a random UID in the field."""
    memory = make_ntag_memory(draw_uid_of(seed, name), keys)
    return Ntag424Card(memory, rng=make_rng(seed, NTAG424_CARD, name))


def make_ntag_memory(uid: bytes, keys: CardKeys, *, counter: int = 0) -> Ntag424Memory:
    """Return what a chip of the batch keeps once it was personalised."""
    own = derive_card_keys(keys.meta_key, keys.file_master, uid)
    return personalise_chip(uid, own, LINK_BASE, counter=counter)


def make_blank_card(seed: int, name: str) -> Ntag424Card:
    """Make a chip of that name as delivered: `tapscan-terminal card personalise` makes it a card."""
    return Ntag424Card(deliver_chip(draw_uid_of(seed, name)), rng=make_rng(seed, BLANK_CARD, name))


def make_uid_tag(seed: int, name: str) -> UidTag:
    """Make the plain tag of that name."""
    return UidTag(FOREIGN_UID_PREFIX + make_rng(seed, UID_TAG, name).randbytes(6))


def forge_credential(seed: int, key: es256.PrivateKey, allowance: Money, *, now_ms: int) -> bytes:
    """Vouch for a key as somebody does who is no issuer: everything but the signer is in order."""
    rng = make_rng(seed, "forger")
    claims = CredentialClaims(
        credential_id=rng.randbytes(CREDENTIAL_ID_BYTES),
        issued_s=now_ms // 1000,
        expires_s=now_ms // 1000 + FORGED_LIFE_S,
        device_public_key=es256.dump_public_key(key.public_key()),
        status_index=0,
        per_payment_minor=allowance.minor,
        allowance=allowance,
    )
    return mint_credential(claims, draw_private_key(rng))


def make_foreign_card(seed: int, name: str, *, broken: bool) -> ForeignCard:
    """Make the foreign card of that name."""
    return ForeignCard(rng=make_rng(seed, FOREIGN_CARD, name), broken=broken)


def view_of(seed: int, kind: str, name: str) -> ThingView:
    """Return what a gateway must be told to accept a thing."""
    if kind in (PHONE_KEY, APPLET_CARD):
        public_key = es256.dump_public_key(draw_key_of(seed, kind, name).public_key())
        return ThingView(name=name, kind=kind, public_key_hex=public_key.hex())
    if kind == NTAG424_CARD:
        return ThingView(name=name, kind=kind, uid_hex=draw_uid_of(seed, name).hex(), batch=CARD_KEY_BATCH)
    if kind == BLANK_CARD:
        return ThingView(name=name, kind=kind, uid_hex=draw_uid_of(seed, name).hex())
    if kind == FOREIGN_CARD:
        return ThingView(name=name, kind=kind)
    return ThingView(name=name, kind=kind, uid_hex=make_uid_tag(seed, name).uid.hex())


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(slots=True)
class Belongings:
    """Everything carried, by name; a clone joins the others under a name of its own."""

    keys: CardKeys
    phones: dict[str, Phone]
    cards: dict[str, Card]
    views: list[ThingView]

    def find_phone(self, name: str) -> Phone:
        """Return a phone, else raise `NoSuchThing`."""
        if name not in self.phones:
            raise NoSuchThing(f"there is no phone named {name}")
        return self.phones[name]

    def find_card(self, name: str) -> Card:
        """Return what a field sees of a thing: a card, a tag, or the application in a phone."""
        if name not in self.cards:
            raise NoSuchThing(f"there is no card, phone or tag named {name}")
        return self.cards[name]

    def clone(self, name: str, copy_name: str) -> None:
        """Copy a card, keys and counter as they are now.

        Raises:
            NoSuchThing: there is no such card.
            SimulatorError: the name is taken, or the thing has no secret that a copy would need.
        """
        card = self.find_card(name)
        if isinstance(card, UidTag | ForeignCard):
            raise SimulatorError("nothing of our wallet is on it: there is nothing to clone")
        if copy_name in self.cards or len(self.cards) >= 2 * THINGS_MAX:
            raise SimulatorError(f"the name {copy_name} is taken, or this world is full")
        self.cards[copy_name] = card.clone()


def make_belongings(world: WorldFile) -> Belongings:
    """Make everything the world file lists."""
    seed = world.seed
    keys = draw_card_keys(seed)
    phones = {entry.name: make_phone(seed, entry.name) for entry in world.phones}
    cards: dict[str, Card] = {name: phone.payment_card() for name, phone in phones.items()}
    cards |= {entry.name: make_applet_card(seed, entry.name) for entry in world.applet_cards}
    cards |= {entry.name: make_ntag_card(seed, entry.name, keys) for entry in world.ntag_cards}
    cards |= {entry.name: make_uid_tag(seed, entry.name) for entry in world.uid_tags}
    cards |= {entry.name: make_blank_card(seed, entry.name) for entry in world.blank_cards}
    cards |= {
        entry.name: make_foreign_card(seed, entry.name, broken=entry.broken) for entry in world.foreign_cards
    }
    return Belongings(keys, phones, cards, [view_of(seed, kind, name) for kind, name in kinds_of(world)])


def kinds_of(world: WorldFile) -> list[tuple[str, str]]:
    """Return the kind and name of everything carried, in the order of the file."""
    entries: tuple[tuple[str, Sequence[_Named]], ...] = (
        (PHONE_KEY, world.phones),
        (APPLET_CARD, world.applet_cards),
        (NTAG424_CARD, world.ntag_cards),
        (UID_TAG, world.uid_tags),
        (BLANK_CARD, world.blank_cards),
        (FOREIGN_CARD, world.foreign_cards),
    )
    return [(kind, entry.name) for kind, listed in entries for entry in listed]
