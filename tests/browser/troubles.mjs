// troubles.mjs away|without|plain: the database is away; or a server that is
// older, or gone altogether, answers the console; or it came by plain http.
import assert from "node:assert/strict";
import { alert, card, look, open, register, registration, settled, signIn, url,
	visit }
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

// No WebCrypto, no clipboard: what can't be done is said, the rest goes on.
async function plain(page) {
	assert.equal(await page.evaluate(() => isSecureContext), false);
	await register(page, "By plain http");
	await page.getByRole("button", { name: "Copy secret key" }).click();
	await page.getByText("Select it and copy by hand").first().waitFor();
	// Not kept: it can still be had, as long as the tab has it.
	await open(page, "token");
	await alert(page, "Open the console by https").waitFor();
	await page.getByRole("button", { name: "Mint the token" }).click();
	await page.locator(".result").getByText("Open the console by https").waitFor();
	await open(page, "keys");
	await page.getByRole("heading", { name: "By plain http is registered" }).waitFor();
	await page.getByRole("button", { name: "I have kept it" }).click();
	assert.equal(await page.locator(".once").count(), 0);
	await look(page, "by plain http");
}

const stories = { away, without, plain };
// A name that is no "this computer" to Chromium, and leads nowhere else.
const name = new URL(url);

name.hostname = "console.test";
await visit(process.argv[2] === "plain" ? { at: name.href,
	args: ["--host-resolver-rules=MAP console.test 127.0.0.1"] } : {},
async (page, seen) => {
	seen.expected.push(/ERR_FAILED/);
	await settled(page);
	await stories[process.argv[2]](page);
});
