"""Every code an answer can carry, with what it tells the cashier and the payer, in two languages.

Four kinds never mix (house style, "Errors"):

* a **decline** is the gateway's final word on an attempt; nothing was charged, or it was given back;
* a **confirmation** is why the gateway wants the holder to agree first;
* a **refusal** is the terminal's: what was presented was not even sent;
* a **problem** is a failure to do the job, an RFC 9457 error.

Codes are stable, snake_case and never reused. `retryable` answers one question: may this same request,
unchanged, succeed later?
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ENGLISH: Final = "en"
CHINESE: Final = "zh-Hans"


class NoticeKind(StrEnum):
    """Who speaks, and what it means for the payment."""

    DECLINE = "decline"
    CONFIRMATION = "confirmation"
    REFUSAL = "refusal"
    PROBLEM = "problem"


class NextStep(StrEnum):
    """What is to be done after a payment was declined or closed."""

    NONE = "none"
    """Nothing: what was wanted has happened already."""
    PRESENT_AGAIN = "present_again"
    OTHER_MEANS = "other_means"
    START_AGAIN = "start_again"
    CONFIRM_OTHERWISE = "confirm_otherwise"
    CONTACT_SUPPORT = "contact_support"


NEXT_STEP_TEXTS: Final[dict[NextStep, tuple[str, str]]] = {
    NextStep.NONE: ("Nothing to do.", "无需操作。"),
    NextStep.PRESENT_AGAIN: ("Ask the customer to present it again.", "请顾客重新出示。"),
    NextStep.OTHER_MEANS: ("Ask for another way to pay.", "请更换付款方式。"),
    NextStep.START_AGAIN: ("Start the sale again.", "请重新收款。"),
    NextStep.CONFIRM_OTHERWISE: ("Use a phone, or a card with a PIN.", "请使用手机或有密码的卡。"),
    NextStep.CONTACT_SUPPORT: ("Call support before trying again.", "请先联系客服，再重试。"),
}
"""English and Chinese, for whoever stands at the till."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One code and its texts; `holder` texts are empty where the payer is never told."""

    code: str
    kind: NoticeKind
    retryable: bool
    cashier_en: str
    cashier_zh: str
    holder_en: str = ""
    holder_zh: str = ""
    next_step: NextStep = NextStep.NONE

    @property
    def next_step_text(self) -> dict[str, str]:
        """What to do now, by language tag."""
        english, chinese = NEXT_STEP_TEXTS[self.next_step]
        return {ENGLISH: english, CHINESE: chinese}

    @property
    def cashier_text(self) -> dict[str, str]:
        """Text for the cashier by language tag."""
        return {ENGLISH: self.cashier_en, CHINESE: self.cashier_zh}

    @property
    def holder_text(self) -> dict[str, str]:
        """Text for the payer by language tag; empty where there is none."""
        return {ENGLISH: self.holder_en, CHINESE: self.holder_zh} if self.holder_en else {}


def find_notice(code: str) -> Notice:
    """Return the notice of a code.

    Raises:
        KeyError: no such code: a bug of ours, since codes never come from outside.
    """
    return NOTICES[code]


