// The till page put together: what the daemon says, what the cashier does, and which of it is shown.

import { ask, follow, loadNotices, Problem, wordsOf } from "./api.js";
import { drawAttempts } from "./attempts.js";
import { button, fill, h, icon, refill } from "./dom.js";
import { language, languageButtons, onLanguage, suggestLanguage, t } from "./language.js";
import { drawLive, nameOf, OPEN, sayLive, SOUNDS } from "./live.js";
import { formatMoney } from "./money.js";
import { openPaper } from "./paper.js";
import { drawPayments } from "./payments.js";
import { Sell } from "./sell.js";
import { drawShift } from "./shift.js";
import { isSoundOn, play, setSound } from "./sounds.js";
import { drawSignIn, isLocked } from "./staff.js";
import { drawStatus } from "./status.js";

const REFRESH_MS = 4_000; // for what no event tells: the readers' health
const SETTLED_MS = 400; // an outcome is told at once, and is in the till's list when it is on disk
const LATE_MAX = 5;
const CART_IS_GONE = new Set(["approved", "accepted_offline", "unknown"]);
const SALE_KINDS = new Set([
  "armed", "code_shown", "reading", "refused", "submitting", "confirming", "not_confirmed", "declined", "approved",
  "accepted_offline", "unknown", "kept", "reversing", "closed", "cancelled", "timed_out",
]);

const till = {
  page: null,
  daemon: null,
  sale: null,
  note: null, // why what was presented last was not taken, while the sale goes on
  decline: null, // the reason of a decline that came without an answer of the gateway
  late: [], // earlier sales whose outcome came after another had begun
  payments: [],
  staff: null, // everybody who may sign in
  shifts: { current: null, last: null },
  offline: null,
  drained: null,
  isDraining: false,
  isConnected: true,
  isStarting: false,
  view: "sell",
  aheadMs: 0,
  now: () => Date.now() + till.aheadMs,
  money: (minor, currency = till.page.currency) => formatMoney(minor, currency, till.page.exponent),
  isOpen: () => till.sale !== null && OPEN.has(till.sale.state),
  // Whoever types the next amount no longer means the last sale; a question about it stays.
  isPast: () => till.sale !== null && !till.isOpen() && !sell.isEmpty && !["unknown", "reversing"].includes(till.sale.state),
};

const actions = {
  wordsOf,
  changed: () => {
    drawMain();
    drawLive(till, actions);
  },
  redrawCharge: () => document.getElementById("charge-row")?.replaceWith(sell.drawCharge(till.isOpen())),
  async charge() {
    const request = sell.request;
    if (request === null || till.isOpen() || till.isStarting || !till.isConnected) return;
    till.isStarting = true;
    sell.isLeftOver = true;
    await attempt(async () => takeAnswer(await ask("POST", "/v1/sales", request)));
    till.isStarting = false;
    draw();
  },
  cancel: () => orderSale("DELETE", ""),
  keep: () => orderSale("POST", "/keep"),
  reverse: () => orderSale("POST", "/reverse"),
  enterPin: (pin) => attempt(() => ask("POST", `/v1/sales/${till.sale.sale_id}/pin`, { pin }), { isTold: true }),
  orderAttempt: (one, what) =>
    attempt(async () => {
      await ask("POST", `/v1/attempts/${one.attempt_id}/${what}`);
      await refreshDaemon();
    }),
  async drain() {
    till.isDraining = true;
    till.drained = null;
    draw();
    await attempt(async () => {
      till.drained = await ask("POST", "/v1/offline/drain");
    });
    till.isDraining = false;
    await refreshDaemon();
  },
  dismissLate(saleId) {
    till.late = till.late.filter((one) => one.sale.sale_id !== saleId);
    drawLive(till, actions);
  },
  showReceipt: (path) => actions.showPaper(t("receipt"), `${path}/receipt?language=${language()}`, `${path}/print`),
  showPaper: (title, textPath, printPath) => attempt(() => openPaper(title, textPath, till.page.has_printer ? printPath : null)),
  refreshPayments: () => refreshPayments(),
  refreshLists: () => Promise.all([refreshDaemon(), refreshPayments()]),
  attempt: (act) => attempt(act),
  signOut: () => attempt(async () => {
    await ask("DELETE", "/v1/staff/session");
    await refreshDaemon();
  }),
  leave: () => attempt(async () => {
    await ask("DELETE", "/v1/page-sessions");
    location.reload();
  }),
  tell,
};

