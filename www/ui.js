// Small pieces of page that the views are made of. Text goes in as text, never
// as markup.

import { explain, now } from "./client.js";

// The bounds of names, as the server has them: of a user's in bytes, of an app's
// in characters.
export const USER_MAX = 255;
export const NAME_MAX = 100;

let serial = 0;

// el("p", { class: "lead", onclick: f, hidden: true }, "text", child, …)
export function el(tag, attributes, ...children) {
	const element = document.createElement(tag);

	for (const [name, value] of Object.entries(attributes ?? {})) {
		if (name.startsWith("on"))
			element.addEventListener(name.slice(2), value);
		else if (value === true)
			element.setAttribute(name, "");
		else if (value !== false && value !== undefined && value !== null)
			element.setAttribute(name, value);
	}
	element.append(...children.flat().filter((child) =>
		child !== null && child !== undefined && child !== false));
	return element;
}

// A name that someone chose: apart from the text around it, whichever way it is
// written, and broken where it does not fit.
export function named(text) {
	return el("bdi", { class: "name" }, text);
}

// What has to be typed for an app to go: its name, or, where a keyboard can't
// tell what is in that, the beginning of its public key.
export function wordOf(app) {
	const plain = app.name === app.name.trim() && !/\p{C}/u.test(app.name);

	return plain ? app.name : app.public_key.slice(0, 12);
}

export function uid(prefix) {
	return `${prefix}-${++serial}`;
}

// For one whose button went away with what it changed.
export function toTop() {
	document.querySelector("#view h1").focus();
}

// Brings an answer into a window that ends above it.
export function reveal(answer) {
	const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

	if (answer.getBoundingClientRect().top > innerHeight * 0.7)
		answer.scrollIntoView({ behavior: still ? "auto" : "smooth" });
}

// Emptied first: the same words twice would be said once.
export function announce(text) {
	const place = document.getElementById("announce");

	place.textContent = "";
	setTimeout(() => {
		place.textContent = text;
	}, 20);
}

// -- time

const dates = new Intl.DateTimeFormat(undefined,
	{ dateStyle: "medium", timeStyle: "short" });
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

export function span(seconds) {
	const s = Math.abs(Math.round(seconds));
	const [name, size] = units.find(([, size]) => s >= size) ?? units[3];
	const n = Math.round(s / size);

	return `${n} ${name}${n === 1 ? "" : "s"}`;
}

export function relative(ms) {
	const seconds = (ms - now()) / 1000;

	if (Math.abs(seconds) < 1)
		return "now";
	return seconds < 0 ? `${span(seconds)} ago` : `in ${span(seconds)}`;
}

// A time of the API's, or a dash for none.
export function when(text) {
	return dates.format(new Date(text));
}

export function time(text, none = "–") {
	if (!text)
		return none;
	return el("time", { datetime: text, title: when(text) },
		relative(Date.parse(text)));
}

export function clock(seconds) {
	const s = Math.max(0, Math.ceil(seconds));
	const two = (n) => String(n).padStart(2, "0");
	const days = Math.floor(s / 86400);
	const rest = [s % 86400 / 3600, s % 3600 / 60, s % 60]
		.map((n) => two(Math.floor(n))).join(":");

	return days ? `${days} day${days === 1 ? "" : "s"} ${rest}` : rest;
}

// -- buttons

// Its work may take a while, in which it can't be pressed again, and may
// throw, which is shown beside it.
export function button(text, work, kind = "", label = null) {
	let fault = null;
	const self = el("button", { type: "button", class: kind,
		"aria-label": label, onclick: async () => {
			if (self.getAttribute("aria-disabled") === "true")
				return;
			self.setAttribute("aria-disabled", "true");
			fault?.remove();
			try {
				await work();
			} catch (error) {
				if (error.name === "AbortError")
					return; // the view was left
				fault = trouble(error);
				self.after(fault);
			} finally {
				self.removeAttribute("aria-disabled");
			}
		} }, text);

	return self;
}

