// The sale as it stands, large enough to be read from behind the counter. It shows what the daemon said of
// this sale and nothing else: no outcome is ever guessed here.

import { button, fill, h, icon } from "./dom.js";
import { dateTimeOf, minutesOf, pick, t, timeOf } from "./language.js";

export const OPEN = new Set(["armed", "reading", "submitting", "confirming"]);

// Which look (a shape and a colour) and which sound each state has; words are its own.
const LOOKS = {
  armed: ["armed", "tap"],
  reading: ["armed", "work"],
  submitting: ["busy", "work"],
  confirming: ["armed", "person"],
  approved: ["good", "check"],
  accepted_offline: ["later", "later"],
  declined: ["bad", "cross"],
  unknown: ["unsure", "question"],
  reversing: ["unsure", "back"],
  closed: ["none", "stop"],
  cancelled: ["none", "stop"],
  timed_out: ["none", "stop"],
};
export const SOUNDS = {
  approved: "good",
  accepted_offline: "later",
  declined: "bad",
  unknown: "unsure",
  reversing: "unsure",
  closed: "bad",
};

let drawn = "";

/** Draw the panel, unless it shows this already: what a customer is typing must not be drawn anew. */
export function drawLive(till, actions) {
  const panel = document.getElementById("live");
  const [look, content] = till.isConnected ? describe(till, actions) : describeLost(till);
  const signature = JSON.stringify([look, till.isConnected, till.sale, till.note, till.isPast(), till.late, document.documentElement.lang]);
  if (signature === drawn) return;
  drawn = signature;
  panel.className = `live live-${look}`;
  panel.setAttribute("aria-label", t("live"));
  panel.dataset.state = till.isConnected ? (till.sale?.state ?? "idle") : "lost";
  panel.dataset.sale = till.sale?.sale_id ?? "";
  fill(panel, ...till.late.map((one) => describeLate(one, till, actions)), h("div", { class: "live-body" }, ...content.flat().filter(Boolean)));
}

/** What is said to whoever does not see the panel. */
export function sayLive(till) {
  const { sale } = till;
  const words = till.isConnected
    ? sale === null
      ? t("ready")
      : [t(nameOf(sale)), till.money(sale.amount_minor), reasonOf(till)].filter(Boolean).join(". ")
    : t("lost");
  const said = document.getElementById("said");
  if (said.textContent !== words) said.textContent = words;
}

/** The key of the words for a sale's state: what is held is not called approved. */
export function nameOf(sale) {
  return sale.state === "approved" && sale.answer?.state === "authorised" ? "held" : sale.state;
}

function describe(till, actions) {
  const { sale } = till;
  if (sale === null) return ["idle", [icon("ready"), words(t("ready")), hint(t("ready_hint"))]];
  if (till.isPast()) return ["idle", [icon("ready"), words(t("ready")), describePast(till)]];
  const [look, shape] = LOOKS[sale.state];
  const amount = h("p", { class: "live-amount" }, till.money(sale.amount_minor));
  return [look, [icon(shape), words(t(nameOf(sale))), amount, ...PARTS[sale.state](till, actions)]];
}

function describePast({ sale, money }) {
  const [look, shape] = LOOKS[sale.state];
  return h("p", { class: `past past-${look}` }, h("span", {}, `${t("last_sale")}: `), icon(shape), ` ${t(nameOf(sale))} ${money(sale.amount_minor)}`);
}

function describeLate({ sale, atMs }, till, actions) {
  const [look, shape] = LOOKS[sale.state];
  return h(
    "div",
    { class: `late late-${look}`, "data-sale": sale.sale_id },
    icon(shape),
    h("span", {}, `${t("earlier")} ${till.money(sale.amount_minor)}, ${timeOf(sale.created_ms)}: `, h("strong", {}, t(nameOf(sale)))),
    button(t("dismiss"), () => actions.dismissLate(sale.sale_id), { kind: "small", key: `late-${sale.sale_id}` }),
  );
}

function describeLost({ sale, money }) {
  const isOpen = sale !== null && OPEN.has(sale.state);
  const aboutSale = isOpen ? h("p", { class: "live-hint strong" }, t("lost_sale", { amount: money(sale.amount_minor) })) : null;
  return ["lost", [icon("cut"), words(t("lost")), hint(t("lost_hint")), aboutSale]];
}

const PARTS = {
  armed: (till, actions) => [
    describeNote(till.note),
    h("p", { class: "live-hint" }, t("armed_hint"), " ", countdown(till.sale.deadline_ms, till, (left) => t("seconds_left", { seconds: Math.ceil(left / 1000) }))),
    till.sale.code_text ? describeCode(till.sale) : null,
    button(t("cancel"), actions.cancel, { kind: "large" }),
  ],
  reading: (_, actions) => [button(t("cancel"), actions.cancel, { kind: "large" })],
  submitting: () => [hint(t("submitting_hint"))],
  confirming: describeConfirming,
  approved: (till, actions) => [
    till.sale.answer.capture_by_ms ? hint(t("held_hint", { time: dateTimeOf(till.sale.answer.capture_by_ms) })) : null,
    describeMeans(till.sale),
    till.sale.answer.receipt?.page_url ? describeReceiptCode(till.sale) : null,
    till.sale.answer.receipt ? button(t("receipt"), () => actions.showReceipt(`/v1/sales/${till.sale.sale_id}`), { kind: "large" }) : null,
  ],
  accepted_offline: (till, actions) => [
    hint(t("accepted_offline_hint")),
    button(t("receipt"), () => actions.showReceipt(`/v1/sales/${till.sale.sale_id}`), { kind: "large" }),
  ],
  declined: (till) => [...describeReason(till), hint(t("declined_not_charged"))],
  unknown: (till, actions) => [
    h("p", { class: "live-hint strong" }, t("unknown_hint")),
    till.sale.reverses_ms
      ? h("p", { class: "live-hint" }, countdown(till.sale.reverses_ms, till, (left) => t("reverses_at", { time: timeOf(till.sale.reverses_ms), left: minutesOf(left) })))
      : hint(t("reverses_never")),
    h("p", { class: "live-question" }, t("unknown_choose")),
    h(
      "div",
      { class: "choices" },
      till.sale.reverses_ms ? button(t("keep"), actions.keep, { kind: "large" }) : null,
      button(t("reverse"), actions.reverse, { kind: "large" }),
    ),
  ],
  reversing: () => [hint(t("reversing_hint"))],
  closed: (till) => describeReason(till),
  cancelled: () => [hint(t("cancelled_hint"))],
  timed_out: () => [hint(t("timed_out_hint"))],
};

