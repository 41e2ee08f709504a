"""A world of software devices and of people who carry cards and phones, made from a file and a seed.

Devices stand for the driver's own hardware: a till's daemon reaches them by the reader paths that
`World.list_everything` returns, and cannot tell them from real ones. What happens in the world is said
to it through its control interface (simulators/world/control.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from simulators.cards.offline_allowance import OfflineAllowance
from simulators.cards.payment_card import PaymentCard
from simulators.cards.uid_tag import UidTag
from simulators.errors import GatewaySilent, SimulatorError
from simulators.fields.private_pcscd import PrivatePcscd, VirtualSlot
from simulators.phones.wallet_app import WalletApp, exchange_over
from simulators.seeds import make_rng
from simulators.world.belongings import (
    APPLET_CARD,
    PHONE_KEY,
    Card,
    draw_key_of,
    forge_credential,
    kinds_of,
    make_belongings,
)
from simulators.world.devices import Devices, open_devices
from simulators.world.faults import DeviceFaults
from simulators.world.file import WorldFile
from simulators.world.messages import (
    AllowanceOrder,
    AnswerKind,
    CloneOrder,
    CodeForm,
    CodeOrder,
    Decided,
    DecisionOrder,
    FaultOrder,
    HeldState,
    Inventory,
    PayOrder,
    PresentOrder,
    ScanOrder,
    ShowOrder,
)
from wire.es256 import PrivateKey
from wire.messages.intents import IntentView
from wire.messages.offline import CredentialRequest
from wire.money import Money


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the world takes from outside itself."""

    now_ms: Callable[[], int]
    """The clock, unix milliseconds."""
    entropy: Callable[[int], bytes]
    """That many bytes never seen before, for the nonces of signed requests."""
    slots: Sequence[VirtualSlot] = ()
    """Of pcscd's virtual readers, for the fields of that kind in the order of the file."""
    gateway_url: str | None = None
    """Where phones ask for numeric codes, without a trailing slash."""
    pcscd: PrivatePcscd | None = None
    """Started already, with the slots above; needed only for faults of the service itself."""


