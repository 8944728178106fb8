// Why a token is refused: what it says, what our own check finds, and what the
// server answers.

import { call, canSign, explain, hmac, now, session } from "./client.js";
import { announce, card, code, el, facts, field, form, named, note, pretty, relative, reveal,
	secretField, submit, text, waiting } from "./ui.js";
import { parts } from "./token.js";

const LEEWAY = 30;
const MAX = 8192;
const ALGS = ["HS256", "HS384", "HS512"];
const encoder = new TextEncoder();

// The bytes of a part as a string, or null where it is not the one way to
// write them (RFC 7515 section 2: no padding, no stray bits at the end).
function plainOf(part) {
	if (!/^[A-Za-z0-9_-]+$/.test(part) || part.length % 4 === 1)
		return null;
	const plain = atob(part.replaceAll("-", "+").replaceAll("_", "/"));

	return btoa(plain).replaceAll("+", "-").replaceAll("/", "_")
		.replaceAll("=", "") === part ? plain : null;
}

function decode(part) {
	const bytes = Uint8Array.from(plainOf(part), (c) => c.charCodeAt(0));

	try {
		return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
	} catch {
		return null;
	}
}

// A member that an object of the text has twice: readers disagree about which
// counts, so the server takes neither.
export function twice(json) {
	const stack = [];
	const tokens = json.match(/"(?:[^"\\]|\\.)*"|[[\]{}:]/g) ?? [];

	for (const [i, token] of tokens.entries()) {
		if (token === "{" || token === "[")
			stack.push(new Set());
		else if (token === "}" || token === "]")
			stack.pop();
		else if (token !== ":" && tokens[i + 1] === ":") {
			const name = JSON.parse(token);

			if (stack.at(-1)?.has(name))
				return name;
			stack.at(-1)?.add(name);
		}
	}
	return null;
}

function object(json) {
	try {
		const value = JSON.parse(json);

		return value !== null && typeof value === "object" &&
			!Array.isArray(value) ? value : null;
	} catch {
		return null;
	}
}

// A finding: true is good, false is why it is refused, null can't be told.
const yes = (name, why) => ({ name, ok: true, why });
const no = (name, why, code) => ({ name, ok: false, why, code });
const unknown = (name, why) => ({ name, ok: null, why });

function formFindings(token, pieces) {
	if (token.length > MAX)
		return [no("Form", `It has ${token.length} characters; at most ${MAX} are taken.`)];
	if (pieces.length !== 3)
		return [no("Form", `It has ${pieces.length} part${pieces.length === 1 ? "" : "s"}; a signed token has three, parted by dots.`)];
	const bad = pieces.findIndex((part) => plainOf(part) === null);

	if (bad >= 0)
		return [no("Form", `Its ${["header", "claims", "signature"][bad]} part is empty or no canonical base64url without padding.`)];
	return [yes("Form", "Three parts of base64url.")];
}

function headerFindings(json) {
	const header = object(json ?? "");

	if (header === null)
		return [no("Header", "It is no JSON object in UTF-8.", "token_malformed")];
	if (twice(json) !== null)
		return [no("Header", `It has “${twice(json)}” twice.`, "token_malformed")];
	if (Object.hasOwn(header, "crit"))
		return [no("Header", "It has crit, an extension that the server does not know.", "token_malformed")];
	if (Object.hasOwn(header, "typ") && String(header.typ).toUpperCase() !== "JWT")
		return [no("Header", `typ is ${JSON.stringify(header.typ)}, not JWT.`, "token_malformed")];
	if (!ALGS.includes(header.alg))
		return [no("Algorithm", `alg is ${JSON.stringify(header.alg)}. The server takes HS256, or HS384 and HS512 where it is told to.`, "token_algorithm")];
	if (header.alg !== "HS256")
		return [unknown("Algorithm", `${header.alg} passes only where the operator allowed it.`)];
	return [yes("Algorithm", "HS256.")];
}

function hexBytes(secret) {
	return Uint8Array.from(secret.match(/../g) ?? [], (h) => parseInt(h, 16));
}

function base64Bytes(secret) {
	try {
		return Uint8Array.from(atob(secret), (c) => c.charCodeAt(0));
	} catch {
		return new Uint8Array();
	}
}

async function signatureFinding(pieces, header, secret) {
	const name = "Signature";
	const data = `${pieces[0]}.${pieces[1]}`;

	if (!ALGS.includes(header?.alg))
		return unknown(name, "Not checked: the algorithm is none that we know.");
	if (!secret)
		return unknown(name, "Not checked: give the secret key to check it here.");
	if (!canSign())
		return unknown(name, "Not checked: this page did not come by https.");
	const by = async (key) => key.length > 0 &&
		await hmac(key, header.alg, data) === pieces[2];

	if (await by(encoder.encode(secret)))
		return yes(name, "It was signed with this secret key.");
	if (await by(hexBytes(secret)))
		return no(name, "It was signed with the bytes that the secret's hex stands for. Sign with its characters as they stand.", "invalid_credentials");
	if (await by(base64Bytes(secret)))
		return no(name, "It was signed with the base64-decoded secret. Sign with its characters as they stand.", "invalid_credentials");
	if (session.previous && await by(encoder.encode(session.previous)))
		return unknown(name, "It was signed with the secret key before the last rotation: good until the overlap ends, and not for managing the app.");
	return no(name, "It was not signed with this secret key, or was changed since.", "invalid_credentials");
}

function timeFinding(claims, name, check) {
	if (!Object.hasOwn(claims, name))
		return null;
	if (typeof claims[name] !== "number")
		return no(name, `${name} is ${JSON.stringify(claims[name])}, not a number.`, "token_malformed");
	return check(claims[name], relative(claims[name] * 1000));
}

