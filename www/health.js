// Health and traffic: is it alive, is it ready, what comes in and what is
// refused, by the server's own metrics.

import { asAdmin, call, session } from "./client.js";
import { announce, button, card, el, facts, field, note, refusal, select }
	from "./ui.js";
import { chart } from "./chart.js";
import { needAdmin } from "./keys.js";

const EVERY = [["2", "2 seconds"], ["5", "5 seconds"], ["15", "15 seconds"],
	["60", "minute"]];
const KEPT = 240; // readings
const LINES = 8; // that the style sheet tells apart

// -- the text of Prometheus

const ESCAPES = { n: "\n" };

function labelsOf(text) {
	const found = text.matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g);

	return Object.fromEntries([...found].map(([, name, value]) =>
		[name, value.replace(/\\(.)/g, (all, c) => ESCAPES[c] ?? c)]));
}

// [{ name, labels, value }]
export function parseMetrics(text) {
	return [...text.matchAll(/^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/gm)].map(
		([, name, labels, value]) => ({ name, labels: labelsOf(labels ?? ""),
			value: value === "+Inf" ? Infinity : Number(value) }));
}

// The sum of a metric's samples for each value of a label, made by `by`.
function sums(metrics, name, by) {
	const out = {};

	for (const m of metrics)
		if (m.name === name)
			out[by(m.labels)] = (out[by(m.labels)] ?? 0) + m.value;
	return out;
}

function take(metrics) {
	return { at: Date.now(), metrics,
		requests: sums(metrics, "postern_requests_total", (l) =>
			`${l.status?.[0] ?? "?"}xx`),
		refusals: sums(metrics, "postern_refusals_total", (l) =>
			l.reason ?? "unknown"),
		buckets: sums(metrics, "postern_request_duration_seconds_bucket",
			(l) => l.le) };
}

// What was added between two readings; a counter that began anew counts whole.
function added(before, after) {
	return Object.fromEntries(Object.entries(after).map(([name, n]) =>
		[name, n >= (before[name] ?? 0) ? n - (before[name] ?? 0) : n]));
}

// The names that occurred, the most frequent first; a plot has room for few,
// the others are counted together.
function frequent(steps) {
	const totals = {};

	for (const { plus } of steps)
		for (const [name, n] of Object.entries(plus))
			totals[name] = (totals[name] ?? 0) + n;
	const names = Object.keys(totals).filter((name) => totals[name] > 0)
		.sort((a, b) => totals[b] - totals[a] || (a < b ? -1 : 1));

	return names.length > LINES ? names.slice(0, LINES - 1) : names;
}

// A second's worth, of each pair of readings.
function rates(readings, what) {
	const steps = readings.slice(1).map((r, i) => ({ at: r.at,
		seconds: (r.at - readings[i].at) / 1000,
		plus: added(readings[i][what], r[what]) }));
	const names = frequent(steps);

	return steps.map(({ at, seconds, plus }) => {
		const values = Object.fromEntries(names.map((name) => [name, 0]));

		for (const [name, n] of Object.entries(plus))
			if (Object.hasOwn(values, name))
				values[name] = n / seconds;
			else if (n > 0)
				values.others = (values.others ?? 0) + n / seconds;
		return { at, values };
	});
}

// The duration within which this share of the requests was answered.
function quantile(buckets, share) {
	const sorted = Object.entries(buckets).map(([le, n]) =>
		[le === "+Inf" ? Infinity : Number(le), n]).sort(([a], [b]) => a - b);
	const total = sorted.at(-1)?.[1] ?? 0;
	const hit = sorted.find(([, n]) => n >= total * share);

	if (total === 0 || !hit)
		return "–";
	return hit[0] === Infinity ? `over ${sorted.at(-2)?.[0] * 1000} ms`
		: `at most ${+(hit[0] * 1000).toFixed(3)} ms`;
}

// -- what is shown

