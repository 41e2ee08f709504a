"""Failures to do the job: RFC 9457 errors; the payer is not told."""

from __future__ import annotations

from typing import Final

from wire.notices.model import Notice, NoticeKind

_ROWS: Final = (
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
    ("staff_tag_invalid", False, "This tag belongs to nobody here, or was read before. Tap again or use the PIN.", "该员工卡无效或本次感应已用过，请重新感应或输入密码。"),
    ("staff_proof_needed", False, "This needs a PIN or a staff tag again.", "请再次输入员工密码或感应员工卡。"),
    ("staff_sign_in_needed", False, "Nobody is signed in at this till. Sign in first.", "本收银机无人登录，请先登录。"),
    ("staff_right_missing", False, "You may not do that here. Ask a manager.", "您无此权限，请联系店长。"),
    ("staff_sign_in_offline", True, "No connection: only who signed in here before can sign in now, by PIN.", "当前无网络，仅先前在本机登录过的员工可用密码登录。"),
    ("tag_read_waiting", False, "This till waits for a staff tag already.", "本机正在等待感应员工卡。"),
    ("shift_is_open", False, "A shift is open at this till already. Close it first.", "本机已有未结束的班次，请先结班。"),
    ("shift_not_open", False, "No shift is open at this till.", "本机没有进行中的班次。"),
    ("shift_orders_full", True, "Too many shifts of this till wait for the connection.", "本机待上传的班次过多，请先恢复联网。"),
    ("pin_wrong", False, "The PIN is wrong. Ask the customer to try again.", "密码错误，请顾客重试。"),
    ("pin_is_locked", False, "The PIN is locked. The customer can still confirm on the phone.", "密码已锁定，顾客仍可在手机上确认。"),
    ("intent_expired", False, "This code asks for nothing any more. Show a fresh one.", "该收款码已失效，请出示新码。"),
    ("counter_closed", False, "This counter takes no free amounts. Ask the cashier for a code.", "该柜台不接受自定金额，请向收银员索取收款码。"),
    ("confirmation_differs", False, "What was signed is not this payment. Look at it again.", "签名内容与该笔付款不符，请重新核对。"),
    ("confirmation_way_not_allowed", False, "This payment can't be confirmed that way.", "该笔付款不可用此方式确认。"),
    ("card_code_invalid", False, "The card code is wrong, used, cancelled or too old.", "制卡码错误、已使用、已取消或已过期。"),
    ("card_session_over", False, "This card session is over. Begin again.", "该卡片会话已结束，请重新开始。"),
    ("card_session_out_of_step", False, "The card's answer came out of turn. Begin again.", "卡片应答顺序有误，请重新开始。"),
    ("offline_not_offered", False, "Payments without a connection are not offered here.", "此处未开通离线付款。"),
    ("allowance_not_covered", False, "There is not enough money in the wallet for this allowance.", "钱包余额不足，无法设置该离线额度。"),
    ("gateway_busy", True, "Too many payments at this moment. Wait a second.", "当前付款过多，请稍候。"),
    ("store_unavailable", True, "The payment system can't write at present. Wait a moment.", "支付系统暂不可用，请稍候。"),
    ("gateway_unreachable", True, "No answer from the payment system. Check the network.", "无法连接支付系统，请检查网络。"),
    ("not_ready", True, "The payment system is still starting.", "支付系统正在启动。"),
    ("internal", False, "Something broke on our side. Nothing was charged unless a receipt says so.", "系统内部错误；如无收据则未扣款。"),
)  # fmt: skip
"""Code, whether the same request may succeed later, then the cashier's text in English and Chinese."""


def list_problems() -> list[Notice]:
    """Return every problem."""
    return [Notice(code, NoticeKind.PROBLEM, retryable, en, zh) for code, retryable, en, zh in _ROWS]
