// Elements made of values, never of markup: nothing that came over a wire is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  check: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm-1.6 14.6-4.2-4.2 1.7-1.7 2.5 2.5 5.7-5.7 1.7 1.7z",
  cross: "M7.9 2h8.2L22 7.9v8.2L16.1 22H7.9L2 16.1V7.9zm.9 5.1L7.1 8.8l3.2 3.2-3.2 3.2 1.7 1.7 3.2-3.2 3.2 3.2 1.7-1.7-3.2-3.2 3.2-3.2-1.7-1.7-3.2 3.2z",
  question: "M12 1.8 23.2 21.5H.8zm-1.2 15.5v2.3h2.4v-2.3zm1.3-9.2c-2.1 0-3.4 1.2-3.5 3h2.2c0-.7.5-1.2 1.3-1.2.7 0 1.2.4 1.2 1 0 .5-.3.9-1.1 1.4-1.1.7-1.5 1.4-1.4 2.6v.5H13v-.4c0-.7.3-1 1.1-1.5 1-.6 1.6-1.4 1.6-2.5 0-1.8-1.4-2.9-3.6-2.9z",
  later: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm0 2.6a7.4 7.4 0 1 1 0 14.8 7.4 7.4 0 0 1 0-14.8zM11 6.8v5.7l4.4 2.6 1-1.7-3.3-2V6.8z",
  stop: "M2 2h20v20H2zm4 8.7v2.6h12v-2.6z",
  tap: "M5 8.6a7 7 0 0 1 0 6.8l1.8 1a9 9 0 0 0 0-8.8zm4-2.3a11.6 11.6 0 0 1 0 11.4l1.8 1a13.7 13.7 0 0 0 0-13.4zm4-2.3a16.2 16.2 0 0 1 0 16l1.8 1a18.3 18.3 0 0 0 0-18z",
  work: "M12 2a10 10 0 0 1 10 10h-2.6A7.4 7.4 0 0 0 12 4.6z",
  person: "M12 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM3.5 21.5c0-5 3.8-8 8.5-8s8.5 3 8.5 8z",
  cut: "M3 2 2 3l4.6 4.6L4 10.2a5 5 0 0 0 0 7l.7.7 3.9-3.9 1.4 1.4-3.9 3.9.7.7a5 5 0 0 0 7 0l2.6-2.6L21 22l1-1zm10.5 2.3-2 2 8.1 8.1 2-2a5 5 0 0 0 0-7l-.7-.7-2.9 2.9-1.4-1.4 2.9-2.9-.4-.4a5 5 0 0 0-5.6 1.4z",
  back: "M10 5V1L2.5 8.5 10 16v-4.4c5 0 8.2 1.6 10.5 5C19.600 11.600 16.600 6 10 5z",
  ready: "M3 5h18v11H3zm2 2v7h14V7zm3 11h8v2H8z",
};

/** h("button", {class: "key", onclick: press, "aria-label": "7"}, "7") */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon icon-${name}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that says what it does; `key` keeps the focus where it was when it is drawn anew. */
export function button(words, press, { kind = "plain", key = words, ...others } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, "data-key": key, onclick: press, ...others }, words);
}

/**
 * Put other elements in place, and leave the focus on the one with the same key. Where that is gone, a panel that can
 * have the focus itself gets it: a key that is pressed once more must not press whatever button comes first there.
 */
export function fill(container, ...children) {
  const focused = container.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  container.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  if (focused === undefined) return;
  const again = [...container.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused && !one.disabled);
  const next = container.hasAttribute("tabindex") ? container : container.querySelector("button:not([disabled]), input");
  (again ?? next)?.focus();
}

/** The same, but what stands there already stays: a button that is pressed just then is not lost. */
export function refill(container, ...children) {
  const there = [...container.childNodes];
  if (there.length !== children.length) return fill(container, ...children);
  return there.forEach((node, index) => {
    if (node.isEqualNode(children[index])) return;
    const hadFocus = node.contains(document.activeElement);
    node.replaceWith(children[index]);
    if (hadFocus) children[index].focus();
  });
}

/** A dialog over the page; `build(close)` returns its content. */
export function openDialog(title, build) {
  const before = document.activeElement;
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
  const close = () => dialog.close();
  dialog.append(h("div", { class: "dialog-body" }, heading, ...build(close)));
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before?.isConnected) before.focus();
    else document.querySelector("[data-home]")?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function field(label, input, hint = null) {
  const id = `field-${(field.count = (field.count ?? 0) + 1)}`;
  input.id = id;
  const note = hint === null ? null : h("p", { class: "hint", id: `${id}-hint` }, hint);
  if (note !== null) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), input, note);
}
