"""Rehearses one value: does its steps through the till's own interface and through the world's devices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from simulators.errors import ProcessFailed, SimulatorError
from simulators.rehearsal.fillings import Fillings
from simulators.rehearsal.report import (
    Report,
    StepReport,
    Told,
    code_of_event,
    make_report,
    told_by_answer,
    told_by_event,
)
from simulators.rehearsal.stage import Stage
from simulators.rehearsal.surroundings import POLL_S, Otherwise, Surroundings
from simulators.rehearsal.values import (
    Await,
    AwaitPayment,
    AwaitReader,
    Call,
    PayCode,
    ReadTag,
    Repeat,
    Sale,
    Scan,
    Step,
    Tap,
    Value,
)
from simulators.rehearsal.wording import say_step
from simulators.world.messages import CodeOrder, PayOrder, PresentOrder, ScanOrder
from wire.messages.base import dump_message
from wire.messages.till import (
    ReaderState,
    ReaderView,
    SaleEvent,
    SaleEventKind,
    SaleState,
    SaleView,
)

EVENT_WITHIN_S: Final = 30.0
"""Longer than a daemon's patience with its gateway; deadlines of the rehearsal itself come on top."""
YOUR_TURN_S: Final = 120.0
"""How long somebody else's till software may take to start its sale."""
CLOSE_TRIES_MAX: Final = 400
CODE_PAUSE_S: Final = 0.2
"""From what came of one code before a scanner to the next code; a till calls 150 ms between two a flood."""
COPIES_MAX: Final = 50
"""Copies of cards in one rehearsal; a world has room for a few more."""

_ON_THE_WAY: Final = frozenset(
    {
        SaleEventKind.ARMED,
        SaleEventKind.CODE_SHOWN,
        SaleEventKind.READING,
        SaleEventKind.SUBMITTING,
        SaleEventKind.NOT_CONFIRMED,
        SaleEventKind.KEPT,
        SaleEventKind.REVERSING,
    }
)
"""Events after which a presentation's outcome is still to come."""
_JSON: Final[Mapping[str, str]] = MappingProxyType({"Content-Type": "application/json"})
_READERS_ON: Final = frozenset({SaleState.ARMED, SaleState.READING, SaleState.SUBMITTING})
_WAITING: Final = frozenset({SaleState.CONFIRMING, SaleState.UNKNOWN})


class Player:
    """Rehearses values on one stage, one at a time."""

    def __init__(self, stage: Stage, new_id: Callable[[], str]) -> None:
        """Prepare.

        Args:
            new_id: makes a ULID never made before.
        """
        self._stage = stage
        self._new_id = new_id
        self._turn = asyncio.Lock()
        self._copy_count = 0
        self._field_turn = 0
        self._code_over_s = 0.0

    async def rehearse(self, value: Value, *, hands_only: bool = False) -> Report:
        """Do a value's steps, and say what the till API told.

        Args:
            hands_only: the sale and every other request is the work of somebody else's till software; only
                what happens before readers, in wallets and on the line is done here.

        Raises:
            SimulatorError: another value is being rehearsed, or this one has nothing that hands could do.
        """
        if self._turn.locked():
            raise SimulatorError("another value is being rehearsed: wait for its end")
        if hands_only and value.status is not None:
            raise SimulatorError(f"{value.name} is a request of the till software's own: send it yourself")
        async with self._turn:
            rehearsal = _Rehearsal(self, value, hands_only=hands_only)
            return await rehearsal.run()

    @contextlib.asynccontextmanager
    async def showing_a_code(self) -> AsyncIterator[None]:
        """Show a code as a person does, who sees what came of it before the next one is shown.

        Counted from when it was scanned, a till that read it late would call the next one a flood.
        """
        now_s = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, self._code_over_s + CODE_PAUSE_S - now_s()))
        try:
            yield
        finally:
            self._code_over_s = now_s()

    @property
    def stage(self) -> Stage:
        """Where it is rehearsed."""
        return self._stage

    def fill_for(self, till: str) -> Fillings:
        """Return empty places for one value."""
        return Fillings(self._stage.ids, till, self._new_id)

    def name_copy(self, thing: str) -> str:
        """Return the name of the next copy of a card; SimulatorError if there were too many."""
        if self._copy_count >= COPIES_MAX:
            raise SimulatorError(
                "so many cards were copied here that the world is full: start a new rehearsal"
            )
        self._copy_count += 1
        return f"{thing}-copy-{self._copy_count}"

    def choose_field(self, till: str) -> str:
        """Return the reader field whose turn it is: one rests while the next is used."""
        fields = [name for name in self._stage.devices_of[till] if "radio" in name]
        self._field_turn += 1
        return fields[self._field_turn % len(fields)]

    def gun_of(self, till: str) -> str:
        """Return a till's scanner."""
        return next(name for name in self._stage.devices_of[till] if "gun" in name)


