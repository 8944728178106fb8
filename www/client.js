// The API as seen from here, and what this tab keeps in memory. Secrets live
// in this module's variables alone: a reload forgets them.

const LEEWAY = 2000; // ms of difference that a Date header can't tell
const encoder = new TextEncoder();
const memory = {
	base: new URL(
		document.querySelector("meta[name=postern-api]").content || "./",
		document.baseURI),
	keys: null, // { name, public_key, secret_key }
	previous: null, // the secret before the last rotation
	admin: null, // the operator's token
	audience: "", // of the tokens minted here, where the server wants one
	token: null, // the one last minted: { text, public_key }
	draft: null, // a call to make: { method, path }
	wanted: null, // the view that asked for keys
	skew: 0, // ms that the server's clock is ahead of ours
};

// -- what is in memory

function tell() {
	const detail = [];

	if (memory.keys)
		detail.push(["App: ", memory.keys.name || "unnamed"]);
	if (memory.admin)
		detail.push(["Operator", ""]);
	document.dispatchEvent(new CustomEvent("postern:session", { detail }));
}

export const session = {
	get keys() {
		return memory.keys;
	},
	get previous() {
		return memory.previous;
	},
	get admin() {
		return memory.admin;
	},
	get audience() {
		return memory.audience;
	},
	get base() {
		return memory.base.href.replace(/\/$/, "");
	},
	get skew() {
		return memory.skew;
	},
	get token() {
		return memory.token;
	},
	set token(token) {
		memory.token = token;
	},
};

export function useKeys(keys, audience) {
	memory.keys = keys;
	memory.previous = null;
	memory.token = null;
	if (audience !== undefined)
		memory.audience = audience;
	tell();
}

export function renameKeys(name) {
	memory.keys = { ...memory.keys, name };
	tell();
}

// After a rotation: the former secret stays at hand, to explain tokens.
export function rotated(secret) {
	memory.previous = memory.keys.secret_key;
	memory.keys = { ...memory.keys, secret_key: secret };
}

export function useAdmin(token) {
	memory.admin = token;
	tell();
}

export function forget() {
	Object.assign(memory, { keys: null, previous: null, admin: null,
		audience: "", token: null, draft: null, wanted: null });
	document.dispatchEvent(new CustomEvent("postern:forget"));
	tell();
}

// One-time notes from a view to another: read once, then gone.
export function leaveNote(name, value) {
	memory[name] = value;
}

export function takeNote(name) {
	const value = memory[name];

	memory[name] = null;
	return value;
}

// -- time: the server's, as far as its answers tell

export function now() {
	return Date.now() + (Math.abs(memory.skew) > LEEWAY ? memory.skew : 0);
}

function learnTime(headers, started, ended) {
	const date = Date.parse(headers.get("Date") ?? "");

	if (!Number.isNaN(date))
		memory.skew = Math.round(date + 500 - (started + ended) / 2);
}

// -- tokens

