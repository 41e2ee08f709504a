// The shift at this till: what it took since it was opened, and closing it.

import { ask } from "./api.js";
import { button, fill, h } from "./dom.js";
import { dateTimeOf, t } from "./language.js";
import { mayDo } from "./staff.js";

export function drawShift(main, till, actions) {
  const { current, last } = till.shifts;
  fill(
    main,
    h("h2", {}, t("view_shift")),
    current === null
      ? h("section", {}, h("p", { class: "hint" }, t("shift_none")), h("div", { class: "buttons" }, button(t("shift_open"), () => order(actions, "/v1/shifts"), { kind: "primary large", key: "shift-open", disabled: !mayDo(till, "shift") })))
      : h("section", { id: "shift", "data-shift": current.shift_id }, ...describe(current, till), h("div", { class: "buttons" },
          button(t("shift_close"), () => order(actions, "/v1/shifts/close"), { kind: "primary large", key: "shift-close", disabled: !mayDo(till, "shift") }),
          button(t("shift_report"), () => showReport(current, actions), { key: "shift-report" }))),
    last === null ? null : h("section", { id: "last-shift" }, h("h3", {}, t("shift_last")), ...describe(last, till), h("div", { class: "buttons" }, button(t("shift_report"), () => showReport(last, actions), { key: "last-report" }))),
  );
}

function describe(shift, till) {
  const { totals } = shift;
  const money = (minor) => till.money(minor ?? 0, shift.currency);
  const net = (totals.charged_minor ?? 0) - (totals.refunded_minor ?? 0) - (totals.reversed_minor ?? 0);
  const facts = [
    [t("shift_taken"), money(net)],
    [t("shift_payments"), `${totals.payment_count ?? 0} · ${money(totals.charged_minor)}`],
    [t("shift_tips"), money(totals.tip_minor)],
    [t("shift_refunds"), `${totals.refund_count ?? 0} · ${money(totals.refunded_minor)}`],
    [t("shift_reversed"), `${totals.reversed_count ?? 0} · ${money(totals.reversed_minor)}`],
    [t("shift_declined"), String(totals.declined_count ?? 0)],
    [t("shift_fees"), money(totals.fee_minor)],
    [t("offline_waiting"), `${shift.waiting_count ?? 0} · ${money(shift.waiting_minor)}`],
  ];
  const by = (staff) => (staff ? ` · ${staff.name}` : "");
  return [
    h("p", {}, t("shift_opened", { time: dateTimeOf(shift.opened_ms) }), by(shift.opened_by)),
    shift.closed_ms ? h("p", {}, t("shift_closed", { time: dateTimeOf(shift.closed_ms) }), by(shift.closed_by)) : null,
    shift.is_provisional || shift.is_queued ? h("p", { class: "strong" }, t("shift_provisional")) : null,
    h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("ul", { class: "modes" }, ...(totals.by_entry_mode ?? []).map((one) => h("li", {}, `${t(`mode_${one.entry_mode}`)}: ${one.payment_count} · ${money(one.charged_minor)}`))),
  ];
}

function order(actions, path) {
  return actions.attempt(async () => {
    await ask("POST", path);
    await actions.refreshLists();
  });
}

function showReport({ shift_id }, actions) {
  return actions.showPaper(t("shift_report"), `/v1/shifts/${shift_id}/report`, `/v1/shifts/${shift_id}/print`);
}
