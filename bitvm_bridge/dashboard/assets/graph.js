// The transactions of an instance as boxes, the outputs that they spend as wires. The server has placed them.

import { h, svg } from "./dom.js";
import { coins, plural, stateLine, STATES } from "./words.js";

const RADIUS = 5;

/** A path through the points of a wire that leaves and enters every box horizontally. */
function path(points) {
  const [[x, y], ...rest] = points;
  let d = `M${x} ${y}`;
  let [fromX, fromY] = [x, y];
  for (const [toX, toY] of rest) {
    const bend = (toX - fromX) / 2;
    d += fromY === toY ? `H${toX}` : `C${fromX + bend} ${fromY} ${toX - bend} ${toY} ${toX} ${toY}`;
    [fromX, fromY] = [toX, toY];
  }
  return d;
}

function wireTitle(wire) {
  if (wire.port === null) return `${wire.target} comes after ${wire.source}`;
  const wait = wire.wait ? `, ${plural(wire.wait, "block")} after it confirmed` : "";
  return `${wire.target} spends ${wire.source}.${wire.port} by the leaf “${wire.leaf}”${wait}`;
}

function drawWire(wire, target) {
  const kind = wire.port === null ? "order" : "spend";
  const attributes = { d: path(wire.points), "data-source": wire.source, "data-target": wire.target };
  return svg("path", { class: `wire ${kind} ${wire.state} ${target.state}`, ...attributes }, svg("title", {}, wireTitle(wire)));
}

function drawPort(box, port) {
  const y = port.y - box.y;
  return svg(
    "g",
    { class: `port ${port.state}` },
    svg("title", {}, `${box.name}.${port.name}, ${coins(port.amount)}: ${port.state}`),
    svg("text", { x: 14, y: y + 4 }, port.count > 1 ? `${port.name} ×${port.count}` : port.name),
    svg("text", { class: "amount", x: box.width - 14, y: y + 4 }, coins(port.amount)),
    svg("circle", { cx: box.width, cy: y, r: 3.5 }),
  );
}

function label(box) {
  const owed = box.owed ? `, ${box.owed.by}` : `, ${box.sender}`;
  return `${box.name}: ${STATES[box.state]}, ${stateLine(box)}${owed}`;
}

function who(box) {
  const name = box.owed ? box.owed.by : box.sender;
  return box.owed?.if ? `${name}, if…` : name;
}

function drawBox(box, open) {
  const show = () => open(box.shown);
  const keys = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    show();
  };
  const title = box.members.length > 1 ? `${box.name} ×${box.members.length}` : box.name;
  const place = { transform: `translate(${box.x} ${box.y})` };
  const access = { tabindex: 0, role: "button", "aria-label": label(box), "data-key": box.name, "data-name": box.name };
  const highlight = (event) => mark(event.currentTarget, box.name);
  const clear = (event) => mark(event.currentTarget, null);
  const events = { onclick: show, onkeydown: keys };
  const hover = { onmouseenter: highlight, onmouseleave: clear, onfocus: highlight, onblur: clear };
  return svg(
    "g",
    { class: `box ${box.state}${box.owed ? " owed" : ""}`, ...place, ...access, ...events, ...hover },
    svg("title", {}, [label(box), box.reason, box.owed?.if && `if ${box.owed.if}`].filter(Boolean).join("; ")),
    svg("rect", { class: "card", width: box.width, height: box.height, rx: RADIUS }),
    svg("rect", { class: "edge", width: 4, height: box.height - 16, x: 0, y: 8 }),
    svg("text", { class: "name", x: 14, y: 21 }, title),
    svg("text", { class: "state", x: 14, y: 37 }, stateLine(box)),
    svg("text", { class: "who", x: 14, y: 53 }, who(box)),
    box.ports.map((port) => drawPort(box, port)),
  );
}

/** While a box is looked at, only its own wires stand out. */
function mark(element, name) {
  const picture = element.ownerSVGElement;
  if (!picture) return;
  picture.classList.toggle("marking", name !== null);
  for (const wire of picture.querySelectorAll(".wire")) {
    wire.classList.toggle("marked", wire.dataset.source === name || wire.dataset.target === name);
  }
}

const LEGEND = ["confirmed", "pending", "ready", "waiting", "later", "impossible"];

function legend() {
  return h("ul", { class: "legend" }, LEGEND.map((state) => h("li", { class: state }, STATES[state])));
}

/** What is drawn over what, where wires run together. */
const DEPTH = ["impossible", "unknown", "later", "waiting", "ready", "pending", "confirmed"];

export function drawGraph(graph, open) {
  const boxes = new Map(graph.boxes.map((box) => [box.name, box]));
  const depth = (wire) => DEPTH.indexOf(boxes.get(wire.target).state);
  const wires = [...graph.wires].sort((one, other) => depth(one) - depth(other));
  const size = { viewBox: `0 0 ${graph.width} ${graph.height}`, width: graph.width, height: graph.height };
  return h(
    "div",
    { class: "graph" },
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "Transaction graph", "data-key": "graph" },
      svg(
        "svg",
        { ...size, class: "picture", role: "group" },
        svg("g", { class: "wires" }, wires.map((wire) => drawWire(wire, boxes.get(wire.target)))),
        svg("g", { class: "boxes" }, graph.boxes.map((box) => drawBox(box, open))),
      ),
    ),
    legend(),
  );
}