def _declines() -> list[Notice]:
    rows = [
        (
            "insufficient_funds",
            NextStep.OTHER_MEANS,
            "Not enough money in the wallet. Ask for another way to pay.",
            "钱包余额不足，请更换付款方式。",
            "There is not enough money in your wallet for this payment.",
            "您的钱包余额不足，无法完成本次付款。",
        ),
        (
            "token_invalid",
            NextStep.OTHER_MEANS,
            "This code or card could not be verified. Ask for another way to pay.",
            "无法验证该付款码或卡片，请更换付款方式。",
            "Your payment could not be verified. Nothing was charged.",
            "无法验证您的付款，未扣款。",
        ),
        (
            "token_expired",
            NextStep.PRESENT_AGAIN,
            "The code is too old. Ask the customer for a fresh one.",
            "付款码已过期，请顾客刷新后重试。",
            "The code had expired. Show a fresh one.",
            "付款码已过期，请刷新后重新出示。",
        ),
        (
            "token_not_yet_valid",
            NextStep.OTHER_MEANS,
            "The clock of the customer's device is wrong. Ask for another way to pay.",
            "顾客设备时间不正确，请更换付款方式。",
            "The clock of your device is ahead. Set it to automatic and try again.",
            "您的设备时间不正确，请设为自动后重试。",
        ),
        (
            "token_replayed",
            NextStep.PRESENT_AGAIN,
            "This code was already used. Ask the customer for a fresh one.",
            "付款码已被使用，请顾客刷新后重试。",
            "This code was already used once. Show a fresh one.",
            "该付款码已使用过，请刷新后重新出示。",
        ),
        (
            "instrument_unknown",
            NextStep.OTHER_MEANS,
            "This card or device is not registered here.",
            "该卡片或设备未登记。",
            "This card or device is not registered. Nothing was charged.",
            "该卡片或设备未登记，未扣款。",
        ),
        (
            "instrument_suspended",
            NextStep.OTHER_MEANS,
            "This card or device is blocked. Ask for another way to pay.",
            "该卡片或设备已停用，请更换付款方式。",
            "This card or device is blocked. Contact support.",
            "该卡片或设备已停用，请联系客服。",
        ),
        (
            "instrument_cloned",
            NextStep.CONTACT_SUPPORT,
            "This card may be a copy and is now blocked. Do not accept it.",
            "该卡片可能是复制卡，现已停用，请勿接受。",
            "A copy of your card may be in use. We blocked it; contact support.",
            "您的卡片可能被复制，我们已将其停用，请联系客服。",
        ),
        (
            "card_counter_old",
            NextStep.OTHER_MEANS,
            "This card shows an old link and may be a copy. Ask for another way to pay.",
            "该卡片的链接已过时，可能是复制卡，请更换付款方式。",
            "An old link of your card was presented. Nothing was charged.",
            "有人出示了您卡片的旧链接，未扣款。",
        ),
        (
            "amount_mismatch",
            NextStep.START_AGAIN,
            "The customer approved a different amount. Start the sale again.",
            "顾客确认的金额与本单不符，请重新收款。",
            "You approved a different amount from what the till asked. Nothing was charged.",
            "您确认的金额与收银金额不符，未扣款。",
        ),
        (
            "terminal_mismatch",
            NextStep.START_AGAIN,
            "The customer approved a payment at another till. Start the sale again.",
            "顾客确认的是另一台收银机的付款，请重新收款。",
            "The payment was approved for another till. Nothing was charged.",
            "该付款是为另一台收银机确认的，未扣款。",
        ),
        (
            "currency_mismatch",
            NextStep.OTHER_MEANS,
            "The wallet holds another currency.",
            "钱包币种与本单不符。",
            "Your wallet holds another currency.",
            "您的钱包币种与本次付款不符。",
        ),
        (
            "amount_above_token_cap",
            NextStep.PRESENT_AGAIN,
            "The amount is above what this code allows. Ask for a tap or another way to pay.",
            "金额超过该付款码的上限，请改用感应或其他方式付款。",
            "The amount is above what your code allows.",
            "金额超过您的付款码上限。",
        ),
        (
            "entry_mode_not_allowed",
            NextStep.PRESENT_AGAIN,
            "This card or device must be used another way, such as a tap.",
            "该卡片或设备须用其他方式付款，例如感应。",
            "This card or device may not be used this way.",
            "该卡片或设备不可用此方式付款。",
        ),
        (
            "limit_per_payment_exceeded",
            NextStep.OTHER_MEANS,
            "The amount is above the card's limit for one payment.",
            "金额超过该卡单笔限额。",
            "The amount is above your limit for one payment.",
            "金额超过您的单笔限额。",
        ),
        (
            "limit_per_day_exceeded",
            NextStep.OTHER_MEANS,
            "The card's limit for today is used up.",
            "该卡今日限额已用完。",
            "Your limit for today does not cover this payment.",
            "您今日的剩余限额不足以支付本笔。",
        ),
        (
            "wallet_frozen",
            NextStep.OTHER_MEANS,
            "This wallet is frozen. Ask for another way to pay.",
            "该钱包已冻结，请更换付款方式。",
            "Your wallet is frozen. Contact support.",
            "您的钱包已冻结，请联系客服。",
        ),
        (
            "payment_code_invalid",
            NextStep.PRESENT_AGAIN,
            "The code is wrong, used or too old. Ask the customer for a fresh one.",
            "付款码错误、已使用或已过期，请顾客刷新后重试。",
            "The code was wrong, used or too old. Show a fresh one.",
            "付款码错误、已使用或已过期，请刷新后重新出示。",
        ),
        (
            "order_already_paid",
            NextStep.NONE,
            "This order is already paid. Nothing was charged again.",
            "该订单已付款，未重复扣款。",
            "This order is already paid. Nothing was charged again.",
            "该订单已付款，未重复扣款。",
        ),
        (
            "merchant_suspended",
            NextStep.CONTACT_SUPPORT,
            "This shop can't take payments at present. Call support.",
            "本店暂时无法收款，请联系客服。",
            "This shop can't take payments at present.",
            "该商户暂时无法收款。",
        ),
        (
            "order_amount_differs",
            NextStep.START_AGAIN,
            "This order was begun with another amount. Nothing was charged.",
            "该订单原金额与本次不同，未扣款。",
            "The order was begun with another amount. Nothing was charged.",
            "该订单原金额与本次不同，未扣款。",
        ),
        (
            "tip_margin_exceeded",
            NextStep.START_AGAIN,
            "The tip's part is above what this shop allows. Nothing was charged.",
            "小费预留超过本店上限，未扣款。",
            "The tip was above what this shop allows. Nothing was charged.",
            "小费超过该商户上限，未扣款。",
        ),
        (
            "limit_identity_per_payment_exceeded",
            NextStep.OTHER_MEANS,
            "The amount is above what this wallet may pay at once.",
            "金额超过该钱包单笔限额。",
            "Confirm your identity in the wallet to pay larger amounts.",
            "请在钱包内完成身份认证以提高单笔限额。",
        ),
        (
            "limit_identity_per_day_exceeded",
            NextStep.OTHER_MEANS,
            "The wallet's limit for today is used up.",
            "该钱包今日限额已用完。",
            "Confirm your identity in the wallet to raise your limit for a day.",
            "请在钱包内完成身份认证以提高每日限额。",
        ),
        (
            "confirmation_unavailable",
            NextStep.CONFIRM_OTHERWISE,
            "The customer would have to confirm and has no way to. Nothing was charged.",
            "该笔需顾客确认，但其无确认方式，未扣款。",
            "This payment needs a PIN or your phone. Set one up in the wallet.",
            "该笔需密码或手机确认，请在钱包中设置。",
        ),
        (
            "confirmation_refused",
            NextStep.OTHER_MEANS,
            "The customer refused the payment. Nothing was charged.",
            "顾客已拒绝该笔付款，未扣款。",
            "You refused this payment. Nothing was charged.",
            "您已拒绝该笔付款，未扣款。",
        ),
        (
            "confirmation_expired",
            NextStep.START_AGAIN,
            "The customer did not confirm in time. Nothing was charged.",
            "顾客未及时确认，未扣款。",
            "You did not confirm in time. Nothing was charged.",
            "您未及时确认，未扣款。",
        ),
        (
            "pin_locked",
            NextStep.CONFIRM_OTHERWISE,
            "The PIN was wrong too often and is locked. Nothing was charged.",
            "密码错误次数过多，已锁定，未扣款。",
            "Your PIN was wrong too often and is locked. Unlock it in the wallet.",
            "密码错误次数过多，已锁定，请在钱包中解锁。",
        ),
        (
            "hold_expired",
            NextStep.START_AGAIN,
            "The hold is over and was let go. Nothing was charged.",
            "预授权已到期并释放，未扣款。",
            "The hold on your money is over. Nothing was charged.",
            "您的预授权已到期释放，未扣款。",
        ),
        (
            "payment_voided",
            NextStep.NONE,
            "The payment was cancelled. Nothing was charged.",
            "付款已取消，未扣款。",
            "The payment was cancelled. Nothing was charged.",
            "付款已取消，未扣款。",
        ),
        (
            "payment_reversed",
            NextStep.START_AGAIN,
            "The payment was given back in full.",
            "该笔付款已全额退回。",
            "The payment was given back in full.",
            "该笔付款已全额退回。",
        ),
        (
            "attempt_reversed",
            NextStep.START_AGAIN,
            "The till gave this attempt up. Nothing was charged.",
            "收银机已放弃该次付款，未扣款。",
            "The till gave this payment up. Nothing was charged.",
            "收银机已放弃该次付款，未扣款。",
        ),
        (
            "token_offline_only",
            NextStep.PRESENT_AGAIN,
            "This tap was made for payments without a connection. Ask the customer to tap again.",
            "该次感应仅用于离线收款，请顾客重新感应。",
            "Your tap was made for a payment without a connection. Nothing was charged.",
            "您的该次感应仅用于离线付款，未扣款。",
        ),
        (
            "offline_record_invalid",
            NextStep.CONTACT_SUPPORT,
            "A payment taken without a connection has a broken seal. It was not charged.",
            "一笔离线收款的封存记录已损坏，未扣款。",
            "A payment taken without a connection could not be verified. Nothing was charged.",
            "一笔离线付款无法验证，未扣款。",
        ),
        (
            "offline_record_too_old",
            NextStep.CONTACT_SUPPORT,
            "A payment taken without a connection reached us too late. It was not charged.",
            "一笔离线收款上传过晚，未扣款。",
            "A payment taken without a connection reached us too late. Nothing was charged.",
            "一笔离线付款上传过晚，未扣款。",
        ),
        (
            "offline_rules_broken",
            NextStep.CONTACT_SUPPORT,
            "A payment taken without a connection broke the rules for it. It was not charged.",
            "一笔离线收款不符合离线规则，未扣款。",
            "A payment was taken without a connection against the rules. Nothing was charged.",
            "一笔离线付款不符合规则，未扣款。",
        ),
        (
            "offline_record_conflict",
            NextStep.CONTACT_SUPPORT,
            "Two different payments came under one number of this till. Call support.",
            "本机同一序号上传了两笔不同的离线收款，请联系客服。",
            "A payment taken without a connection contradicts another. Nothing was charged for it.",
            "一笔离线付款与另一笔相矛盾，该笔未扣款。",
        ),
    ]
    return [
        Notice(code, NoticeKind.DECLINE, False, cashier_en, cashier_zh, holder_en, holder_zh, step)
        for code, step, cashier_en, cashier_zh, holder_en, holder_zh in rows
    ]


