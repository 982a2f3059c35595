// A transaction, decoded, in the drawer.

import { h, terms } from "./dom.js";
import { code, number, plural, sat, STATES, stateLine } from "./words.js";

const FORMS = {
  confirmed: "as it confirmed",
  mempool: "as it waits in the mempool",
  made: "as this party made it",
  signed: "signed at set-up",
  unsigned: "the part that is fixed, unsigned",
  unknown: "made by a wallet, not known here",
};

function copyButton(text) {
  const said = h("span", { class: "said", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "copied";
    } catch {
      said.textContent = "the browser does not allow it; select the text below";
    }
  };
  return h("p", { class: "copy" }, h("button", { type: "button", onclick: copy, "data-key": "copy" }, "Copy hex"), said);
}

function hex(title, part) {
  if (!part) return null;
  const size = part.cut ? `first ${number(part.hex.length / 2)} of ${plural(part.size, "byte")}` : plural(part.size, "byte");
  return fold(`${title} · ${size}`, h("pre", { class: "hex", tabindex: 0 }, part.hex || "(empty)"));
}

function fold(title, ...content) {
  return h("details", { "data-fold": title }, h("summary", { "data-key": `fold-${title}` }, title), content);
}

function leaves(found) {
  if (!found) return null;
  const rows = found.first.map((leaf) =>
    h("li", {}, h("code", {}, leaf.name), ` ${number(leaf.size)} B`, leaf.wait ? `, after ${plural(leaf.wait, "block")}` : ""),
  );
  const more = found.count - found.first.length;
  const heading = `${found.count === 1 ? "1 leaf" : `${number(found.count)} leaves`} · ${plural(found.size, "byte")}`;
  return fold(heading, h("ul", { class: "leaves" }, rows, more > 0 && h("li", {}, `and ${number(more)} more`)));
}

function signature(input) {
  if (input.signature) return "made at set-up";
  if (!input.signer) return "none: a proof";
  return input.witness_items ? "in the witness" : "made when it is sent";
}

function inputBlock(input, index) {
  const known = input.name !== null;
  const pairs = [
    ["output", code(input.outpoint, 24)],
    ["amount", known ? sat(input.amount) : null],
    ["leaf", known ? h("code", {}, input.leaf) : null],
    ["signer", known ? (input.signer ?? "nobody") : null],
    ["sighash", known && input.signer ? input.sighash : null],
    ["signature", known ? signature(input) : null],
    ["wait", input.wait ? `${plural(input.wait, "block")} after it confirmed` : null],
    ["sequence", `0x${input.sequence.toString(16).padStart(8, "0")}`],
  ];
  return h(
    "li",
    { class: "part" },
    h("h4", {}, known ? input.spends : "a wallet’s coin", h("span", { class: "index" }, `input ${index}`)),
    terms("pairs", pairs),
    hex("leaf script", input.script),
    hex("control block", input.control_block),
    input.leaf_hash && fold("leaf hash", h("pre", { class: "hex", tabindex: 0 }, input.leaf_hash)),
    input.signature && fold("signature", h("pre", { class: "hex", tabindex: 0 }, input.signature)),
    leaves(input.leaves),
    input.witness_items > 0 &&
      fold(
        `witness · ${plural(input.witness_items, "item")}`,
        h("ol", { class: "witness" }, input.witness.map((item) => h("li", {}, hex("item", item)))),
        input.witness_items > input.witness.length && h("p", {}, "Further items are not shown."),
      ),
  );
}

function outputBlock(output) {
  return h(
    "li",
    { class: "part" },
    h("h4", {}, output.name ?? "added by the sender", h("span", { class: "index" }, `output ${output.index}`)),
    terms("pairs", [
      ["amount", sat(output.amount)],
      ["address", output.address && code(output.address, 24)],
    ]),
    hex("script", output.script),
    leaves(output.leaves),
  );
}

function rawBlock(tx) {
  if (!tx.raw) return h("p", { class: "hint" }, "It cannot be sent as it is.");
  if (tx.raw.hex === null) return h("p", { class: "hint" }, `${plural(tx.raw.size, "byte")}: too large to show here.`);
  return [copyButton(tx.raw.hex), h("pre", { class: "hex raw", tabindex: 0 }, tx.raw.hex)];
}

function chooser(members, name, open) {
  if (members.length < 2) return null;
  const change = (event) => open(event.target.value);
  const options = members.map((member) => h("option", { value: member, selected: member === name }, member));
  return h("p", {}, h("label", {}, `One of ${members.length}: `, h("select", { onchange: change, "data-key": "member" }, options)));
}

/** What goes into the drawer; `members` are the transactions of the same kind. */
export function drawDetail(tx, members, { open, close }) {
  const owed = tx.owed && `${tx.owed.by}${tx.owed.if ? `, if ${tx.owed.if}` : ""}`;
  const open_ = tx.open.length ? h("p", { class: "hint" }, `Whoever sends it adds ${tx.open.join(", ")}.`) : null;
  return [
    h(
      "header",
      { class: `drawer-head ${tx.state}` },
      h("h2", { id: "drawer-title", tabindex: -1 }, tx.name),
      h("button", { type: "button", class: "close", "aria-label": "Close", "data-key": "close", onclick: close }, "×"),
      h("p", { class: "state" }, STATES[tx.state], tx.state === "impossible" ? "" : h("span", {}, ` · ${stateLine(tx)}`)),
    ),
    h("p", { class: "title" }, tx.title),
    tx.reason && h("p", { class: "reason" }, tx.reason),
    chooser(members, tx.name, open),
    terms("pairs", [
      ["txid", tx.txid ? h("code", { class: "whole" }, tx.txid) : "depends on coins added later"],
      ["sent by", tx.sender],
      ["owed by", owed],
      ["form", FORMS[tx.form]],
      ["size", tx.vsize && `${number(tx.vsize)} vB${tx.weight ? `, ${number(tx.weight)} WU` : ""}`],
      ["fee", tx.fee === null ? null : tx.fee === 0 ? "0 sat: a child pays for it" : sat(tx.fee)],
      ["version", tx.version],
      ["lock time", tx.lock_time],
    ]),
    h("h3", {}, "Raw transaction"),
    rawBlock(tx),
    h("h3", {}, plural(tx.inputs.length, "input")),
    h("ol", { class: "parts" }, tx.inputs.map(inputBlock)),
    h("h3", {}, plural(tx.outputs.length, "output")),
    h("ol", { class: "parts" }, tx.outputs.map(outputBlock)),
    open_,
  ];
}

