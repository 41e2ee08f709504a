// The till's last payments: whether each went through, and what may still be done about it.

import { ask, makeId, Problem } from "./api.js";
import { button, field, fill, h, icon, openDialog } from "./dom.js";
import { dateTimeOf, t } from "./language.js";
import { parseMoney, plainMoney } from "./money.js";
import { makeStaffFields } from "./staff.js";

const LOOKS = {
  succeeded: ["good", "check"],
  authorised: ["armed", "later"],
  declined: ["bad", "cross"],
  voided: ["none", "stop"],
  expired: ["none", "stop"],
  reversed: ["none", "back"],
  requires_confirmation: ["armed", "person"],
  created: ["armed", "tap"],
};

export function drawPayments(main, till, actions) {
  const list = till.payments;
  fill(
    main,
    h("h2", {}, t("view_payments")),
    h("p", { class: "hint" }, list.length === 0 ? t("payments_none") : t("payments_hint")),
    h("ol", { class: "rows", id: "payments" }, ...list.map((one) => drawRow(one, till, actions))),
  );
}

export function badge(look, shape, words) {
  return h("span", { class: `badge badge-${look}` }, icon(shape), words);
}

/** An order's reference; of one that the till made itself the end is enough to tell it from the others. */
export function shortOrder(id) {
  return /^[0-7][0-9A-Z]{25}$/.test(id) ? `…${id.slice(-6)}` : id;
}

function drawRow(one, till, actions) {
  const left = (one.charged_minor ?? 0) - (one.refunded_minor ?? 0);
  const isPaid = one.state === "succeeded";
  const facts = [
    t(`mode_${one.entry_mode}`),
    shortOrder(one.order_id),
    one.tip_minor ? t("tip_of", { amount: till.money(one.tip_minor, one.currency) }) : "",
    one.refunded_minor ? t("refunded", { amount: till.money(one.refunded_minor, one.currency) }) : "",
    one.capture_by_ms ? t("held_until", { time: dateTimeOf(one.capture_by_ms) }) : "",
  ].filter(Boolean);
  const path = `/v1/payments/${one.payment_id}`;
  return h(
    "li",
    { class: "row", "data-payment": one.payment_id, "data-state": one.state },
    h("span", { class: "row-time" }, dateTimeOf(one.decided_ms)),
    h("span", { class: "row-amount" }, till.money(one.charged_minor || one.amount_minor, one.currency)),
    stateBadge(one),
    h("span", { class: "row-facts" }, facts.join(" · "), one.code ? h("span", { class: "row-reason" }, actions.wordsOf(one.code)) : null),
    h(
      "span",
      { class: "row-actions" },
      isPaid ? button(t("receipt"), () => actions.showReceipt(path), { kind: "small", key: `receipt-${one.payment_id}` }) : null,
      isPaid && left > 0 ? button(t("refund"), () => openRefund(one, till, actions), { kind: "small", key: `refund-${one.payment_id}` }) : null,
      one.state === "authorised" ? button(t("capture"), () => openCapture(one, till, actions), { kind: "small", key: `capture-${one.payment_id}` }) : null,
      one.state === "authorised" ? button(t("void"), () => openVoid(one, till, actions), { kind: "small", key: `void-${one.payment_id}` }) : null,
    ),
  );
}

function stateBadge(one) {
  if (one.state === "succeeded" && one.refunded_minor) {
    return badge("none", "back", t(one.refunded_minor >= one.charged_minor ? "state_refunded" : "state_refunded_part"));
  }
  const [look, shape] = LOOKS[one.state];
  return badge(look, shape, t(`state_${one.state}`));
}

