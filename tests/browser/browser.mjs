// Debian's Chromium on the console, watched: every request and every complaint
// is noted, and what must never be is asserted at the end.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PATIENCE = Number(process.env.PATIENCE ?? 20) * 1000;
const axe = readFileSync(
	createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const url = process.env.CONSOLE_URL;
export const registration = process.env.REGISTRATION;
export const admin = process.env.ADMIN;
export const short = (text) => text.slice(0, 60);

// One browser with one page, given to `story` and ended after it.
export async function visit(options, story) {
	const profile = mkdtempSync(join(tmpdir(), "pc"));
	const context = await chromium.launchPersistentContext(profile, {
		executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
		headless: true, timeout: PATIENCE * 2, acceptDownloads: true,
		viewport: { width: 1280, height: 900 }, reducedMotion: "reduce",
		args: ["--no-sandbox", "--headless", "--disable-gpu", "--disable-quic",
			"--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync"],
		...options,
	});

	try {
		context.setDefaultTimeout(PATIENCE);
		await context.grantPermissions(
			["clipboard-read", "clipboard-write"], { origin: new URL(url).origin });
		const page = context.pages()[0] ?? await context.newPage();
		const seen = watch(page);

		await page.goto(options.url ?? url);
		await story(page, seen);
		await keptNothing(page, context, seen);
	} finally {
		await context.close();
		rmSync(profile, { recursive: true, force: true });
	}
}

// What the page asked for and complained of.
function watch(page) {
	const seen = { requests: [], urls: [], errors: [], secrets: [], expected: [] };

	page.on("request", (r) => {
		seen.urls.push(r.url());
		if (!r.url().startsWith("blob:"))
			seen.requests.push(r.url());
	});
	page.on("pageerror", (e) => seen.errors.push(`error: ${e.message}`));
	page.on("console", (m) => {
		// Refusals are what much of this is about; Chromium notes each.
		if (m.type() === "error" && !/status of 4\d\d|status of 503/.test(m.text()))
			seen.errors.push(`console: ${m.text()}`);
	});
	page.on("framenavigated", (f) => seen.urls.push(f.url()));
	return seen;
}

// No request left the origin, no secret came into a URL or any storage, and
// the page complained of nothing that was not expected.
async function keptNothing(page, context, seen) {
	const origin = new URL(url).origin;

	for (const one of seen.requests)
		assert.equal(new URL(one).origin, origin, one);
	for (const one of seen.urls)
		for (const secret of seen.secrets)
			assert.ok(!one.includes(secret), "a secret stands in a URL");
	assert.deepEqual(await page.evaluate(async () => ({
		local: localStorage.length, session: sessionStorage.length,
		cookies: document.cookie, databases: (await indexedDB.databases()).length,
		caches: (await caches.keys()).length,
		workers: (await navigator.serviceWorker.getRegistrations()).length,
	})), { local: 0, session: 0, cookies: "", databases: 0, caches: 0, workers: 0 });
	assert.deepEqual(await context.cookies(), []);
	assert.deepEqual(seen.errors.filter((e) =>
		!seen.expected.some((pattern) => pattern.test(e))), []);
}

// axe-core on the page as it stands. By the debugger: the page's own policy
// lets no script of ours in.
export async function accessible(page, where) {
	await page.evaluate(`(() => { ${axe}\n; window.axe = axe; })()`);
	const { violations } = await page.evaluate(() => axe.run(document, {
		resultTypes: ["violations"],
	}));

	assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) =>
		`${n.target} ${n.failureSummary}`).join("; ")}`), [], where);
}

// Nothing is cut off or pushes the page wider than its window.
export async function fits(page, where) {
	const wide = await page.evaluate(() => {
		const width = document.documentElement.clientWidth;

		return [...document.querySelectorAll("body *")].filter((e) => {
			const box = e.getBoundingClientRect();

			return box.width > 0 && box.right > width + 1 &&
				!e.closest("pre, .scroll, .unseen, .stack thead, .skip, svg");
		}).map((e) => `${e.tagName}.${e.className}`);
	});

	assert.deepEqual(wide, [], `too wide: ${where}`);
	assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <=
		document.documentElement.clientWidth), `scrolls sideways: ${where}`);
}

export async function open(page, view) {
	await page.evaluate((name) => {
		location.hash = `#/${name}`;
	}, view);
	await settled(page);
}

// The view is there and its first answers too.
export async function settled(page) {
	await page.waitForFunction(() => {
		const view = document.getElementById("view");

		return view.hidden || (!view.hasAttribute("aria-busy") &&
			view.querySelector("h1") !== null);
	});
}

export const heading = (page) => page.locator("#view h1");
export const card = (page, title) => page.locator("section.card",
	{ has: page.getByRole("heading", { level: 2, name: title }) }).first();

// -- steps of the stories

export async function register(page, name) {
	await open(page, "keys");
	const box = card(page, "Register a new app");

	await box.getByLabel("App's name").fill(name);
	await box.getByLabel("Registration token", { exact: true }).fill(registration);
	await box.getByRole("button", { name: "Register" }).click();
	await page.getByRole("heading", { name: `${name} is registered` }).waitFor();
	const [publicKey, secret] = await page.locator(".once .value")
		.allTextContents();

	return { publicKey, secret };
}

export async function keep(page) {
	await page.getByRole("button", { name: "I have kept it" }).click();
	await settled(page);
}

export async function signIn(page, view = "apps") {
	await open(page, view);
	await page.getByLabel("Admin token", { exact: true }).fill(admin);
	await page.getByRole("button", { name: "Go on" }).click();
	await page.locator("#who .chip", { hasText: "Operator" }).waitFor();
}
