// The app itself: what it is, its rotation with the old secret's countdown,
// its name, its end.

import { asApp, call, now, renameKeys, rotated, session, sign, standardClaims,
	useKeys } from "./client.js";
import { announce, button, card, clock, confirm, el, facts, field, form,
	NAME_MAX, named, note, refusal, select, submit, text, time, toTop, when,
	wordOf } from "./ui.js";
import { needKeys, once } from "./keys.js";

export const GRACES = [["0", "Not at all: it ends at once"], ["300", "5 minutes"],
	["3600", "1 hour"], ["86400", "1 day"], ["604800", "7 days"],
	["2592000", "30 days"]];

export function stateOf(app) {
	if (app.disabled_at)
		return ["bad", "Disabled"];
	if (app.expires_at && Date.parse(app.expires_at) <= now())
		return ["bad", "Expired"];
	return ["good", "Active"];
}

export function statePill(app) {
	const [kind, label] = stateOf(app);

	return el("span", { class: `pill ${kind}` }, label);
}

// Counts down to a time, and calls `over` when it is there.
export function countdown(until, signal, over) {
	const end = Date.parse(until);
	const start = now();
	const left = el("strong", { class: "countdown", role: "timer" });
	const bar = el("progress", { max: Math.max(1, end - start),
		"aria-label": "Time left of the old secret key" });
	const tick = () => {
		const rest = end - now();

		left.textContent = clock(rest / 1000);
		bar.value = Math.max(0, rest);
		if (rest <= 0) {
			clearInterval(timer);
			over();
		}
	};
	const timer = setInterval(() => {
		if (left.isConnected)
			tick();
		else
			clearInterval(timer); // the view was drawn anew
	}, 1000);

	signal.addEventListener("abort", () => clearInterval(timer));
	tick();
	return el("div", { class: "timer" }, left, bar);
}

// The old secret's end: how long it is still taken, and when it was last used.
export function overlapCard(app, signal, reload, ...more) {
	if (!app.previous_valid_until || Date.parse(app.previous_valid_until) <= now())
		return "";
	return card("The old secret key is still accepted",
		countdown(app.previous_valid_until, signal, async () => {
			await reload();
			if (document.activeElement === document.body)
				toTop(); // what had the focus went with the old page
		}),
		facts(["Until", time(app.previous_valid_until), ` (${new Date(
			app.previous_valid_until).toLocaleString()})`],
		["Last used", time(app.previous_last_used_at, "not since the rotation")]),
		el("p", { class: "hint" },
			"When nothing uses it any more, end it: a leaked old secret is then worth nothing."),
		more.length > 0 ? el("div", { class: "row" }, ...more) : "");
}

function oldSecret(place) {
	if (!session.previous)
		return "";
	return button("Does the old one still let in?", async () => {
		const answer = await call("GET", "/v1/whoami", {
			publicKey: session.keys.public_key,
			token: await sign(session.previous, "HS256", standardClaims(60)) });

		place.replaceChildren(answer.ok
			? note("info", el("p", {}, "Yes: it still lets in, but manages nothing."))
			: refusal(answer));
		announce(answer.ok ? "It still lets in" : "It is refused");
	});
}

// Rotates. While the secret key before this one is still accepted, that is asked
// about first: the question names when it was last used. Null if it stays so.
export async function rotate(send, look, grace) {
	const order = { grace_seconds: Number(grace) };
	const answer = await send(JSON.stringify(order));

	if (answer.json?.code !== "overlap_in_progress")
		return answer;
	const app = await look();

	if (!app.ok)
		return app;
	const used = app.json.previous_last_used_at;

	if (!await confirm({ title: "End the old secret key as well?",
		verb: "Rotate, and end it", text: `${app.json.previous_valid_until
			? `It is accepted until ${when(app.json.previous_valid_until)}, and `
			: "It "}was last used ${used ? when(used) : "before the last rotation"}. ` +
			"What still uses it is refused then." }))
		return null;
	return send(JSON.stringify({ ...order, end_previous: true }));
}

function rotateCard(root, reload) {
	const grace = field("The old secret key goes on for",
		select(GRACES, "86400"), "As long as it takes to give all your servers the new one.");

	return card("Rotate the secret key", el("p", {},
		"Makes a new secret key. The public key stays."), form(async (place) => {
		const answer = await rotate((body) => asApp("POST", "/v1/app/rotate",
			{ body }), () => asApp("GET", "/v1/app"), grace.input.value);

		if (!answer)
			return;
		if (!answer.ok)
			return place.append(refusal(answer));
		rotated(answer.json.secret_key);
		announce("The secret key is rotated");
		await reload();
		const box = once(session.keys, "The new secret key", () => {});

		root.prepend(box);
		box.querySelector("h2").focus();
	}, grace, submit("Rotate")));
}

function renameCard(app, reload) {
	const name = field("Name", text({ value: app.name, maxlength: NAME_MAX,
		dir: "auto" }));

	return card("Rename", form(async (place) => {
		const answer = await asApp("PATCH", "/v1/app",
			{ body: JSON.stringify({ name: name.input.value }) });

		if (!answer.ok)
			return place.append(refusal(answer));
		renameKeys(answer.json.name);
		announce("Renamed");
		await reload();
		toTop();
	}, name, submit("Rename")));
}

function deleteCard(app, root) {
	const place = el("div", {});

	return card("Delete the app", el("p", {},
		"With all its users' documents. It can't be taken back."),
	button("Delete this app …", async () => {
		if (!await confirm({ title: ["Delete “", named(app.name), "”?"],
			verb: "Delete the app",
			text: "Its keys, its users and their documents go. Nothing brings them back.",
			word: wordOf(app) }))
			return;
		const answer = await asApp("DELETE", "/v1/app");

		if (!answer.ok)
			return place.replaceChildren(refusal(answer));
		useKeys(null, "");
		announce("The app is deleted");
		root.replaceChildren(note("good", el("p", {}, "“", named(app.name),
			"” is deleted.")));
		toTop();
	}, "danger"), place);
}

export default async function view(root, { signal }) {
	if (!session.keys)
		return needKeys(root);
	const body = el("div", {});
	const asked = el("div", {});

	async function reload() {
		const answer = await asApp("GET", "/v1/app", { signal });

		if (!answer.ok)
			return body.replaceChildren(refusal(answer));
		const app = answer.json;

		body.replaceChildren(card(named(app.name), el("p", { class: "line" },
			statePill(app)), facts(
			["Public key", el("code", {}, app.public_key)],
			["Registered", time(app.created_at)], ["Changed", time(app.updated_at)],
			["Expires", time(app.expires_at, "never")],
			["Secret key last used", time(app.last_used_at, "not yet")])),
		overlapCard(app, signal, reload, button("End the old secret key now", async () => {
			const ended = await asApp("DELETE", "/v1/app/previous-secret");

			if (!ended.ok)
				return body.prepend(refusal(ended));
			announce("The old secret key is over");
			await reload();
			toTop();
			body.prepend(note("good", el("p", {}, "The old secret key is over.")));
		}, "danger"), oldSecret(asked)), asked,
		el("div", { class: "columns" }, rotateCard(root, reload),
			renameCard(app, reload)), deleteCard(app, root));
	}

	root.append(body);
	await reload();
}
