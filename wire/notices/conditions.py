"""Why a reader or scanner of a till does not work, in words that help whoever stands before it."""

from __future__ import annotations

from typing import Final

from wire.notices.model import Notice, NoticeKind

_ROWS: Final = (
    (
        "reader_unavailable",
        "This device does not work at the moment. The till keeps trying.",
        "该设备暂不可用，系统正在重试。",
    ),
    (
        "reader_unplugged",
        "This device does not answer. Check its cable and its power.",
        "设备无应答，请检查连线和电源。",
    ),
    (
        "reader_unknown",
        "There is no device of this name. Check its cable, then the settings.",
        "找不到该名称的设备，请检查连线，再检查设置。",
    ),
    (
        "reader_service_down",
        "The card service (pcscd) does not run. The till waits for it; call support if it stays so.",
        "读卡服务（pcscd）未运行，系统正在等待；如持续如此，请联系客服。",
    ),
    (
        "reader_in_use",
        "Another program uses this device. Close that program.",
        "该设备被其他程序占用，请关闭该程序。",
    ),
    (
        "reader_not_allowed",
        "The till may not use this device. Call support.",
        "收银机无权使用该设备，请联系客服。",
    ),
    (
        "reader_failed",
        "This device failed and is being started again. Wait a moment.",
        "设备出错，正在重新启动，请稍候。",
    ),
    (
        "reader_stuck",
        "This device hangs and is being started anew. Use another one for now.",
        "设备无响应，正在重新启动，请暂用其他设备。",
    ),
    (
        "reader_restart_needed",
        "This device hung too often. Unplug it, plug it in again, then restart the till.",
        "设备多次无响应，请重新插拔设备，然后重启收银程序。",
    ),
    (
        "camera_no_pictures",
        "The camera sends no pictures. Check its cable and its power.",
        "摄像头没有画面，请检查连线和电源。",
    ),
    (
        "reader_not_installed",
        "This device's software is not installed. Call support.",
        "未安装该设备所需的软件，请联系客服。",
    ),
    (
        "configuration_invalid",
        "This device is set up wrongly. Call support.",
        "该设备设置有误，请联系客服。",
    ),
)
"""Code, then the cashier's text in English and Chinese."""


def list_conditions() -> list[Notice]:
    """Return every condition of a device."""
    return [
        Notice(code, NoticeKind.CONDITION, False, cashier_en, cashier_zh)
        for code, cashier_en, cashier_zh in _ROWS
    ]
