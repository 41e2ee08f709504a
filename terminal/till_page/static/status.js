// How the till itself is: its readers, what waits offline, its other screens.

import { ask } from "./api.js";
import { button, fill, h, openDialog } from "./dom.js";
import { dateTimeOf, has, pick, t } from "./language.js";
import { badge, shortOrder } from "./payments.js";

const READER_LOOKS = { ready: ["good", "check"], starting: ["armed", "work"], faulty: ["bad", "cross"], off: ["none", "stop"] };
const RESULT_LOOKS = { declined: ["bad", "cross"], conflict: ["unsure", "question"], settled: ["none", "stop"] };

export function drawStatus(main, till, actions) {
  if (till.daemon === null) return fill(main);
  return fill(main, h("h2", {}, t("view_status")), drawReaders(till), drawOffline(till, actions), drawScreens(till, actions));
}

function drawReaders({ daemon }) {
  const rows = daemon.readers.map((reader) => {
    const [look, shape] = READER_LOOKS[reader.state];
    const reason = pick(reader.cashier_text) || (reader.reason ?? "");
    return h(
      "li",
      { class: "row", "data-reader": reader.path, "data-state": reader.state },
      h("span", { class: "row-name" }, reader.path),
      badge(look, shape, t(`reader_${reader.state}`)),
      h("span", { class: "row-facts" }, recordOf(reader), reason ? h("span", { class: "row-reason" }, reason) : null, reader.state === "faulty" ? h("span", { class: "row-reason" }, t("reader_faulty_hint")) : null),
    );
  });
  return h("section", {}, h("h3", {}, t("readers")), rows.length === 0 ? h("p", { class: "hint" }, t("chip_no_readers")) : h("ul", { class: "rows", id: "readers" }, ...rows));
}

function recordOf(reader) {
  const presented = t("reader_presented", { count: reader.presentation_count ?? 0 });
  if (!reader.fault_count) return presented;
  const seconds = ((reader.recovery_ms_last ?? 0) / 1000).toFixed(1);
  const back = reader.recovery_ms_last ? t("reader_back", { seconds }) : "";
  return [presented, t("reader_faults", { count: reader.fault_count }), back].filter(Boolean).join(" · ");
}

function drawOffline(till, actions) {
  const view = till.offline;
  if (view === null) return h("section", {}, h("h3", {}, t("offline_title")), h("p", { class: "hint" }, t("offline_not_offered")));
  const money = (minor) => till.money(minor, view.currency);
  const facts = [
    [t("offline_waiting"), `${view.waiting_count} · ${money(view.waiting_minor)}`],
    [t("offline_oldest"), view.oldest_ms ? dateTimeOf(view.oldest_ms) : "–"],
    [t("offline_synced"), view.synced_ms ? dateTimeOf(view.synced_ms) : t("offline_never")],
    [t("offline_set_aside"), String(view.set_aside_count ?? 0)],
    [t("offline_bad"), `${view.declined_count ?? 0} / ${view.conflict_count ?? 0}`],
    [t("offline_loss"), money(view.merchant_loss_minor ?? 0)],
  ];
  const mode = t(view.mode === "offline" ? "offline_now" : "online_now", { time: dateTimeOf(view.since_ms) });
  return h(
    "section",
    { id: "offline", "data-mode": view.mode, "data-waiting": view.waiting_count },
    h("h3", {}, t("offline_title")),
    h("p", { class: view.mode === "offline" ? "strong" : "hint" }, mode),
    view.refusal ? h("p", { class: "wrong" }, t("offline_refusal", { text: actions.wordsOf(view.refusal) })) : null,
    h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h(
      "div",
      { class: "drain" },
      button(t("drain"), actions.drain, { kind: "plain", key: "drain", disabled: view.waiting_count === 0 || till.isDraining }),
      h("p", { id: "drain-progress", role: "status" }, till.drained === null ? "" : t(till.isDraining ? "drain_running" : "drain_done", { settled: till.drained.settled_count, waiting: till.drained.waiting_count })),
    ),
    h("ul", { class: "rows" }, ...(view.results ?? []).map((one) => drawResult(one, till))),
  );
}

function drawResult(one, till) {
  const [look, shape] = RESULT_LOOKS[one.outcome];
  const loss = one.loss_minor ? t("result_loss", { amount: till.money(one.loss_minor, one.currency), bearer: has(`bearer_${one.loss_bearer}`) ? t(`bearer_${one.loss_bearer}`) : "–" }) : "";
  return h(
    "li",
    { class: "row" },
    h("span", { class: "row-time" }, dateTimeOf(one.accepted_ms)),
    h("span", { class: "row-amount" }, till.money(one.amount_minor, one.currency)),
    badge(look, shape, t(`result_${one.outcome}`)),
    h("span", { class: "row-facts" }, shortOrder(one.order_id), h("span", { class: "row-reason" }, [pick(one.cashier_text), loss].filter(Boolean).join(" "))),
  );
}

function drawScreens(till, actions) {
  const link = (page) => async () => {
    try {
      const made = await ask("POST", "/v1/page-links", { page });
      openDialog(t("screens"), (close) => [
        h("p", {}, t("link_made")),
        h("ul", { class: "links" }, ...made.urls.map((url) => h("li", {}, h("code", {}, url)))),
        h("p", { class: "hint" }, t("screens_hint")),
        h("div", { class: "dialog-actions" }, button(t("close"), close)),
      ]);
    } catch (problem) {
      actions.tell(problem);
    }
  };
  return h(
    "section",
    {},
    h("h3", {}, t("screens")),
    h("p", { class: "hint" }, t("screens_hint")),
    h(
      "div",
      { class: "buttons" },
      button(t("open_display"), () => window.open("/customer", "tapscan-customer", "popup"), { key: "open-display" }),
      button(t("link_display"), link("customer"), { key: "link-display" }),
      button(t("link_till"), link("till"), { key: "link-till" }),
      button(t("sign_out_page"), actions.leave, { key: "leave" }),
    ),
  );
}
