// The users' documents: a page of them, and an editor that never overwrites
// what another has changed meanwhile.

import { asApp, session } from "./client.js";
import { announce, button, card, confirm, el, empty, field, form, named,
	note, objectFault, pretty, refusal, submit, table, text, time,
	USER_MAX } from "./ui.js";
import { needKeys } from "./keys.js";
import { pagesOf } from "./pager.js";

const PAGE = 20;

const pathOf = (user) => `/v1/users/${encodeURIComponent(user)}`;

// -- one document

// The document as the server has it now; etag null means there is none.
async function read(user) {
	const answer = await asApp("GET", pathOf(user));

	return { answer, etag: answer.ok ? answer.header("ETag") : null,
		json: answer.ok ? pretty(answer.text.trim()) : "{\n}" };
}

function conflict(place, user, area, take) {
	place.append(note("warn", el("p", {}, el("strong", {},
		"Someone has changed it since you read it. "),
	"Nothing is overwritten. Look at theirs, then decide."),
	el("div", { class: "row" }, button("Load theirs, drop mine", async () => {
		const theirs = await read(user);

		area.input.value = theirs.json;
		take(theirs.etag);
		place.replaceChildren(note("info", el("p", {}, "This is theirs.")));
		area.input.focus();
	}), button("Keep mine, save over theirs", async () => {
		take((await read(user)).etag);
		place.replaceChildren(note("info", el("p", {}, "Save once more to overwrite.")));
	}))));
}

function editor(user, doc, back) {
	let etag = doc.etag;
	const state = el("p", { class: "hint", "aria-live": "polite" });
	const heading = el("span", {});
	const area = field(["Document of ", named(user)], el("textarea", { rows: "14",
		class: "big", spellcheck: "false", autocomplete: "off" }),
	"One JSON object.");
	const take = (value) => {
		etag = value;
		heading.replaceChildren(etag ? "Edit " : "New: ", named(user));
		remove.hidden = !etag;
		state.textContent = etag ? `ETag ${etag}. It is saved only if it is still that one.`
			: "It does not exist yet. It is made only if nobody else makes it first.";
	};
	const problems = el("div", {});
	const remove = button("Delete …", async () => {
		if (!await confirm({ title: ["Delete the document of ", named(user), "?"],
			text: "It can't be taken back.", verb: "Delete" }))
			return;
		const answer = await asApp("DELETE", pathOf(user),
			{ headers: { "If-Match": etag } });

		if (!answer.ok)
			return problems.replaceChildren(refusal(answer));
		announce(`${user} is deleted`);
		await back();
	}, "danger");

	area.input.value = doc.json;
	take(etag);
	return card(heading, form(async (place) => {
		const fault = objectFault(area.input.value);

		if (fault)
			return area.say(fault);
		const answer = await asApp("PUT", pathOf(user), { body: area.input.value,
			headers: etag ? { "If-Match": etag } : { "If-None-Match": "*" } });

		if (answer.status === 412)
			return conflict(place, user, area, take);
		if (!answer.ok)
			return place.append(refusal(answer));
		take(answer.header("ETag"));
		area.input.value = pretty(answer.text.trim());
		place.append(note("good", el("p", {}, "Saved.")));
		announce("Saved");
	}, area, state, el("div", { class: "row" }, submit("Save"),
		button("Back to the list", back), remove), problems));
}

// -- the list

export default async function view(root, { signal }) {
	if (!session.keys)
		return needKeys(root);
	const body = el("div", {});
	const pages = pagesOf("users", body, list);

	async function open(user) {
		const doc = await read(user);

		if (!doc.answer.ok && doc.answer.status !== 404)
			return body.replaceChildren(refusal(doc.answer));
		body.replaceChildren(editor(user, doc, pages.again));
		body.querySelector("textarea").focus();
	}

	async function list() {
		const after = pages.after === null ? ""
			: `&after=${encodeURIComponent(pages.after)}`;
		const answer = await asApp("GET", `/v1/users?limit=${PAGE}${after}`,
			{ signal });

		if (!answer.ok)
			return body.replaceChildren(refusal(answer));
		const { users, next } = answer.json;

		body.replaceChildren(users.length === 0 && pages.number === 1
			? empty("No users yet", "A user is there as soon as it has a document. Write the first one below.")
			: card("Users", table("Users", ["User", "Changed", "Made", "Document"],
				users.map((u) => [el("strong", {}, named(u.user)),
					time(u.updated_at), time(u.created_at),
					button("Open", () => open(u.user), "small",
						`Open ${u.user}`)])), pages.nav(next)),
		opener());
		announce(`Page ${pages.number}: ${users.length} users`);
	}

	function opener() {
		const user = field("User", text({ maxlength: USER_MAX }),
			"Opens its document, or begins one.");

		return card("A user by name", form(() => {
			if (user.input.value === "")
				return user.say("Name a user.");
			return open(user.input.value);
		}, user, submit("Open")));
	}

	root.append(el("p", { class: "lead" },
		"A JSON document for each of the app's users. The app's token reads and writes them all, a user's token its own."), body);
	await list();
}
