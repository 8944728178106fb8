// Call any endpoint, and read the request and the answer.

import { appToken, call, session, takeNote } from "./client.js";
import { announce, card, choice, code, el, field, form, note,
	objectFault, pretty, reveal, secretField, select, submit, table, text,
	waiting }
	from "./ui.js";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
// [method, path, credential, body]; what the server's own description adds to.
const COMMON = [
	["GET", "/v1/whoami", "app"],
	["GET", "/v1/app", "app"],
	["PATCH", "/v1/app", "app", '{"name":"New name"}'],
	["GET", "/v1/users", "app"],
	["GET", "/v1/users/ada", "app"],
	["PUT", "/v1/users/ada", "app", '{"city":"London"}'],
	["PATCH", "/v1/users/ada", "app", '{"city":null,"country":"UK"}'],
	["DELETE", "/v1/users/ada", "app"],
	["GET", "/v1/me", "user"],
	["PUT", "/v1/me", "user", '{"theme":"dark"}'],
	["GET", "/v1/auth", "app"],
	["POST", "/v1/apps", "token", '{"name":"My app"}'],
	["GET", "/v1/apps", "admin"],
	["GET", "/healthz", "none"],
	["GET", "/readyz", "none"],
	["GET", "/openapi.json", "none"],
];

// "Name: value" lines as headers.
function headersOf(lines) {
	return Object.fromEntries(lines.split("\n").filter((line) => line.trim())
		.map((line) => {
			const [, name, value] = line.match(/^([^:\s]+)\s*:\s*(.*)$/) ?? [];

			if (!name)
				throw new Error(`“${line}” is no header. Write Name: value.`);
			return [name, value];
		}));
}

// A secret in a shown request: its beginning is enough to tell it by.
function short(name, value) {
	return name === "Authorization" && value.length > 24
		? `${value.slice(0, 19)}… (${value.length - 7} characters)` : value;
}

function quoted(text) {
	return `'${text.replaceAll("'", "'\\''")}'`;
}

function curlOf(r) {
	const headers = Object.entries(r.sent).map(([name, value]) =>
		name === "Authorization" ? ` \\\n  -H "Authorization: Bearer $TOKEN"`
			: ` \\\n  -H ${quoted(`${name}: ${value}`)}`);

	return `curl ${r.method === "HEAD" ? "-I" : `-X ${r.method}`} ` +
		`${quoted(session.base + r.path)}${headers.join("")}` +
		(r.body === undefined ? "" : ` \\\n  -d ${quoted(r.body)}`);
}

function headerTable(caption, headers) {
	return headers.length === 0 ? el("p", { class: "soft" }, "No headers of ours.")
		: table(caption, ["Header", "Value"], headers.map(([name, value]) =>
			[el("code", {}, name.replace(/(^|-)[a-z]/g, (c) => c.toUpperCase())),
				el("span", { class: "wrap" }, value)]), "headers");
}

function requestCard(r) {
	return card("Request",
		el("p", { class: "line" }, el("span", { class: "method" }, r.method), " ",
			el("code", {}, session.base + r.path)),
		headerTable("Headers sent", Object.entries(r.sent).map(([name, value]) =>
			[name, short(name, value)])),
		r.body === undefined ? "" : code(pretty(r.body), "Request body"),
		el("details", {}, el("summary", {}, "From a shell"),
			code(curlOf(r), "Command")));
}

function answerCard(r) {
	const kind = r.status < 300 ? "good" : r.status < 400 ? "info" : "bad";

	return card("Answer",
		el("p", { class: "line" }, el("span", { class: `pill ${kind}` },
			`${r.status} ${r.reason}`.trim()),
		el("span", { class: "soft" }, `${r.ms.toFixed(1)} ms, ${new TextEncoder()
			.encode(r.text).length} bytes`)),
		r.text === "" ? el("p", { class: "soft" }, "No body.")
			: code(pretty(r.text), "Answer body"),
		el("details", { open: true }, el("summary", {}, "Headers"),
			headerTable("Headers of the answer", r.headers)));
}