function probe(name, path, what, signal) {
	const pill = el("span", { class: "pill" }, "…");
	const box = el("div", { class: "probe" }, el("h2", {}, name), pill,
		el("p", { class: "hint" }, what));

	box.look = async () => {
		const answer = await call("GET", path, { signal }).catch(() => null);
		const text = answer === null ? "No answer"
			: answer.ok ? "Yes" : `No: ${answer.status}`;

		pill.className = `pill ${answer?.ok ? "good" : "bad"}`;
		pill.textContent = answer?.ok ? `${text}, ${answer.ms.toFixed(0)} ms` : text;
	};
	return box;
}

function value(metrics, name) {
	return metrics.find((m) => m.name === name);
}

function processFacts(r) {
	const info = value(r.metrics, "postern_info")?.labels;
	const up = value(r.metrics, "postern_database_up")?.value;
	const apps = Object.entries(sums(r.metrics, "postern_apps", (l) => l.state));

	return facts(
		["Version", info?.version ?? "–"],
		["Counted in", { master: "All workers", process: "One process" }[info?.scope]
			?? info?.scope ?? "–"],
		["Workers", String(value(r.metrics, "postern_workers")?.value ?? "–")],
		["Database", up === undefined ? "–" : up ? "Connected" : "Away"],
		["Half of all requests", quantile(r.buckets, 0.5)],
		["99 of 100 requests", quantile(r.buckets, 0.99)],
		apps.length > 0 && ["Apps", apps.map(([state, n]) =>
			`${n} ${state}`).join(", ")]);
}

function traffic(signal) {
	const requests = chart("Requests by status", "a second",
		"Nothing was asked in this time.");
	const refusals = chart("Refusals by reason", "a second",
		"Nothing was refused in this time.");
	const about = el("div", {});
	const trouble = el("div", {});
	const readings = [];
	const box = el("div", {}, trouble, card("Requests a second", requests),
		card("Refusals a second, by reason", refusals),
		card("The server", about));

	box.look = async () => {
		const answer = await asAdmin("GET", "/metrics", { signal });

		if (answer.status === 404)
			return trouble.replaceChildren(note("info", el("p", {},
				"Not available: this server has no /metrics.")));
		if (!answer.ok)
			return trouble.replaceChildren(refusal(answer));
		trouble.replaceChildren();
		readings.push(take(parseMetrics(answer.text)));
		readings.splice(0, readings.length - KEPT);
		requests.update(rates(readings, "requests"));
		refusals.update(rates(readings, "refusals"));
		about.replaceChildren(processFacts(readings.at(-1)));
	};
	return box;
}

async function dashboard(root, signal) {
	const alive = probe("Alive", "/healthz", "The process answers.", signal);
	const ready = probe("Ready", "/readyz",
		"Postgres answers, takes writes, and has the schema.", signal);
	const plots = traffic(signal);
	let timer;
	let turn = 0; // a new one ends the readings of the one before
	let on = false;
	const look = () => Promise.all([alive, ready, plots].map((p) =>
		p.look().catch(() => {})));

	// The next reading begins when the last one is there.
	async function round(mine) {
		await look();
		if (mine === turn && !signal.aborted)
			timer = setTimeout(() => round(mine), every.input.value * 1000);
	}

	function go(yes) {
		clearTimeout(timer);
		turn++;
		on = yes;
		pause.textContent = on ? "Pause" : "Go on";
		if (on)
			return round(turn);
		announce("Paused");
		return null;
	}

	const pause = button("Pause", () => go(!on));
	const every = field("Read every", select(EVERY, "5"));

	every.input.addEventListener("change", () => go(true));

	signal.addEventListener("abort", () => clearTimeout(timer));
	root.append(el("div", { class: "probes" }, alive, ready),
		el("div", { class: "row polling" }, every, pause, el("span", { class: "soft" },
			`The last ${KEPT} readings, in this tab alone.`)),
		plots);
	await go(true);
}

export default async function view(root, { signal }) {
	const body = el("div", {});

	root.append(body);
	if (!session.admin)
		return needAdmin(body, () => dashboard(body, signal));
	await dashboard(body, signal);
}
