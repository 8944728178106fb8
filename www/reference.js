// The API's reference, from the description that the server itself serves.

import { call, leaveNote, session } from "./client.js";
import { card, code, el, empty, field, pretty, refusal, table, text }
	from "./ui.js";

const METHODS = ["get", "put", "post", "patch", "delete", "head", "options"];
const DEEP = 6; // a schema that refers to itself ends here

// What a $ref within the document stands for.
function resolve(doc, thing) {
	for (let i = 0; thing?.$ref && i < DEEP; i++)
		thing = thing.$ref.replace(/^#\//, "").split("/").reduce((at, name) =>
			at?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], doc);
	return thing ?? {};
}

// The little of Markdown that descriptions use; all else is text.
const SPANS = /(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/;

function inline(text) {
	return (text ?? "").split(SPANS).map((part, i) => {
		if (i % 2 === 0)
			return part;
		if (part.startsWith("`"))
			return el("code", {}, part.slice(1, -1));
		return part.startsWith("**") ? el("strong", {}, part.slice(2, -2))
			: el("em", {}, part.slice(1, -1));
	});
}

function prose(text) {
	return (text ?? "").split(/\n{2,}/).filter((p) => p.trim())
		.map((p) => el("p", {}, inline(p)));
}

// -- schemas

function typeOf(doc, schema) {
	const s = resolve(doc, schema);
	const name = schema?.$ref?.split("/").at(-1);

	if (name)
		return name;
	if (s.const !== undefined)
		return JSON.stringify(s.const);
	if (s.enum)
		return s.enum.map((v) => JSON.stringify(v)).join(" | ");
	for (const many of ["oneOf", "anyOf", "allOf"])
		if (s[many])
			return s[many].map((one) => typeOf(doc, one))
				.join(many === "allOf" ? " & " : " | ");
	if (s.type === "array")
		return `${typeOf(doc, s.items)}[]`;
	return [s.type ?? "any"].flat().join(" | ") + (s.format ? ` (${s.format})` : "");
}

const BOUNDS = [["minimum", "≥ "], ["maximum", "≤ "], ["minLength", "length ≥ "],
	["maxLength", "length ≤ "], ["pattern", "pattern "], ["default", "default "]];

function bounds(schema) {
	return BOUNDS.filter(([name]) => schema[name] !== undefined).map(
		([name, word]) => word + schema[name]).join(", ");
}

// The members of an object, those of allOf among them.
function members(doc, schema) {
	const s = resolve(doc, schema);
	const parts = (s.allOf ?? []).map((one) => members(doc, one));

	return { properties: Object.assign({}, ...parts.map((p) => p.properties),
		s.properties), required: [...parts.flatMap((p) => p.required),
		...(s.required ?? [])] };
}

function schemaTable(doc, schema, caption) {
	const s = resolve(doc, schema);
	const { properties, required } = members(doc,
		s.type === "array" ? s.items : schema);
	const rows = Object.entries(properties).map(([name, p]) => {
		const r = resolve(doc, p);

		return [el("code", {}, name), typeOf(doc, p),
			required.includes(name) ? "yes" : "no",
			el("span", {}, inline([r.description, bounds(r)].filter(Boolean)
				.join(" ")))];
	});

	return rows.length === 0 ? el("p", { class: "soft" }, typeOf(doc, schema))
		: table(caption, ["Member", "Type", "Always", "What"], rows);
}

// -- examples

function examplesOf(doc, media) {
	if (media.example !== undefined)
		return [["Example", media.example]];
	return Object.entries(media.examples ?? {}).map(([name, e]) =>
		[resolve(doc, e).summary ?? name, resolve(doc, e).value]);
}

function mediaPart(doc, content, label) {
	return Object.entries(content ?? {}).flatMap(([type, media]) => [
		el("p", { class: "soft" }, el("code", {}, type)),
		media.schema ? schemaTable(doc, media.schema, label) : "",
		...examplesOf(doc, media).map(([name, value]) => el("details", {},
			el("summary", {}, name), code(typeof value === "string" ? value
				: pretty(JSON.stringify(value)), `${label}: ${name}`)))]);
}

// -- an operation

function parameters(doc, op, item) {
	const all = [...(item.parameters ?? []), ...(op.parameters ?? [])]
		.map((p) => resolve(doc, p));

	return all.length === 0 ? [] : [el("h3", {}, "Parameters"), table("Parameters",
		["Name", "In", "Type", "What"], all.map((p) => [el("code", {}, p.name),
			p.in + (p.required ? ", required" : ""), typeOf(doc, p.schema ?? {}),
			el("span", {}, inline([p.description, bounds(resolve(doc, p.schema ??
				{}))].filter(Boolean).join(" ")))]))];
}

function security(doc, op) {
	const ways = op.security ?? doc.security ?? [];

	if (ways.length === 0)
		return "Anyone.";
	return ways.map((way) => Object.keys(way).map((name) =>
		name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`)).join(" and ") ||
		"nothing").join(", or ");
}

// Which of the credentials of "Make a call" this one takes.
function credential(doc, path, op) {
	const names = (op.security ?? doc.security ?? []).flatMap(Object.keys);

	if (names.length === 0)
		return "none";
	if (names.includes("publicKey"))
		return path === "/v1/me" ? "user" : "app";
	return names.includes("adminToken") && session.admin ? "admin" : "token";
}

function responses(doc, op) {
	return Object.entries(op.responses ?? {}).map(([status, given]) => {
		const r = resolve(doc, given);
		const headers = Object.entries(r.headers ?? {});
		const kind = { 2: "good", 4: "bad", 5: "bad" }[status[0]] ?? "info";

		return el("details", { class: "answer" }, el("summary", {},
			el("span", { class: `pill ${kind}` }, status), " ",
			...inline(r.description)),
		headers.length > 0 ? table("Headers", ["Header", "What"], headers.map(
			([name, h]) => [el("code", {}, name),
				el("span", {}, inline(resolve(doc, h).description))])) : "",
		mediaPart(doc, r.content, `Answer ${status}`));
	});
}

function operation(doc, path, method, item) {
	const op = item[method];
	const body = resolve(doc, op.requestBody);
	const inside = el("div", { class: "inside" });
	const box = el("details", { class: "operation" }, el("summary", {},
		el("span", { class: `method ${method}` }, method.toUpperCase()), " ",
		el("code", {}, path), " ", el("span", { class: "soft" }, op.summary ?? "")),
	inside);

	box.words = `${method} ${path} ${op.summary ?? ""} ${op.description ?? ""} ${op.operationId ?? ""}`
		.toLowerCase();
	// Drawn when it is first opened: the whole is long.
	box.addEventListener("toggle", () => {
		if (!box.open || inside.hasChildNodes())
			return;
		const first = Object.values(body.content ?? {})[0];
		const example = first ? examplesOf(doc, first)[0]?.[1] : undefined;

		inside.append(...prose(op.description), el("p", {},
			el("strong", {}, "Who: "), security(doc, op)), el("p", {},
			el("a", { class: "button small", href: "#/call", onclick: () =>
				leaveNote("draft", { method: method.toUpperCase(), path,
					credential: credential(doc, path, op),
					body: example === undefined ? "" : JSON.stringify(example) }) },
			"Try this call")), ...parameters(doc, op, item), ...(body.content
			? [el("h3", {}, "Body"), ...mediaPart(doc, body.content, "Body")] : []),
		el("h3", {}, "Answers"), ...responses(doc, op));
	});
	return box;
}

function groups(doc) {
	const all = Object.entries(doc.paths ?? {}).flatMap(([path, item]) =>
		METHODS.filter((m) => item[m]).map((m) => ({ tag: item[m].tags?.[0] ??
			"Calls", box: operation(doc, path, m, item) })));
	const tags = [...new Set([...(doc.tags ?? []).map((t) => t.name),
		...all.map((o) => o.tag)])];

	return tags.map((tag) => {
		const mine = all.filter((o) => o.tag === tag).map((o) => o.box);
		const about = doc.tags?.find((t) => t.name === tag)?.description;

		return mine.length === 0 ? ""
			: card(tag[0].toUpperCase() + tag.slice(1), ...prose(about), ...mine);
	}).filter(Boolean);
}

export default async function view(root, { signal }) {
	const answer = await call("GET", "/openapi.json", { signal });

	if (answer.status === 404 || (answer.ok && !answer.json?.paths))
		return root.append(empty("Not available",
			"This server has no /openapi.json."));
	if (!answer.ok)
		return root.append(refusal(answer));
	const doc = answer.json;
	const found = el("p", { class: "soft", role: "status" });
	const filter = field("Find", text({ type: "search" }), "A path, a method, or a word.");
	const cards = groups(doc);

	filter.input.addEventListener("input", () => {
		const want = filter.input.value.trim().toLowerCase();
		let n = 0;

		for (const one of cards) {
			const boxes = [...one.querySelectorAll(".operation")];

			for (const box of boxes)
				box.hidden = !box.words.includes(want);
			one.hidden = boxes.every((box) => box.hidden);
			n += boxes.filter((box) => !box.hidden).length;
		}
		found.textContent = `${n} call${n === 1 ? "" : "s"}`;
	});
	root.append(el("div", { class: "lead" }, ...prose(doc.info?.description ??
		doc.info?.summary)), el("p", { class: "soft" },
		`${doc.info?.title ?? "API"} ${doc.info?.version ?? ""}. The same for programs: `,
		el("a", { href: `${session.base}/openapi.json` }, "openapi.json")),
	el("search", {}, filter, found), ...cards);
}
