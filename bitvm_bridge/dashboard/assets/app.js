// Asks the server every few seconds and draws what has changed.

import { byId, h, replace, terms } from "./dom.js";
import { drawCalendar } from "./calendar.js";
import { drawDetail } from "./detail.js";
import { drawGraph } from "./graph.js";
import { badge, code, coins, number, plural, short, when } from "./words.js";

const PERIOD = 3000;

/** What is drawn now, as the texts that it was drawn from. */
const drawn = { overview: "", instance: "", tx: "" };
let returnTo = null;

/** #/INSTANCE/TRANSACTION, both optional; whether there are such is for whoever asks to see. */
function place() {
  const [instance, tx] = location.hash.replace(/^#\/?/, "").split("/");
  return { instance, tx };
}

const address = (instance, tx) => (tx ? `#/${instance}/${tx}` : `#/${instance}`);

class Unanswered extends Error {}

/** The text of a document; null where there is none. */
async function ask(path) {
  try {
    const response = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
    if (response.status === 404) return null;
    if (response.ok) return await response.text();
    throw new Unanswered(`status ${response.status}`);
  } catch (error) {
    throw error instanceof Unanswered ? error : new Unanswered(error.message);
  }
}

/** Draws where something else is drawn. */
function update(slot, text, draw) {
  if (drawn[slot] === text) return;
  drawn[slot] = text;
  draw();
}

function drawNotice(problems) {
  const text = problems.filter(Boolean);
  const notice = byId("notice");
  notice.hidden = text.length === 0;
  replace(notice, text.map((line) => h("p", {}, line)));
  document.body.classList.toggle("stale", text.length > 0);
}

function drawFacts(overview) {
  const facts = terms("facts", [
    ["network", overview.network],
    ["node", overview.node.name || "none"],
    ["block", overview.height === null ? "–" : number(overview.height)],
    ["at risk", coins(overview.at_risk)],
  ]);
  facts.id = "facts";
  byId("facts").replaceWith(facts);
}

function problems(overview) {
  const { node, store } = overview;
  const since = overview.height === null ? "" : ` What is shown is as of block ${number(overview.height)}.`;
  return [
    node.problem && `The node does not answer: ${node.problem}.${since}`,
    store.problem && `The store cannot be read: ${store.problem.replace(/^store: /, "")}.`,
    !overview.ready && "Reading the store and the chain…",
  ];
}

function drawNext(duties, height) {
  if (!duties.length) return h("span", { class: "muted" }, "nothing is owed");
  const [first] = [...duties].sort((one, other) => (one.before ?? Infinity) - (other.before ?? Infinity));
  return [h("b", {}, first.name), ` by ${first.by}, ${when(first, height)}`];
}

function drawRow(row, overview, selected) {
  return h(
    "tr",
    { class: row.instance === selected ? "selected" : null },
    h(
      "td",
      {},
      h(
        "a",
        { href: address(row.instance), "data-key": row.instance, "aria-current": row.instance === selected ? "true" : null },
        h("code", {}, short(row.instance)),
      ),
    ),
    h("td", {}, badge(row.state)),
    h("td", { class: "sum" }, row.at_risk ? coins(row.at_risk) : h("span", { class: "muted" }, "–")),
    h("td", { class: "next" }, row.problem ? h("span", { class: "problem" }, row.problem) : drawNext(row.next, overview.height)),
  );
}

function drawOverview(overview, selected) {
  drawFacts(overview);
  drawNotice(problems(overview));
  const section = byId("overview");
  if (!overview.instances.length) {
    const line = ["No instance yet: ", h("code", {}, "operator join"), " makes one, ", h("code", {}, "instance import")];
    const known = overview.ready && !overview.store.problem;
    replace(section, known && h("p", { class: "empty" }, line, " takes one from a file."));
    return;
  }
  const head = ["instance", "state", "at risk", "next deadline"].map((title) => h("th", { scope: "col" }, title));
  const rows = overview.instances.map((row) => drawRow(row, overview, selected));
  replace(
    section,
    h("h2", { class: "count" }, plural(overview.instances.length, "instance")),
    h("table", { class: "instances" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)),
  );
}

function drawOwed(instance, open) {
  if (!instance.next.length) return h("p", { class: "muted" }, "Nothing is left that any party would send.");
  return h(
    "ul",
    { class: "owed-list" },
    [...instance.next].sort((one, other) => one.from - other.from).map((duty) =>
      h(
        "li",
        { class: duty.now ? "due" : null },
        h("span", { class: "by" }, duty.by),
        h("button", { type: "button", class: "link", "data-key": `owed-${duty.name}`, onclick: () => open(duty.name) }, duty.name),
        h("span", { class: "when" }, when(duty, instance.height), duty.if ? `, if ${duty.if}` : ""),
      ),
    ),
  );
}

function drawHistory(events, open) {
  if (!events.length) return h("p", { class: "muted" }, "Nothing has confirmed yet.");
  return h(
    "table",
    { class: "history" },
    h("thead", {}, h("tr", {}, ["block", "event", "size", "txid"].map((title) => h("th", { scope: "col" }, title)))),
    h(
      "tbody",
      {},
      events.map((event) =>
        h(
          "tr",
          {},
          h("td", { class: "sum" }, number(event.height)),
          h("td", {}, event.event),
          h("td", { class: "sum" }, `${number(event.vsize)} vB`),
          h("td", { class: "txid" }, code(event.txid, 24)),
        ),
      ),
    ),
  );
}

function drawSetup(instance) {
  return terms("pairs setup", [
    ["vault", coins(instance.vault)],
    ["bond", coins(instance.params.bond)],
    ["operator", code(instance.operator, 16)],
    ["deposit", code(instance.deposit, 16)],
    ["program", instance.program],
    ["committee", instance.members.map((member, index) => [index ? ", " : "", h("span", { title: member.key }, member.name)])],
    ["pre-signed", instance.signed ? "yes" : "not yet"],
  ]);
}

/** Windows that are over: the deposit's, once it has moved. */
const isOver = (windows) => windows.base === "PegInDeposit" && windows.rows.some((row) => row.state === "confirmed");

function drawInstance(instance) {
  const article = byId("instance");
  article.hidden = instance === null;
  if (instance === null) return;
  const open = (name) => {
    returnTo = document.activeElement?.dataset?.key ?? null;
    location.hash = address(instance.instance, name);
  };
  const scrolled = article.querySelector(".scroll")?.scrollLeft ?? 0;
  const calendars = instance.windows.filter((windows) => !isOver(windows)).reverse();
  replace(
    article,
    h(
      "header",
      { class: "title-line" },
      h("h2", {}, "Instance ", h("code", { title: instance.instance }, short(instance.instance))),
      badge(instance.state),
      h("p", { class: "risk" }, instance.at_risk ? [h("b", {}, coins(instance.at_risk)), " at risk"] : null),
    ),
    instance.problem && h("p", { class: "problem" }, instance.problem),
    h("section", { "aria-label": "What is owed" }, h("h3", {}, "Owed"), drawOwed(instance, open)),
    h("section", { "aria-label": "Graph" }, h("h3", {}, "Transactions"), drawGraph(instance.graph, open)),
    h(
      "section",
      { "aria-label": "Deadlines" },
      h("h3", {}, "Deadlines"),
      calendars.map((windows) => drawCalendar(windows, instance.next_block, open)),
    ),
    h(
      "div",
      { class: "columns" },
      h("section", { "aria-label": "History" }, h("h3", {}, "History"), drawHistory(instance.events)),
      h("section", { "aria-label": "Set-up" }, h("h3", {}, "Set-up"), drawSetup(instance)),
    ),
  );
  article.querySelector(".scroll").scrollLeft = scrolled;
}

function closeDrawer() {
  location.hash = address(place().instance);
}

function drawDrawer(tx, members, instance) {
  const drawer = byId("drawer");
  const wasOpen = !drawer.hidden && drawer.dataset.name === tx?.name;
  const unfolded = new Set([...drawer.querySelectorAll("details[open]")].map(position));
  drawer.hidden = tx === null;
  document.body.classList.toggle("drawing", tx !== null);
  if (tx === null) {
    giveFocusBack();
    return;
  }
  drawer.dataset.name = tx.name;
  const open = (name) => {
    location.hash = address(instance, name);
  };
  replace(drawer, drawDetail(tx, members, { open, close: closeDrawer }));
  if (wasOpen) {
    for (const details of drawer.querySelectorAll("details")) details.open = unfolded.has(position(details));
  } else {
    drawer.scrollTop = 0;
    byId("drawer-title").focus({ preventScroll: true });
  }
}

const position = (details) => [...byId("drawer").querySelectorAll("details")].indexOf(details);

function giveFocusBack() {
  if (returnTo === null) return;
  for (const candidate of document.querySelectorAll("[data-key]")) {
    if (candidate.dataset.key === returnTo) candidate.focus({ preventScroll: true });
  }
  returnTo = null;
}

function drawLive(text, isLive) {
  const live = byId("live");
  live.classList.toggle("on", isLive);
  if (live.textContent !== text) live.textContent = text;
}

/** Asks for all that is to be shown, and then draws all of it, so that no part is newer than another. */
async function look() {
  const wanted = place();
  const summary = await ask("api/overview");
  const overview = JSON.parse(summary);
  const known = overview.instances.map((row) => row.instance);
  const selected = known.includes(wanted.instance) ? wanted.instance : (known[0] ?? null);
  const text = selected && (await ask(`api/instance/${selected}`));
  const instance = text ? JSON.parse(text) : null;
  const chosen = instance && selected === wanted.instance && Object.hasOwn(instance.transactions, wanted.tx ?? "");
  const detail = chosen ? await ask(`api/instance/${selected}/tx/${wanted.tx}`) : null;
  const group = chosen ? instance.graph.boxes.find((box) => box.members.includes(wanted.tx)) : null;
  update("overview", `${summary}${selected ?? ""}`, () => drawOverview(overview, selected));
  update("instance", text, () => drawInstance(instance));
  update("tx", detail, () => drawDrawer(detail ? JSON.parse(detail) : null, group?.members ?? [], selected));
  const isLive = overview.ready && !overview.node.problem && !overview.store.problem;
  drawLive(isLive ? `live · block ${number(overview.height)}` : "not live", isLive);
}

/** What is shown stays, and is said to be old; an error of the page itself goes to the console as well. */
function failed(error) {
  drawn.overview = "";
  const reason = error instanceof Unanswered ? "The dashboard does not answer" : "This page has failed";
  drawNotice([`${reason} (${error.message}). What is shown may be old.`]);
  drawLive("not live", false);
  if (!(error instanceof Unanswered)) reportError(error);
}

let looking = null;
let again = false;

/** One look at a time; one that is asked for meanwhile follows. */
async function refresh() {
  if (looking) {
    again = true;
    return;
  }
  looking = look().catch(failed);
  await looking;
  looking = null;
  document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1);
  if (again) {
    again = false;
    refresh();
  }
}

addEventListener("hashchange", refresh);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !byId("drawer").hidden) closeDrawer();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("overview").focus();
});
setInterval(() => document.hidden || refresh(), PERIOD);
refresh();