function openRefund(one, till, actions) {
  const left = one.charged_minor - (one.refunded_minor ?? 0);
  const exponent = till.page.exponent;
  const amount = textInput({ inputmode: "decimal", value: plainMoney(left, exponent) });
  const staff = makeStaffFields(till);
  const reason = textInput({ maxlength: 140 });
  const id = makeId();
  openOrderDialog(t("refund_title"), {
    fields: [field(t("refund_amount"), amount, t("refund_most", { amount: till.money(left, one.currency) })), ...staff.fields, field(t("refund_reason"), reason)],
    words: () => t("refund_do", { amount: till.money(parseMoney(amount.value, exponent) ?? 0, one.currency) }),
    watched: amount,
    async send() {
      const minor = parseMoney(amount.value, exponent);
      if (minor === null || minor === 0 || minor > left) throw new Problem("amount_invalid", 422, null);
      // All that is to be refunded of it, so that a repeat changes nothing.
      const body = { refund_id: id, total_minor: (one.refunded_minor ?? 0) + minor, staff: staff.take(), reason: reason.value };
      await ask("POST", `/v1/payments/${one.payment_id}/refund`, body);
      return t("refund_done", { amount: till.money(minor, one.currency) });
    },
    done: actions.refreshPayments,
    closed: staff.stop,
  });
}

function openVoid(one, till, actions) {
  const id = makeId();
  const staff = till.daemon?.staff?.is_required ? makeStaffFields(till) : null;
  openOrderDialog(t("void_title"), {
    fields: [h("p", {}, t("void_text", { amount: till.money(one.amount_minor, one.currency) })), ...(staff?.fields ?? [])],
    words: () => t("void_do"),
    closed: staff?.stop,
    async send() {
      await ask("POST", `/v1/payments/${one.payment_id}/void`, staff === null ? { void_id: id } : { void_id: id, staff: staff.take() });
      return t("void_done");
    },
    done: actions.refreshPayments,
  });
}

function openCapture(one, till, actions) {
  const id = makeId();
  const exponent = till.page.exponent;
  const amount = textInput({ inputmode: "decimal", value: plainMoney(one.amount_minor, exponent) });
  const tip = textInput({ inputmode: "decimal", value: "" });
  openOrderDialog(t("capture_title"), {
    fields: [field(t("capture_amount"), amount, t("refund_most", { amount: till.money(one.amount_minor, one.currency) })), field(t("capture_tip"), tip)],
    words: () => t("capture_do"),
    async send() {
      const goods = parseMoney(amount.value, exponent);
      const extra = tip.value.trim() === "" ? 0 : parseMoney(tip.value, exponent);
      if (!goods || extra === null) throw new Problem("amount_invalid", 422, null);
      const answer = await ask("POST", `/v1/payments/${one.payment_id}/capture`, { capture_id: id, amount_minor: goods, tip_minor: extra });
      return t("capture_done", { amount: till.money(answer.charged_minor, one.currency) });
    },
    done: actions.refreshPayments,
  });
}

/** A dialog with one order; its id was made when it opened, so sending again after no answer is no second one. */
function openOrderDialog(title, { fields, words, watched, send, done, closed }) {
  const dialog = openDialog(title, (close) => {
    const wrong = h("p", { class: "wrong", role: "alert" });
    const submit = h("button", { class: "button primary" }, words());
    watched?.addEventListener("input", () => { submit.textContent = words(); });
    const form = h("form", { novalidate: true }, ...fields, wrong, h("div", { class: "dialog-actions" }, button(t("close"), close), submit));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      wrong.textContent = "";
      try {
        const told = await send();
        form.replaceChildren(h("p", { class: "done", role: "status" }, icon("check"), told), h("div", { class: "dialog-actions" }, button(t("close"), close, { autofocus: true })));
        form.querySelector("button").focus();
        done();
      } catch (problem) {
        wrong.textContent = problem.words ?? String(problem);
        submit.disabled = false;
      }
    });
    return [form];
  });
  if (closed) dialog.addEventListener("close", closed);
}

function textInput(properties) {
  return h("input", { type: "text", class: "text", autocomplete: "off", ...properties });
}
