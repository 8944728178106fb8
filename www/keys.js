// Keys: register an app, see its two keys once, or bring keys along.

import { UNSAFE, asApp, call, canSign, leaveNote, session, takeNote, useAdmin,
	useKeys } from "./client.js";
import { announce, button, card, copyButton, el, empty, facts, field, form,
	NAME_MAX, named, note, refusal, saveFile, secretField, submit, text,
	toTop } from "./ui.js";

const PUBLIC = /^(?:[0-9a-f]{2}){16,64}$/;

export function dotenv(keys) {
	return `POSTERN_URL=${session.base}\n` +
		`POSTERN_PUBLIC_KEY=${keys.public_key}\n` +
		`POSTERN_SECRET_KEY=${keys.secret_key}\n`;
}

let unkept = null; // what once() shows, until it is kept or forgotten

// Before the page is left with keys that nobody has kept.
function askBeforeLeaving(event) {
	event.preventDefault();
}

function setUnkept(shown) {
	unkept = shown;
	if (unkept)
		addEventListener("beforeunload", askBeforeLeaving);
	else
		removeEventListener("beforeunload", askBeforeLeaving);
}

document.addEventListener("postern:forget", () => setUnkept(null));

// The two keys, shown this once; `done` goes on.
export function once(keys, why, done) {
	const shown = (label, value) => el("div", { class: "key" },
		el("p", { class: "label" }, label),
		el("code", { class: "value" }, value),
		copyButton(value, label.toLowerCase()));
	const kept = () => setUnkept(null);
	const self = el("section", { class: "card once", "aria-label": "Your keys" },
		el("h2", { tabindex: "-1" }, why),
		note("warn", el("p", {}, el("strong", {}, "Keep the secret key now. "),
			"It is not shown again: the server has it sealed and gives it to nobody. It is the key of your app's tokens, so it belongs on your server, never in a page or a program that you hand out.")),
		shown("Public key", keys.public_key),
		shown("Secret key", keys.secret_key),
		el("div", { class: "row" },
			button("Download as .env", () => {
				saveFile("postern.env", dotenv(keys));
				kept();
				announce("Downloaded postern.env");
			}, "main"),
			copyButton(() => dotenv(keys), "as .env", ""),
			button("I have kept it", () => {
				kept();
				self.remove();
				toTop();
				done();
			})));

	setUnkept({ keys, why });
	return self;
}

// What a view shows when it needs an app's keys and there are none.
export function needKeys(root) {
	leaveNote("wanted", location.hash);
	root.append(empty("No app's keys yet",
		"This needs an app's two keys. They stay in this tab's memory.",
		el("a", { class: "button main", href: "#/keys" },
			"Register, or bring keys")));
}

function goOn() {
	location.hash = takeNote("wanted") ?? "#/token";
}

function registerCard(root) {
	const name = field("App's name", text({ maxlength: NAME_MAX, dir: "auto" }));
	const token = secretField("Registration token",
		"From the operator: the registration token, or an invite.");

	return card("Register a new app", form(async (place) => {
		if (name.input.value.trim() === "")
			return name.say(`Give the app a name, of 1 to ${NAME_MAX} characters.`);
		const answer = await call("POST", "/v1/apps", {
			token: token.input.value.trim(),
			body: JSON.stringify({ name: name.input.value }) });

		if (answer.status !== 201)
			return place.append(refusal(answer));
		token.input.value = "";
		useKeys(answer.json);
		const box = once(answer.json,
			[named(answer.json.name), " is registered"], goOn);

		root.replaceChildren(box);
		box.querySelector("h2").focus();
	}, name, token, submit("Register")));
}

// The two keys in the lines of a .env file.
function fromDotenv(lines) {
	const value = (name) => lines.match(
		new RegExp(`^\\s*(?:export\\s+)?${name}\\s*=\\s*["']?([^"'\\s]*)`, "m"))
		?.[1] ?? "";

	return [value("POSTERN_PUBLIC_KEY"), value("POSTERN_SECRET_KEY")];
}

function bringCard() {
	const publicKey = field("Public key", text());
	const secret = secretField("Secret key");
	const audience = field("Audience (aud)", text(),
		"Only where the operator said that tokens need one.");
	const file = el("input", { type: "file", accept: ".env,text/plain",
		onchange: async () => {
			const [p, s] = fromDotenv(await file.files[0].text());

			publicKey.input.value = p;
			secret.input.value = s;
			announce(p && s ? "Both keys read" : "The keys are not in the file");
		} });

	return card("Use keys that you have", form(async (place) => {
		const keys = { name: "", public_key: publicKey.input.value.trim(),
			secret_key: secret.input.value.trim() };

		if (!PUBLIC.test(keys.public_key))
			return publicKey.say("A public key is 64 characters of 0-9 and a-f.");
		if (!PUBLIC.test(keys.secret_key))
			return secret.say("A secret key is 64 characters of 0-9 and a-f.");
		const before = session.keys;

		useKeys(keys, audience.input.value.trim());
		const answer = await asApp("GET", "/v1/whoami");

		if (answer.status === 200) {
			useKeys({ ...keys, name: answer.json.app.name });
			announce("The keys are good");
			goOn();
		} else {
			useKeys(before);
			place.append(refusal(answer));
		}
	}, field("From a .env file", file), publicKey, secret,
	el("details", {}, el("summary", {}, "More"), audience),
	submit("Use these keys")));
}

function currentCard(root) {
	return card("In use", facts(["App", named(session.keys.name || "–")],
		["Public key", el("code", {}, session.keys.public_key)],
		["API", el("code", {}, session.base)]),
	el("div", { class: "row" },
		el("a", { class: "button main", href: "#/token" }, "Mint a token"),
		button("Forget these keys", () => {
			useKeys(null, "");
			root.replaceChildren();
			view(root);
			toTop();
		})));
}

// What a page that did not come safely can't do.
export function signingNote() {
	return canSign() ? "" : note("bad", el("p", {}, UNSAFE));
}

export default function view(root) {
	root.append(el("p", { class: "lead" },
		"An app has two keys: the public one names it, the secret one signs its tokens."),
	signingNote());
	if (unkept)
		root.append(once(unkept.keys, unkept.why, () => {}));
	if (session.keys)
		root.append(currentCard(root));
	root.append(el("div", { class: "columns" },
		registerCard(root), bringCard()));
}

// The operator's way in: the views of all apps and of health ask for it.
export function needAdmin(root, then) {
	const token = secretField("Admin token",
		"POSTERN_ADMIN_TOKEN of this host. It stays in this tab's memory.");

	root.append(el("p", { class: "lead" },
		"All apps of this host, their keys and their trail; its health and its traffic."),
	card("For the operator", form(async (place) => {
		const answer = await call("GET", "/v1/apps?limit=1",
			{ token: token.input.value.trim() });

		if (answer.status !== 200)
			return place.append(refusal(answer));
		useAdmin(token.input.value.trim());
		root.replaceChildren();
		announce("Welcome, operator");
		toTop();
		await then();
	}, token, submit("Go on"))));
}
