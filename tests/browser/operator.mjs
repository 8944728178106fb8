// operator.mjs WIDTH: the whole story of one who runs the host.
import assert from "node:assert/strict";
import { admin, alert, card, look, newApp, open, request, settled,
	signIn, until, visit, width } from "./browser.mjs";

const PAGE = 20; // of the list of apps

async function wrongToken(page) {
	await open(page, "apps");
	await look(page, "the door");
	await page.getByLabel("Admin token", { exact: true }).fill("x".repeat(40));
	await page.getByRole("button", { name: "Go on" }).click();
	await alert(page, "invalid_credentials").waitFor();
}

async function list(page, name) {
	await page.getByText("Page 1", { exact: true }).waitFor();
	await look(page, "apps");
	await page.getByRole("button", { name: "Next page" }).click();
	await page.getByText("Page 2", { exact: true }).waitFor();
	await page.getByRole("button", { name: "Previous page" }).click();
	await page.getByText("Page 1", { exact: true }).waitFor();
	await page.getByLabel("Search").fill("nobody is called that");
	await page.getByText("No app matches").waitFor();
	await look(page, "no app");
	await page.getByRole("button", { name: "Clear the search" }).click();
	await page.getByLabel("Search").fill(name);
	await until(page, async () =>
		await page.locator("#view tbody tr").count() === 1);
	await page.getByRole("link", { name }).click();
	await page.getByRole("heading", { level: 1, name }).waitFor();
	await settled(page);
}

async function door(page, keys) {
	await card(page, "Disable").getByRole("button").click();
	await look(page, "to disable?");
	await page.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
	await page.locator(".note.good").getByText("Disabled.").waitFor();
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 401);
	await look(page, "disabled");
	await page.getByRole("button", { name: "Enable", exact: true }).click();
	await page.locator(".note.good").getByText("Enabled.").waitFor();
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 200);
}

async function expiry(page, keys) {
	await page.getByLabel("Expires (UTC)").fill("2001-02-03T04:05");
	await page.getByRole("button", { name: "Set the expiry" }).click();
	await page.locator(".pill", { hasText: "Expired" }).waitFor();
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 401);
	await page.getByLabel("Expires (UTC)").fill("");
	await page.getByRole("button", { name: "Set the expiry" }).click();
	await page.locator(".pill", { hasText: "Active" }).waitFor();
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 200);
}

async function rotate(page, seen, keys) {
	await page.getByLabel("The old secret key goes on for").selectOption("300");
	await page.getByRole("button", { name: "Rotate", exact: true }).click();
	await page.getByRole("heading", { name: /^The new secret key of/ }).waitFor();
	const secret = (await page.locator(".once .value").allTextContents())[1];

	seen.secrets.push(secret);
	await look(page, "rotated");
	await page.getByRole("button", { name: "I have kept it" }).click();
	assert.match(await page.getByRole("timer").textContent(), /^00:0[45]:\d\d$/);
	assert.equal((await request("GET", "/v1/whoami",
		{ ...keys, secret })).status, 200);
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 200);
	// Another one asks about the old key first.
	await page.getByRole("button", { name: "Rotate", exact: true }).click();
	await page.getByRole("dialog").getByRole("button",
		{ name: "Rotate, and end it" }).click();
	await page.getByRole("heading", { name: /^The new secret key of/ }).waitFor();
	const third = (await page.locator(".once .value").allTextContents())[1];

	seen.secrets.push(third);
	await page.getByRole("button", { name: "I have kept it" }).click();
	for (const [key, status] of [[third, 200], [secret, 200], [keys.secret, 401]])
		assert.equal((await request("GET", "/v1/whoami",
			{ ...keys, secret: key })).status, status);
}

async function trail(page) {
	const box = card(page, "Audit trail");

	for (const what of ["Secret key rotated", "Expiry changed", "Enabled",
		"Disabled"])
		await box.getByText(what, { exact: true }).first().waitFor();
	await until(page, async () => {
		const older = box.getByRole("button", { name: "Older" });

		if (await older.count())
			await older.click();
		return await box.getByText("Registered", { exact: true }).count() === 1;
	});
	for (const said of [/^disabled_at: none → \d{4}-/, /^from 127\.0\.0\.1$/,
		/^request [\w.:-]+$/, /^as server$/])
		await box.getByText(said).first().waitFor();
	assert.equal(await box.getByText("hidden").count(), 0);
	assert.match(await card(page, "The app and its keys").textContent(),
		/Age of the secret key(now|\d+ (seconds?|minutes?))/);
	await look(page, "an app");
}

async function remove(page, name, keys) {
	await card(page, "Delete").getByRole("button").click();
	const dialog = page.getByRole("dialog");

	await dialog.getByRole("textbox").fill("something else");
	await dialog.getByRole("button", { name: "Delete the app" }).click();
	await dialog.getByText("That is not it.").waitFor();
	await dialog.getByRole("textbox").fill(name);
	await dialog.getByRole("button", { name: "Delete the app" }).click();
	await page.getByLabel("Search").waitFor();
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 401);
}

// Real refusals between the readings, by their reasons, in plot and table.
async function health(page, keys) {
	const box = card(page, "Refusals a second, by reason");

	await open(page, "health");
	await page.getByLabel("Read every").selectOption("2");
	await page.locator(".probe .pill.good").nth(1).waitFor();
	await request("GET", "/v1/whoami", { ...keys, publicKey: "ab".repeat(32) });
	await box.locator(".keys li", { hasText: "key_unknown" }).waitFor();
	assert.match(await box.locator("svg.chart").getAttribute("aria-label"),
		/key_unknown/);
	await box.getByText("As a table").click();
	await box.getByRole("columnheader", { name: "key_unknown" }).waitFor();
	await page.getByText("All workers").waitFor();
	await page.getByText("Connected", { exact: true }).waitFor();
	await look(page, "health");
	await page.getByRole("button", { name: "Pause" }).click();
	await page.getByRole("button", { name: "Go on" }).waitFor();
}

async function reference(page) {
	await open(page, "reference");
	await page.getByLabel("Find").fill("rotate");
	await page.getByText(/^\d calls$/).waitFor();
	const operation = page.locator(".operation:visible").first();

	await operation.locator("summary").first().click();
	await operation.getByText("Answers").waitFor();
	await operation.locator(".answer > summary").first().click();
	await look(page, "reference");
	await operation.getByRole("link", { name: "Try this call" }).click();
	await page.getByLabel("Path").waitFor();
	assert.match(await page.getByLabel("Path").inputValue(), /\/rotate$/);
}

await visit({ viewport: { width, height: 800 } }, async (page, seen) => {
	const name = `Sample at ${width} ${process.pid}`;
	const keys = await newApp(name);

	for (let i = 0; i < PAGE; i++)
		await newApp(`One of many ${i}`);
	seen.secrets.push(admin, keys.secret);
	await wrongToken(page);
	await signIn(page);
	await list(page, name);
	await door(page, keys);
	await expiry(page, keys);
	await rotate(page, seen, keys);
	await trail(page);
	await remove(page, name, keys);
	await health(page, keys);
	await reference(page);
	// Forgetting: nothing of the operator's is left on the page.
	await page.getByRole("button", { name: "Forget" }).click();
	await open(page, "apps");
	await page.getByLabel("Admin token", { exact: true }).waitFor();
});
