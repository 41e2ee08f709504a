"""What till software asks of the terminal daemon beside it, and what the daemon tells it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from wire.messages.base import Message
from wire.messages.payments import (
    AmountMinor,
    AmountOrNothing,
    CaptureMode,
    CurrencyCode,
    Decline,
    EntryMode,
    OrderDetails,
    OrderId,
    PaymentAnswer,
    PaymentState,
    Pin,
    UlidText,
    UnixMs,
)
from wire.messages.shifts import ShiftMark
from wire.messages.staff import SignedInStaff, StaffState, TagRead

RESULTS_SHOWN_MAX: Final = 20
PAYMENTS_SHOWN_MAX: Final = 40
UNRESOLVED_SHOWN_MAX: Final = 20
"""So many attempts without an outcome are told one by one; their count is exact."""


class SaleState(StrEnum):
    """Where a sale stands; terminal/sale/states.py has the table of transitions."""

    ARMED = "armed"
    """Readers are on: present a card, a phone or a code."""
    READING = "reading"
    """Something is being read; keep it there."""
    SUBMITTING = "submitting"
    """The attempt is in the journal and on its way to the gateway."""
    CONFIRMING = "confirming"
    """Its holder has to agree, by PIN or phone: the answer's `confirmation` says why, how and until when."""
    APPROVED = "approved"
    ACCEPTED_OFFLINE = "accepted_offline"
    """Accepted without asking, sealed and stored: it is charged when the connection is back."""
    DECLINED = "declined"
    """The last attempt was declined and no further one is possible in this sale."""
    UNKNOWN = "unknown"
    """The gateway's answer is missing; the attempt id is kept and asked about until it is known."""
    REVERSING = "reversing"
    """Given up: whatever became of the attempt, it is being taken back."""
    CLOSED = "closed"
    """Nothing is charged any more: voided, run out, or given back. The answer's `decline` says which."""
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class SaleRequest(Message, frozen=True):
    """Start a sale. Without an order id the daemon makes one."""

    amount_minor: AmountMinor
    currency: CurrencyCode | None = None
    order_id: OrderId | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1_000, le=600_000)] | None = None
    """How long readers stay armed, in milliseconds from now."""
    capture: CaptureMode = CaptureMode.AUTOMATIC
    """Manual: the amount is held, and charged by a capture."""
    tip_max_minor: AmountOrNothing = 0
    """How much of amount_minor is kept for a tip at the capture; only with a manual capture."""
    order: OrderDetails | None = None

    def __post_init__(self) -> None:
        if self.tip_max_minor and self.tip_max_minor >= self.amount_minor:
            raise ValueError("tip_max_minor leaves nothing of amount_minor")
        if self.tip_max_minor and self.capture is not CaptureMode.MANUAL:
            raise ValueError("tip_max_minor asks for a manual capture")


class PinEntry(Message, frozen=True):
    """The PIN that a holder typed at the till; it is passed on and kept nowhere."""

    pin: Pin


class SaleEventKind(StrEnum):
    """What happened in a sale; also the `event:` name of the server-sent event."""

    ARMED = "armed"
    CODE_SHOWN = "code_shown"
    """The till has a code of its own to show; a wallet pays by scanning it."""
    READING = "reading"
    REFUSED = "refused"
    """What was presented can't be used here; the sale goes on."""
    SUBMITTING = "submitting"
    CONFIRMING = "confirming"
    NOT_CONFIRMED = "not_confirmed"
    """A PIN, or what was held to a reader, did not confirm; the sale still waits for its holder."""
    DECLINED = "declined"
    APPROVED = "approved"
    ACCEPTED_OFFLINE = "accepted_offline"
    UNKNOWN = "unknown"
    KEPT = "kept"
    """The cashier said to go on asking and not to take the attempt back."""
    REVERSING = "reversing"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class TillPayment(Message, frozen=True):
    """A payment of this till, as it stood when the till last heard of it."""

    payment_id: UlidText
    order_id: OrderId
    decided_ms: UnixMs
    amount_minor: AmountMinor
    currency: CurrencyCode
    entry_mode: EntryMode
    state: PaymentState
    charged_minor: AmountOrNothing = 0
    tip_minor: AmountOrNothing = 0
    refunded_minor: AmountOrNothing = 0
    capture_by_ms: UnixMs | None = None
    code: str = ""
    """Why it was declined or closed."""


