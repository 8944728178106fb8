// developer.mjs WIDTH: the whole story of one who builds an app.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { admin, alert, card, claimsToken, look, open, register, request,
	settled, stored, url, visit, width } from "./browser.mjs";

const PAGE = 20; // of the list of users

async function refusedFirst(page) {
	await open(page, "users");
	await page.getByText("No app's keys yet").waitFor();
	await look(page, "no keys");
	await page.getByRole("link", { name: /Register, or bring/ }).click();
	const box = card(page, "Register a new app");

	await box.getByRole("button", { name: "Register" }).click();
	await box.getByText("Give the app a name").waitFor();
	await box.getByLabel("App's name").fill("Weather");
	await box.getByLabel("Registration token", { exact: true }).fill("x".repeat(40));
	await box.getByRole("button", { name: "Register" }).click();
	await alert(page, "invalid_credentials").waitFor();
	await look(page, "registration refused");
}

async function keysOnce(page, seen) {
	const keys = await register(page, "Weather");

	seen.secrets.push(keys.secret, keys.publicKey);
	await look(page, "keys once");
	await page.getByRole("button", { name: "Copy secret key" }).click();
	assert.equal(await page.evaluate(() => navigator.clipboard.readText()),
		keys.secret);
	const [download] = await Promise.all([page.waitForEvent("download"),
		page.getByRole("button", { name: "Download as .env" }).click()]);

	assert.equal(readFileSync(await download.path(), "utf8"),
		`POSTERN_URL=${url.slice(0, -1)}\nPOSTERN_PUBLIC_KEY=${keys.publicKey}\n` +
		`POSTERN_SECRET_KEY=${keys.secret}\n`);
	await page.getByRole("button", { name: "I have kept it" }).click();
	// On to the view that wanted the keys; the secret is on no page any more.
	await page.getByText("No users yet").waitFor();
	assert.ok(!(await page.content()).includes(keys.secret));
	return keys;
}

async function mint(page) {
	await open(page, "token");
	await page.getByLabel("One user (sub)").check();
	await page.getByRole("button", { name: "Mint the token" }).click();
	await page.getByText("A user token needs a user").waitFor();
	assert.equal(await page.locator(".token").count(), 0);
	await look(page, "an empty user");
	await page.getByLabel("User (sub)", { exact: true }).fill("ada");
	await page.getByText("Algorithm and more claims").click();
	await page.getByLabel("More claims (JSON)").fill('{"sub":"eve"}');
	await page.getByRole("button", { name: "Mint the token" }).click();
	await page.getByText("Name the user above").waitFor();
	await page.getByLabel("More claims (JSON)").fill('{"role":"reader"}');
	await page.getByRole("button", { name: "Mint the token" }).click();
	await page.getByRole("button", { name: /Try it/ }).click();
	await page.getByText("200: it lets you in").waitFor();
	await look(page, "a token");
	return page.locator(".token").textContent();
}

// What the console signed, by another implementation.
function verify(token, keys) {
	const [header, claims, mac] = token.split(".");

	assert.equal(mac, createHmac("sha256", keys.secret)
		.update(`${header}.${claims}`).digest("base64url"));
	const said = JSON.parse(Buffer.from(claims, "base64url"));

	assert.equal(said.sub, "ada");
	assert.equal(said.role, "reader");
	assert.equal(said.exp - said.iat, 300);
}

async function inspect(page, token, ...wanted) {
	await page.getByLabel("Token", { exact: true }).fill(token);
	await page.getByRole("button", { name: "Inspect" }).click();
	for (const text of wanted)
		await page.locator("#view").getByText(text).first().waitFor();
}

async function reasons(page, keys, token) {
	await open(page, "inspect");
	await inspect(page, token, "The server accepts it.");
	await look(page, "accepted");
	await inspect(page, `${token.slice(0, -4)}AAAA`, "invalid_credentials",
		"It was not signed with this secret key");
	await inspect(page, claimsToken(Buffer.from(keys.secret, "hex"), {}),
		"invalid_credentials", "bytes that the secret's hex stands for");
	await inspect(page, claimsToken(keys.secret, { exp: 1000 }),
		"token_expired", /It expired \d+ days ago/);
	await look(page, "expired");
	await inspect(page, claimsToken(keys.secret, { nbf: 4e9 }),
		"token_not_yet_valid", /It begins in/);
	await inspect(page, claimsToken(keys.secret, { exp: undefined }),
		"token_without_exp", "It has no exp");
	await inspect(page, claimsToken(keys.secret, { sub: "" }), "token_subject");
	await inspect(page, claimsToken(keys.secret, {}, '{"alg":"HS256","alg":"HS256"}'),
		"token_malformed", "twice");
	await inspect(page, "a.b", "invalid_credentials", "It has 2 parts");
}

async function calls(page) {
	await open(page, "call");
	await page.getByLabel("Start from").selectOption({ label: "PUT /v1/users/ada" });
	await page.getByRole("button", { name: "Send" }).click();
	await card(page, "Answer").getByText("201 Created").waitFor();
	await card(page, "Answer").getByText("Etag").waitFor();
	await card(page, "Request").getByText("X-Public-Key", { exact: true }).waitFor();
	assert.match(await card(page, "Answer").textContent(), /\d ms, \d+ bytes/);
	await look(page, "a call");
	await page.getByLabel("Path").fill("/v1/users");
	await page.getByLabel("Method").selectOption("GET");
	await page.getByLabel("The token minted last").check();
	await page.getByRole("button", { name: "Send" }).click();
	await card(page, "Answer").getByText("app_token_required").waitFor();
}

