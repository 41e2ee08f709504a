"""Conversations with cards: the gateway makes each command, a terminal carries it, no key leaves the gateway.

A conversation lives in the store, sealed: its next answer may meet another worker process or another
gateway on the same database. It is bounded in number (CARD_SESSIONS_PER_TERMINAL_MAX), time
(CARD_SESSION_LIFE_MS) and size (ANSWER_BYTES_MAX). A step is taken by one conditional statement, so of two
answers to one command only the first counts; the same answer again gets the same next command, since ours
may have been lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from gateway.cards import dialogues
from gateway.cards.dialogues import CATCH_UP_READS_MAX, Look
from gateway.cards.key_book import KeyBook, open_rows
from gateway.cards.model import CardOrderState, CardSession
from gateway.cards.orders import CardOrderService
from gateway.cards.plans import IN_USE, NEEDS_NEW_KEYS, CardPlans
from gateway.cards.replay import SEED_BYTES, Asking, Ended, Progress, Randomness, replay
from gateway.cards.state import ANSWER_BYTES_MAX, FIRST_STAGE_OF, STAGES_OF, Part, State
from gateway.entropy import Entropy
from gateway.errors import CardRefused, IdempotencyConflict, NotFound, PaymentRefused
from gateway.holders.model import Instrument
from gateway.merchants.model import EnrolledTerminal
from gateway.one_time_codes import parse_code
from gateway.payments.answers import answer_of
from gateway.payments.card_keys import CardKeyRing
from gateway.payments.life_service import PaymentLifeService
from gateway.receipts.names import ReceiptPages
from gateway.storage.store import Store
from gateway.vault import Vault, card_session_purpose
from wire.cards.dialogue import CardDialogue
from wire.errors import CardError
from wire.messages.base import dump_message
from wire.messages.cards import (
    CardAnswerRequest,
    CardPurpose,
    CardSessionAnswer,
    CardSessionRequest,
    CardView,
)
from wire.messages.payments import ConfirmationWay, PaymentState

CARD_SESSION_LIFE_MS: Final = 120_000
"""Ten times what a slow reader needs, with the card put back twice."""

_OUT_OF_STEP: Final = "card_session_out_of_step"
_INCOMPLETE: Final = "card_incomplete"


class CardSessionService:
    """Begins conversations and takes them one answer further."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        orders: CardOrderService,
        lives: PaymentLifeService,
        entropy: Entropy,
        *,
        link_base: str,
        pages: ReceiptPages | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._orders = orders
        self._lives = lives
        self._pages = pages
        self._plans = CardPlans(store)
        self._ring = CardKeyRing(store, vault)
        self._entropy = entropy
        self._link_base = link_base

    async def begin(
        self, request: CardSessionRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> CardSessionAnswer:
        """Begin a conversation, and return its first command; the same request again answers again.

        Raises:
            CardRefused: `card_code_invalid`; no open order has this code.
            IdempotencyConflict: the id is taken by another conversation.
        """
        digest = hashlib.sha256(dump_message(request)).digest()
        terminal_id = terminal.terminal.terminal_id
        known = await self._store.find_card_session(request.session_id, terminal_id, now_ms)
        if known is not None:
            if known.request_digest != digest:
                raise IdempotencyConflict("this conversation was begun for something else")
            return await self._ask(known, known.step, self._open(known))
        state = await self._make_state(request, terminal_id, now_ms)
        session = CardSession(
            session_id=request.session_id,
            terminal_id=terminal_id,
            request_digest=digest,
            step=0,
            state_sealed=self._seal(request.session_id, 0, state),
            created_ms=now_ms,
            expires_ms=now_ms + CARD_SESSION_LIFE_MS,
        )
        await self._store.add_card_session(session)
        return await self._ask(session, 0, state)

    async def take_answer(
        self, session_id: str, request: CardAnswerRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> CardSessionAnswer:
        """Judge what a card answered, and return the next command or the end.

        Raises:
            CardRefused: `card_session_over`; unknown, or its time is over. `card_session_out_of_step`; it is
                no answer to the last command.
        """
        session = await self._store.find_card_session(session_id, terminal.terminal.terminal_id, now_ms)
        if session is None:
            raise CardRefused(code="card_session_over")
        state = self._open(session)
        if request.step == session.step - 1 and request.answer == state.last_answer:
            return await self._ask(session, session.step, state)
        if request.step != session.step or state.part is Part.OVER:
            raise CardRefused(code=_OUT_OF_STEP)
        answers = (*state.answers, request.answer)
        state = msgspec.structs.replace(state, answers=answers, last_answer=request.answer)
        state, asking = await self._go_on(state, now_ms)
        sealed = self._seal(session_id, session.step + 1, state)
        if not await self._store.advance_card_session(session, sealed, now_ms):
            raise CardRefused(code=_OUT_OF_STEP)
        return await self._view(session, session.step + 1, state, asking)

    async def _make_state(self, request: CardSessionRequest, terminal_id: str, now_ms: int) -> State:
        if request.purpose is CardPurpose.CONFIRM:
            return await self._make_confirmation(request.payment_id or "", terminal_id)
        code_hash = None
        if request.purpose is CardPurpose.PERSONALISE:
            code = parse_code(request.code or "")
            if code is None:
                raise CardRefused(code="card_code_invalid")
            code_hash = self._orders.hash_code(code)
            order = await self._store.find_card_order(code_hash)
            is_late = order is not None and order.card_key_id is None and order.expires_ms <= now_ms
            if order is None or is_late or order.state is not CardOrderState.OPEN:
                raise CardRefused(code="card_code_invalid")
        book = KeyBook(await self._ring.open_all())
        return State(
            purpose=request.purpose,
            part=Part.LOOK,
            seed=self._entropy(SEED_BYTES),
            rows=tuple((keys.batch_number, keys.key_version) for keys in book.rows),
            link_base=self._link_base,
            code_hash=code_hash,
        )

    async def _make_confirmation(self, payment_id: str, terminal_id: str) -> State:
        """Return the state in which the card of a payment that waits for its holder is challenged.

        Raises:
            NotFound: no such payment of this merchant. PaymentRefused: it waits for nobody, or for no card.
        """
        payment = await self._store.find_payment(terminal_id, payment_id)
        if payment is None or payment.instrument_id is None:
            raise NotFound("there is no such payment of this merchant")
        if payment.life.state is not PaymentState.REQUIRES_CONFIRMATION:
            raise PaymentRefused(code="payment_not_open")
        if ConfirmationWay.CARD not in payment.confirm_ways:
            raise PaymentRefused(code="confirmation_way_not_allowed")
        card = await self._find_instrument(payment.instrument_id)
        assert card.card_key_batch is not None, "only a card's link is confirmed by the card"
        assert card.card_key_version is not None, "a card has keys"
        row = (card.card_key_batch, card.card_key_version)
        return State(
            purpose=CardPurpose.CONFIRM,
            part=Part.CONFIRM,
            seed=self._entropy(SEED_BYTES),
            rows=(row,),
            link_base=self._link_base,
            payment_id=payment.payment_id,
            target=row,
            instrument_id=card.instrument_id,
            key_id=card.key_id,
        )

    async def _go_on(self, state: State, now_ms: int) -> tuple[State, Asking | None]:
        """Return the state once the card has to be asked again, with what; or nothing is left to ask."""
        if sum(map(len, state.answers)) > ANSWER_BYTES_MAX:
            return state.refused("card_answer_invalid"), None
        while state.part is not Part.OVER:
            book = await self._book_of(state)
            try:
                outcome = _run(state, book)
            except CardError as error:
                return state.refused(error.code), None
            if isinstance(outcome, Asking):
                return state, outcome
            state = await self._conclude(state, book, outcome.value, now_ms)
        return state, None

    async def _conclude(self, state: State, book: KeyBook, value: Any, now_ms: int) -> State:
        """Return the state after one part, and write down what it proved."""
        match state.part:
            case Part.LOOK:
                return await self._plan(_with_look(state, value), book, now_ms)
            case Part.SET_UP:
                return state.on(Part.PROVE)
            case Part.TAKE_DOWN:
                return state.on(Part.PROVE_BLANK)
            case Part.PROVE | Part.CATCH_UP:
                return await self._accept(state, book, value, now_ms)
            case Part.CONFIRM:
                assert state.payment_id is not None, "a card confirms a payment"
                await self._lives.confirm_by_card(state.payment_id, now_ms=now_ms)
                return state.on(Part.OVER)
            case _:
                view = CardView(instrument_id=None, label=None, status=None, key_version=0)
                return msgspec.structs.replace(state.on(Part.OVER), view=view)

    async def _plan(self, state: State, book: KeyBook, now_ms: int) -> State:
        match state.purpose:
            case CardPurpose.PERSONALISE:
                return await self._plans.to_personalise(state, book, now_ms)
            case CardPurpose.RECOVER:
                return await self._plans.to_recover(state, book)
            case CardPurpose.VERIFY:
                return await self._plans.to_verify(state, book)
            case _:
                return await self._plans.to_wipe(state, book)

    async def _accept(self, state: State, book: KeyBook, counter: int, now_ms: int) -> State:
        """Make a proven card an instrument, or note what an instrument's card proved."""
        assert state.target is not None, "what was proven was planned"
        keys = book.find(state.target)
        if state.order_id is not None:
            try:
                card = await self._orders.make_instrument(
                    state.order_id, keys, state.uid, counter, now_ms=now_ms
                )
            except IdempotencyConflict:
                return state.refused(IN_USE)
            except CardRefused as refused:
                return state.refused(refused.code)
            return _done(state, card, book)
        assert state.instrument_id is not None, "a card is ordered or known"
        assert state.key_id is not None, "a card is ordered or known"
        card = await self._find_instrument(state.instrument_id)
        new_key_id = keys.key_id_of(state.uid)
        behind = card.card_counter - counter
        if new_key_id == card.key_id and behind >= 0:
            # Its counter was set back: links from before it would be good again if it went on like this. Only
            # level with ours it is also where a gateway noted this very proof and then broke off.
            if state.purpose is not CardPurpose.RECOVER and behind > 0:
                return state.refused(_INCOMPLETE)
            if behind >= CATCH_UP_READS_MAX:
                return state.refused(NEEDS_NEW_KEYS)
            return msgspec.structs.replace(state.on(Part.CATCH_UP), read_count=behind + 1)
        renewed = await self._store.renew_card(
            card.instrument_id, state.key_id, new_key_id, keys.key_version, counter
        )
        card = await self._find_instrument(card.instrument_id)
        if not renewed and card.key_id != new_key_id:
            return state.refused(_INCOMPLETE)
        return _done(state, card, book)

    async def _find_instrument(self, instrument_id: str) -> Instrument:
        card = await self._store.find_instrument(instrument_id)
        assert card is not None, "an instrument is never removed"
        return card

    async def _book_of(self, state: State) -> KeyBook:
        book = open_rows(await self._ring.open_all(), state.rows)
        return book if state.target is None else book.preferring(state.target[0])

    async def _ask(self, session: CardSession, step: int, state: State) -> CardSessionAnswer:
        """Return what a stored state asks of the card, or how it ended."""
        if state.part is Part.OVER:
            return await self._view(session, step, state, None)
        asking = _run(state, await self._book_of(state))
        assert isinstance(asking, Asking), "a part that is over was concluded"
        return await self._view(session, step, state, asking)

    async def _view(
        self, session: CardSession, step: int, state: State, asking: Asking | None
    ) -> CardSessionAnswer:
        stages = STAGES_OF[state.purpose]
        stage = stages[-1] if asking is None else asking.stage
        payment = None
        if state.payment_id is not None and state.part is Part.OVER:
            payment = await self._store.find_payment(session.terminal_id, state.payment_id)
        return CardSessionAnswer(
            session_id=session.session_id,
            state="asking" if asking is not None else "done" if state.code is None else "refused",
            step=step,
            stage=stage,
            stage_number=stages.index(stage) + 1,
            stage_count=len(stages),
            command=None if asking is None else asking.command,
            code=state.code,
            card=state.view,
            payment=None if payment is None else answer_of(payment, self._pages),
        )

    def _seal(self, session_id: str, step: int, state: State) -> bytes:
        return self._vault.seal(msgspec.msgpack.encode(state), card_session_purpose(session_id, step))

    def _open(self, session: CardSession) -> State:
        purpose = card_session_purpose(session.session_id, session.step)
        return msgspec.msgpack.decode(self._vault.open(session.state_sealed, purpose), type=State)


def _run(state: State, book: KeyBook) -> Asking | Ended[Any]:
    draw = Randomness(state.seed, state.part)
    return replay(_dialogue_of(state, book, draw), state.answers, FIRST_STAGE_OF[state.part])


def _dialogue_of(state: State, book: KeyBook, draw: Randomness) -> Callable[[Progress], CardDialogue[Any]]:
    seen: Look = state.seen
    target = None if state.target is None else book.find(state.target)
    match state.part:
        case Part.LOOK:
            return lambda _: dialogues.look(book, draw)
        case Part.TAKE_DOWN:
            return partial(dialogues.take_down, seen, book, draw)
        case Part.PROVE_BLANK:
            return lambda _: dialogues.prove_blank(draw)
    assert target is not None, "what is made or proven was planned"
    match state.part:
        case Part.SET_UP:
            return partial(dialogues.set_up, seen, book, target, state.link_base, draw)
        case Part.PROVE:
            return lambda _: dialogues.prove(seen, target, draw)
        case Part.CONFIRM:
            key_id = state.key_id or b""
            return lambda _: dialogues.confirm(target, key_id, draw)
        case _:
            return lambda _: dialogues.catch_up(seen, target, state.read_count)


def _with_look(state: State, seen: Look) -> State:
    return msgspec.structs.replace(state, uid=seen.uid, versions=seen.versions, shows_uid=seen.shows_uid)


def _done(state: State, card: Instrument, book: KeyBook) -> State:
    assert card.card_key_batch is not None, "a card is of a batch"
    assert card.card_key_version is not None, "a card has keys"
    newest = book.newest_of(card.card_key_batch)
    view = CardView(
        instrument_id=card.instrument_id,
        label=card.label,
        status=card.status.value,
        key_version=card.card_key_version,
        is_newest=newest is None or newest.key_version == card.card_key_version,
    )
    return msgspec.structs.replace(state.on(Part.OVER), view=view)