// -- credentials

function credentials(draft) {
	const kinds = [];

	if (session.keys)
		kinds.push(["app", "App token, minted for this call"],
			["user", "User token, minted for this call"]);
	if (session.token && session.keys)
		kinds.push(["minted", "The token minted last"]);
	if (session.admin)
		kinds.push(["admin", "The admin token"]);
	kinds.push(["token", "Another token"], ["none", "None"]);
	const user = field("User", text());
	const token = secretField("Bearer token",
		"A registration token, an invite, or any other.");
	const which = choice("credential", "Credential", kinds, show);

	function show() {
		user.hidden = which.value !== "user";
		token.hidden = which.value !== "token";
	}

	which.set = (value) => {
		const radio = which.querySelector(`input[value="${value}"]`) ??
			which.querySelector('input[value="token"]');

		radio.checked = true;
		show();
	};
	which.set(draft?.credential ?? kinds[0][0]);
	return { which, user, token };
}

// What call() takes for the chosen credential; null after saying what lacks.
async function chosen(c) {
	const publicKey = session.keys?.public_key;

	switch (c.which.value) {
	case "app":
		return { token: await appToken(), publicKey };
	case "user":
		if (c.user.input.value.trim() === "") {
			c.user.say("A user token needs a user.");
			return null;
		}
		return { token: await appToken(c.user.input.value), publicKey };
	case "minted":
		return { token: session.token, publicKey };
	case "admin":
		return { token: session.admin };
	case "token":
		return { token: c.token.input.value.trim() };
	default:
		return {};
	}
}

function endpointPicker(pick) {
	const control = select([["", "Choose a call …"], ...COMMON.map(
		([method, path], i) => [String(i), `${method} ${path}`])], "");

	control.addEventListener("change", () => {
		if (control.value !== "")
			pick(COMMON[Number(control.value)]);
	});
	return field("Start from", control);
}

export default function view(root) {
	const draft = takeNote("draft");
	const method = field("Method", select(METHODS.map((m) => [m, m]),
		draft?.method ?? "GET"));
	const path = field("Path", text({ value: draft?.path ?? "/v1/whoami" }));
	const body = field("Body (JSON)", el("textarea", { rows: "5",
		spellcheck: "false" }, draft?.body ?? ""));
	const headers = field("More headers", el("textarea", { rows: "2",
		spellcheck: "false", placeholder: 'If-Match: "1"' }), "One a line.");
	const cred = credentials(draft);
	const out = el("div", {}, waiting("The answer appears here",
		"With its status, headers, body and duration, and the request as it went out."));
	const bodyless = () => {
		body.hidden = !["POST", "PUT", "PATCH"].includes(method.input.value);
	};
	const pick = ([m, p, credential, text]) => {
		method.input.value = m;
		path.input.value = p;
		body.input.value = text ?? "";
		cred.which.set(credential);
		bodyless();
	};

	method.input.addEventListener("change", bodyless);
	bodyless();
	root.append(el("p", { class: "lead" },
		"Any path of this API, with the credential of your choice."),
	el("div", { class: "columns" }, card("Call", form(async (place) => {
		const content = body.hidden || body.input.value.trim() === ""
			? undefined : body.input.value;

		if (!path.input.value.startsWith("/"))
			return path.say("A path begins with a slash.");
		if (content !== undefined && objectFault(content))
			place.append(note("warn", el("p", {}, "The body is not one JSON object; sent as it is.")));
		const options = await chosen(cred);

		if (options === null)
			return;
		const answer = await call(method.input.value, path.input.value, {
			...options, headers: headersOf(headers.input.value), body: content });

		out.replaceChildren(answerCard(answer), requestCard(answer));
		reveal(out);
		announce(`Answer: ${answer.status} ${answer.reason}`);
	}, endpointPicker(pick), el("div", { class: "pair narrow" }, method, path),
	cred.which, cred.user, cred.token, body,
	el("details", {}, el("summary", {}, "More headers"), headers),
	submit("Send"))), out));
}