export async function copy(text, from) {
	const before = from.textContent;
	let said = "Copied";

	try {
		await navigator.clipboard.writeText(text);
	} catch {
		said = "Select it and copy by hand";
	}
	from.textContent = said;
	announce(said);
	setTimeout(() => {
		from.textContent = before;
	}, 1600);
}

export function copyButton(text, what, kind = "small copy") {
	const self = el("button", { type: "button", class: kind,
		"aria-label": `Copy ${what}`,
		onclick: () => copy(typeof text === "function" ? text() : text, self) },
	kind === "" ? `Copy ${what}` : "Copy");

	return self;
}

export function saveFile(name, text) {
	const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
	const link = el("a", { href: url, download: name });

	document.body.append(link);
	link.click();
	link.remove();
	setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// -- notes

export function note(kind, ...children) {
	const words = { good: "Done. ", bad: "Refused. ", warn: "Note. ", info: "" };

	return el("div", { class: `note ${kind}`,
		role: kind === "bad" ? "alert" : null },
		el("span", { class: "unseen" }, words[kind]), ...children);
}

// A refusal: its code, its sentence, what to do, and the request id.
export function refusal(answer) {
	const code = answer.json?.code;
	const todo = explain(answer);

	return note("bad",
		el("p", {}, el("strong", {}, `${answer.status} `,
			code ? el("code", {}, code) : answer.reason)),
		el("p", {}, answer.json?.detail ?? "The answer was not Postern's own."),
		todo && el("p", {}, todo),
		answer.header("X-Request-Id") && el("p", { class: "soft" },
			"Request id ", el("code", {}, answer.header("X-Request-Id"))));
}

export function trouble(error) {
	return note("bad", el("p", {}, error.message));
}

export function empty(title, text, ...actions) {
	return el("div", { class: "empty" }, el("p", { class: "big" }, title),
		el("p", {}, text), el("div", { class: "row" }, ...actions));
}

// What stands where an answer will.
export function waiting(title, text) {
	return el("div", { class: "empty wait" }, el("p", { class: "big" }, title),
		el("p", {}, text));
}

export function card(title, ...children) {
	const id = uid("card");

	return el("section", { class: "card", "aria-labelledby": id },
		el("h2", { id, tabindex: "-1" }, title), ...children);
}

// -- forms

// A labelled control. `input` is the control's element; `say` shows what is
// wrong with it, or clears that.
export function field(label, input, hint) {
	const id = uid("field");
	const help = hint ? el("p", { class: "hint", id: `${id}-hint` }, hint) : "";
	const fault = el("p", { class: "fault", id: `${id}-fault`, hidden: true });
	const box = el("div", { class: "field" },
		el("label", { for: id }, label), input, help, fault);

	input.id = id;
	if (hint)
		input.setAttribute("aria-describedby", help.id);
	box.input = input;
	box.say = (text) => {
		fault.hidden = !text;
		fault.textContent = text ?? "";
		if (!text) {
			input.removeAttribute("aria-invalid");
			return;
		}
		input.setAttribute("aria-invalid", "true");
		input.setAttribute("aria-describedby",
			`${hint ? `${help.id} ` : ""}${fault.id}`);
		input.focus();
	};
	input.addEventListener("input", () => box.say(""));
	return box;
}

export function text(attributes) {
	return el("input", { type: "text", autocomplete: "off", spellcheck: "false",
		autocapitalize: "off", ...attributes });
}

// A field whose text is hidden, with a button that shows it.
export function secretField(label, hint, attributes) {
	const input = text({ type: "password", ...attributes });
	const show = el("button", { type: "button", class: "small",
		"aria-pressed": "false", "aria-label": `Show ${label.toLowerCase()}`,
		onclick: () => {
			const open = input.type === "password";

			input.type = open ? "text" : "password";
			show.setAttribute("aria-pressed", String(open));
			show.textContent = open ? "Hide" : "Show";
		} }, "Show");
	const box = field(label, input, hint);

	input.after(show);
	box.classList.add("with-button");
	return box;
}

export function select(options, value) {
	return el("select", {}, options.map(([v, label]) =>
		el("option", { value: v, selected: v === value }, label)));
}

export function choice(name, legend, options, onchange) {
	const group = uid(name);
	const box = el("fieldset", { class: "choice" }, el("legend", {}, legend),
		options.map(([value, label], i) => el("label", {},
			el("input", { type: "radio", name: group, value, checked: i === 0,
				onchange }), label)));

	Object.defineProperty(box, "value", {
		get: () => box.querySelector("input:checked").value,
	});
	return box;
}

// A form that this page handles; `work` may throw, which is shown.
export function form(work, ...children) {
	const place = el("div", { class: "result" });
	const self = el("form", { novalidate: true, onsubmit: async (event) => {
		event.preventDefault();
		if (self.getAttribute("aria-busy") === "true")
			return;
		self.setAttribute("aria-busy", "true");
		place.replaceChildren();
		try {
			await work(place);
		} catch (error) {
			place.replaceChildren(trouble(error));
		} finally {
			self.removeAttribute("aria-busy");
		}
	} }, ...children, place);

	return self;
}

export function submit(label) {
	return el("button", { class: "main" }, label);
}

// -- data

export function facts(...pairs) {
	return el("dl", { class: "facts" }, pairs.filter(Boolean).map(
		([name, ...value]) =>
			el("div", {}, el("dt", {}, name), el("dd", {}, ...value))));
}

// Rows are arrays of cells; narrow windows show each as a block of its own.
export function table(caption, heads, rows, kind = "") {
	return el("table", { class: `stack ${kind}` },
		el("caption", { class: "unseen" }, caption),
		el("thead", {}, el("tr", {}, heads.map((head) =>
			el("th", { scope: "col" }, head)))),
		el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, i) =>
			el("td", { "data-head": heads[i] }, cell))))));
}

