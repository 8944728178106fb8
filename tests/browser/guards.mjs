// What must never be: a script that is not the console's own runs, a
// stranger's text becomes markup, the first view is heavy.
import assert from "node:assert/strict";
import { admin, newApp, open, settled, signIn, stored, until, url,
	visit }
	from "./browser.mjs";

const FIRST_VIEW = 6; // requests
const EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';

async function injected(page) {
	const broken = await page.evaluate(async () => {
		const seen = [];
		const told = new Promise((resolve) => {
			document.addEventListener("securitypolicyviolation", (e) => {
				seen.push(e.effectiveDirective);
				if (seen.length === 4)
					resolve();
			});
		});
		const inline = document.createElement("script");
		const style = document.createElement("style");
		const handler = document.createElement("div");
		const away = document.createElement("img");

		inline.textContent = "window.hacked = 1";
		handler.setAttribute("onclick", "window.hacked = 1");
		style.textContent = "body { display: none }";
		away.src = "http://elsewhere.invalid/beacon";
		document.body.append(inline, handler, style, away);
		handler.click();
		await told;
		for (const e of [inline, handler, style, away])
			e.remove();
		return seen.sort();
	});

	assert.deepEqual(broken,
		["img-src", "script-src-attr", "script-src-elem", "style-src-elem"]);
	assert.equal(await page.evaluate(() => window.hacked), undefined);
	await assert.rejects(page.evaluate(() =>
		fetch("http://elsewhere.invalid/").then((r) => r.status)));
	// eval is the debugger's own here; the page's must not be able to.
	assert.equal(await page.evaluate(() => new Promise((resolve) => {
		addEventListener("error", () => resolve("refused"), { once: true });
		setTimeout("window.hacked = 1", 0);
		setTimeout(() => resolve(window.hacked ?? "refused"), 50);
	})), "refused");
}

async function markup(page) {
	const keys = await newApp(EVIL);
	const user = encodeURIComponent(EVIL.slice(0, 60));

	assert.equal((await stored(keys, user, { evil: EVIL })).status, 201);
	await signIn(page);
	await page.getByLabel("Search").fill(EVIL);
	await page.getByRole("link", { name: EVIL }).click();
	await page.getByRole("heading", { level: 1, name: EVIL }).waitFor();
	await open(page, "keys");
	await page.getByLabel("Public key").fill(keys.publicKey);
	await page.getByLabel("Secret key", { exact: true }).fill(keys.secret);
	await page.getByRole("button", { name: "Use these keys" }).click();
	await page.locator("#who").getByText(EVIL).waitFor();
	await open(page, "users");
	await page.getByRole("button", { name: /^Open </ }).click();
	await page.getByRole("button", { name: "Save" }).waitFor();
	assert.equal(await page.evaluate(() => window.hacked), undefined);
	assert.equal(await page.locator("main img, main script").count(), 0);
	return keys;
}

await visit({}, async (page, seen) => {
	await settled(page);
	await page.getByText("Ready", { exact: true }).waitFor();
	await until(page, () => seen.requests.some((r) => r.endsWith("/icon.svg")));
	assert.ok(seen.requests.length > 3 && seen.requests.length <= FIRST_VIEW,
		seen.requests.join(" "));
	assert.deepEqual(seen.requests.filter((r) => /\/readyz$/.test(r)),
		[`${url}readyz`]);
	seen.expected.push(/Content Security Policy/, /elsewhere\.invalid/);
	const before = seen.requests.length;

	await injected(page);
	// What the policy stopped may be noted, but never got an answer.
	seen.requests.splice(before);
	const keys = await markup(page);

	seen.secrets.push(keys.secret, admin);
	// A reload forgets everything.
	await page.reload();
	await settled(page);
	await page.getByText("No app's keys yet").waitFor();
	assert.ok(await page.locator("#who").isHidden());
});
