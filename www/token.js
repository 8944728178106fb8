// Mint a token: HS256 over the claims, with the secret key's characters as the
// HMAC key, by the browser's own WebCrypto.

import { call, leaveNote, session, sign, standardClaims } from "./client.js";
import { announce, button, card, choice, code, copyButton, el, field, form,
	note, objectFault, refusal, reveal, select, submit, text, USER_MAX,
	waiting } from "./ui.js";
import { needKeys, signingNote } from "./keys.js";

const UNITS = [["1", "seconds"], ["60", "minutes"], ["3600", "hours"],
	["86400", "days"]];
// U+0000 to U+001F and U+007F, which no user's name has.
const CONTROL = /[\u0000-\u001f\u007f]/u;

function userFault(user) {
	if (user.trim() === "")
		return "A user token needs a user: without one it would speak for the whole app.";
	if (new TextEncoder().encode(user).length > USER_MAX || CONTROL.test(user))
		return `A user is 1 to ${USER_MAX} bytes without control characters.`;
	return "";
}

// The token in its three parts, told apart by more than colour.
export function parts(token) {
	const names = ["header", "claims", "signature"];

	return el("code", { class: "token" }, token.split(".").flatMap((part, i) =>
		[i ? "." : "", el("span", { class: names[i] ?? "", title: names[i] },
			part)]));
}

function minted(token, alg, curl) {
	const tried = el("div", { class: "result" });

	return card("The token",
		el("div", { class: "code" }, el("div", { class: "box", tabindex: "0",
			role: "region", "aria-label": "Minted token" }, parts(token)),
		copyButton(token, "token")),
		el("p", { class: "hint" }, `Header, claims and signature (${alg}), parted by dots. Whoever holds it can use it until it expires.`),
		el("div", { class: "row" },
			button("Try it: GET /v1/whoami", async () => {
				const answer = await call("GET", "/v1/whoami",
					{ token, publicKey: session.keys.public_key });

				tried.replaceChildren(answer.ok
					? note("good", el("p", {}, el("strong", {},
						`${answer.status}: it lets you in`),
					` after ${Math.round(answer.ms)} ms.`))
					: refusal(answer), answer.ok
					? code(JSON.stringify(answer.json, null, 2), "Answer") : "");
				announce(`Answer: ${answer.status}`);
			}, "main"),
			el("a", { class: "button", href: "#/call", onclick: () =>
				leaveNote("draft", { credential: "minted" }) }, "Make a call with it"),
			el("a", { class: "button", href: "#/inspect" }, "Inspect it")),
		tried,
		el("details", {}, el("summary", {}, "The same call from a shell"),
			code(curl, "Command")));
}

function curlLine(token) {
	return `curl ${session.base}/v1/whoami \\\n` +
		`  -H "X-Public-Key: ${session.keys.public_key}" \\\n` +
		`  -H "Authorization: Bearer ${token}"`;
}

// The editor: what the fields say, and any further claims.
function editor() {
	const user = field("User (sub)", text(), "Reaches that user's document alone.");
	const amount = field("Valid for", el("input", { type: "number", min: "1",
		value: "5", inputmode: "numeric" }));
	const unit = field("Unit", select(UNITS, "60"));
	const alg = field("Algorithm", select([["HS256", "HS256"], ["HS384", "HS384"],
		["HS512", "HS512"]], "HS256"), "Servers take HS256 unless told otherwise.");
	const more = field("More claims (JSON)", el("textarea", { rows: "4",
		spellcheck: "false", autocomplete: "off" }, "{}"),
	"Merged over the rest: aud, nbf, your own. null leaves one out.");
	const kind = choice("kind", "Whom it speaks for", [
		["app", "The app (no sub)"], ["user", "One user (sub)"]],
	() => {
		user.hidden = kind.value === "app";
	});

	user.hidden = true;
	return { user, amount, unit, alg, more, kind };
}

// The claims as the editor has them, or null after saying what is wrong.
function claimsOf(e) {
	const seconds = Number(e.amount.input.value) * Number(e.unit.input.value);
	const isUser = e.kind.value === "user";
	const faults = [
		[e.user, isUser ? userFault(e.user.input.value) : ""],
		[e.amount, Number.isFinite(seconds) && seconds >= 1 ? ""
			: "A positive number, please."],
		[e.more, objectFault(e.more.input.value)],
	].find(([, text]) => text);

	if (faults) {
		faults[0].say(faults[1]);
		return null;
	}
	const more = JSON.parse(e.more.input.value);

	if (Object.hasOwn(more, "sub")) {
		e.more.say("Name the user above, not here: whether sub is there decides what a token may do.");
		return null;
	}
	const claims = { ...standardClaims(Math.round(seconds),
		isUser ? e.user.input.value : undefined), ...more };

	return Object.fromEntries(Object.entries(claims).filter(
		([, value]) => value !== null));
}

export default function view(root) {
	if (!session.keys)
		return needKeys(root);
	const e = editor();
	const out = el("div", {}, waiting("The token appears here",
		"Signed, ready to copy, to try and to inspect."));

	root.append(el("p", { class: "lead" },
		"Signed here, by your browser. The HMAC key is the secret key's characters as they stand, not the bytes that their hex stands for."),
	signingNote(),
	el("div", { class: "columns" }, card("Claims", form(async () => {
		const claims = claimsOf(e);

		if (claims === null)
			return;
		const alg = e.alg.input.value;
		const token = await sign(session.keys.secret_key, alg, claims);

		session.token = token;
		out.replaceChildren(minted(token, alg, curlLine(token)), card("What it says",
			code(JSON.stringify(claims, null, 2), "Minted claims")));
		reveal(out);
		announce("The token is minted");
	}, e.kind, e.user, el("div", { class: "pair" }, e.amount, e.unit),
	el("details", {}, el("summary", {}, "Algorithm and more claims"),
		e.alg, e.more),
	submit("Mint the token"))), out));
}