def _confirmations() -> list[Notice]:
    rows = [
        (
            "confirm_above_limit",
            "Above the limit without confirmation: the customer confirms by PIN or phone.",
            "超过免确认限额，请顾客用密码或手机确认。",
            "This amount needs your confirmation.",
            "该金额需要您确认。",
        ),
        (
            "confirm_velocity",
            "Many payments within minutes: the customer confirms by PIN or phone.",
            "短时间内付款次数较多，请顾客用密码或手机确认。",
            "There were many payments within minutes. Please confirm that this one is yours.",
            "短时间内付款次数较多，请确认是您本人操作。",
        ),
        (
            "confirm_new_terminal",
            "This till is new: the customer confirms by PIN or phone.",
            "该收银机为新登记，请顾客用密码或手机确认。",
            "This till is new. Please confirm the payment.",
            "该收银机为新登记，请确认该笔付款。",
        ),
        (
            "confirm_unusual_amount",
            "An unusual amount: the customer confirms by PIN or phone.",
            "金额与平时不同，请顾客用密码或手机确认。",
            "This is more than you usually pay. Please confirm it.",
            "该金额高于您平时的消费，请确认。",
        ),
    ]
    return [
        Notice(code, NoticeKind.CONFIRMATION, False, cashier_en, cashier_zh, holder_en, holder_zh)
        for code, cashier_en, cashier_zh, holder_en, holder_zh in rows
    ]