async function documents(page, keys) {
	for (let i = 0; i < PAGE; i++)
		await stored(keys, `user-${String(i).padStart(2, "0")}`, { i });
	await open(page, "users");
	await page.getByRole("button", { name: "Next page" }).click();
	await page.getByText("Page 2", { exact: true }).waitFor();
	await page.getByText("user-19").waitFor();
	await look(page, "users");
	await page.getByRole("button", { name: "Previous page" }).click();
	await page.getByRole("button", { name: "Open ada" }).click();
	const area = page.getByLabel("Document of ada");

	await area.fill('{"city": "Lon');
	await page.getByRole("button", { name: "Save" }).click();
	await page.getByText("This is not JSON yet").waitFor();
	await area.fill('{"city":"Oxford","big":12345678901234567890}');
	await page.getByRole("button", { name: "Save" }).click();
	await page.getByText("Saved.", { exact: true }).waitFor();
	assert.match(await area.inputValue(), /12345678901234567890/);
	await look(page, "a document");
	await conflict(page, keys, area);
	await page.getByRole("button", { name: "Delete …" }).click();
	await look(page, "a dialog");
	await page.getByRole("button", { name: "Cancel" }).click();
	assert.equal((await stored(keys, "ada")).status, 200);
	await page.getByRole("button", { name: "Delete …" }).click();
	await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
	await page.getByText("Page 1", { exact: true }).waitFor();
	assert.equal((await stored(keys, "ada")).status, 404);
}

// Another changes the document meanwhile: nothing is overwritten unasked.
async function conflict(page, keys, area) {
	await stored(keys, "ada", { city: "Paris" });
	await area.fill('{"city":"Rome"}');
	await page.getByRole("button", { name: "Save" }).click();
	await page.getByText("Someone has changed it").waitFor();
	await look(page, "a conflict");
	assert.equal((await stored(keys, "ada")).json.city, "Paris");
	await page.getByRole("button", { name: "Load theirs" }).click();
	await page.getByText("This is theirs.").waitFor();
	assert.match(await area.inputValue(), /Paris/);
	await area.fill('{"city":"Rome"}');
	await page.getByRole("button", { name: "Save" }).click();
	await page.getByText("Saved.", { exact: true }).waitFor();
	assert.equal((await stored(keys, "ada")).json.city, "Rome");
}

// Another rotation asks about the old key first; no is an answer.
async function second(page, keys, former) {
	await page.getByRole("button", { name: "Rotate", exact: true }).click();
	const dialog = page.getByRole("dialog");

	await dialog.getByText(/was last used (before the last rotation|.*\d)/).waitFor();
	await look(page, "asked about the overlap");
	await dialog.getByRole("button", { name: "Cancel" }).click();
	await dialog.waitFor({ state: "detached" });
	for (const each of [keys, former])
		assert.equal((await request("GET", "/v1/whoami", each)).status, 200);
}

async function rotation(page, seen, keys) {
	await open(page, "app");
	await page.getByLabel("The old secret key goes on for").selectOption("3600");
	await page.getByRole("button", { name: "Rotate", exact: true }).click();
	await page.getByRole("heading", { name: "The new secret key" }).waitFor();
	const secret = (await page.locator(".once .value").allTextContents())[1];

	seen.secrets.push(secret);
	assert.notEqual(secret, keys.secret);
	await look(page, "rotated");
	await page.getByRole("button", { name: "I have kept it" }).click();
	const timer = page.getByRole("timer");
	const before = await timer.textContent();

	assert.match(before, /^(00:59:\d\d|01:00:00)$/);
	await page.waitForFunction((text) => document.querySelector(
		"[role=timer]").textContent !== text, before);
	await page.getByRole("button", { name: "Does the old one still let in?" }).click();
	await page.getByText("Yes: it still lets in").waitFor();
	await second(page, { ...keys, secret }, keys);
	await page.getByRole("button", { name: "End the old secret key now" }).click();
	await page.locator(".note.good").getByText("The old secret key is over.").waitFor();
	assert.equal(await timer.count(), 0);
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 401);
	return { ...keys, secret };
}

async function end(page, keys) {
	await page.getByLabel("Name", { exact: true }).fill("Weather 2");
	await page.getByRole("button", { name: "Rename" }).click();
	await page.locator("#who").getByText("App: Weather 2").waitFor();
	await page.getByRole("button", { name: "Delete this app" }).click();
	const dialog = page.getByRole("dialog");

	await dialog.getByRole("button", { name: "Delete the app" }).click();
	await dialog.getByText("That is not it.").waitFor();
	await dialog.getByRole("textbox").fill("Weather 2");
	await look(page, "the last question");
	await dialog.getByRole("button", { name: "Delete the app" }).click();
	await page.getByText("“Weather 2” is deleted.").waitFor();
	assert.equal((await request("GET", "/v1/whoami", keys)).status, 401);
}

await visit({ viewport: { width, height: 800 } }, async (page, seen) => {
	await settled(page);
	await look(page, "home");
	await refusedFirst(page);
	let keys = await keysOnce(page, seen);
	const token = await mint(page);

	seen.secrets.push(token, admin);
	verify(token, keys);
	await reasons(page, keys, token);
	await calls(page);
	await documents(page, keys);
	keys = await rotation(page, seen, keys);
	await end(page, keys);
});
