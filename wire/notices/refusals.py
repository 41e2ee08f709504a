"""What the terminal did not even send, and why; the payer is not told."""

from __future__ import annotations

from typing import Final

from wire.notices.model import Notice, NoticeKind

_ROWS: Final = (
    (
        "uid_only_card",
        "This card has only a number, which anybody can copy. It can't pay.",
        "该卡只有可被复制的编号，不能用于付款。",
    ),
    (
        "staff_tag_uid_only",
        "This tag has only a number, which anybody can copy. Use a signed staff tag or the PIN.",
        "该卡只有可被复制的编号，请使用员工专用卡或密码。",
    ),
    (
        "staff_tag_not_staff",
        "This is no staff tag. Use one, or the PIN.",
        "这不是员工卡，请使用员工卡或密码。",
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
        "card_too_slow",
        "The card or phone takes too long to answer. Tap again or try another.",
        "卡片或手机应答过慢，请重新感应或换一张。",
    ),
    (
        "card_changed",
        "Another card came into the field. Present one card only.",
        "检测到另一张卡片，请只放一张卡。",
    ),
    (
        "card_keys_unknown",
        "This card's keys are none of ours. It was set up elsewhere.",
        "该卡的密钥不属于本系统，可能由他方写入。",
    ),
    (
        "card_resting",
        "This card was tried with wrong keys too often and makes everybody wait. Try again.",
        "该卡因多次使用错误密钥而暂停应答，请稍后再试。",
    ),
    (
        "card_in_use",
        "This card belongs to a wallet already. Wipe it first, or take another card.",
        "该卡已属于某个钱包，请先清除或换一张卡。",
    ),
    (
        "card_not_ordered",
        "Nobody ordered this card, and no wallet has it. Begin with a card code.",
        "该卡没有对应的订单或钱包，请使用制卡码开始。",
    ),
    (
        "card_needs_new_keys",
        "This card paid before under these keys. It needs a newer key version.",
        "该卡曾用当前密钥付款，需要更新的密钥版本。",
    ),
    (
        "card_not_suspended",
        "This card can still pay. Suspend it at the gateway before it is wiped.",
        "该卡仍可付款，请先在网关停用后再清除。",
    ),
    (
        "card_differs",
        "This is not the card that began the payment. Hold that one to the reader.",
        "该卡不是发起付款的那张卡，请使用原卡。",
    ),
    (
        "card_incomplete",
        "This card is not set up completely. Run `tapscan-terminal card recover`.",
        "该卡尚未设置完成，请运行恢复命令。",
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
        "code_incomplete",
        "The scanner sent only a part of the code. Scan it again.",
        "扫码枪只读到部分内容，请重新扫码。",
    ),
    (
        "too_many_codes",
        "Too many codes at once. Show one code only.",
        "同时出现多个码，请只出示一个。",
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
)
"""Code, then the cashier's text in English and Chinese."""


def list_refusals() -> list[Notice]:
    """Return every refusal."""
    return [
        Notice(code, NoticeKind.REFUSAL, False, cashier_en, cashier_zh)
        for code, cashier_en, cashier_zh in _ROWS
    ]
