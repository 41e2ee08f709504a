// Payments without an outcome: what to do about each, and what the till does by itself.

import { button, fill, h } from "./dom.js";
import { dateTimeOf, minutesOf, t, timeOf } from "./language.js";
import { badge, shortOrder } from "./payments.js";

const LOOKS = {
  paying: ["armed", "work"],
  unknown: ["unsure", "question"],
  confirming: ["armed", "person"],
  kept: ["unsure", "later"],
  reversing: ["unsure", "back"],
};

export function drawAttempts(main, till, actions) {
  const list = till.daemon?.unresolved ?? [];
  fill(
    main,
    h("h2", {}, t("view_attempts")),
    h("p", { class: "hint" }, t(list.length === 0 ? "attempts_none" : "attempts_hint")),
    h("ol", { class: "rows", id: "attempts" }, ...list.map((one) => drawAttempt(one, till, actions))),
  );
}

function drawAttempt(one, till, actions) {
  const [look, shape] = LOOKS[one.stage];
  const mayKeep = one.stage === "unknown";
  const mayReverse = one.stage !== "reversing" && one.stage !== "paying";
  const asked = one.failure_count ? t("asked_times", { count: one.failure_count, trouble: one.trouble ? actions.wordsOf(one.trouble) : "" }) : "";
  const reverses = one.reverses_ms ? t("reverses_at", { time: timeOf(one.reverses_ms), left: minutesOf(one.reverses_ms - till.now()) }) : "";
  return h(
    "li",
    { class: "row", "data-attempt": one.attempt_id, "data-stage": one.stage },
    h("span", { class: "row-time" }, dateTimeOf(one.at_ms)),
    h("span", { class: "row-amount" }, till.money(one.amount_minor, one.currency)),
    badge(look, shape, t(`stage_${one.stage}`)),
    h("span", { class: "row-facts" }, shortOrder(one.order_id), h("span", { class: "row-reason" }, [reverses, asked].filter(Boolean).join(" "))),
    h(
      "span",
      { class: "row-actions" },
      mayKeep ? button(t("keep"), () => actions.orderAttempt(one, "keep"), { kind: "small", key: `keep-${one.attempt_id}` }) : null,
      mayReverse ? button(t("reverse"), () => actions.orderAttempt(one, "reverse"), { kind: "small", key: `reverse-${one.attempt_id}` }) : null,
    ),
  );
}
