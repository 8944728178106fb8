// Both roles by keyboard alone: no mouse, no click, and the focus always seen.
import assert from "node:assert/strict";
import { admin, newApp, registration, request, settled, until, visit }
	from "./browser.mjs";

const STEPS = 90; // of Tab, before a thing counts as out of reach

// What has the focus: its role or tag, and the name a screen reader says.
function focused(page) {
	return page.evaluate(() => {
		const e = document.activeElement;
		const style = getComputedStyle(e);

		return { tag: e.tagName, type: e.type ?? "",
			name: (e.getAttribute("aria-label") ?? (e.labels?.[0]?.textContent) ??
				e.textContent).trim(),
			seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 };
	});
}

// Tab until the focus is on a thing of that name.
async function to(page, name) {
	const passed = [];

	for (let i = 0; i < STEPS; i++) {
		await page.keyboard.press("Tab");
		const at = await focused(page);

		if (at.tag === "BODY")
			continue;
		assert.ok(at.seen, `no focus to be seen on ${at.tag} ${at.name}`);
		passed.push(at.name.slice(0, 30));
		if (typeof name === "string" ? at.name === name : name.test(at.name))
			return at;
	}
	throw new Error(`${name} is out of reach; passed ${passed.join(" | ")}`);
}

async function press(page, name, key = "Enter") {
	await to(page, name);
	await page.keyboard.press(key);
}

async function type(page, name, text) {
	await to(page, name);
	await page.keyboard.press("Control+a");
	await page.keyboard.type(text);
}

const shows = (page, text) => page.locator("#view").getByText(text).first()
	.waitFor();

// What a change that was made says.
const done = (page, text) => page.locator(".note.good").getByText(text).waitFor();

// A link of the menu; the new view's heading then has the focus.
async function go(page, name) {
	await page.evaluate(() => document.activeElement.blur());
	await press(page, name);
	await settled(page);
	await until(page, async () => (await focused(page)).tag === "H1");
}

async function developer(page) {
	await page.keyboard.press("Tab");
	assert.equal((await focused(page)).name, "Skip to the content");
	await page.keyboard.press("Enter");
	assert.equal((await focused(page)).tag, "MAIN");
	await press(page, /^I build an app/);
	await settled(page);
	await type(page, "App's name", "By keyboard");
	await type(page, "Registration token", registration);
	await page.keyboard.press("Enter");
	await shows(page, "By keyboard is registered");
	assert.match((await focused(page)).name, /is registered/);
	const [publicKey, secret] = await page.locator(".once .value")
		.allTextContents();

	await press(page, "I have kept it");
	await settled(page);
	await to(page, /^The app \(no sub\)/);
	await page.keyboard.press("ArrowDown");
	await type(page, "User (sub)", "ada");
	await press(page, "Algorithm and more claims", "Space");
	await press(page, "Mint the token");
	await press(page, /^Try it/, "Space");
	await shows(page, "200: it lets you in");
	return { publicKey, secret };
}

async function moreOfDeveloper(page, keys) {
	await go(page, "Users' documents");
	await type(page, "User", "ada");
	await page.keyboard.press("Enter");
	await shows(page, "Document of ada");
	assert.equal((await focused(page)).tag, "TEXTAREA");
	await page.keyboard.press("Control+a");
	await page.keyboard.type('{"by":"keyboard"}');
	await press(page, "Save");
	await done(page, "Saved.");
	await press(page, "Delete …");
	await page.getByRole("dialog").waitFor();
	await page.keyboard.press("Escape");
	await until(page, async () => (await focused(page)).name === "Delete …");
	assert.equal((await request("GET", "/v1/users/ada", keys)).json.by, "keyboard");
	await go(page, "App and rotation");
	await press(page, "Rotate");
	await shows(page, "The new secret key");
	await press(page, "I have kept it");
	await shows(page, "The old secret key is still accepted");
	await press(page, "End the old secret key now");
	await done(page, "The old secret key is over.");
}

async function operator(page) {
	const name = `To be found by keyboard ${process.pid}`;
	const keys = await newApp(name);

	await go(page, "All apps");
	await type(page, "Admin token", admin);
	await page.keyboard.press("Enter");
	await shows(page, "Page 1");
	await type(page, "Search", name);
	await until(page, async () =>
		await page.locator("#view tbody tr").count() === 1);
	await press(page, name);
	await page.getByRole("heading", { level: 1, name }).waitFor();
	await shows(page, "Audit trail");
	await press(page, "Disable …");
	await page.getByRole("dialog").waitFor();
	await press(page, "Disable");
	await done(page, "Disabled.");
	await press(page, "Enable");
	await done(page, "Enabled.");
	await press(page, "Delete …");
	await page.getByRole("dialog").waitFor();
	// The dialog's first field has the focus, and keeps it inside.
	await page.keyboard.type(name);
	await page.keyboard.press("Enter");
	await page.getByLabel("Search").waitFor();
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 401);
}

await visit({}, async (page, seen) => {
	await settled(page);
	const keys = await developer(page);

	seen.secrets.push(keys.secret, admin);
	await moreOfDeveloper(page, keys);
	await operator(page);
	// The menu of narrow windows opens and closes by keyboard too.
	await page.setViewportSize({ width: 360, height: 700 });
	await page.evaluate(() => document.activeElement.blur());
	await press(page, "Menu");
	assert.ok(await page.getByRole("link", { name: "Health and traffic" }).isVisible());
	await to(page, "This host");
	await page.keyboard.press("Escape");
	assert.equal((await focused(page)).name, "Menu");
	assert.ok(!await page.getByRole("link", { name: "Health and traffic" }).isVisible());
});
