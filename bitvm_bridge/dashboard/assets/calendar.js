// When what may confirm: bars over blocks, and where the chain is now.

import { h } from "./dom.js";
import { number, plural, STATES } from "./words.js";

const MIN_TICK = 7; // percent of the track between two labels

const WORDS = {
  KickOff: { relative: "Blocks after KickOff, which has not confirmed", absolute: "KickOff confirmed in block" },
  PegInDeposit: { relative: "Blocks after the deposit, which has not confirmed", absolute: "The deposit confirmed in block" },
};

/** From the block after the base to a little past the last change. */
function span(windows, nextBlock) {
  const start = windows.height ?? 0;
  const marks = windows.rows.flatMap((row) => [row.from, row.before ?? row.from]);
  const last = Math.max(...marks, start + 1);
  const room = Math.max(2, Math.round((last - start) * 0.14));
  const now = windows.height !== null && nextBlock !== null ? nextBlock : null;
  return { start, end: last + room, marks: [...new Set([start, ...marks])].sort((a, b) => a - b), now };
}

function percent(range, block) {
  const share = (block - range.start) / (range.end - range.start);
  return Math.min(100, Math.max(0, 100 * share));
}

function placed(element, left, right) {
  element.style.setProperty("left", `${left}%`);
  if (right !== undefined) element.style.setProperty("right", `${100 - right}%`);
  return element;
}

function blocks(row, relative) {
  const sign = relative ? "+" : "";
  const last = row.before === null ? null : row.before - 1;
  if (last === null) return `from ${sign}${number(row.from)}`;
  return last > row.from ? `${sign}${number(row.from)} to ${sign}${number(last)}` : `${sign}${number(row.from)} only`;
}

function countdown(row, now) {
  if (row.state === "confirmed") return `in block ${number(row.block)}`;
  if (row.state === "impossible") return "impossible";
  if (row.state === "pending") return "in the mempool";
  if (now === null) return "";
  if (now < row.from) return `opens in ${plural(row.from - now, "block")}`;
  if (row.state === "later") return row.reason;
  if (row.before === null) return "open";
  return now < row.before ? `${plural(row.before - now, "block")} left` : "too late";
}

function drawRow(row, range, relative, open) {
  const bar = h("span", { class: "bar", title: `${row.name}: ${STATES[row.state]}` });
  const track = h("div", { class: "track" }, placed(bar, percent(range, row.from), percent(range, row.before ?? range.end)));
  if (range.now !== null) track.append(placed(h("span", { class: "mark" }), percent(range, range.now)));
  if (row.state === "confirmed") {
    const dot = h("span", { class: "dot", title: `confirmed in block ${number(row.block)}` });
    track.append(placed(dot, percent(range, row.block)));
  }
  const name = row.count > 1 ? `${row.name.replace(/_\d+$/, "")} ×${row.count}` : row.name;
  const who = row.owed ? row.owed.by : row.sender;
  const condition = row.owed?.if ? `, if ${row.owed.if}` : "";
  return h(
    "li",
    { class: `row ${row.state}${row.before === null ? " endless" : ""}${row.owed ? " owed" : ""}` },
    h(
      "div",
      { class: "what" },
      h("button", { type: "button", class: "link", "data-key": `row-${row.name}`, onclick: () => open(row.name) }, name),
      h("span", { class: "who" }, who, condition),
    ),
    track,
    h("div", { class: "when" }, h("span", {}, blocks(row, relative)), h("b", {}, countdown(row, range.now))),
  );
}

function drawAxis(range, relative) {
  let last = -Infinity;
  const ticks = [];
  for (const block of range.marks) {
    const left = percent(range, block);
    if (left - last < MIN_TICK) continue;
    last = left;
    ticks.push(placed(h("span", { class: "tick" }, relative ? `+${number(block)}` : number(block)), left));
  }
  return h("div", { class: "axis", "aria-hidden": "true" }, h("div", { class: "track" }, ticks));
}

function drawNow(range) {
  if (range.now === null || range.now > range.end) return null;
  const line = placed(h("span", { class: "now" }, h("span", {}, `next ${number(range.now)}`)), percent(range, range.now));
  return h("div", { class: "nowline", "aria-hidden": "true" }, h("div", { class: "track" }, line));
}

export function drawCalendar(windows, nextBlock, open) {
  const relative = windows.height === null;
  const range = span(windows, nextBlock);
  const words = WORDS[windows.base];
  const next = nextBlock === null ? "" : ` The next block is ${number(nextBlock)}.`;
  return h(
    "div",
    { class: "calendar", "data-base": windows.base },
    h("p", { class: "hint" }, relative ? `${words.relative}.` : `${words.absolute} ${number(windows.height)}.${next}`),
    h(
      "div",
      { class: "chart" },
      drawAxis(range, relative),
      h("ol", { class: "rows" }, windows.rows.map((row) => drawRow(row, range, relative, open))),
      drawNow(range),
    ),
  );
}
