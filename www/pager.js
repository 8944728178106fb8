// The pages of a list: the server tells with each where the next one begins.

import { button, el } from "./ui.js";

// what: the list's name; load() shows the page that begins after `after`, in
// body, with nav(next) below it.
export function pagesOf(what, body, load) {
	const cursors = [null]; // of the pages up to this one

	// The same, for one who pressed a button that is gone with the old page.
	async function again() {
		await load();
		body.querySelector("h2")?.focus();
	}

	return {
		again,
		get after() {
			return cursors.at(-1);
		},
		get number() {
			return cursors.length;
		},
		first() {
			cursors.length = 1;
			return load();
		},
		nav: (next) => el("nav", { class: "row", "aria-label": `Pages of ${what}` },
			cursors.length > 1 ? button("Previous page", () => {
				cursors.pop();
				return again();
			}) : "", next !== null ? button("Next page", () => {
				cursors.push(next);
				return again();
			}) : "", el("span", { class: "soft" }, `Page ${cursors.length}`)),
	};
}
