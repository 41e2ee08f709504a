"""What the handlers of requests work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.cards.sessions import CardSessionService
from gateway.entropy import Entropy
from gateway.holders.service import HolderService
from gateway.http.admission import Admission
from gateway.http.authentication import Authenticator
from gateway.http.bodies import Intake
from gateway.http.exchange import RequestIds
from gateway.http.sessions import TerminalSessions
from gateway.logs import RequestLog
from gateway.merchants.service import MerchantService
from gateway.merchants.shifts import ShiftService
from gateway.merchants.staff import StaffService
from gateway.offline.service import OfflineService
from gateway.payments.bell import TerminalBell
from gateway.payments.events import TerminalEventService
from gateway.payments.intents import IntentService
from gateway.payments.life_service import PaymentLifeService
from gateway.payments.service import PaymentService
from gateway.receipts.names import ReceiptPages
from gateway.receipts.rate import PageRate
from gateway.storage.store import Store


@dataclass(frozen=True, slots=True)
class Desk:
    """Made once by the composition root."""

    store: Store
    payments: PaymentService
    lives: PaymentLifeService
    intents: IntentService
    events: TerminalEventService
    offline: OfflineService
    cards: CardSessionService
    bell: TerminalBell
    merchants: MerchantService
    holders: HolderService
    staff: StaffService
    shifts: ShiftService
    receipt_pages: ReceiptPages
    page_rate: PageRate
    authenticator: Authenticator
    sessions: TerminalSessions
    intake: Intake
    admission: Admission
    request_ids: RequestIds
    request_log: RequestLog
    now_ms: Callable[[], int]
    entropy: Entropy