class AttemptStage(StrEnum):
    """What the daemon does about an attempt whose outcome it does not know yet."""

    PAYING = "paying"
    """It is on its way, or was when the daemon ended: the gateway's word on it is the last."""
    UNKNOWN = "unknown"
    """The cashier was told that its outcome is unknown. It asks, sends it again while that makes sense, and
    takes it back in the end."""
    CONFIRMING = "confirming"
    """The gateway waits for its holder. It asks, and never sends it again."""
    KEPT = "kept"
    """It asks and sends it again, and never takes it back: the goods were handed over."""
    REVERSING = "reversing"
    """It takes it back, and never sends it as a payment again."""


class UnresolvedAttempt(Message, frozen=True):
    """An attempt without a final word, for whoever decides what is to become of it."""

    attempt_id: UlidText
    order_id: OrderId
    amount_minor: AmountMinor
    currency: CurrencyCode
    at_ms: UnixMs
    stage: AttemptStage
    reverses_ms: UnixMs | None = None
    """When the daemon takes it back by itself; None where it never does or has begun to."""
    failure_count: int = 0
    """How often nothing was learnt of it; the pauses grow with it."""
    trouble: str = ""
    """Code of the last failure."""
    next_try_ms: UnixMs | None = None


class Refusal(Message, frozen=True):
    """Why something presented was not even sent to the gateway."""

    code: str
    cashier_text: dict[str, str]
    reader: str


class OfflinePayment(Message, frozen=True):
    """A payment that was accepted without asking; what a receipt of it states."""

    attempt_id: UlidText
    """The gateway charges it under this id, once."""
    order_id: OrderId
    amount_minor: AmountMinor
    currency: CurrencyCode
    accepted_ms: UnixMs
    sequence: Annotated[int, msgspec.Meta(ge=1)]
    """Of the sealed record on this till."""
    terminal_id: str
    merchant_name: str
    location_name: str


class SaleView(Message, frozen=True):
    """A sale as its till sees it."""

    sale_id: UlidText
    order_id: OrderId
    amount_minor: AmountMinor
    currency: CurrencyCode
    state: SaleState
    created_ms: UnixMs
    deadline_ms: UnixMs
    attempt_count: int = 0
    answer: PaymentAnswer | None = None
    """The gateway's answer to the last attempt, once there is one."""
    offline: OfflinePayment | None = None
    """What was accepted without asking."""
    code_text: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    """What the till's own QR says, while the sale shows one."""
    code_expires_ms: UnixMs | None = None
    attempt_id: UlidText | None = None
    """Of the last attempt."""
    reverses_ms: UnixMs | None = None
    """While unknown: when the daemon takes the attempt back by itself; None where it was told to keep it."""


class SaleEvent(Message, frozen=True):
    """One thing that happened; `sequence` rises by one per daemon and is the SSE `id:`."""

    sequence: int
    at_ms: UnixMs
    kind: SaleEventKind
    sale: SaleView
    reader: str | None = None
    """Path of the reader concerned."""
    entry_mode: EntryMode | None = None
    refusal: Refusal | None = None
    decline: Decline | None = None
    tap_to_answer_ms: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """From the moment the reader noticed the card or code to the gateway's answer."""


class OfflineResult(Message, frozen=True):
    """What became of a payment that was accepted offline and did not plainly end well."""

    attempt_id: UlidText
    order_id: OrderId
    amount_minor: AmountMinor
    currency: CurrencyCode
    accepted_ms: UnixMs
    outcome: Literal["settled", "declined", "conflict"]
    code: str
    cashier_text: dict[str, str]
    loss_minor: AmountOrNothing = 0
    """What nobody's allowance or wallet covered."""
    loss_bearer: Literal["operator", "merchant"] | None = None


