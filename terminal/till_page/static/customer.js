// The customer's display: follows the till, and shows what the daemon says of its sale.

import { follow } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { language, languageButtons, onLanguage, suggestLanguage, t } from "./language.js";
import { formatMoney } from "./money.js";

const LONG_CHARS = 9;
const RESULT_MS = 60_000; // so long a result stays; the next customer is not to see it

const STATES = {
  armed: () => ["armed", "tap", "hold_here", view.must_present_again ? "again" : "or_show"],
  reading: () => ["armed", "work", "hold_still", null],
  submitting: () => ["busy", "work", "one_moment", null],
  confirming: () => ["armed", "person", wayToAgree(), null],
  approved: () => ["good", "check", ...(view.is_held ? ["held", "held_thanks"] : ["paid", "thanks"])],
  accepted_offline: () => ["later", "check", "paid", "thanks"],
  declined: () => ["bad", "cross", "not_paid", "ask_cashier"],
  unknown: () => ["unsure", "question", "being_checked", "being_checked_hint"],
  reversing: () => ["unsure", "back", "taken_back", "being_checked_hint"],
  closed: () => ["bad", "cross", "not_paid", "ask_cashier"],
};
function wayToAgree() {
  if (view.by_card) return "card_please";
  if (view.by_pin) return view.by_device ? "pin_or_phone" : "pin_please";
  return "phone_please";
}

const RESULTS = new Set(["approved", "accepted_offline", "declined", "closed"]);

let view = null;
let isConnected = false;
let refusal = null; // why this browser is not let in
let resultOf = ""; // the sale whose result is shown, and until when
let resultEndsMs = 0;
let drawn = "";

function onView(_, next) {
  if (view === null) suggestLanguage(next.language);
  view = next;
  if (RESULTS.has(view.state) && resultOf !== view.sale_id) {
    resultOf = view.sale_id;
    resultEndsMs = Date.now() + RESULT_MS;
  }
  draw();
}

function draw() {
  const place = document.getElementById("main");
  const signature = JSON.stringify([{ ...view, now_ms: 0 }, isConnected, refusal?.code, language(), isIdle()]);
  if (signature === drawn) return;
  drawn = signature;
  drawTools();
  if (view === null || !isConnected) return show(place, "lost", icon("cut"), [t("display_lost"), refusal?.words ?? t("display_lost_hint")]);
  document.title = `${view.merchant_name} · ${t("customer_display")}`;
  document.getElementById("merchant").textContent = view.merchant_name;
  document.getElementById("location").textContent = view.location_name;
  if (isIdle()) return show(place, "idle", null, [t("welcome")]);
  const [look, shape, words, hint] = STATES[view.state]();
  return show(place, look, icon(shape), [t(words), hint === null ? "" : t(hint)], drawSale(), drawCode() ?? drawReceiptCode());
}

function isIdle() {
  if (view === null) return false;
  const isOver = RESULTS.has(view.state) && Date.now() > resultEndsMs;
  return !view.sale_id || isOver || STATES[view.state] === undefined;
}

function show(place, look, shape, [words, hint = ""], ...parts) {
  place.className = `display display-${look}`;
  place.dataset.state = isConnected ? (isIdle() ? "idle" : (view?.state ?? "idle")) : "lost";
  fill(place, ...parts.slice(0, 1), h("div", { class: "what" }, shape, h("p", { class: "words" }, words), hint ? h("p", { class: "hint" }, hint) : null), ...parts.slice(1));
  const said = [words, hint].filter(Boolean).join(". ");
  const place2 = document.getElementById("said");
  if (place2.textContent !== said) place2.textContent = said;
}

function drawSale() {
  const money = (minor) => formatMoney(minor, view.currency, view.exponent);
  const lines = view.lines ?? [];
  const total = money(view.amount_minor);
  return h(
    "section",
    { class: "bill", "aria-label": t("to_pay") },
    lines.length === 0 ? null : h("ul", { class: "lines", tabindex: 0, "aria-label": t("cart") }, ...lines.map((line) =>
      h("li", {}, h("span", {}, nameOf(line)), h("span", { class: "price" }, money(line.total_minor))))),
    h("p", { class: "to-pay" }, t(RESULTS.has(view.state) ? "total" : "to_pay")),
    h("p", { class: total.length > LONG_CHARS ? "amount long" : "amount" }, total),
  );
}

/** An item's name is the shop's own; an amount that was keyed is said in the language shown. */
function nameOf(line) {
  const name = line.name || t("cart_amount");
  return (line.quantity ?? 1) > 1 ? `${line.quantity} × ${name}` : name;
}

function drawCode() {
  if (!view.has_code) return null;
  return h("figure", { class: "code" }, h("img", { src: `/v1/display/code.svg?of=${view.sale_id}-${view.now_ms}`, alt: t("code_alt"), width: 260, height: 260 }), h("figcaption", {}, t("or_scan")));
}

function drawReceiptCode() {
  if (!view.has_receipt) return null;
  return h("figure", { class: "code" }, h("img", { src: `/v1/display/receipt.svg?of=${view.sale_id}`, alt: t("receipt_code_alt"), width: 260, height: 260 }), h("figcaption", {}, t("receipt_scan")));
}

function drawTools() {
  fill(document.getElementById("tools"), ...languageButtons());
}

onLanguage(draw);
setInterval(draw, 1_000);
follow("/v1/display/events", {
  begin: async () => null,
  onEvent: onView,
  onConnection: (isThere, problem = null) => {
    isConnected = isThere;
    refusal = problem;
    draw();
  },
});
