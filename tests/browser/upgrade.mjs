// The console before and after an upgrade, in one browser with one cache: every
// module of the page is of one version. The argument is the folder of its files.
import assert from "node:assert/strict";
import { appendFileSync, readdirSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { open, settled, url, visit } from "./browser.mjs";

const folder = process.argv[2];
const scripts = readdirSync(folder).filter((f) => f.endsWith(".js"));

// What of the page's modules was asked for, from the nth request on.
function modules(seen, n) {
	return [...new Set(seen.requests.slice(n).map((u) =>
		new URL(u).pathname.slice(1)).filter((p) => p.endsWith(".js")))].sort();
}

// Views bring modules of their own.
async function look(page) {
	await settled(page);
	for (const view of ["call", "reference"])
		await open(page, view);
}

// Old files, of which a browser thinks that they will stay for long.
for (const name of readdirSync(folder))
	utimesSync(join(folder, name), 0, Date.now() / 1000 - 400 * 86400);

await visit({}, async (page, seen) => {
	await look(page);
	const asked = seen.requests.length;

	assert.ok(modules(seen, 0).length > 3, `${seen.requests}`);
	for (const name of scripts)
		appendFileSync(join(folder, name),
			`\n(globalThis.upgraded ??= []).push("${name}");\n`);
	// The upgrade is over when the server has it: lighttpd goes by what it
	// knows of a file for a second or two.
	for (const name of scripts)
		while (!(await (await fetch(new URL(name, url))).text())
			.includes("upgraded"))
			await setTimeout(100);
	await page.goto("about:blank");
	await page.goto(url);
	await look(page);
	// In time: a view's modules come after it.
	await page.waitForFunction((names) => names.every((name) =>
		globalThis.upgraded?.includes(name)), modules(seen, asked));
});
