// The amount and the cart: by touch or by keys, in minor units from the first digit on.

import { button, field, fill, h } from "./dom.js";
import { language, t } from "./language.js";
import { AMOUNT_MINOR_MAX, parseMoney, taxOf } from "./money.js";

const LINES_MAX = 50;
const QUANTITY_MAX = 999;

const nameIn = (tag, item) => (tag === "zh-Hans" ? item.name_zh : item.name);
const totalOf = (line) => line.unitMinor * line.quantity;
const taxIn = (line) => taxOf(totalOf(line), line.item?.tax_basis_points ?? 0);
const sumOf = (lines, minorOf) => lines.reduce((sum, line) => sum + minorOf(line), 0);

export class Sell {
  constructor(till, actions) {
    this.till = till;
    this.actions = actions;
    this.typedMinor = 0;
    this.saleId = null; // the last sale that was begun here
    this.isLeftOver = false; // the amount is of a sale that was not paid: the next digit begins a new one
    this.lines = [];
    this.isHold = false;
    this.tipText = "";
    this.optionsOpen = false;
    this.shownGroup = null;
  }

  get isEmpty() {
    return this.typedMinor === 0 && this.lines.length === 0;
  }

  get goodsMinor() {
    return this.typedMinor + sumOf(this.lines, totalOf);
  }

  get tipMinor() {
    if (!this.isHold || this.tipText.trim() === "") return 0;
    return parseMoney(this.tipText, this.till.page.exponent);
  }

  clear() {
    this.typedMinor = 0;
    this.lines = [];
    this.isHold = false;
    this.tipText = "";
  }

  /** The sale to ask for, or null where there is none to ask for. */
  get request() {
    const goods = this.goodsMinor;
    const tip = this.tipMinor;
    if (goods === 0 || tip === null || goods + tip > AMOUNT_MINOR_MAX) return null;
    const request = { amount_minor: goods + tip };
    if (this.isHold) request.capture = "manual";
    if (tip > 0) request.tip_max_minor = tip;
    if (this.lines.length > 0) request.order = this.makeOrder(goods);
    return request;
  }

  makeOrder(goods) {
    // An amount that was keyed has no name: whoever shows it says so in their own language.
    const lines = this.lines.map((line) => ({
      ...(line.item === null ? {} : { name: nameIn(this.till.page.language, line.item) }),
      total_minor: totalOf(line),
      quantity: line.quantity,
      tax_minor: taxIn(line),
    }));
    if (this.typedMinor > 0) lines.push({ total_minor: this.typedMinor });
    return { amount_minor: goods, tax_minor: sumOf(this.lines, taxIn), lines };
  }

  press(key) {
    if (this.till.isOpen()) return;
    if (this.isLeftOver && /^\d+$/.test(key)) this.typedMinor = 0;
    this.isLeftOver = false;
    if (key === "C") this.typedMinor = 0;
    else if (key === "<") this.typedMinor = Math.floor(this.typedMinor / 10);
    else if (key === "+") this.addTyped();
    else {
      const next = key === "00" ? this.typedMinor * 100 : this.typedMinor * 10 + Number(key);
      if (next <= AMOUNT_MINOR_MAX) this.typedMinor = next;
    }
    this.actions.changed();
  }

  addTyped() {
    if (this.typedMinor === 0 || this.lines.length >= LINES_MAX - 1) return;
    this.lines.push({ item: null, unitMinor: this.typedMinor, quantity: 1 });
    this.typedMinor = 0;
  }

  addItem(item) {
    if (this.till.isOpen()) return;
    const known = this.lines.find((line) => line.item === item);
    if (known !== undefined) known.quantity = Math.min(QUANTITY_MAX, known.quantity + 1);
    else if (this.lines.length < LINES_MAX - 1) {
      this.lines.push({ item, unitMinor: item.price_minor, quantity: 1 });
    }
    this.actions.changed();
  }

  change(line, by) {
    line.quantity = Math.min(QUANTITY_MAX, line.quantity + by);
    if (line.quantity <= 0) this.lines.splice(this.lines.indexOf(line), 1);
    this.actions.changed();
  }

  draw(main) {
    const { till } = this;
    const isOpen = till.isOpen();
    const hasItems = till.page.items?.length > 0;
    fill(
      main,
      h(
        "div",
        { class: hasItems ? "sell with-items" : "sell" },
        hasItems ? this.drawItems(isOpen) : null,
        h("div", { class: "till-roll" }, this.drawCart(isOpen), this.drawAmount(isOpen), this.drawKeypad(isOpen), this.drawOptions(isOpen), this.drawCharge(isOpen)),
      ),
    );
  }

  drawAmount(isOpen) {
    const input = h("input", {
      id: "amount", class: "amount", "data-key": "amount", "data-home": true, readonly: true, inputmode: "none", autocomplete: "off", disabled: isOpen,
      value: this.till.money(this.typedMinor), "aria-label": t("amount"),
    });
    input.addEventListener("keydown", (event) => this.onKey(event));
    return input;
  }

  onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const keys = { Backspace: "<", Delete: "C", Escape: "C", "+": "+" };
    const key = /^[0-9]$/.test(event.key) ? event.key : keys[event.key];
    if (event.key === "Enter") this.actions.charge();
    else if (key !== undefined) this.press(key);
    else return;
    event.preventDefault();
  }

  drawKeypad(isOpen) {
    const names = { C: t("key_clear"), "<": t("key_back"), "+": t("key_add") };
    const faces = { "<": "⌫" };
    const keys = ["7", "8", "9", "<", "4", "5", "6", "C", "1", "2", "3", "+", "0", "00"].map((key) =>
      h("button", { type: "button", class: `button key key-${names[key] ? "does" : key}`, disabled: isOpen, "data-key": `key-${key}`, "aria-label": names[key], onclick: () => this.press(key) }, faces[key] ?? key),
    );
    return h("div", { class: "keypad", role: "group", "aria-label": t("keypad") }, ...keys);
  }

  drawItems(isOpen) {
    const { items } = this.till.page;
    const groupName = (item) => (language() === "zh-Hans" ? item.group_zh : item.group) || t("items_other");
    const groups = [...new Set(items.map((item) => item.group ?? ""))];
    const shown = groups.includes(this.shownGroup) ? this.shownGroup : groups[0];
    const tabs = groups.length < 2 ? null : h("div", { class: "groups" }, ...groups.map((group) => {
      const first = items.find((item) => (item.group ?? "") === group);
      return button(groupName(first), () => { this.shownGroup = group; this.actions.changed(); }, { kind: "group", key: `group-${group}`, "aria-pressed": String(group === shown) });
    }));
    const buttons = items.filter((item) => (item.group ?? "") === shown).map((item) =>
      h("button", { type: "button", class: "button item", disabled: isOpen, "data-key": `item-${item.name}`, onclick: () => this.addItem(item) }, h("span", { class: "item-name" }, nameIn(language(), item)), h("span", { class: "item-price" }, this.till.money(item.price_minor))),
    );
    return h("section", { class: "items", "aria-label": t("items") }, tabs, h("div", { class: "item-grid" }, ...buttons));
  }

  drawCart(isOpen) {
    const name = ({ item }) => (item === null ? t("cart_amount") : nameIn(language(), item));
    if (this.lines.length === 0) return h("p", { class: "cart-empty" }, this.till.page.items?.length ? t("cart_empty") : "");
    const rows = this.lines.map((line, index) =>
      h(
        "li",
        { class: "cart-line" },
        h("span", { class: "cart-name" }, name(line)),
        h("span", { class: "cart-steps" },
          h("button", { type: "button", class: "button step", disabled: isOpen, "aria-label": line.quantity > 1 ? `− ${name(line)}` : t("cart_remove", { name: name(line) }), "data-key": `less-${index}`, onclick: () => this.change(line, -1) }, "−"),
          h("span", { class: "cart-quantity" }, String(line.quantity)),
          h("button", { type: "button", class: "button step", disabled: isOpen, "aria-label": `+ ${name(line)}`, "data-key": `more-${index}`, onclick: () => this.change(line, 1) }, "+"),
        ),
        h("span", { class: "cart-price" }, this.till.money(totalOf(line))),
      ),
    );
    const tax = sumOf(this.lines, taxIn);
    return h(
      "section",
      { class: "cart", "aria-label": t("cart") },
      h("ul", { class: "cart-lines", tabindex: 0, "aria-label": t("cart") }, ...rows),
      h("div", { class: "cart-foot" }, tax > 0 ? h("span", { class: "cart-tax" }, `${t("tax_included")} ${this.till.money(tax)}`) : h("span", {}),
        button(t("cart_clear"), () => { this.lines = []; this.actions.changed(); }, { kind: "small", key: "cart-clear", disabled: isOpen })),
    );
  }

  drawOptions(isOpen) {
    const details = h("details", { class: "options", open: this.optionsOpen });
    details.addEventListener("toggle", () => { this.optionsOpen = details.open; });
    const hold = h("input", { type: "checkbox", id: "hold", "data-key": "hold", disabled: isOpen, checked: this.isHold, onchange: (event) => { this.isHold = event.target.checked; this.actions.changed(); } });
    const tip = h("input", { type: "text", inputmode: "decimal", class: "text", "data-key": "tip", disabled: isOpen || !this.isHold, value: this.tipText, autocomplete: "off" });
    tip.addEventListener("input", () => { this.tipText = tip.value; this.actions.redrawCharge(); });
    details.append(h("summary", { "data-key": "options" }, t("options")), h("div", { class: "check" }, hold, h("label", { for: "hold" }, t("hold"))), field(t("tip_max"), tip, t("tip_hint")));
    return details;
  }

  drawCharge(isOpen) {
    const request = this.request;
    const words = request === null ? t("charge_nothing") : t("charge", { amount: this.till.money(request.amount_minor) });
    const wrong = this.tipMinor === null ? h("p", { class: "wrong", role: "alert" }, t("not_an_amount")) : null;
    return h("div", { id: "charge-row" }, wrong, button(words, () => this.actions.charge(), { kind: "primary charge", key: "charge", disabled: isOpen || request === null || !this.till.isConnected || this.till.isStarting }));
  }
}
