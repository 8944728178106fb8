// troubles.mjs away|without: the database is away; or a server that is older,
// or gone altogether, answers the console.
import assert from "node:assert/strict";
import { alert, card, look, open, registration, settled, signIn, visit }
	from "./browser.mjs";

async function away(page) {
	await page.locator("#state.bad", { hasText: "Not ready" }).waitFor();
	await open(page, "keys");
	const box = card(page, "Register a new app");

	await box.getByLabel("App's name").fill("Too early");
	await box.getByLabel("Registration token", { exact: true }).fill(registration);
	await box.getByRole("button", { name: "Register" }).click();
	await alert(page, "database_unavailable").getByText("Try again in a moment")
		.waitFor();
	await look(page, "not ready");
}

const missing = (route) => route.fulfill({ status: 404,
	contentType: "application/problem+json",
	body: '{"status":404,"code":"no_such_route","detail":"Nothing here."}' });

async function without(page) {
	await page.route(/\/(metrics|openapi\.json)$/, missing);
	await open(page, "reference");
	await page.getByText("Not available").waitFor();
	await look(page, "no reference");
	await signIn(page, "health");
	await page.getByText("Not available: this server has no /metrics.").waitFor();
	await page.locator(".probe .pill.good").nth(1).waitFor();
	await look(page, "no metrics");
	await page.route(/\/v1\//, (route) => route.abort());
	await open(page, "apps");
	await alert(page, "No answer from").waitFor();
	await page.unroute(/\/v1\//);
	await page.getByRole("button", { name: "Try again" }).click();
	await page.getByText("Page 1", { exact: true }).waitFor();
	assert.equal(await page.getByRole("alert").count(), 0);
}

await visit({}, async (page, seen) => {
	seen.expected.push(/ERR_FAILED/);
	await settled(page);
	await (process.argv[2] === "away" ? away : without)(page);
});
