// The console below a mount, or told where the API is: it makes its calls to
// the right place, and the .env says so.
import assert from "node:assert/strict";
import { keep, open, register, settled, url, visit } from "./browser.mjs";

const api = new URL("/gate", url).href;

await visit({}, async (page, seen) => {
	await settled(page);
	await page.locator("#state.good").waitFor();
	assert.ok((await page.locator("pre").first().textContent())
		.startsWith(`curl ${api}/v1/apps`));
	const keys = await register(page, "Below a mount");

	seen.secrets.push(keys.secret);
	await page.getByRole("button", { name: "Copy as .env" }).click();
	assert.ok((await page.evaluate(() => navigator.clipboard.readText()))
		.startsWith(`POSTERN_URL=${api}\n`));
	await keep(page);
	await open(page, "call");
	await page.getByRole("button", { name: "Send" }).click();
	await page.locator("#view").getByText("200 OK").waitFor();
	await open(page, "reference");
	await page.getByText("Register an app").waitFor();
	for (const one of seen.requests.filter((r) => /\/(v1|readyz)/.test(r)))
		assert.ok(one.startsWith(`${api}/`), one);
});
