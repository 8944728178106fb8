// The operator's view: all apps, and one of them with its keys and its trail.

import { asAdmin, now, session } from "./client.js";
import { announce, button, card, confirm, copyButton, el, empty, facts, field,
	form, NAME_MAX, named, note, refusal, select, span, submit, table, text,
	time, toTop, trouble, wordOf } from "./ui.js";
import { needAdmin, once } from "./keys.js";
import { pagesOf } from "./pager.js";
import { GRACES, overlapCard, rotate, statePill } from "./myapp.js";

const PAGE = 20;
const TYPING = 250; // ms without a key before the search goes out
const EVENTS = {
	created: "Registered", renamed: "Renamed", disabled: "Disabled",
	enabled: "Enabled", expiry_changed: "Expiry changed",
	rotated: "Secret key rotated", resealed: "Sealed anew",
	previous_ended: "Old secret key ended", changed: "Changed",
	secret_opened: "Secret key opened by the tool", deleted: "Deleted",
};

const pathOf = (key, rest = "") => `/v1/apps/${encodeURIComponent(key)}${rest}`;

// -- the list

function rowOf(app) {
	return [el("a", { href: `#/apps/${app.public_key}` },
		named(app.name)),
		el("code", { title: app.public_key }, `${app.public_key.slice(0, 12)}…`),
		statePill(app), time(app.last_used_at, "never"), time(app.created_at)];
}

// In the server's order, page by page.
function list(root, signal) {
	const body = el("div", { "aria-live": "off" });
	const pages = pagesOf("apps", body, load);
	const search = field("Search", text({ type: "search" }),
		"Part of a name, or the beginning of a public key.");
	let timer;
	let asked = 0;

	async function load() {
		const mine = ++asked;
		const query = new URLSearchParams({ limit: PAGE });

		if (pages.after !== null)
			query.set("after", pages.after);
		if (search.input.value.trim())
			query.set("search", search.input.value.trim());
		const answer = await asAdmin("GET", `/v1/apps?${query}`, { signal });

		if (mine !== asked)
			return; // a later search is on its way
		if (!answer.ok)
			return body.replaceChildren(refusal(answer));
		const { apps, next } = answer.json;

		body.replaceChildren(apps.length === 0 ? nothing() : card("Apps",
			table("Apps", ["Name", "Public key", "State", "Last used",
				"Registered"], apps.map(rowOf)), pages.nav(next)));
		announce(`${apps.length} app${apps.length === 1 ? "" : "s"} on page ${pages.number}`);
	}

	function nothing() {
		return search.input.value.trim()
			? empty("No app matches", "Neither a name nor a public key has that text.",
				button("Clear the search", () => {
					search.input.value = "";
					search.input.focus();
					return pages.first();
				}))
			: empty("No apps yet", "Give a developer the registration token, or an invite: postern invite --uses 1",
				el("a", { class: "button main", href: "#/keys" }, "Register one"));
	}

	search.input.addEventListener("input", () => {
		clearTimeout(timer);
		timer = setTimeout(() => pages.first().catch((error) => {
			if (error.name !== "AbortError")
				body.replaceChildren(trouble(error));
		}), TYPING);
	});
	signal.addEventListener("abort", () => clearTimeout(timer));
	root.append(el("p", { class: "lead" },
		"Every app that registered here. Open one for its keys, its trail, and what you can do about it."),
	el("search", {}, form(pages.first, search)), body);
	return load();
}

// -- one app

// Since when the current secret key is: the last rotation, else the beginning.
async function keySince(app) {
	const answer = await asAdmin("GET", pathOf(app.public_key, "/events?limit=200"));

	if (!answer.ok)
		return null;
	return answer.json.events.find((e) => e.event === "rotated")?.at ??
		(answer.json.next === null ? app.created_at : null);
}

function ageText(since) {
	return since ? span((now() - Date.parse(since)) / 1000) : "not known";
}

// A value as it was or is.
function valueOf(values, name) {
	const value = values?.[name];

	return value === null || value === undefined ? "none" : String(value);
}

// "name: An app → Other", a line each; what is hidden on either side tells no
// more than the event does.
function changesOf(e) {
	return Object.keys({ ...e.old, ...e.new })
		.map((name) => [name, valueOf(e.old, name), valueOf(e.new, name)])
		.filter(([, was, is]) => was !== "hidden" && is !== "hidden")
		.map(([name, was, is]) => el("p", { class: "hint wrap" }, `${name}: `,
			named(was), " → ", named(is)));
}

function sourceOf(e) {
	return [e.remote && `from ${e.remote}`, e.request_id && `request ${e.request_id}`,
		e.login && `as ${e.login}`].filter(Boolean).map((line) =>
		el("p", { class: "hint wrap" }, line));
}

function trailCard(app, signal) {
	const body = el("tbody", {});
	const more = el("div", { class: "row" });
	const grid = el("table", { class: "stack" },
		el("caption", { class: "unseen" }, "Audit trail, newest first"),
		el("thead", {}, el("tr", {}, ["When", "What", "Who"].map((head) =>
			el("th", { scope: "col" }, head)))), body);

	async function load(before) {
		const answer = await asAdmin("GET", pathOf(app.public_key,
			`/events?limit=10${before ? `&before=${before}` : ""}`), { signal });

		if (!answer.ok)
			return more.replaceChildren(refusal(answer));
		body.append(...answer.json.events.map((e) => el("tr", {},
			el("td", { "data-head": "When" }, time(e.at)),
			el("td", { "data-head": "What" }, el("div", {},
				el("span", {}, EVENTS[e.event] ?? e.event), ...changesOf(e))),
			el("td", { "data-head": "Who" }, el("div", {},
				el("code", {}, named(e.actor)), ...sourceOf(e))))));
		more.replaceChildren(answer.json.next === null ? ""
			: button("Older", () => load(answer.json.next)));
	}

	const self = card("Audit trail", el("p", { class: "hint" },
		"Every change of the app, with who made it, from where, and what it was before."),
	grid, more);

	self.loaded = load();
	return self;
}