const sell = new Sell(till, actions);

const VIEWS = {
  sell: () => sell.draw(document.getElementById("main")),
  payments: () => drawPayments(document.getElementById("main"), till, actions),
  attempts: () => drawAttempts(document.getElementById("main"), till, actions),
  shift: () => drawShift(document.getElementById("main"), till, actions),
  status: () => drawStatus(document.getElementById("main"), till, actions),
};

// --- what the daemon says -----------------------------------------------------------------------------

/** Read everything anew; return the number of the last event that is in it. */
async function begin() {
  const [page] = await Promise.all([ask("GET", "/v1/page"), refreshDaemon(), refreshPayments()]);
  // Let in at last: everything begins anew.
  if (document.body.classList.contains("locked")) location.reload();
  const isFirst = till.page === null;
  till.page = page;
  till.aheadMs = page.now_ms - Date.now();
  if (isFirst) {
    suggestLanguage(page.language);
    await loadNotices();
  }
  // A sale that went on while nobody listened: what became of it is said as if it had just been heard.
  takeSale(page.sale ?? null, { isNews: !isFirst });
  return page.sequence;
}

function onEvent(kind, event) {
  if (SALE_KINDS.has(kind)) onSale(kind, event);
  else onDaemon(kind, event);
}

function onSale(kind, event) {
  const isOther = till.sale !== null && event.sale.sale_id !== till.sale.sale_id;
  if (isOther && event.sale.sale_id < till.sale.sale_id) {
    takeLate(event);
  } else {
    const notes = {
      refused: () => ({ kind: "again", texts: event.refusal.cashier_text }),
      not_confirmed: () => ({ kind: "again", texts: event.refusal.cashier_text }),
      declined: () => ({ kind: "bad", texts: event.decline.cashier_text }),
    };
    const goesOn = OPEN.has(event.sale.state);
    const note = goesOn ? (notes[kind]?.() ?? (kind === "code_shown" ? till.note : null)) : null;
    till.decline = event.decline ?? null;
    takeSale(event.sale, { note, isNews: true });
  }
  if (!OPEN.has(event.sale.state)) {
    refreshLists();
    setTimeout(refreshLists, SETTLED_MS);
  }
}

function takeSale(sale, { note = null, isNews = false } = {}) {
  const before = till.sale;
  const isNewNote = note !== null && note !== till.note;
  const isSame = before !== null && sale !== null && before.sale_id === sale.sale_id;
  till.sale = sale;
  till.note = note;
  if (sale !== null && isNews && !(isSame && before.state === sale.state)) {
    clearCartOf(sale);
    if (SOUNDS[sale.state] !== undefined) play(SOUNDS[sale.state]);
    // A sale that begins shows itself; afterwards the cashier looks where they like, with the sale beside it.
    if (!isSame && OPEN.has(sale.state) && till.view !== "sell") showView("sell");
  }
  // A fresh code to scan leaves the note where it is, and is no reason to sound again.
  if (isNewNote && isNews) play(note.kind === "bad" ? "bad" : "again");
  draw();
  if (!isSame || before.state !== sale?.state) moveFocus(before, sale);
}

/** The outcome of an older sale: told beside the sale that is going on, never as its own. */
function takeLate(event) {
  till.late = till.late.filter((one) => one.sale.sale_id !== event.sale.sale_id);
  till.late.push({ sale: event.sale, atMs: event.at_ms });
  till.late = till.late.slice(-LATE_MAX);
  document.getElementById("said").textContent = `${t("earlier")} ${till.money(event.sale.amount_minor)}: ${t(nameOf(event.sale))}`;
  drawLive(till, actions);
}

/** What the daemon answered to the page itself; events are always newer. */
function takeAnswer(sale) {
  sell.saleId = sale.sale_id;
  if (till.sale === null || sale.sale_id > till.sale.sale_id) takeSale(sale, { isNews: true });
  else clearCartOf(till.sale);
}