def _refusals() -> list[Notice]:
    rows = [
        (
            "uid_only_card",
            "This card has only a number, which anybody can copy. It can't pay.",
            "该卡只有可被复制的编号，不能用于付款。",
        ),
        (
            "card_not_supported",
            "This card does not belong to the wallet. Try another.",
            "该卡不属于本钱包，请换一张。",
        ),
        (
            "card_removed",
            "The card left too early. Hold it still and tap again.",
            "卡片离开过早，请重新感应并保持不动。",
        ),
        (
            "card_locked",
            "The phone is locked. Ask the customer to unlock it and tap again.",
            "手机未解锁，请顾客解锁后重新感应。",
        ),
        (
            "card_confirmation_required",
            "The phone asks its owner to confirm. Confirm there and tap again.",
            "请顾客在手机上确认后重新感应。",
        ),
        (
            "card_blocked",
            "The wallet on this card or phone is blocked.",
            "该卡片或手机上的钱包已停用。",
        ),
        (
            "card_answer_invalid",
            "The card gave an answer that makes no sense. Tap again or try another.",
            "卡片应答异常，请重新感应或换一张。",
        ),
        (
            "card_changed",
            "Another card came into the field. Present one card only.",
            "检测到另一张卡片，请只放一张卡。",
        ),
        (
            "code_not_recognised",
            "This is not a payment code. Ask for the wallet's pay code.",
            "这不是付款码，请顾客打开钱包付款码。",
        ),
        (
            "code_too_long",
            "This code is too long to be a payment code.",
            "该码过长，不是付款码。",
        ),
        (
            "already_presented",
            "This very code was just tried. Ask the customer for a fresh one.",
            "该码刚刚已尝试过，请顾客刷新后重试。",
        ),
        (
            "card_needs_connection",
            "This card or phone can't pay while there is no connection. Ask for another way to pay.",
            "当前无网络连接，该卡片或手机无法付款，请更换付款方式。",
        ),
        (
            "card_allowance_exceeded",
            "The amount is above what this phone may spend without a connection.",
            "金额超过该手机的离线可用额度。",
        ),
        (
            "card_copy_suspected",
            "This card contradicts what it said before and may be a copy. Do not accept it.",
            "该卡与先前的记录矛盾，可能是复制卡，请勿接受。",
        ),
        (
            "offline_not_ready",
            "This till can't take payments without a connection yet. It must be online once more.",
            "本机尚不能离线收款，请先恢复联网一次。",
        ),
        (
            "offline_clock_unsure",
            "This till's clock was not checked for too long. It must be online once before it goes on.",
            "本机时钟过久未校准，请先恢复联网。",
        ),
        (
            "offline_list_too_old",
            "This till's list of blocked cards is too old. It must be online once before it goes on.",
            "本机的停用卡名单过旧，请先恢复联网。",
        ),
        (
            "offline_token_invalid",
            "This card or phone could not be verified without a connection. Ask for another way to pay.",
            "离线状态下无法验证该卡片或手机，请更换付款方式。",
        ),
        (
            "offline_credential_invalid",
            "The permit for payments without a connection could not be verified. Ask for another way to pay.",
            "离线付款凭证无法验证，请更换付款方式。",
        ),
        (
            "offline_credential_expired",
            "The permit for payments without a connection is over. The customer's phone must go online once.",
            "离线付款凭证已过期，请顾客的手机先联网一次。",
        ),
        (
            "offline_credential_suspended",
            "This card or device is blocked. Ask for another way to pay.",
            "该卡片或设备已停用，请更换付款方式。",
        ),
        (
            "offline_amount_too_high",
            "The amount is above what may be taken without a connection.",
            "金额超过离线收款的单笔上限。",
        ),
        (
            "offline_device_limit_reached",
            "This card or phone has paid here as much as it may without a connection.",
            "该卡片或手机在本机的离线付款已达上限。",
        ),
        (
            "offline_store_full",
            "This till holds as many payments as it may without a connection. It must be online first.",
            "本机的离线收款已达上限，请先恢复联网。",
        ),
    ]
    return [
        Notice(code, NoticeKind.REFUSAL, False, cashier_en, cashier_zh)
        for code, cashier_en, cashier_zh in rows
    ]


