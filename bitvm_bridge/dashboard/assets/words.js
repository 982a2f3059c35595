// How values are said.

import { h } from "./dom.js";

const NUMBERS = new Intl.NumberFormat("en");

export const number = (value) => NUMBERS.format(value);

export const sat = (value) => `${number(value)} sat`;

/** An amount of coins without zeros that say nothing: 1.2 BTC. */
export function coins(value) {
  if (value < 100_000) return sat(value);
  const [whole, part] = (value / 1e8).toFixed(8).split(".");
  const decimals = part.replace(/0+$/, "");
  return `${number(Number(whole))}${decimals && `.${decimals}`} BTC`;
}

export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

export const short = (hex, digits = 12) => (hex.length > digits ? `${hex.slice(0, digits)}…` : hex);

/** Hex whose beginning is shown and whose whole is in its title. */
export const code = (hex, digits) => h("code", { title: hex }, digits ? short(hex, digits) : hex);

export const STATES = {
  confirmed: "confirmed",
  pending: "in the mempool",
  ready: "can be sent now",
  waiting: "a lock has not passed",
  later: "another comes first",
  impossible: "impossible",
  unknown: "unknown",
};

/** The state of a transaction in a few words, with its block. */
export function stateLine(tx) {
  switch (tx.state) {
    case "confirmed":
      return `block ${number(tx.block)}`;
    case "ready":
      return tx.before ? `now, before ${number(tx.before)}` : "can be sent now";
    case "waiting":
      return tx.before ? `blocks ${number(tx.block)}–${number(tx.before - 1)}` : `from block ${number(tx.block)}`;
    case "later":
      return tx.reason;
    default:
      return STATES[tx.state];
  }
}

const TONES = {
  "kicked-off": "live",
  challenged: "alarm",
  revealed: "live",
  asserted: "live",
  exposed: "alarm",
  condemned: "alarm",
  taken: "done",
  refunded: "done",
  "pegged-in": "calm",
  deposited: "calm",
  disproved: "ended",
  "timed-out": "ended",
  forfeited: "ended",
  moved: "alarm",
  "bond-moved": "alarm",
  unreadable: "alarm",
};

export const badge = (state) => h("span", { class: `badge tone-${TONES[state] ?? "plain"}` }, state);

/** When something can be sent: {now, from, before}, seen from the next block. */
export function when(duty, height) {
  const start = duty.now ? "now" : `from block ${number(duty.from)}`;
  return duty.before === null ? start : `${start}, before ${number(duty.before)}${left(duty, height)}`;
}

function left(duty, height) {
  if (height === null || !duty.now) return "";
  const blocks = duty.before - height - 1;
  return blocks > 0 ? ` (${plural(blocks, "block")} left)` : " (overdue)";
}