function expiryCard(app, changed) {
	const local = app.expires_at ? app.expires_at.slice(0, 16) : "";
	const at = field("Expires (UTC)", el("input", { type: "datetime-local",
		value: local }), "Empty for never.");

	return card("Expiry", form(async (place) => {
		if (at.input.validity.badInput)
			return at.say("A date and a time, please, or nothing.");
		const body = JSON.stringify({ expires_at: at.input.value
			? `${at.input.value.slice(0, 16)}:00Z` : null });

		await changed(asAdmin("PATCH", pathOf(app.public_key), { body }), place,
			"The expiry is set");
	}, at, submit("Set the expiry")));
}

function renameCard(app, changed) {
	const name = field("Name", text({ value: app.name, maxlength: NAME_MAX,
		dir: "auto" }));

	return card("Rename", form((place) => changed(asAdmin("PATCH",
		pathOf(app.public_key), { body: JSON.stringify({ name: name.input.value }) }),
	place, "Renamed"), name, submit("Rename")));
}

function rotateCard(app, root, reload) {
	const grace = field("The old secret key goes on for", select(GRACES, "86400"));

	return card("Rotate the secret key", el("p", {},
		"For an app that can't do it itself, or whose secret leaked. You must hand the new one over."),
	form(async (place) => {
		const answer = await rotate((body) => asAdmin("POST",
			pathOf(app.public_key, "/rotate"), { body }),
		() => asAdmin("GET", pathOf(app.public_key)), grace.input.value);

		if (!answer)
			return;
		if (!answer.ok)
			return place.append(refusal(answer));
		announce("The secret key is rotated");
		await reload();
		const box = once(answer.json,
			["The new secret key of ", named(app.name)], () => {});

		root.prepend(box);
		box.querySelector("h2").focus();
	}, grace, submit("Rotate")));
}

function doorCard(app, changed) {
	const place = el("div", {});
	const post = (what, said) => changed(asAdmin("POST",
		pathOf(app.public_key, what)), place, said);

	return card(app.disabled_at ? "Let it in again" : "Disable", el("p", {},
		app.disabled_at ? "Its tokens are refused until it is enabled."
			: "Every token of the app is refused, on every worker, until it is enabled again."),
	app.disabled_at ? button("Enable", () => post("/enable", "Enabled"), "main")
		: button("Disable …", async () => {
			if (await confirm({ title: ["Disable “", named(app.name), "”?"],
				verb: "Disable",
				text: "Its requests are refused from now on. You can enable it again." }))
				await post("/disable", "Disabled");
		}, "danger"), place);
}

function deleteCard(app) {
	const place = el("div", {});

	return card("Delete", el("p", {},
		"The app, its keys, its users' documents. The audit trail stays."),
	button("Delete …", async () => {
		if (!await confirm({ title: ["Delete “", named(app.name), "”?"],
			verb: "Delete the app",
			text: "Its keys, its users and their documents go. Nothing brings them back.",
			word: wordOf(app) }))
			return;
		const answer = await asAdmin("DELETE", pathOf(app.public_key));

		if (!answer.ok)
			return place.replaceChildren(refusal(answer));
		announce(`${app.name} is deleted`);
		location.hash = "#/apps";
	}, "danger"), place);
}

async function detail(root, key, signal) {
	const body = el("div", {});

	root.append(el("p", {}, el("a", { href: "#/apps" }, "← All apps")), body);

	// Wait for a change; show the app anew, or the refusal where it was asked.
	async function changed(request, place, said) {
		const answer = await request;

		if (!answer.ok)
			return place.replaceChildren(refusal(answer));
		announce(said);
		await reload();
		body.prepend(note("good", el("p", {}, `${said}.`)));
		toTop();
	}

	async function reload() {
		const answer = await asAdmin("GET", pathOf(key), { signal });

		if (!answer.ok)
			return body.replaceChildren(refusal(answer));
		const app = answer.json;
		const since = await keySince(app);
		const trail = trailCard(app, signal);

		await trail.loaded;
		document.querySelector("#view h1").replaceChildren(named(app.name));
		body.replaceChildren(card("The app and its keys", el("p", { class: "line" },
			statePill(app)), facts(
			["Public key", el("code", {}, app.public_key), " ",
				copyButton(app.public_key, "public key")],
			["Number", String(app.id)], ["Registered", time(app.created_at)],
			["Age of the secret key", ageText(since)],
			["Secret key last used", time(app.last_used_at, "never")],
			["Expires", time(app.expires_at, "never")],
			app.disabled_at && ["Disabled", time(app.disabled_at)])),
		overlapCard(app, signal, reload), trail,
		el("div", { class: "columns even" }, rotateCard(app, body, reload),
			expiryCard(app, changed), renameCard(app, changed),
			doorCard(app, changed), deleteCard(app)));
	}

	await reload();
}

export default async function view(root, { arg, signal }) {
	const body = el("div", {});
	const go = () => arg ? detail(body, arg, signal) : list(body, signal);

	root.append(body);
	if (!session.admin)
		return needAdmin(body, go);
	await go();
}