function describeConfirming(till, actions) {
  const asked = till.sale.answer.confirmation;
  const byPin = asked.ways.includes("pin");
  const byDevice = asked.ways.includes("device");
  const until = t("confirm_until", { time: timeOf(asked.confirm_by_ms) });
  return [
    h("p", { class: "live-hint" }, `${pick(asked.cashier_text)} `, h("span", { class: "nowrap" }, until)),
    describeNote(till.note),
    byPin ? describePin(actions) : null,
    byDevice ? hint(t(byPin ? "confirm_by_device" : "confirm_device_only")) : null,
    asked.ways.includes("card") ? hint(t(byPin || byDevice ? "confirm_by_card" : "confirm_card_only")) : null,
    button(t("take_back"), actions.cancel, { kind: "large" }),
  ];
}

function describePin(actions) {
  const input = h("input", {
    type: "password", inputmode: "numeric", autocomplete: "off", maxlength: 12, minlength: 4, pattern: "[0-9]{4,12}", required: true, class: "pin", id: "pin", "data-key": "pin",
  });
  const type = (digit) => () => {
    if (input.value.length < input.maxLength) input.value += digit;
  };
  const pads = [..."123456789"].map((digit) => button(digit, type(digit), { kind: "key", key: `pin-${digit}` }));
  const erase = h("button", { type: "button", class: "button key", "aria-label": t("key_clear"), "data-key": "pin-clear", onclick: () => { input.value = ""; } }, "C");
  const form = h(
    "form",
    { class: "pin-form", novalidate: true },
    h("label", { for: "pin" }, t("confirm_by_pin")),
    input,
    h("div", { class: "pin-pad" }, ...pads, erase, button("0", type("0"), { kind: "key", key: "pin-0" }), h("button", { class: "button key primary", "aria-label": t("pin_send"), "data-key": "pin-send" }, "✓")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const pin = input.value;
    input.value = "";
    if (/^[0-9]{4,12}$/.test(pin)) actions.enterPin(pin);
    input.focus();
  });
  return form;
}

const codeShown = { text: null, number: 0 };

function describeCode(sale) {
  // Two codes of a sale may end at the same moment; a number of its own has each one's picture fetched anew.
  if (sale.code_text !== codeShown.text) {
    codeShown.text = sale.code_text;
    codeShown.number += 1;
  }
  const address = `/v1/display/code.svg?of=${sale.sale_id}-${codeShown.number}`;
  return h("figure", { class: "code" }, h("img", { src: address, alt: t("code_alt"), width: 220, height: 220 }), h("figcaption", {}, t("scan_hint")));
}

function describeReceiptCode(sale) {
  const address = `/v1/display/receipt.svg?of=${sale.sale_id}`;
  return h("figure", { class: "code small" }, h("img", { src: address, alt: t("receipt_code_alt"), width: 130, height: 130 }), h("figcaption", {}, t("receipt_scan")));
}

function describeNote(note) {
  if (note === null) return null;
  return h("p", { class: `note note-${note.kind}`, role: "alert" }, icon(note.kind === "bad" ? "cross" : "question"), h("span", {}, note.kind === "bad" ? `${t("declined_for_now")} ${pick(note.texts)}` : pick(note.texts)));
}

function describeReason(till) {
  const decline = declineOf(till);
  if (decline === null) return [];
  const next = decline.next_step && decline.next_step !== "none" ? pick(decline.next_step_text) : "";
  return [h("p", { class: "live-hint strong" }, pick(decline.cashier_text)), next ? h("p", { class: "live-hint" }, next) : null];
}

function reasonOf(till) {
  if (till.note !== null) return pick(till.note.texts);
  const decline = declineOf(till);
  return decline === null ? "" : pick(decline.cashier_text);
}

// A refusal of the gateway's comes without an answer; then the event had the reason.
function declineOf({ sale, decline }) {
  return sale.answer?.decline ?? (sale.state === "declined" ? decline : null) ?? null;
}

function describeMeans({ answer }) {
  const mode = t(`mode_${answer.entry_mode}`);
  const receipt = answer.receipt ? `${answer.receipt.instrument_label} · ${answer.receipt.receipt_number}` : "";
  return h("p", { class: "live-means" }, [mode, receipt, timeOf(answer.decided_ms)].filter(Boolean).join(" · "));
}

function words(text) {
  return h("p", { class: "live-words" }, text);
}

function hint(text) {
  return h("p", { class: "live-hint" }, text);
}

const counting = new WeakMap();

function countdown(untilMs, till, write) {
  const element = h("span", { class: "nowrap", "data-counting": true });
  const show = () => {
    const text = write(Math.max(0, untilMs - till.now()));
    if (element.textContent !== text) element.textContent = text;
  };
  counting.set(element, show);
  show();
  return element;
}

setInterval(() => {
  for (const element of document.querySelectorAll("[data-counting]")) counting.get(element)?.();
}, 500);
