// names.mjs WIDTH APPS: apps whose names were chosen to deceive. APPS is
// JSON, [name, public key, secret key] each.
import assert from "node:assert/strict";
import { admin, fits, look, open, settled, signIn, visit, width } from "./browser.mjs";

const apps = JSON.parse(process.argv[3]);

// Each place where the text stands is an isolated, breakable name.
async function held(page, name, where) {
	const loose = await page.evaluate((text) => {
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		const found = [];

		for (let n = walk.nextNode(); n; n = walk.nextNode()) {
			const around = n.parentElement;

			if (!n.data.includes(text) || !around.checkVisibility())
				continue;
			const style = getComputedStyle(around);

			if (around.localName !== "bdi" || style.unicodeBidi !== "isolate" ||
				(style.overflowWrap !== "anywhere" && !around.closest(".chip")) ||
				n.data !== text)
				found.push(around.outerHTML);
		}
		return found;
	}, name);

	assert.deepEqual(loose, [], where);
	assert.ok(await page.locator("bdi").evaluateAll((all, text) =>
		all.some((e) => e.textContent === text), name), where);
}

async function asOperator(page, [name, key]) {
	await open(page, "apps");
	await page.getByLabel("Search").fill(key);
	await page.locator(`a[href="#/apps/${key}"]`).waitFor();
	await page.waitForFunction(() =>
		document.querySelectorAll("#view tbody tr").length === 1);
	await held(page, name, "the list");
	await fits(page, "a list with a strange name");
	await page.locator(`a[href="#/apps/${key}"]`).click();
	await page.locator("h1 bdi").waitFor();
	await settled(page);
	await held(page, name, "an app");
	await look(page, "an app with a strange name");
}

async function remove(page, [name, key]) {
	const plain = name.trim() === name && !/\p{C}/u.test(name);

	await page.getByRole("button", { name: "Delete …" }).click();
	const dialog = page.getByRole("dialog");

	await held(page, name, "to delete?");
	await fits(page, "to delete a strange name?");
	await dialog.getByRole("textbox").fill(plain ? key.slice(0, 12) : name);
	await dialog.getByRole("button", { name: "Delete the app" }).click();
	await dialog.getByText("That is not it.").waitFor();
	await dialog.getByRole("textbox").fill(plain ? name : key.slice(0, 12));
	await dialog.getByRole("button", { name: "Delete the app" }).click();
	await page.getByLabel("Search").waitFor();
}

async function asDeveloper(page, [name, key, secret]) {
	await open(page, "keys");
	await page.getByLabel("Public key").fill(key);
	await page.getByLabel("Secret key", { exact: true }).fill(secret);
	await page.getByRole("button", { name: "Use these keys" }).click();
	await page.locator("#who bdi").filter({ hasText: /./ }).first().waitFor();
	await settled(page);
	for (const [view, shown] of [["keys", name], ["app", name],
		["users", `\u202ex${"W".repeat(200)}`]]) {
		await open(page, view);
		await held(page, shown, view);
		await fits(page, `${view} with a strange name`);
	}
}

await visit({ viewport: { width, height: 800 } }, async (page, seen) => {
	seen.secrets.push(admin, ...apps.map(([, , secret]) => secret));
	for (const app of apps)
		await asDeveloper(page, app);
	await open(page, "apps");
	await signIn(page);
	for (const app of apps) {
		await asOperator(page, app);
		await remove(page, app);
	}
});
