// Money as whole minor units; never a fraction of a number.

import { language } from "./language.js";

export const AMOUNT_MINOR_MAX = 999_999_999_999;

/** Minor units as people read them, such as €1,250.00. */
export function formatMoney(minor, currency, exponent) {
  const digits = String(Math.abs(minor)).padStart(exponent + 1, "0");
  const whole = digits.slice(0, digits.length - exponent).replace(/\B(?=(\d{3})+$)/g, ",");
  const fraction = exponent === 0 ? "" : `.${digits.slice(-exponent)}`;
  return `${minor < 0 ? "−" : ""}${symbolOf(currency)}${whole}${fraction}`;
}

/** What somebody typed, such as 12.50, as minor units; null is no amount. */
export function parseMoney(text, exponent) {
  const form = /^(\d{1,12})(?:[.,](\d{1,4}))?$/.exec(text.trim());
  if (form === null || (form[2] ?? "").length > exponent) return null;
  const minor = Number(form[1] + (form[2] ?? "").padEnd(exponent, "0"));
  return minor <= AMOUNT_MINOR_MAX ? minor : null;
}

/** Minor units as somebody types them, such as 12.50. */
export function plainMoney(minor, exponent) {
  const digits = String(minor).padStart(exponent + 1, "0");
  return exponent === 0 ? digits : `${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}

/** What of a price is tax that it includes, half a unit rounded up. */
export function taxOf(totalMinor, basisPoints) {
  // BigInt: the product may be larger than a number counts exactly.
  const whole = BigInt(totalMinor) * BigInt(basisPoints);
  const parts = 10_000n + BigInt(basisPoints);
  return Number((2n * whole + parts) / (2n * parts));
}

function symbolOf(currency) {
  const parts = new Intl.NumberFormat(language(), { style: "currency", currency, currencyDisplay: "narrowSymbol" }).formatToParts(0);
  const symbol = parts.find((part) => part.type === "currency").value;
  return symbol === currency ? `${symbol} ` : symbol;
}
