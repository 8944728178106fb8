// A line chart over time in SVG. Each line has a colour, a dash and a mark of
// its own, and the same numbers stand in a table below.

import { el } from "./ui.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 220;
const LEFT = 44;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 24;
const KINDS = 8; // of lines that the style sheet tells apart
const ROWS = 20; // of the table
const MARKS = ["M-3.5,0a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0",
	"M-3,-3h6v6h-6z", "M0,-4l4,7h-8z", "M0,-4.5l4.5,4.5l-4.5,4.5l-4.5,-4.5z",
	"M-4,-3h8l-4,7z", "M-1.2,-4h2.4v8h-2.4z", "M-4,-1.2h8v2.4h-8z",
	"M-3,-3h6v2h-6zM-3,1h6v2h-6z"];

function svg(tag, attributes, ...children) {
	const element = document.createElementNS(SVG, tag);

	for (const [name, value] of Object.entries(attributes))
		element.setAttribute(name, value);
	element.append(...children);
	return element;
}

// The next of 1, 2, 5, 10, 20 … that is no smaller.
function nice(value) {
	const power = 10 ** Math.floor(Math.log10(value));

	return power * [1, 2, 5, 10].find((n) => n * power >= value - 1e-12);
}

const figure = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function label(x, y, anchor, text) {
	return svg("text", { x, y, "text-anchor": anchor, class: "tick" }, text);
}

function axes(width, top, from, to) {
	const parts = [];

	for (const share of [0, 0.5, 1]) {
		const y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - share);

		parts.push(svg("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y,
			class: "grid" }), label(LEFT - 8, y + 4, "end",
			figure.format(top * share)));
	}
	parts.push(label(LEFT, HEIGHT - 6, "start", hour.format(from)),
		label(width - RIGHT, HEIGHT - 6, "end", hour.format(to)));
	return parts;
}

function line(points, kind) {
	const path = points.map(([x, y], i) =>
		`${i ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
	const [x, y] = points.at(-1);

	return svg("g", { class: `series s${kind % KINDS}` },
		svg("path", { d: path, class: "line" }),
		svg("path", { d: MARKS[kind % KINDS], class: "dot",
			transform: `translate(${x.toFixed(1)},${y.toFixed(1)})` }));
}

function key(name, kind, value) {
	return el("li", {}, svg("svg", { viewBox: "0 0 30 12", width: 30, height: 12,
		"aria-hidden": "true", class: `series s${kind % KINDS}` },
	svg("path", { d: "M0,6H30", class: "line" }),
	svg("path", { d: MARKS[kind % KINDS], class: "dot",
		transform: "translate(15,6)" })), el("span", {}, name),
	el("strong", {}, figure.format(value)));
}

function numbers(title, unit, names, samples) {
	return el("table", { class: "numbers" }, el("caption", {}, `${title}, ${unit}`),
		el("thead", {}, el("tr", {}, ["Time", ...names].map((n) =>
			el("th", { scope: "col" }, n)))),
		el("tbody", {}, samples.slice(-ROWS).reverse().map((s) => el("tr", {},
			el("th", { scope: "row" }, hour.format(s.at)), names.map((n) =>
				el("td", {}, figure.format(s.values[n] ?? 0)))))));
}

// A chart that update(samples) draws anew; samples are { at, values } with at
// in ms and a number for each line's name, the oldest first.
export function chart(title, unit, nothing) {
	const drawing = svg("svg", { role: "img", height: HEIGHT, class: "chart" });
	const keys = el("ul", { class: "keys" });
	const rows = el("div", { class: "scroll", tabindex: "0", role: "region",
		"aria-label": `${title} as a table` });
	const more = el("details", {}, el("summary", {}, "As a table"), rows);
	const wait = el("p", { class: "soft" }, "Two readings make the first line.");
	const box = el("div", { class: "plot" }, wait, drawing, keys, more);
	const kinds = new Map(); // a name keeps its look while it is shown
	let last = [];

	function draw() {
		const width = Math.max(240, Math.floor(box.clientWidth));
		const names = [...kinds.keys()];
		const from = last[0].at;
		const to = Math.max(last.at(-1).at, from + 1);
		const all = last.flatMap((s) => Object.values(s.values));
		const top = nice(Math.max(0.1, ...all));
		const place = (s, name) => [
			LEFT + (width - LEFT - RIGHT) * (s.at - from) / (to - from),
			TOP + (HEIGHT - TOP - BOTTOM) * (1 - (s.values[name] ?? 0) / top)];

		drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
		drawing.setAttribute("width", width);
		drawing.setAttribute("aria-label", `${title}. Latest, ${unit}: ${names.map(
			(n) => `${n} ${figure.format(last.at(-1).values[n] ?? 0)}`).join(", ")}`);
		drawing.replaceChildren(...axes(width, top, from, to), ...names.map((n) =>
			line(last.map((s) => place(s, n)), kinds.get(n))));
		keys.replaceChildren(...names.map((n) =>
			key(n, kinds.get(n), last.at(-1).values[n] ?? 0)));
		if (more.open)
			rows.replaceChildren(numbers(title, unit, names, last));
	}

	function freeKind() {
		const taken = new Set(kinds.values());
		let kind = 0;

		while (taken.has(kind))
			kind++;
		return kind;
	}

	box.update = (samples) => {
		const names = new Set(samples.flatMap((s) => Object.keys(s.values)));

		for (const name of kinds.keys())
			if (!names.has(name))
				kinds.delete(name);
		for (const name of names)
			if (!kinds.has(name))
				kinds.set(name, freeKind());
		const shown = samples.length > 1 && kinds.size > 0;

		last = samples;
		wait.hidden = shown;
		wait.textContent = samples.length > 1 ? nothing : wait.textContent;
		for (const part of [drawing, keys, more])
			part.toggleAttribute("hidden", !shown);
		if (shown)
			draw();
	};
	more.addEventListener("toggle", () => box.update(last));
	new ResizeObserver(() => {
		if (last.length > 1)
			box.update(last);
	}).observe(box);
	box.update([]);
	return box;
}