export function code(text, label) {
	return el("div", {}, el("p", { class: "label", "aria-hidden": "true" }, label),
		el("div", { class: "code" },
			el("pre", { tabindex: "0", role: "region", "aria-label": label },
				el("code", {}, text)), copyButton(text, label.toLowerCase())));
}

// JSON laid out anew by its tokens: numbers and names stay as they came.
export function pretty(text) {
	let depth = 0;
	let out = "";
	const line = () => `\n${"  ".repeat(depth)}`;

	try {
		JSON.parse(text);
	} catch {
		return text;
	}
	const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g);

	tokens.forEach((token, i) => {
		if (token === "{" || token === "[") {
			const closing = tokens[i + 1] === (token === "{" ? "}" : "]");

			depth++;
			out += token + (closing ? "" : line());
		} else if (token === "}" || token === "]") {
			const opened = tokens[i - 1] === (token === "}" ? "{" : "[");

			depth--;
			out += (opened ? "" : line()) + token;
		} else {
			out += token === "," ? `,${line()}` : token === ":" ? ": " : token;
		}
	});
	return out;
}

// What is wrong with a text that should be one JSON object, or "".
export function objectFault(text) {
	try {
		const value = JSON.parse(text);

		return value !== null && typeof value === "object" &&
			!Array.isArray(value) ? "" : "It must be one JSON object: { … }";
	} catch (error) {
		return `This is not JSON yet: ${error.message}`;
	}
}

// -- dialogs

// Ask before something that can't be taken back. With `word` it must be typed.
// Resolves to whether it was confirmed; closing returns the focus.
export function confirm({ title, text: why, verb, word }) {
	return new Promise((resolve) => {
		const id = uid("dialog");
		const typed = word && field(["Type “", named(word), "” to go on"], text());
		const dialog = el("dialog", { "aria-labelledby": id,
			onclose: () => {
				dialog.remove();
				resolve(dialog.returnValue === "yes");
			} },
			el("form", { novalidate: true, onsubmit: (event) => {
				event.preventDefault();
				if (typed && typed.input.value !== word)
					typed.say("That is not it.");
				else
					dialog.close("yes");
			} },
			el("h2", { id }, title), el("p", {}, why), typed || "",
			el("div", { class: "row end" },
				button("Cancel", () => dialog.close("no")),
				el("button", { class: "danger" }, verb))));

		document.body.append(dialog);
		dialog.showModal();
	});
}