/** A sale that another page or till software began leaves alone what is being rung up here. */
function clearCartOf(sale) {
  if (sale.sale_id === sell.saleId && CART_IS_GONE.has(sale.state)) sell.clear();
}

function onDaemon(kind, event) {
  if (kind === "offline_progress") {
    till.drained = event.progress;
    draw();
  }
  refreshLists();
}

function onConnection(isThere, problem = null) {
  if (problem?.code === "page_link_needed") return showLocked(problem);
  if (till.page === null && !isThere) return showLocked(problem ?? new Problem("daemon_gone", 0, null));
  if (till.isConnected === isThere) return undefined;
  till.isConnected = isThere;
  draw();
  return undefined;
}

function refreshLists() {
  // Where nobody answers, the event stream says so.
  Promise.all([refreshDaemon(), refreshPayments()]).catch(() => {});
}

async function refreshDaemon() {
  const daemon = await ask("GET", "/v1/daemon");
  till.offline = daemon.offline ? await ask("GET", "/v1/offline") : null;
  // Whoever was hired or left meanwhile: read anew as long as nobody has signed in.
  if (daemon.staff && (till.staff === null || isLocked({ daemon }))) till.staff = await ask("GET", "/v1/staff");
  if (till.view === "shift") await refreshShifts(daemon);
  till.daemon = daemon;
  if (till.page !== null) draw();
}

async function refreshShifts(daemon) {
  const ifAny = (problem) => {
    if (problem.code === "not_found") return null;
    throw problem;
  };
  till.shifts = {
    current: daemon.shift ? await ask("GET", "/v1/shifts/current").catch(ifAny) : null,
    last: await ask("GET", "/v1/shifts/last").catch(ifAny),
  };
}

async function refreshPayments() {
  till.payments = await ask("GET", "/v1/payments");
  if (till.page !== null && till.view === "payments") drawMain();
}

// --- what the cashier does ----------------------------------------------------------------------------

function orderSale(method, what) {
  return attempt(() => ask(method, `/v1/sales/${till.sale.sale_id}${what}`));
}

async function attempt(act, { isTold = false } = {}) {
  tell(null);
  try {
    await act();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    // A refused PIN is told by an event, where the sale is.
    if (!isTold || problem.code === "daemon_gone") tell(problem);
  }
}

function tell(problem) {
  const place = document.getElementById("alert");
  if (problem === null) return fill(place);
  fill(place, icon("cross"), h("span", {}, problem.words), button(t("dismiss"), () => fill(place), { kind: "small" }));
  return place.scrollIntoView({ block: "nearest" });
}

function showView(name) {
  till.view = name;
  draw();
  refreshLists();
}

// --- what is shown ------------------------------------------------------------------------------------

function draw() {
  if (till.page === null) return;
  document.title = `${till.page.merchant_name} · ${t("till")}`;
  document.getElementById("merchant").textContent = till.page.merchant_name;
  document.getElementById("location").textContent = `${till.page.location_name} · ${till.page.terminal_id}`;
  drawChips();
  drawTools();
  drawNav();
  drawMain();
  drawLive(till, actions);
  sayLive(till);
}

let drawnMain = "";

function drawMain() {
  // Lists are drawn anew only when they change, so that nobody's finger hits another button than was there.
  const { daemon, payments, offline, drained, isDraining, sale, view, page, isConnected, isStarting, shifts } = till;
  if (isLocked(till)) return drawLockedMain();
  const tick = view === "attempts" ? Math.floor(till.now() / 1000) : 0;
  const signature = JSON.stringify([
    view, language(), tick, sale?.state, isConnected, isStarting,
    view === "sell" ? [page.items, sell.typedMinor, sell.lines, sell.isHold, sell.shownGroup] : [daemon, payments, offline, drained, isDraining, shifts],
  ]);
  if (signature === drawnMain) return undefined;
  drawnMain = signature;
  const main = document.getElementById("main");
  const wasLocked = main.dataset.view === "sign-in";
  main.dataset.view = view;
  VIEWS[view]();
  if (wasLocked) document.querySelector("[data-home]")?.focus();
  return undefined;
}

/** Nothing of the shop's is shown before somebody has signed in; a sale that is going on is. */
function drawLockedMain() {
  const main = document.getElementById("main");
  const signature = JSON.stringify(["sign-in", language(), till.staff]);
  if (signature === drawnMain) return;
  drawnMain = signature;
  main.dataset.view = "sign-in";
  drawSignIn(main, till, actions);
}

