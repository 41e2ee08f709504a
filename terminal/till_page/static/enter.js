// The way in: what stands behind the # of a link becomes this browser's cookie.

import { ask } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { t } from "./language.js";

const link = location.hash.slice(1);
// Out of the address at once, so that it is neither shown nor kept in the history.
history.replaceState(null, "", location.pathname);
const main = document.getElementById("main");

fill(main, h("h1", {}, t("enter_title")));
try {
  const { page } = await ask("POST", "/v1/page-sessions", { link });
  location.replace(page === "customer" ? "/customer" : "/");
} catch (problem) {
  fill(main, icon("cut"), h("h1", {}, t("enter_failed")), h("p", { role: "alert" }, problem.words), h("p", {}, t("enter_how")));
}
