// properties.mjs: what holds for whatever a client sends, tried with values of
// a fixed seed. The site and an app's credentials come by the environment.
import assert from "node:assert/strict";
import fc from "fast-check";

const { SITE, PUBLIC_KEY, TOKEN, ADMIN, REGISTRATION } = process.env;
const RUNS = Number(process.env.RUNS ?? 100);
const own = { "X-Public-Key": PUBLIC_KEY, Authorization: `Bearer ${TOKEN}` };
const json = { "Content-Type": "application/json" };

async function ask(method, path, headers = {}, body = undefined) {
	const r = await fetch(SITE + path, { method, headers, body });
	const text = await r.text();

	assert.ok(r.status < 500, `${method} ${path}: ${r.status} ${text}`);
	if (r.status >= 400) // Postern's own, with a code
		assert.equal(typeof JSON.parse(text).code, "string");
	return { status: r.status, text, etag: r.headers.get("ETag") };
}

const check = (name, ...rest) => {
	const predicate = rest.pop();

	return fc.assert(fc.asyncProperty(...rest, predicate),
		{ seed: 20261127, numRuns: RUNS, endOnFailure: true,
			reporter: (r) => {
				if (r.failed)
					throw new Error(`${name}: ${fc.defaultReportMessage(r)}`);
			} });
};

// Postgres holds no U+0000, and half a surrogate pair is no text.
const text = (max) => fc.fullUnicodeString({ maxLength: max })
	.map((s) => s.replace(/[\0\ud800-\udfff]/gu, ""));
const plain = fc.letrec((tie) => ({
	value: fc.oneof({ maxDepth: 4, withCrossShrink: true }, text(20),
		fc.boolean(), fc.constant(null), fc.integer(),
		fc.double({ noNaN: true, noDefaultInfinity: true })
			.filter((n) => !Object.is(n, -0)),
		fc.array(tie("value"), { maxLength: 4 }), tie("object")),
	object: fc.dictionary(text(10), tie("value"), { maxKeys: 5 }),
})).object;
const same = (a, b) => assert.deepEqual(JSON.parse(a),
	JSON.parse(JSON.stringify(b)));

await check("a document comes back as it went", plain, async (doc) => {
	const put = await ask("PUT", "/v1/users/p", { ...own, ...json },
		JSON.stringify(doc));

	assert.ok([200, 201].includes(put.status), put.text);
	const got = await ask("GET", "/v1/users/p", own);

	same(got.text, doc);
	assert.deepEqual([got.text, got.etag], [put.text, put.etag]);
});

function merged(target, patch) { // RFC 7396 section 2
	if (patch === null || typeof patch !== "object" || Array.isArray(patch))
		return patch;
	const result = new Map(target !== null && typeof target === "object" &&
		!Array.isArray(target) ? Object.entries(target) : []);

	for (const [name, value] of Object.entries(patch))
		if (value === null)
			result.delete(name);
		else
			result.set(name, merged(result.get(name), value));
	return Object.fromEntries(result);
}

await check("a merge patch is RFC 7396's", plain, plain, async (doc, patch) => {
	await ask("PUT", "/v1/users/p", { ...own, ...json }, JSON.stringify(doc));
	const r = await ask("PATCH", "/v1/users/p", { ...own,
		"Content-Type": "application/merge-patch+json" }, JSON.stringify(patch));

	assert.equal(r.status, 200, r.text);
	same(r.text, merged(doc, patch));
});

// A line of any bytes that a header may have.
const line = fc.oneof(fc.string({ maxLength: 30 }), fc.stringOf(
	fc.constantFrom("W/", '"', "a", "*", ",", " ", ";", "-gzip", "\t", "\xff"),
	{ maxLength: 12 })).map((s) => s.replace(/[\0\r\n]/g, "").trim())
	.filter((s) => s !== "");
const tag = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;

function wellFormed(value) { // section 13.1: "*", or tags with commas between
	if (value === "*" || /^[,\s]*\*[,\s]*$/.test(value))
		return true;
	const rest = value.replace(/(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g, "T");

	return /^[ \t,]*T(?:[ \t]*,[ \t,]*T)*[ \t,]*$/.test(rest) &&
		!/T/.test(value.replace(/(?:W\/)?"[^"]*"/g, "")) || tag.test(value);
}

await check("a condition is understood, or nothing is written",
	fc.constantFrom("If-Match", "If-None-Match"), line, async (header, value) => {
		await ask("PUT", "/v1/users/c", { ...own, ...json }, '{"v":1}');
		const r = await ask("PUT", "/v1/users/c",
			{ ...own, ...json, [header]: value }, '{"v":2}');
		const now = JSON.parse((await ask("GET", "/v1/users/c", own)).text).v;

		assert.equal(r.status === 400, !wellFormed(value), `${r.status} ${value}`);
		assert.equal(now, r.status === 200 ? 2 : 1, `${header}: ${value}`);
	});

await check("an app's name is trimmed, and hides nothing", fc.oneof(
	fc.fullUnicodeString({ minLength: 1, maxLength: 20 }),
	fc.tuple(text(5), fc.constantFrom(..." \u202e\u200b\u2060\ufeff\u200d\u00a0\ufdd0\u0085"),
		text(5)).map((p) => p.join(""))), async (name) => {
	const r = await ask("PATCH", "/v1/app", { ...own, ...json },
		JSON.stringify({ name }));
	const trimmed = name.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, "");
	const good = name.isWellFormed() && !name.includes("\0") &&
		!/[\p{Cc}\p{Noncharacter_Code_Point}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/u
			.test(trimmed) && /[^\p{White_Space}\u200c\u200d]/u.test(trimmed);

	assert.equal(r.status, good ? 200 : 400, JSON.stringify(name));
	if (good)
		assert.equal(JSON.parse(r.text).name, trimmed);
});

await check("parameters of a type mean nothing but charset",
	fc.constantFrom("charset", "version", "odata", "Charset", "x"),
	fc.constantFrom("utf-8", "UTF8", '"Utf-8"', "latin1", '"a;b"', "1"),
	fc.constantFrom("", ";", " ;; "), async (name, value, end) => {
		const r = await ask("PUT", "/v1/users/t", { ...own,
			"Content-Type": `application/json; ${name}=${value}${end}` }, "{}");
		const bad = /charset/i.test(name) && !/^"?utf-?8"?$/i.test(value);

		assert.equal(r.status === 415, bad, `${name}=${value}${end}`);
	});

await check("no path, method or credential is a 5xx, or a yes",
	fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
	fc.array(fc.oneof(fc.constantFrom("v1", "app", "apps", "users", "auth", "me",
		"whoami", "rotate"), fc.webSegment().filter((s) => // what stays as it is
		!/^(?:\.|%2e){0,2}$/i.test(s))), { maxLength: 5 }),
	fc.constantFrom(undefined, "{}", "[", '{"name":1}'),
	async (method, parts, body) => {
		const r = await ask(method, `/v1/${parts.join("/")}`,
			{ ...json, "X-Public-Key": PUBLIC_KEY,
				Authorization: "Bearer a.b.c" },
			["GET"].includes(method) ? undefined : body ?? "");

		assert.ok(r.status >= 400 || method === "OPTIONS", `${r.status}`);
	});