function base64url(bytes) {
	return btoa(String.fromCharCode(...bytes))
		.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// Web browsers offer WebCrypto to pages that came safely alone.
export function canSign() {
	return globalThis.crypto?.subtle !== undefined;
}

export const UNSAFE = "Web browsers sign only in pages that came by https or from this computer itself. Open the console by https.";

export async function hmac(key, alg, text) {
	const hash = `SHA-${alg.slice(2)}`;
	const handle = await crypto.subtle.importKey(
		"raw", key, { name: "HMAC", hash }, false, ["sign"]);

	return base64url(new Uint8Array(
		await crypto.subtle.sign("HMAC", handle, encoder.encode(text))));
}

// The HMAC key is the secret key's characters as they stand, not decoded.
export async function sign(secret, alg, claims) {
	const data = [{ alg, typ: "JWT" }, claims]
		.map((part) => base64url(encoder.encode(JSON.stringify(part))))
		.join(".");

	return `${data}.${await hmac(encoder.encode(secret), alg, data)}`;
}

export function standardClaims(seconds, user) {
	if (!canSign())
		throw new Error(UNSAFE);
	const iat = Math.floor(now() / 1000);
	const claims = { iat, exp: iat + seconds, jti: crypto.randomUUID() };

	if (user !== undefined)
		claims.sub = user;
	if (memory.audience)
		claims.aud = memory.audience;
	return claims;
}

// A fresh token for one call, of the app or of one of its users.
export async function appToken(user) {
	if (user === "")
		throw new Error("A user token needs a user.");
	return sign(memory.keys.secret_key, "HS256", standardClaims(60, user));
}

// -- calls

// The answer to one request. It throws only when there is none.
export async function call(method, path, options = {}) {
	const { token, publicKey, headers = {}, body, signal } = options;
	const sent = { ...headers };
	const started = performance.now();
	const clock = Date.now();

	if (publicKey)
		sent["X-Public-Key"] = publicKey;
	if (token)
		sent.Authorization = `Bearer ${token}`;
	if (body !== undefined && !Object.keys(sent).some((name) =>
		name.toLowerCase() === "content-type"))
		sent["Content-Type"] = "application/json";
	const answer = await fetch(session.base + path, {
		method, headers: sent, body, signal, cache: "no-store",
		credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
	}).catch((error) => {
		if (signal?.aborted)
			throw error;
		throw new Error(`No answer from ${session.base}: ${error.message}`);
	});
	const text = await answer.text();

	learnTime(answer.headers, clock, Date.now());
	return { method, path, sent, body, text, status: answer.status,
		ok: answer.ok, reason: answer.statusText,
		headers: [...answer.headers], ms: performance.now() - started,
		header: (name) => answer.headers.get(name), json: parse(text) };
}

function parse(text) {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

export async function asApp(method, path, options = {}) {
	return call(method, path, { ...options, token: await appToken(),
		publicKey: memory.keys.public_key });
}

export async function asAdmin(method, path, options = {}) {
	return call(method, path, { ...options, token: memory.admin });
}

// What a refusal's code means for the one who asked, and what to do next.
const advice = {
	credentials_missing: "Send an Authorization header with a bearer token.",
	public_key_missing: "Send the app's public key as X-Public-Key.",
	token_missing: "Send Authorization: Bearer and the token.",
	invalid_credentials: "The server does not tell which: the public key or token is unknown, the signature does not match the secret key, or the app is disabled or expired. Inspect the token here, or ask the operator with the request id.",
	token_expired: "Mint a new token. If it was new, compare the clocks.",
	token_not_yet_valid: "Wait, or compare the clocks: the token begins in the future.",
	token_without_exp: "Add exp, a number of seconds since 1970.",
	token_too_old: "Mint a new token with a fresh iat.",
	token_without_iat: "Add iat, the time of minting.",
	token_audience: "Add the aud that the operator gave you (Keys, Audience).",
	token_subject: "Leave sub out for an app token, or make it a non-empty string.",
	token_algorithm: "Sign with HS256, or with what the operator allowed besides.",
	token_malformed: "Header and claims must each be one strict JSON object, without duplicate members, and without crit.",
	token_without_jti: "Add a jti that is new for each token.",
	token_replayed: "Mint a new token for each request: here each is good once.",
	registration_closed: "Ask the operator to register the app.",
	previous_secret: "Use the new secret key for this.",
	app_token_required: "Use a token without sub.",
	user_token_required: "Use a token with sub.",
	other_user: "Use that user's token, or an app token.",
	precondition_failed: "It changed since you read it. Read it again, then decide.",
	overlap_in_progress: "The secret of the last rotation still verifies. Wait for its end, or end it first.",
	key_in_use: "Another app holds this key. Make a new pair for each app.",
	key_invalid: "Send the public half alone: RSA of 2048 to 4096 bits, P-256 or Ed25519.",
	too_many_failures: "Wait for as long as Retry-After says, and look at what was refused before.",
	too_many_registrations: "Wait for as long as Retry-After says.",
	app_rate_limited: "Wait for as long as Retry-After says.",
	database_unavailable: "Try again in a moment. Nothing was let in or changed without the database's word.",
	key_unavailable: "Tell the operator: a master key is missing.",
};

export function explain(answer) {
	return advice[answer.json?.code] ?? "";
}
