/** Decimal: exact sums and readable texts of decimals that come as texts. No digit passes through a float.
 *
 * A text that is no decimal, such as `NaN` or `1E+5`, is like one that is not known: a page that shows the rest is of more use.
 */

import type { Decimal } from "./wire.ts";

const UNKNOWN = "—";
const THIN = "\u202f";

/** Digits of an amount, and how many of them are behind the point. */
interface Scaled {
  digits: bigint;
  places: number;
}

const FORM = /^-?\d+(?:\.\d+)?$/;

/** Whether an amount is known, and a decimal. */
export function isKnown(amount: Decimal | null | undefined): amount is Decimal {
  return typeof amount === "string" && FORM.test(amount);
}

/** Whether something was told that is no decimal. */
export function isGarbled(amount: Decimal | null): boolean {
  return amount !== null && !isKnown(amount);
}

function scaled(text: Decimal): Scaled {
  const [whole = "", fraction = ""] = text.split(".");
  return { digits: BigInt(whole + fraction), places: fraction.length };
}

function raised(amount: Scaled, places: number): bigint {
  return amount.digits * 10n ** BigInt(places - amount.places);
}

function text(digits: bigint, places: number): Decimal {
  if (places === 0) return digits.toString();
  const sign = digits < 0n ? "-" : "";
  const padded = (digits < 0n ? -digits : digits).toString().padStart(places + 1, "0");
  return `${sign}${padded.slice(0, -places)}.${padded.slice(-places)}`;
}

/** The exact sum; null if anything of it is not known. */
export function sum(amounts: Iterable<Decimal | null>): Decimal | null {
  let digits = 0n;
  let places = 0;
  for (const amount of amounts) {
    if (!isKnown(amount)) return null;
    const next = scaled(amount);
    const most = Math.max(places, next.places);
    digits = digits * 10n ** BigInt(most - places) + raised(next, most);
    places = most;
  }
  return text(digits, places);
}

/** −1, 0 or 1; 0 also for what is not known. */
export function sign(amount: Decimal | null): number {
  if (!isKnown(amount)) return 0;
  const { digits } = scaled(amount);
  return digits > 0n ? 1 : digits < 0n ? -1 : 0;
}

/** Round half away from zero to so many places behind the point. */
export function rounded(amount: Decimal, places: number): Decimal {
  const given = scaled(amount);
  if (given.places <= places) return text(raised(given, places), places);
  const divisor = 10n ** BigInt(given.places - places);
  const half = divisor / 2n;
  const digits = (given.digits + (given.digits < 0n ? -half : half)) / divisor;
  return text(digits, places);
}

function grouped(amount: Decimal): string {
  const [whole = "", fraction] = amount.split(".");
  const apart = whole.replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
  return fraction === undefined ? apart : `${apart}.${fraction}`;
}

/** An amount for people: grouped, a real minus, `places` digits behind the point or as it is. */
export function shown(amount: Decimal | null | undefined, places?: number): string {
  if (!isKnown(amount)) return UNKNOWN;
  const exact = places === undefined ? amount : rounded(amount, places);
  return grouped(sign(exact) === 0 ? exact.replace("-", "") : exact).replace("-", "−");
}

/** The same with a plus before gains; what is rounded to nothing is no gain. */
export function signed(amount: Decimal | null | undefined, places?: number): string {
  const told = shown(amount, places);
  return signShown(amount, places) > 0 ? `+${told}` : told;
}

/** The sign of what a reader sees: of an amount rounded to so many places. */
export function signShown(amount: Decimal | null | undefined, places?: number): number {
  if (!isKnown(amount)) return 0;
  return sign(places === undefined ? amount : rounded(amount, places));
}

/** A ratio as a percentage: `0.034` is 3.40 %. */
export function percent(ratio: Decimal | null, places = 2): string {
  if (!isKnown(ratio)) return UNKNOWN;
  const { digits, places: known } = scaled(ratio);
  return `${shown(text(digits * 100n, known), places)}${THIN}%`;
}

/** What is a percentage already. */
export function percentage(amount: Decimal | null, places = 2): string {
  return isKnown(amount) ? `${shown(amount, places)}${THIN}%` : UNKNOWN;
}

/** A price without the zeros that say nothing, but with what its size makes worth reading. */
export function price(amount: Decimal | null): string {
  if (!isKnown(amount)) return UNKNOWN;
  const size = Math.abs(Number(amount)); // only to choose how much is shown
  const places = size >= 1000 ? 2 : size >= 1 ? 4 : 8;
  const given = scaled(amount).places;
  return shown(amount, Math.min(places, given));
}
