// A slip as it would be printed, to be read and printed: a receipt, the report of a shift.

import { ask, askText } from "./api.js";
import { button, h, openDialog } from "./dom.js";
import { t } from "./language.js";

/** Open a slip in a dialog; `printPath` is where to have it printed, or null where there is no printer. */
export async function openPaper(title, textPath, printPath) {
  const text = await askText(textPath);
  openDialog(title, (close) => {
    const told = h("p", { role: "status", class: "hint" });
    const print = () =>
      ask("POST", printPath).then(
        () => { told.textContent = t("printed"); },
        (problem) => { told.textContent = problem.words; },
      );
    return [
      h("pre", { class: "receipt", tabindex: 0, "aria-label": title }, text),
      told,
      h("div", { class: "dialog-actions" }, printPath === null ? null : button(t("print"), print), button(t("close"), close, { kind: "primary" })),
    ];
  });
}