class OfflineView(Message, frozen=True):
    """Payments without a connection: whether they are taken, what waits, and what went wrong."""

    mode: Literal["online", "offline"]
    since_ms: UnixMs
    """When the mode began."""
    waiting_count: int
    waiting_minor: int
    """Sum of what waits to be handed in."""
    currency: CurrencyCode
    oldest_ms: UnixMs | None = None
    """When the oldest of what waits was accepted."""
    synced_ms: UnixMs | None = None
    """When the gateway last said whom to believe and how far."""
    refusal: str = ""
    """Code of why no tap at all could be accepted now; empty where the smallest one could."""
    set_aside_count: int = 0
    """Records the gateway could not read; they are tried again after all others."""
    conflict_count: int = 0
    declined_count: int = 0
    merchant_loss_minor: int = 0
    results: Annotated[list[OfflineResult], msgspec.Meta(max_length=RESULTS_SHOWN_MAX)] = msgspec.field(
        default_factory=list
    )
    """The newest of what did not plainly end well."""


class OfflineDrained(Message, frozen=True):
    """How far a drain has come."""

    settled_count: int
    waiting_count: int
    set_aside_count: int


class DaemonEventKind(StrEnum):
    """What happened at this till outside a sale; also the `event:` name of the server-sent event."""

    WENT_OFFLINE = "went_offline"
    """The gateway does not answer: taps are judged and stored here, codes are refused."""
    WENT_ONLINE = "went_online"
    OFFLINE_PROGRESS = "offline_progress"
    OFFLINE_RESULT = "offline_result"
    COUNTER_PAYMENT = "counter_payment"
    """Somebody paid at the counter's sticker, without a sale."""
    STAFF_SIGNED_IN = "staff_signed_in"
    STAFF_SIGNED_OUT = "staff_signed_out"
    """By themselves, by somebody else's sign-in, or because nothing was done for long."""
    STAFF_TAG_READ = "staff_tag_read"
    """A staff tag that was waited for was read, refused, or did not come."""
    SHIFT_OPENED = "shift_opened"
    SHIFT_CLOSED = "shift_closed"


class DaemonEvent(Message, frozen=True):
    """One such thing; numbered together with the events of sales."""

    sequence: int
    at_ms: UnixMs
    kind: DaemonEventKind
    progress: OfflineDrained | None = None
    result: OfflineResult | None = None
    payment: PaymentAnswer | None = None
    staff: SignedInStaff | None = None
    """Who signed in, or who did before."""
    tag_read: TagRead | None = None
    shift: ShiftMark | None = None


class ReaderState(StrEnum):
    """Health of a reader or scanner."""

    STARTING = "starting"
    READY = "ready"
    FAULTY = "faulty"
    """It does not work now; the daemon goes on trying."""
    OFF = "off"
    """Its library or device is not installed; nothing is tried."""


class ReaderView(Message, frozen=True):
    """A reader's health, and why it is not ready where it is not."""

    path: str
    state: ReaderState
    since_ms: UnixMs
    reason: str = ""
    """In a technician's words; empty when it is ready."""
    presentation_count: int = 0
    code: str = ""
    """A condition of wire/notices; empty when it is ready or starting."""
    cashier_text: dict[str, str] = msgspec.field(default_factory=dict)
    """What that condition tells whoever stands before it, by language tag."""
    is_armed: bool = False
    """Whether a card or code would be taken now."""
    fault_count: int = 0
    recovery_ms_last: int | None = None
    """From the fault being noticed to ready again; None before the first time."""
    recovery_ms_max: int | None = None
    left_behind_count: int = 0
    """Threads whose driver has not returned yet; they were replaced."""


class DaemonView(Message, frozen=True):
    """Who this daemon is and whether it can sell."""

    terminal_id: str
    merchant_name: str
    location_name: str
    currency: CurrencyCode
    gateway_reachable: bool
    unresolved_attempt_count: int
    readers: list[ReaderView]
    unresolved: Annotated[list[UnresolvedAttempt], msgspec.Meta(max_length=UNRESOLVED_SHOWN_MAX)] = (
        msgspec.field(default_factory=list)
    )
    """The oldest of the attempts without an outcome."""
    offline: OfflineView | None = None
    """None where payments without a connection are not switched on; its `results` are told by themselves."""
    staff: StaffState | None = None
    shift: ShiftMark | None = None
    """The shift that is open at this till."""