class World:
    """Everything in one process; call its methods from one event loop."""

    def __init__(self, file: WorldFile, surroundings: Surroundings) -> None:
        """Make what people carry; devices come with `start`."""
        self._file = file
        self._outside = surroundings
        self._belongings = make_belongings(file)
        self._devices = Devices()
        self._faults = self._make_faults()
        self._field_of: dict[str, str] = {}
        self._last_codes: dict[str, str] = {}
        self._picture_count = 0

    async def start(self) -> None:
        """Open every device that this machine allows; one that fails is off, with the reason."""
        self._devices = await asyncio.to_thread(open_devices, self._file, self._outside.slots)
        self._faults = self._make_faults()

    async def stop(self) -> None:
        """Mend and close every device; may be called twice."""
        await self._faults.stop()
        await asyncio.to_thread(self._devices.stop)

    def list_everything(self) -> Inventory:
        """Return devices, things, and what a gateway must be told to accept them."""
        return Inventory(
            seed=self._file.seed,
            devices=list(self._devices.views),
            things=list(self._belongings.views),
            card_keys=self._belongings.keys.view,
            environment={} if self._outside.pcscd is None else dict(self._outside.pcscd.environment),
        )

    def card_in_hand(self, name: str) -> Card:
        """Return a card, phone or tag itself, for whoever wants to see what it was asked.

        Raises:
            NoSuchThing: as said.
        """
        return self._belongings.find_card(name)

    def present(self, field_name: str, order: PresentOrder) -> None:
        """Put a card, phone or tag on a field, taking it from wherever it lies.

        Raises:
            NoSuchThing, DeviceOff: as said.
            SimulatorError: the card cannot be tampered with or torn as ordered.
        """
        field = self._devices.find_field(field_name)
        card = self._belongings.find_card(order.thing)
        _prepare(card, order)
        elsewhere = self._field_of.get(order.thing)
        if elsewhere is not None and elsewhere != field_name:
            self.remove(elsewhere)
        self._forget_field(field_name)
        self._faults.forget_card(field_name)
        self._field_of[order.thing] = field_name
        field.present(card)

    def remove(self, field_name: str) -> None:
        """Take away what lies on a field; nothing there is no error."""
        field = self._devices.find_field(field_name)
        self._faults.forget_card(field_name)
        field.remove()
        self._forget_field(field_name)

    async def show(self, screen_name: str, order: ShowOrder) -> None:
        """Hold a phone with a code before a camera.

        Raises:
            NoSuchThing, DeviceOff, GatewaySilent: as said.
            SimulatorError: no code or more than one named, an unknown distortion, too large a code.
        """
        # OpenCV is for worlds with a camera only.
        from simulators.screens.distortions import DISTORTIONS, picture_of

        screen = self._devices.find_screen(screen_name)
        if order.distortion not in DISTORTIONS:
            raise SimulatorError(f"there is no distortion named {order.distortion}")
        text = await self._one_text(order.code, order.screenshot_of, None)
        self._picture_count += 1
        picture = await asyncio.to_thread(
            picture_of, order.distortion, text, width=640, height=480, seed=self._picture_count
        )
        screen.show(picture.pixels)

    def blank(self, screen_name: str) -> None:
        """Take the phone away from a camera."""
        self._devices.find_screen(screen_name).show(None)

    async def scan(self, gun_name: str, order: ScanOrder) -> None:
        """Pull a scanner gun's trigger at a code; errors as `show`."""
        gun = self._devices.find_gun(gun_name)
        text = await self._one_text(order.code, order.screenshot_of, order.text)
        await asyncio.to_thread(gun.scan, text)

    def clone(self, card_name: str, order: CloneOrder) -> None:
        """Copy a card, keys and counter as they are now; errors as `Belongings.clone`."""
        self._belongings.clone(card_name, order.name)

    async def fault(self, device_name: str, order: FaultOrder) -> None:
        """Let a device have a fault, or put a faulty card on it, taking the cards from wherever they lie.

        Raises:
            NoSuchThing, DeviceOff, FaultImpossible: as said.
        """
        for thing in (order.thing, order.other):
            lies_on = None if thing is None else self._field_of.get(thing)
            if lies_on is not None:
                self.remove(lies_on)
        await self._faults.order(device_name, order)

    async def mend(self, device_name: str) -> None:
        """End a device's fault now, and take away what it put there; none is no error."""
        await self._faults.mend(device_name)

    def _make_faults(self) -> DeviceFaults:
        rng = make_rng(self._file.seed, "faults")
        return DeviceFaults(self._devices, self._belongings, self._fresh_code, rng, self._outside.pcscd)

    async def set_allowance(self, thing: str, order: AllowanceOrder) -> None:
        """Have a phone or applet card hold a credential for payments without a connection.

        Raises:
            NoSuchThing: there is none of that name. GatewaySilent: the gateway gave no credential.
            SimulatorError: the thing signs nothing of ours.
        """
        card, key = self._belongings.find_card(thing), self._key_of(thing)
        if key is None or not isinstance(card, PaymentCard):
            raise SimulatorError(f"{thing} can hold no allowance: it signs nothing")
        credential = await self._credential_for(key, order)
        card.allowance = OfflineAllowance(credential)
        if thing in self._belongings.phones:
            self._belongings.phones[thing].allowance = card.allowance

    async def decide(self, phone_name: str, order: DecisionOrder) -> Decided:
        """Have a phone's owner answer everything the wallet is asked just now; errors as `set_allowance`."""
        self._belongings.find_phone(phone_name)
        async with self._app_of(draw_key_of(self._file.seed, PHONE_KEY, phone_name)) as app:
            waiting = await app.list_waiting()
            for one in waiting:
                await app.decide(one, agreed=order.agreed)
        return Decided(count=len(waiting))

    async def pay(self, phone_name: str, order: PayOrder) -> None:
        """Have a phone's owner scan a till's code and pay it; errors as `set_allowance`.

        Raises:
            PaymentCodeError: it is no code of a till. SimulatorError: it asks for no amount.
        """
        phone = self._belongings.find_phone(phone_name)
        async with self._app_of(draw_key_of(self._file.seed, PHONE_KEY, phone_name)) as app:
            view = await app.scan(order.code_text)
            if not isinstance(view, IntentView):
                raise SimulatorError("this is a counter's sticker: it leaves the amount to the payer")
            await app.pay_intent(view, phone)

    def _key_of(self, thing: str) -> PrivateKey | None:
        """Return what a phone or applet card signs with; None for everything else."""
        kind = next((kind for kind, name in kinds_of(self._file) if name == thing), "")
        return draw_key_of(self._file.seed, kind, thing) if kind in (PHONE_KEY, APPLET_CARD) else None

    async def _credential_for(self, key: PrivateKey, order: AllowanceOrder) -> bytes:
        amount = Money(order.amount_minor, self._file.iso_currency)
        if order.forged:
            return forge_credential(self._file.seed, key, amount, now_ms=self._outside.now_ms())
        async with self._app_of(key) as app:
            request = CredentialRequest(credential_id=app.new_id(), allowance_minor=amount.minor)
            return (await app.ask_credential(request)).credential

    async def _one_text(self, code: CodeOrder | None, screenshot_of: str | None, text: str | None) -> str:
        if sum(part is not None for part in (code, screenshot_of, text)) != 1:
            raise SimulatorError("name one thing to show: a fresh code, a screenshot, or a text")
        if code is not None:
            return await self._fresh_code(code)
        if screenshot_of is None:
            return text or ""
        if screenshot_of not in self._last_codes:
            raise SimulatorError(f"{screenshot_of} has shown no code yet")
        return self._last_codes[screenshot_of]

    async def _fresh_code(self, order: CodeOrder) -> str:
        phone = self._belongings.find_phone(order.phone)
        if order.form is CodeForm.NUMERIC:
            text = await self._ask_numeric_code(order.phone)
        else:
            made_ms = self._outside.now_ms() + (order.ahead_s - order.age_s) * 1000
            cap = Money(order.cap_minor, self._file.iso_currency)
            text = phone.pay_code(
                made_ms, cap, form=order.form.value, life_s=order.life_s, forged=order.forged
            )
        self._last_codes[order.phone] = text
        return text

    async def _ask_numeric_code(self, phone_name: str) -> str:
        async with self._app_of(draw_key_of(self._file.seed, PHONE_KEY, phone_name)) as app:
            return (await app.ask_payment_code()).code

    @asynccontextmanager
    async def _app_of(self, key: PrivateKey) -> AsyncIterator[WalletApp]:
        """Open the application that signs with a key; `GatewaySilent` where there is nobody to ask."""
        gateway_url = self._outside.gateway_url
        if gateway_url is None:
            raise GatewaySilent("this world was not told where the gateway is")
        async with aiohttp.ClientSession() as session:
            yield WalletApp(
                exchange_over(session),
                gateway_url,
                key,
                now_ms=self._outside.now_ms,
                entropy=self._outside.entropy,
            )

    def _forget_field(self, field_name: str) -> None:
        self._field_of = {thing: field for thing, field in self._field_of.items() if field != field_name}