def _problems() -> list[Notice]:
    rows = [
        ("malformed", False, "The request is not of the agreed form.", "请求格式不正确。"),
        ("body_too_large", False, "The request is too large.", "请求过大。"),
        ("unsupported_media_type", False, "The request must be JSON.", "请求须为 JSON 格式。"),
        ("not_found", False, "There is no such thing here.", "未找到。"),
        ("method_not_allowed", False, "This address does not take that method.", "该地址不支持此方法。"),
        ("signature_missing", False, "The request is not signed.", "请求未签名。"),
        ("signature_invalid", False, "The signature does not hold.", "签名无效。"),
        ("signature_expired", False, "The clock is wrong: signed too long ago or ahead.", "时钟不准，签名时间超出范围。"),
        ("nonce_replayed", False, "This signed request was already received.", "该签名请求已被接收过。"),
        ("session_unknown", False, "The till's session is over; it signs with its own key now.", "会话已失效，收银机将改用自身密钥签名。"),
        ("digest_mismatch", False, "The body is not what was signed.", "请求内容与签名不符。"),
        ("terminal_unknown", False, "This till is not enrolled. Enrol it again.", "该收银机未登记，请重新登记。"),
        ("terminal_revoked", False, "This till was withdrawn. Call support.", "该收银机已停用，请联系客服。"),
        ("device_unknown", False, "This device is not registered.", "该设备未登记。"),
        ("device_suspended", False, "This device is blocked. Contact support.", "该设备已停用，请联系客服。"),
        ("enrolment_code_invalid", False, "The enrolment code is wrong, used or too old.", "登记码错误、已使用或已过期。"),
        ("key_already_enrolled", False, "This key is already enrolled.", "该密钥已登记。"),
        ("idempotency_conflict", False, "The same attempt id came with other content.", "相同的付款编号对应了不同的内容。"),
        ("id_invalid", False, "An id in the request is not of its form.", "请求中的编号格式不正确。"),
        ("amount_invalid", False, "The amount is not valid.", "金额无效。"),
        ("currency_unknown", False, "There is no such currency.", "没有该币种。"),
        ("sale_in_progress", False, "Another sale is in progress on this till.", "该收银机正在进行另一笔收款。"),
        ("too_many_watchers", True, "Too many screens watch this till already. Close one.", "查看该收银机的连接过多，请关闭一个。"),
        ("sale_submitting", False, "The payment is already on its way. Wait for its answer.", "付款正在处理中，请等待结果。"),
        ("sale_finished", False, "This sale is over.", "该笔收款已结束。"),
        ("sale_not_confirming", False, "This sale does not wait for a PIN.", "该笔收款无需输入密码。"),
        ("attempt_reversing", False, "This payment is being taken back already.", "该笔付款已在撤销中。"),
        ("till_not_enrolled", False, "This daemon is not enrolled: run `tapscan-terminal enrol`.", "本终端未登记，请先登记。"),
        ("journal_unwritable", True, "The till can't write its journal: free disk space.", "收银机无法写入流水，请清理磁盘。"),
        ("printer_unavailable", True, "The receipt did not print: check paper, cable and power. The payment stands.", "收据未打印，请检查纸张、连线和电源；付款不受影响。"),
        ("host_not_allowed", False, "This address may only be used on the till itself.", "该地址只能在收银机本机使用。"),
        ("unauthorised", False, "The till's access key is missing or wrong.", "缺少或错误的访问密钥。"),
        ("payment_not_open", False, "This payment can't be changed that way any more. Look at its state.", "该付款状态已变，无法执行此操作。"),
        ("capture_exceeds_hold", False, "That is more than was held.", "金额超过预授权金额。"),
        ("refund_exceeds_payment", False, "That is more than was paid.", "退款总额超过付款金额。"),
        ("refund_total_passed", False, "More than that was refunded already. Look at the payment.", "已退款金额超过该数，请查看付款记录。"),
        ("refund_limit_exceeded", False, "This till's refunds of today are used up. Ask a manager.", "该收银机今日退款额度已用完，请联系店长。"),
        ("payer_wallet_frozen", False, "The customer's wallet was frozen meanwhile. Nothing was charged.", "顾客的钱包已被冻结，未扣款。"),
        ("merchant_funds_insufficient", False, "The shop's balance does not cover this refund.", "商户余额不足，无法退款。"),
        ("staff_not_allowed", False, "The PIN is wrong, or this member of staff may not do that.", "密码错误，或该员工无此权限。"),
        ("staff_locked", False, "The PIN was wrong too often. Ask a manager.", "密码错误次数过多，请联系店长。"),
        ("pin_wrong", False, "The PIN is wrong. Ask the customer to try again.", "密码错误，请顾客重试。"),
        ("pin_is_locked", False, "The PIN is locked. The customer can still confirm on the phone.", "密码已锁定，顾客仍可在手机上确认。"),
        ("intent_expired", False, "This code asks for nothing any more. Show a fresh one.", "该收款码已失效，请出示新码。"),
        ("counter_closed", False, "This counter takes no free amounts. Ask the cashier for a code.", "该柜台不接受自定金额，请向收银员索取收款码。"),
        ("confirmation_differs", False, "What was signed is not this payment. Look at it again.", "签名内容与该笔付款不符，请重新核对。"),
        ("confirmation_way_not_allowed", False, "This payment can't be confirmed that way.", "该笔付款不可用此方式确认。"),
        ("offline_not_offered", False, "Payments without a connection are not offered here.", "此处未开通离线付款。"),
        ("allowance_not_covered", False, "There is not enough money in the wallet for this allowance.", "钱包余额不足，无法设置该离线额度。"),
        ("gateway_busy", True, "Too many payments at this moment. Wait a second.", "当前付款过多，请稍候。"),
        ("store_unavailable", True, "The payment system can't write at present. Wait a moment.", "支付系统暂不可用，请稍候。"),
        ("gateway_unreachable", True, "No answer from the payment system. Check the network.", "无法连接支付系统，请检查网络。"),
        ("not_ready", True, "The payment system is still starting.", "支付系统正在启动。"),
        ("internal", False, "Something broke on our side. Nothing was charged unless a receipt says so.", "系统内部错误；如无收据则未扣款。"),
    ]  # fmt: skip
    return [Notice(code, NoticeKind.PROBLEM, retryable, en, zh) for code, retryable, en, zh in rows]


def _index(notices: list[Notice]) -> dict[str, Notice]:
    index = {notice.code: notice for notice in notices}
    assert len(index) == len(notices), "a code is there twice; a dictionary alone would hide it"
    return index


NOTICES: Final = _index([*_declines(), *_confirmations(), *_refusals(), *_problems()])
