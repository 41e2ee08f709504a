// People at the till: who signs in, by PIN or tag, and who answers for money that goes back.

import { ask, Problem, sleep } from "./api.js";
import { button, field, fill, h, icon } from "./dom.js";
import { pick, t } from "./language.js";

const ASK_AGAIN_MS = 400;
const PIN_FORM = /^[0-9]{4,12}$/;

/** Whether nobody may do anything here before somebody has signed in. */
export function isLocked(till) {
  const staff = till.daemon?.staff;
  return Boolean(staff?.is_required) && !staff.signed_in;
}

export function mayDo(till, right) {
  const staff = till.daemon?.staff;
  return !staff?.is_required || Boolean(staff.signed_in?.rights.includes(right));
}

/** Who is there, and the way in; drawn once and left alone, so that nobody's PIN is drawn away. */
export function drawSignIn(main, till, actions) {
  const told = h("p", { class: "wrong", role: "alert" });
  const signIn = async (word) => {
    told.textContent = "";
    try {
      await ask("POST", "/v1/staff/session", word);
      await actions.refreshLists();
    } catch (problem) {
      told.textContent = problem.words;
    }
  };
  const who = memberSelect(till.staff);
  const pin = pinInput();
  const form = h("form", { class: "sign-in", novalidate: true }, field(t("staff_name"), who), field(t("staff_pin"), pin), h("button", { class: "button primary large" }, t("sign_in")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const word = { staff_id: who.value, pin: pin.value };
    pin.value = "";
    if (PIN_FORM.test(word.pin)) signIn(word);
    pin.focus();
  });
  const tag = makeTagReader((tagReadId) => signIn({ tag_read_id: tagReadId }));
  fill(main, h("section", { class: "sign-in-card" }, icon("person"), h("h2", {}, t("sign_in_title")), h("p", { class: "hint" }, t("sign_in_hint")), told, form, tag.element));
  pin.focus();
}

/** Who answers for a void or refund: a member and a PIN, or a tag; need not be who is signed in. */
export function makeStaffFields(till) {
  const who = memberSelect(till.staff);
  const managers = (till.staff?.members ?? []).filter((one) => one.role === "manager");
  const own = till.daemon?.staff?.signed_in;
  who.value = managers.some((one) => one.staff_id === own?.staff_id) ? own.staff_id : (managers[0]?.staff_id ?? own?.staff_id ?? who.value);
  const pin = pinInput();
  let tagReadId = null;
  const read = h("p", { class: "done", role: "status" });
  const tag = makeTagReader((id) => {
    tagReadId = id;
    fill(read, icon("check"), t("tag_read"));
  });
  const take = () => {
    if (tagReadId !== null && pin.value === "") return { tag_read_id: tagReadId };
    const word = { staff_id: who.value, pin: pin.value };
    pin.value = "";
    if (!PIN_FORM.test(word.pin)) throw new Problem("staff_not_allowed", 403, null);
    return word;
  };
  return { fields: [field(t("staff_name"), who), field(t("staff_pin"), pin), tag.element, read], take, stop: tag.stop };
}

/** A button that has the daemon read a staff tag; the link on it never comes here, only the name of the reading. */
function makeTagReader(onRead) {
  const element = h("div", { class: "tag-reader" });
  let waiting = null;
  const idle = (words = "") => {
    waiting = null;
    fill(element, button(t("tag_use"), start, { key: "tag" }), words ? h("p", { class: "wrong", role: "alert" }, words) : null);
  };
  const stop = () => {
    if (waiting !== null) ask("DELETE", `/v1/staff/tag-reads/${waiting}`).catch(() => {});
  };
  const start = async () => {
    try {
      let reading = await ask("POST", "/v1/staff/tag-reads");
      waiting = reading.tag_read_id;
      fill(element, h("p", { class: "strong", role: "status" }, icon("tap"), ` ${t("tag_hold")}`), button(t("cancel"), stop, { key: "tag-cancel", kind: "small" }));
      while (reading.state === "waiting" && element.isConnected) {
        await sleep(ASK_AGAIN_MS);
        reading = await ask("GET", `/v1/staff/tag-reads/${waiting}`);
      }
      if (reading.state === "read") onRead(reading.tag_read_id);
      else if (reading.state === "waiting") stop();
      if (element.isConnected) idle(reading.state === "refused" ? pick(reading.cashier_text) : "");
    } catch (problem) {
      idle(problem.words ?? "");
    }
  };
  idle();
  return { element, stop };
}

function memberSelect(staff) {
  const options = (staff?.members ?? []).map((one) => h("option", { value: one.staff_id }, `${one.name} · ${t(`role_${one.role}`)}`));
  return h("select", { "data-key": "staff-member" }, ...options);
}

function pinInput() {
  return h("input", { type: "password", class: "text", inputmode: "numeric", autocomplete: "off", maxlength: 12, "data-key": "staff-pin" });
}