function claimFindings(json) {
	const claims = object(json ?? "");
	const t = now() / 1000;

	if (claims === null)
		return [no("Claims", "They are no JSON object in UTF-8.", "token_malformed")];
	if (twice(json) !== null)
		return [no("Claims", `They have “${twice(json)}” twice.`, "token_malformed")];
	const later = (name, what) => timeFinding(claims, name, (v, when) =>
		v > t + LEEWAY ? no(name, `It ${what} ${when}.`, "token_not_yet_valid")
			: yes(name, `It ${what} ${when}.`));
	const sub = Object.hasOwn(claims, "sub");

	return [
		timeFinding(claims, "exp", (v, when) => t >= v + LEEWAY
			? no("exp", `It expired ${when}.`, "token_expired")
			: yes("exp", `It expires ${when}.`)) ??
			no("exp", "It has no exp, which servers require unless told otherwise.", "token_without_exp"),
		later("nbf", "begins"), later("iat", "was made"),
		sub && (typeof claims.sub !== "string" || claims.sub === "")
			? no("sub", "sub must be absent or a non-empty string.", "token_subject")
			: yes("sub", sub ? ["A user token, for “", named(claims.sub), "”."]
				: "No sub: an app token."),
	].filter(Boolean);
}

// In the order of the server: form, signature, then what the token says.
export async function examine(token, secret) {
	const pieces = token.split(".");
	const form = formFindings(token, pieces);

	if (form[0].ok === false)
		return { findings: form };
	const [headerText, claimText] = pieces.slice(0, 2).map(decode);
	const header = object(headerText ?? "");

	return { headerText, claimText, header, findings: [...form,
		await signatureFinding(pieces, header, secret),
		...headerFindings(headerText), ...claimFindings(claimText)] };
}

// -- what is shown

function findingItem(f) {
	const mark = f.ok === null ? ["?", "Not known"] : f.ok
		? ["✓", "Good"] : ["✗", "Refused"];

	return el("li", { class: `finding ${f.ok === null ? "warn" : f.ok
		? "good" : "bad"}` },
	el("span", { class: "mark", "aria-hidden": "true" }, mark[0]),
	el("span", { class: "unseen" }, `${mark[1]}: `),
	el("strong", {}, f.name), el("span", {}, ...[f.why].flat()),
	f.code ? el("code", {}, f.code) : "");
}

function verdict(findings, answer) {
	const fault = findings.find((f) => f.ok === false);

	if (answer?.ok)
		return note("good", el("p", {}, el("strong", {}, "The server accepts it.")),
			el("p", {}, "It speaks for ", answer.json.claims.sub === undefined ? ""
				: ["the user “", named(answer.json.claims.sub), "” of "],
			"the app “", named(answer.json.app.name), "”."));
	if (answer)
		return note("bad", el("p", {}, el("strong", {}, "The server refuses it: "),
			el("code", {}, answer.json?.code ?? String(answer.status))),
		el("p", {}, answer.json?.detail ?? answer.reason),
		el("p", {}, fault ? `Why, as found here: ${fault.why}` : explain(answer)),
		el("p", { class: "soft" }, "Request id ",
			el("code", {}, answer.header("X-Request-Id") ?? "–")));
	if (fault)
		return note("bad", el("p", {}, el("strong", {}, "It would be refused. "),
			fault.why));
	return note("info", el("p", {}, "Nothing speaks against it here. Only the server can tell for sure."));
}

function skewNote() {
	const seconds = session.skew / 1000;

	if (Math.abs(seconds) < 5)
		return "";
	return note("warn", el("p", {}, `This computer's clock is ${Math.round(Math.abs(seconds))} s ${seconds > 0 ? "behind" : "ahead of"} the server's. The times here go by the server's.`));
}

export default function view(root) {
	const token = field("Token", el("textarea", { rows: "5", spellcheck: "false",
		autocomplete: "off", autocapitalize: "off" }), "With or without “Bearer”.");
	const publicKey = field("Public key", text(), "To ask the server about it.");
	const secret = secretField("Secret key", "To check the signature here. It is not sent.");
	const ask = el("input", { type: "checkbox", checked: true });
	const out = el("div", {}, waiting("The verdict appears here",
		"What was checked, and what the server says."));

	token.input.value = session.token ?? "";
	publicKey.input.value = session.keys?.public_key ?? "";
	secret.input.value = session.keys?.secret_key ?? "";
	root.append(el("p", { class: "lead" },
		"See what a token says, and why a server lets it in or refuses it."),
	el("div", { class: "columns" }, card("The token", form(async () => {
		const given = token.input.value.trim().replace(/^Bearer\s+/i, "");

		if (given === "")
			return token.say("Paste a token.");
		const asked = ask.checked && publicKey.input.value.trim() !== "";
		const answer = asked && /^[\x21-\x7e]+$/.test(given)
			? await call("GET", "/v1/whoami", { token: given,
				publicKey: publicKey.input.value.trim() }) : null;
		const found = await examine(given, secret.input.value.trim());
		const said = verdict(found.findings, answer);

		out.replaceChildren(said, skewNote(), card("What was checked",
			el("ul", { class: "findings" }, found.findings.map(findingItem))),
		card("What it says", el("div", { class: "box" }, parts(given)),
			found.headerText ? code(pretty(found.headerText), "Decoded header") : "",
			found.claimText ? code(pretty(found.claimText), "Decoded claims") : "",
			facts(["Length", `${given.length} of ${MAX} characters`])));
		reveal(out);
		announce(said.textContent);
	}, token, publicKey, secret,
	el("label", { class: "check" }, ask, "Ask the server as well (GET /v1/whoami)"),
	submit("Inspect"))), out));
}
