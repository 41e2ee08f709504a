// The language shown, remembered in this browser; and what is written in it.

import { h } from "./dom.js";
import { LANGUAGES, WORDS } from "./words.js";

const KEY = "tapscan.language";
let current = remembered() ?? (navigator.language.startsWith("zh") ? "zh-Hans" : "en");
const watchers = [];

export function language() {
  return current;
}

/** Show the till's language, unless somebody has chosen another in this browser. */
export function suggestLanguage(tag) {
  if (remembered() === null && LANGUAGES.includes(tag)) show(tag);
}

function chooseLanguage(tag) {
  localStorage.setItem(KEY, tag);
  show(tag);
}

/** A button for each language, in its own words. */
export function languageButtons() {
  return LANGUAGES.map((tag) =>
    h("button", { type: "button", class: "button small", lang: tag, "data-key": `language-${tag}`, "aria-pressed": String(tag === current), onclick: () => chooseLanguage(tag) }, WORDS[tag].language_name),
  );
}

/** Call back now and whenever another language is chosen. */
export function onLanguage(write) {
  watchers.push(write);
  write();
}

/** The words of a key, with {names} filled in. */
export function t(key, values = {}) {
  const words = WORDS[current][key];
  if (words === undefined) throw new Error(`no words for ${key}`);
  return words.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function has(key) {
  return key in WORDS[current];
}

/** One of the daemon's texts by language tag. */
export function pick(texts) {
  return texts?.[current] ?? texts?.en ?? "";
}

export function timeOf(ms) {
  return new Intl.DateTimeFormat(current, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(ms);
}

export function dateTimeOf(ms) {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  if (isToday) return timeOf(ms);
  return new Intl.DateTimeFormat(current, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  }).format(ms);
}

/** Time that is left, such as 1:05. */
export function minutesOf(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function show(tag) {
  current = tag;
  document.documentElement.lang = tag;
  for (const write of watchers) write();
}

function remembered() {
  const tag = localStorage.getItem(KEY);
  return LANGUAGES.includes(tag) ? tag : null;
}

document.documentElement.lang = current;