function drawChips() {
  const { daemon, offline } = till;
  if (daemon === null) return;
  const bad = daemon.readers.filter((reader) => reader.state !== "ready").length;
  const isOffline = offline?.mode === "offline";
  const waiting = offline?.waiting_count ? t("chip_waiting", { count: offline.waiting_count, amount: till.money(offline.waiting_minor, offline.currency) }) : "";
  const network = isOffline ? ["unsure", "cut", t("chip_offline")] : daemon.gateway_reachable ? ["good", "check", t("chip_online")] : ["bad", "cut", t("chip_no_gateway")];
  const readers = daemon.readers.length === 0 ? ["none", "stop", t("chip_no_readers")] : bad === 0 ? ["good", "check", t("chip_readers_ready")] : ["bad", "cross", t("chip_readers_bad", { count: bad, total: daemon.readers.length })];
  const chip = ([look, shape, words]) => h("span", { class: `chip chip-${look}` }, icon(shape), words);
  const chips = [network, readers, ...(waiting ? [["unsure", "later", waiting]] : [])];
  refill(document.getElementById("chips"), ...chips.map(chip));
}

function drawTools() {
  const place = document.getElementById("tools");
  const sound = h("button", { type: "button", class: "button small", "data-key": "sound", "aria-pressed": String(isSoundOn()), onclick: () => { setSound(!isSoundOn()); drawTools(); } }, t(isSoundOn() ? "sound_on" : "sound_off"));
  const who = till.daemon?.staff?.signed_in;
  const person = !who ? null : h("span", { class: "who" }, icon("person"), ` ${who.name} `, button(t("sign_out"), actions.signOut, { kind: "small", key: "sign-out" }));
  refill(place, h("div", { class: "group" }, person, h("div", { class: "group", role: "group", "aria-label": t("settings") }, ...languageButtons(), sound)));
}

function drawNav() {
  const place = document.getElementById("nav");
  place.setAttribute("aria-label", t("nav"));
  const count = till.daemon?.unresolved_attempt_count ?? 0;
  const item = (name) =>
    h(
      "button",
      { type: "button", class: "tab", "data-key": `view-${name}`, "aria-current": name === till.view ? "page" : false, onclick: () => showView(name) },
      t(`view_${name}`),
      name === "attempts" && count > 0 ? h("span", { class: "count" }, String(count)) : null,
    );
  refill(place, ...(isLocked(till) ? [] : Object.keys(VIEWS).map(item)));
}

function showLocked(problem) {
  till.page = null;
  document.body.classList.add("locked");
  fill(document.getElementById("chips"));
  fill(document.getElementById("nav"));
  fill(document.getElementById("live"));
  fill(document.getElementById("main"), icon("cut"), h("h2", {}, t("enter_failed")), h("p", { role: "alert" }, problem.words), h("p", {}, t("enter_how")));
}

/** Whoever works by keyboard is taken where the next thing is to be done. */
function moveFocus(before, sale) {
  if (document.querySelector("dialog[open]")) return;
  const focused = document.activeElement;
  if (![document.body, document.getElementById("main")].includes(focused) && !focused.closest("#live, .sell")) return;
  const live = document.getElementById("live");
  // Beside what may be decided, and on none of it: a stray Enter decides nothing about money.
  if (sale !== null && ["confirming", "unknown"].includes(sale.state)) (live.querySelector("#pin") ?? live).focus();
  else if (sale !== null && OPEN.has(sale.state)) live.querySelector("button")?.focus();
  else {
    // Where the panel stands above the keypad, its outcome must not be scrolled away by the focus.
    document.querySelector("[data-home]")?.focus({ preventScroll: true });
    live.querySelector(".live-words")?.scrollIntoView({ block: "nearest" });
  }
}

onLanguage(draw);
drawTools();
follow("/v1/events", { begin, onEvent, onConnection });
setInterval(() => {
  if (!document.hidden && till.page !== null && till.isConnected) refreshLists();
}, REFRESH_MS);
setInterval(() => {
  if (till.view === "attempts" && till.page !== null) drawMain();
}, 1_000);