def _prepare(card: Card, order: PresentOrder) -> None:
    """Set what is wrong with the next tap; without an order nothing is."""
    tampers, tears = order.tamper_amount_minor is not None, order.tear_at_apdu is not None
    is_usual = order.held is HeldState.READY and order.answer is AnswerKind.OWN
    if not (is_usual and order.relayed_terminal is None) and not isinstance(card, PaymentCard):
        raise SimulatorError(
            "only a phone or applet card signs, so nothing else can do that with a signature"
        )
    if isinstance(card, UidTag):
        if tampers or tears:
            raise SimulatorError("a plain tag speaks no commands: nothing to tamper with or to tear")
        return
    card.tear_at_apdu = order.tear_at_apdu
    if isinstance(card, PaymentCard):
        card.tamper_amount_minor = order.tamper_amount_minor
        card.relayed_terminal_id = order.relayed_terminal
        card.has_forged_signature = order.answer is AnswerKind.FORGED
        card.answers_stale_nonce = order.answer is AnswerKind.STALE
        card.locked = order.held is HeldState.LOCKED
        card.blocked = order.held is HeldState.BLOCKED
        card.confirmation_above_minor = 0 if order.held is HeldState.ASKING else None
    elif tampers:
        raise SimulatorError("a one-time link states no amount: nothing to tamper with")
