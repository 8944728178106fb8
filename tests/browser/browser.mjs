// Debian's Chromium on the console, watched: every request and every complaint
// is noted, and what must never be is asserted at the end.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
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
export const width = Number(process.argv[2]) || 1280;

// One browser with one page, given to `story` and ended after it.
export async function visit({ at = url, args = [], ...options }, story) {
	const profile = mkdtempSync(join(tmpdir(), "pc"));
	const context = await chromium.launchPersistentContext(profile, {
		executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
		headless: true, timeout: PATIENCE * 2, acceptDownloads: true,
		viewport: { width: 1280, height: 900 }, reducedMotion: "reduce",
		args: ["--no-sandbox", "--headless", "--disable-gpu", "--disable-quic",
			"--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", ...args],
		...options,
	});

	try {
		context.setDefaultTimeout(PATIENCE);
		if (at === url) // another place, by plain http, is given none
			await context.grantPermissions(["clipboard-read", "clipboard-write"],
				{ origin: new URL(url).origin });
		const page = context.pages()[0] ?? await context.newPage();
		const seen = watch(page);

		await page.goto(at);
		await story(page, seen);
		await keptNothing(page, context, seen, new URL(at).origin);
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
async function keptNothing(page, context, seen, origin) {
	for (const one of seen.requests)
		assert.equal(new URL(one).origin, origin, one);
	for (const one of seen.urls)
		for (const secret of seen.secrets)
			assert.ok(!one.includes(secret), "a secret stands in a URL");
	assert.deepEqual(await page.evaluate(async () => ({
		local: localStorage.length, session: sessionStorage.length,
		cookies: document.cookie, databases: (await indexedDB.databases()).length,
		caches: (await globalThis.caches?.keys())?.length ?? 0,
		workers: (await navigator.serviceWorker?.getRegistrations())?.length ?? 0,
	})), { local: 0, session: 0, cookies: "", databases: 0, caches: 0, workers: 0 });
	assert.deepEqual(await context.cookies(), []);
	assert.deepEqual(seen.errors.filter((e) =>
		!seen.expected.some((pattern) => pattern.test(e))), []);
}

// axe-core on the page as it stands. By the debugger: the page's own policy
// lets no script of ours in.
async function accessible(page, where, rules) {
	if (!await page.evaluate("typeof axe === 'object'"))
		await page.evaluate(`(() => { ${axe}\n; window.axe = axe; })()`);
	const { violations, passes, incomplete } = await page.evaluate((runOnly) =>
		axe.run(document, runOnly ? { runOnly } : {}), rules);

	assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) =>
		`${n.target} ${n.failureSummary}`).join("; ")}`), [], where);
	assert.ok(passes.length + incomplete.length > 0, where);
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

// The view as it stands, in light and in dark: it fits, and axe-core finds
// nothing; what colours decide is looked at in both.
export async function look(page, where) {
	await page.emulateMedia({ colorScheme: "light" });
	await fits(page, where);
	await accessible(page, `${where}, light`);
	await page.emulateMedia({ colorScheme: "dark" });
	await accessible(page, `${where}, dark`, ["color-contrast"]);
	if (process.env.SHOTS)
		await page.screenshot({ fullPage: true,
			path: join(process.env.SHOTS, `${width} ${where}.png`) });
}

// Wait for a condition that is asked from here.
export async function until(page, check) {
	const end = Date.now() + PATIENCE;

	while (!await check()) {
		assert.ok(Date.now() < end, `timed out: ${check}`);
		await page.waitForTimeout(50);
	}
}

export async function open(page, view) {
	await page.evaluate((name) => {
		location.hash = `#/${name}`;
	}, view);
	await settled(page);
}

// The view that the address names is there, and its first answers too.
export async function settled(page) {
	await page.waitForFunction(() => {
		const view = document.getElementById("view");
		const [name] = location.hash.replace(/^#\/?/, "").split("/");
		const link = document.querySelector("#nav [aria-current]");

		return link?.getAttribute("href") === `#/${name}` &&
			(view.hidden || !view.hasAttribute("aria-busy"));
	});
}

export const alert = (page, text) =>
	page.getByRole("alert").filter({ hasText: text });
export const card = (page, title) => page.locator("section.card",
	{ has: page.getByRole("heading", { level: 2, name: title }) }).first();

// -- the API from here, beside the page

const encoded = (text) => Buffer.from(text).toString("base64url");

// A token of an implementation that is not the console's.
export function claimsToken(key, claims, header = '{"alg":"HS256"}') {
	const exp = Math.floor(Date.now() / 1000) + 300;
	const data = `${encoded(header)}.${encoded(JSON.stringify(
		{ exp, ...claims }))}`;

	return `${data}.${createHmac("sha256", key).update(data).digest("base64url")}`;
}

export async function request(method, path, { publicKey, secret, token }, body) {
	const answer = await fetch(url.slice(0, -1) + path, { method,
		headers: { Authorization: `Bearer ${token ?? claimsToken(secret, {})}`,
			...(publicKey ? { "X-Public-Key": publicKey } : {}),
			...(body ? { "Content-Type": "application/json" } : {}) },
		body: body && JSON.stringify(body) });
	const text = await answer.text();

	return { status: answer.status, json: text ? JSON.parse(text) : null };
}

// A user's document, read, or written when one is given.
export const stored = (keys, user, document) =>
	request(document ? "PUT" : "GET", `/v1/users/${user}`, keys, document);

export async function newApp(name) {
	const { status, json } = await request("POST", "/v1/apps",
		{ token: registration }, { name });

	assert.equal(status, 201);
	return { publicKey: json.public_key, secret: json.secret_key };
}

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