class _Rehearsal:
    """One value, once."""

    def __init__(self, player: Player, value: Value, *, hands_only: bool) -> None:
        self._player = player
        self._stage = player.stage
        self._value = value
        self._hands_only = hands_only
        self._till = self._stage.tills[value.till]
        self._ears = self._stage.ears[value.till]
        self._places = player.fill_for(value.till)
        self._around = Surroundings(self._stage, self._till, self._places, player.name_copy)
        self._heard = 0
        self._told = Told()
        self._steps: list[StepReport] = []
        self._fields_used: set[str] = set()

    async def run(self) -> Report:
        complaint = ""
        try:
            for step in self._value.steps:
                await self._do(step)
        except Otherwise as otherwise:
            complaint = str(otherwise)
        finally:
            await self._tidy_up()
        return make_report(self._value, self._till.url, self._told, self._steps, complaint)

    async def _do(self, step: Step) -> None:
        match step:
            case Sale():
                await self._start_sale(step)
            case Tap() | Scan():
                await self._present(step)
            case Call():
                await self._call(step)
            case Await(event=kind):
                self._note(step, event=await self._hear(lambda event: event.kind is kind, str(kind)))
            case AwaitPayment():
                await self._await_payment(step)
            case ReadTag(thing=thing):
                await self._read_tag(step, thing)
            case PayCode(phone=phone):
                await self._pay_code(step, phone)
            case AwaitReader():
                await self._await_reader(step)
            case Repeat():
                await self._repeat(step)
            case _:
                await self._around.change(step)
                self._note(step)

    async def _start_sale(self, step: Sale) -> None:
        self._heard = self._ears.last_sequence
        if self._hands_only:
            sale = await self._await_their_sale()
        else:
            await self._close_open_sale()
            sale = await self._start_own_sale(step)
        self._places.known |= {"sale": sale.sale_id, "order": sale.order_id}

    async def _start_own_sale(self, step: Sale) -> SaleView:
        body: dict[str, Any] = {
            "amount_minor": self._minor(step.amount),
            "deadline_ms": step.deadline_s * 1000,
        }
        if step.currency is not None:
            body["currency"] = step.currency
        if step.order is not None:
            body["order_id"] = self._places.fill(step.order)
        if step.order_amount is not None:
            body["order"] = {"amount_minor": self._minor(step.order_amount)}
        if step.hold:
            body["capture"] = "manual"
        if step.tip_max is not None:
            body["tip_max_minor"] = self._minor(step.tip_max)
        status, answer = await self._send(step, "POST", "/v1/sales", msgspec.json.encode(body), body=body)
        if status != 201:
            raise Otherwise(f"the sale was answered {status} {self._told.code}")
        return msgspec.convert(answer, SaleView)

    async def _await_their_sale(self) -> SaleView:
        """Return the sale that somebody else started at this till: one that waits already, or the next."""
        event = self._ears.newest
        if event is None or event.sale.state is not SaleState.ARMED or event.sale.sale_id == self._sale_id:
            event = await self._ears.find(
                lambda event: event.kind is SaleEventKind.ARMED and event.sale.sale_id != self._sale_id,
                after=self._heard,
                within_s=YOUR_TURN_S,
            )
        if event is None:
            raise Otherwise(f"nobody started a sale at {self._till.url} within {YOUR_TURN_S:.0f} s")
        self._steps.append(StepReport(did="your till software started a sale", event=_plain(event)))
        return event.sale

    async def _present(self, step: Tap | Scan) -> None:
        event = await (self._tap(step) if isinstance(step, Tap) else self._scan(step))
        self._note(step, event=event)
        if step.gives not in (None, event.kind):
            raise Otherwise(
                f"{say_step(step)}: {event.kind} {code_of_event(event)}, not {step.gives}".strip()
            )

    async def _tap(self, step: Tap) -> SaleEvent:
        field = self._player.choose_field(self._value.till)
        self._fields_used.add(field)
        await self._stage.world.present(field, self._order_of(step))
        try:
            return await self._hear_outcome(step.gives)
        finally:
            if not step.stays:
                await self._stage.world.remove(field)

    async def _scan(self, step: Scan) -> SaleEvent:
        async with self._player.showing_a_code():
            await self._stage.world.scan(self._player.gun_of(self._value.till), self._scan_of(step))
            return await self._hear_outcome(step.gives)

    async def _pay_code(self, step: PayCode, phone: str) -> None:
        shown = await self._hear(lambda event: event.kind is SaleEventKind.CODE_SHOWN, "a code of the till's")
        assert shown.sale.code_text is not None, "that is what the event tells"
        await self._stage.world.pay(phone, PayOrder(code_text=shown.sale.code_text))
        self._note(step, event=await self._hear_outcome(None))

    async def _read_tag(self, step: ReadTag, thing: str) -> None:
        await self._send(step, "POST", "/v1/staff/tag-reads", b"", headers=_JSON)
        field = self._player.choose_field(self._value.till)
        self._fields_used.add(field)
        await self._stage.world.present(field, PresentOrder(thing=thing))
        try:
            async with asyncio.timeout(EVENT_WITHIN_S):
                while True:
                    path = self._places.fill("/v1/staff/tag-reads/{tag_read}")
                    status, raw = await self._till.send("GET", path)
                    answer = _read_json(raw)
                    if status != 200 or answer["state"] != "waiting":
                        break
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise Otherwise("the tag was not read") from None
        finally:
            await self._stage.world.remove(field)
        self._told = told_by_answer(status, answer)
        request = {"method": "GET", "path": path}
        self._steps.append(
            StepReport(did="look at what was read", request=request, status=status, answer=answer)
        )

    def _order_of(self, step: Tap) -> PresentOrder:
        tampered, relayed_to = step.tamper_amount, self._stage.ids.terminals["till-2"].terminal_id
        return PresentOrder(
            thing=self._places.fill(step.thing),
            tamper_amount_minor=None if tampered is None else self._minor(tampered),
            tear_at_apdu=step.tear_at_apdu,
            relayed_terminal=relayed_to if step.relayed else None,
            held=step.held,
            answer=step.answer,
        )

    def _scan_of(self, step: Scan) -> ScanOrder:
        if step.text is not None:
            return ScanOrder(text=self._places.fill(step.text))
        if step.phone is None:
            raise SimulatorError(f"{self._value.name}: a scan needs a phone or a text")
        if step.screenshot:
            return ScanOrder(screenshot_of=step.phone)
        code = CodeOrder(
            phone=step.phone,
            form=step.form,
            cap_minor=self._minor(step.cap),
            life_s=step.life_s,
            age_s=step.age_s,
            ahead_s=step.ahead_s,
            forged=step.forged,
        )
        return ScanOrder(code=code)

    async def _call(self, step: Call) -> None:
        path, body = self._places.fill(step.path), self._places.fill_in(step.body)
        if self._hands_only:
            self._steps.append(StepReport(did=f"your till software's turn: {step.method} {path}"))
            return
        content = step.raw.encode() if step.raw is not None else None
        content = msgspec.json.encode(body) if body is not None else content
        if step.method == "POST" and content is None:
            content = b""
        if step.padding:
            content = (content or b"") + b" " * step.padding
        headers = {} if content is None else dict(_JSON)
        headers |= step.headers
        status, _ = await self._send(
            step, step.method, path, content, body=body, headers=headers, with_key=step.with_key
        )
        if step.status not in (None, status):
            raise Otherwise(
                f"{step.method} {path} was answered {status} {self._told.code}, not {step.status}"
            )

    async def _send(
        self,
        step: Step,
        method: str,
        path: str,
        content: bytes | None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        with_key: bool = True,
    ) -> tuple[int, Any]:
        status, raw = await self._till.send(method, path, content, headers, with_key=with_key)
        answer = _read_json(raw)
        request = {"method": method, "path": path, **({} if body is None else {"body": body})}
        self._steps.append(StepReport(did=say_step(step), request=request, status=status, answer=answer))
        self._told = told_by_answer(status, answer)
        if isinstance(answer, dict):
            ids = {key: each for key, each in answer.items() if key.endswith("_id") and isinstance(each, str)}
            self._places.known |= {key.removesuffix("_id"): each for key, each in ids.items()}
        return status, answer

    async def _hear(self, is_wanted: Callable[[SaleEvent], bool], what: str) -> SaleEvent:
        """Wait for an event of this value's sale that was not heard before."""
        within_s = EVENT_WITHIN_S + self._stage.casting.deadline_s
        event = await self._ears.find(
            lambda event: event.sale.sale_id == self._sale_id and is_wanted(event),
            after=self._heard,
            within_s=within_s,
        )
        if event is None:
            raise Otherwise(f"{what} did not come within {within_s:.0f} s")
        self._heard = event.sequence
        self._told = told_by_event(event)
        self._remember(event.sale)
        return event

    async def _hear_outcome(self, wanted: SaleEventKind | None) -> SaleEvent:
        """Wait for what comes of something presented, or for an event on the way there that is wanted."""
        return await self._hear(
            lambda event: event.kind is wanted or event.kind not in _ON_THE_WAY, "an outcome"
        )

    def _remember(self, sale: SaleView) -> None:
        if sale.attempt_id is not None:
            self._places.known["attempt"] = sale.attempt_id
        if sale.answer is not None:
            self._places.known["payment"] = sale.answer.payment_id

    async def _await_payment(self, step: AwaitPayment) -> None:
        """Wait until the till's list says of this payment what the value promises, or tell what it says."""
        wanted = self._places.fill("{payment}")
        loop = asyncio.get_running_loop()
        until = loop.time() + EVENT_WITHIN_S + self._stage.casting.deadline_s
        while True:
            status, raw = await self._till.send("GET", "/v1/payments")
            listed = [one for one in _read_json(raw) or [] if one.get("payment_id") == wanted]
            self._told = told_by_answer(status, listed[0] if listed else None)
            if self._told.code == self._value.code or loop.time() > until:
                break
            await asyncio.sleep(POLL_S)
        request = {"method": "GET", "path": "/v1/payments"}
        self._steps.append(StepReport(did=say_step(step), request=request, status=status, answer=listed))

    async def _await_reader(self, step: AwaitReader) -> None:
        """Wait until a reader says what the value promises, or all of them that they work."""
        loop = asyncio.get_running_loop()
        until = loop.time() + EVENT_WITHIN_S
        while True:
            status, raw = await self._till.send("GET", "/v1/readers")
            readers = msgspec.json.decode(raw, type=list[ReaderView])
            told = [reader for reader in readers if not step.ready and reader.code == self._value.code]
            is_over = (
                all(reader.state is ReaderState.READY for reader in readers) if step.ready else bool(told)
            )
            if is_over or loop.time() > until:
                break
            await asyncio.sleep(POLL_S)
        self._told = Told(status=status, code=told[0].code if told else "")
        request = {"method": "GET", "path": "/v1/readers"}
        self._steps.append(
            StepReport(did=say_step(step), request=request, status=status, answer=_read_json(raw))
        )

    async def _repeat(self, step: Repeat) -> None:
        for _ in range(step.most):
            for inner in step.steps:
                await self._do(inner)
            if self._told.event == step.until:
                return
        raise Otherwise(f"{step.most} times, and never {step.until}")

    @property
    def _sale_id(self) -> str:
        return self._places.known.get("sale", "")

    def _minor(self, amount: str) -> int:
        return self._stage.casting.file.money(amount).minor

    def _note(self, step: Step, event: SaleEvent | None = None) -> None:
        self._steps.append(StepReport(did=say_step(step), event=None if event is None else _plain(event)))

    # Afterwards

    async def _tidy_up(self) -> None:
        for field in self._fields_used:
            with contextlib.suppress(ProcessFailed):
                await self._stage.world.remove(field)
        await self._around.restore()
        if not self._hands_only:
            # Somebody else's sale is theirs to end.
            await self._close_open_sale()
        told, steps, self._hands_only = self._told, len(self._steps), False
        for step in self._value.put_back:
            with contextlib.suppress(Otherwise):
                await self._do(step)
        # What is put back is no part of what was told.
        self._told = told
        del self._steps[steps:]

    async def _close_open_sale(self) -> None:
        """Free the till for the next sale: cancel what waits for a card, take back what waits for a word."""
        if not self._sale_id:
            return
        path = f"/v1/sales/{self._sale_id}"
        for _ in range(CLOSE_TRIES_MAX):
            status, raw = await self._till.send("GET", path)
            state = msgspec.json.decode(raw, type=SaleView).state if status == 200 else None
            if state in _WAITING:
                await self._till.send("POST", f"{path}/reverse", b"", _JSON)
                return
            if state not in _READERS_ON:
                return
            await self._till.send("DELETE", path)
            await asyncio.sleep(POLL_S)
        raise SimulatorError(f"a sale at {self._value.till} could not be ended")


def _read_json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return raw.decode("utf-8", errors="replace") or None


def _plain(event: SaleEvent) -> Any:
    return msgspec.json.decode(dump_message(event))
