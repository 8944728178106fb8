// The shell of the console: readiness, the menu, and which view is shown.
// A view's module is loaded when it is first wanted; the first page needs none.

const views = {
	keys: ["./keys.js", "Keys"],
	token: ["./token.js", "Mint a token"],
	call: ["./call.js", "Make a call"],
	inspect: ["./inspect.js", "Inspect a token"],
	users: ["./users.js", "Users' documents"],
	app: ["./myapp.js", "App and rotation"],
	apps: ["./apps.js", "All apps"],
	health: ["./health.js", "Health and traffic"],
	reference: ["./reference.js", "API reference"],
};
const READY_EVERY = 15000;

const byId = (id) => document.getElementById(id);
const home = byId("home");
const place = byId("view");
const menu = byId("menu");
const nav = byId("nav");
const base = new URL(
	document.querySelector("meta[name=postern-api]").content || "./",
	document.baseURI);
let leave = new AbortController();

// -- readiness

async function ready() {
	try {
		const url = new URL("readyz", base);

		return (await fetch(url, { cache: "no-store", credentials: "omit" }))
			.ok;
	} catch {
		return false; // the web server itself is away
	}
}

async function showReadiness() {
	const state = byId("state");
	const yes = await ready();
	const text = yes ? "Ready" : "Not ready";

	if (state.textContent !== text) {
		state.textContent = text;
		state.className = `pill ${yes ? "good" : "bad"}`;
	}
}

// -- the menu of narrow windows

function openMenu(open) {
	menu.setAttribute("aria-expanded", String(open));
	nav.classList.toggle("open", open);
}

menu.addEventListener("click", () =>
	openMenu(menu.getAttribute("aria-expanded") !== "true"));
nav.addEventListener("keydown", (event) => {
	if (event.key === "Escape" && nav.classList.contains("open")) {
		openMenu(false);
		menu.focus();
	}
});

// -- views

function route() {
	const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");

	return { name, arg: rest.join("/") };
}

function mark(name) {
	for (const link of nav.querySelectorAll("a")) {
		if (link.getAttribute("href") === `#/${name}`)
			link.setAttribute("aria-current", "page");
		else
			link.removeAttribute("aria-current");
	}
}

function title(text) {
	document.title = text ? `${text} – Postern` : "Postern";
}

function failed(error) {
	const note = document.createElement("div");
	const again = document.createElement("button");

	note.className = "note bad";
	note.setAttribute("role", "alert");
	note.textContent = `This view could not be shown: ${error.message} `;
	again.type = "button";
	again.textContent = "Try again";
	again.addEventListener("click", () => show(true));
	note.append(again);
	place.append(note);
}

async function fill(root, name, arg, signal) {
	try {
		const module = await import(views[name][0]);

		if (!signal.aborted)
			await module.default(root, { arg, signal });
	} catch (error) {
		if (!signal.aborted)
			failed(error);
	}
}

async function show(move) {
	const { name, arg } = route();
	const known = Object.hasOwn(views, name);

	leave.abort();
	leave = new AbortController();
	openMenu(false);
	mark(known ? name : "");
	title(known ? views[name][1] : "");
	home.hidden = known;
	place.hidden = !known;
	place.replaceChildren();
	if (known) {
		const root = document.createElement("div");
		const heading = document.createElement("h1");

		heading.tabIndex = -1;
		heading.textContent = views[name][1];
		place.append(heading, root);
		place.setAttribute("aria-busy", "true");
		fill(root, name, arg, leave.signal).finally(() =>
			place.removeAttribute("aria-busy"));
	}
	if (move) {
		scrollTo(0, 0);
		(known ? place : home).querySelector("h1").focus();
	}
}

addEventListener("hashchange", () => {
	if (location.hash === "" || location.hash.startsWith("#/"))
		show(true);
});
document.querySelector(".skip").addEventListener("click", (event) => {
	event.preventDefault();
	byId("main").focus();
});

// -- whose keys are in memory; the modules that hold them tell

document.addEventListener("postern:session", (event) => {
	const who = byId("who");
	const forget = document.createElement("button");

	who.replaceChildren(...event.detail.map(([text, name]) => {
		const chip = document.createElement("span");
		const isolated = document.createElement("bdi");

		chip.className = "chip";
		isolated.textContent = name;
		chip.append(text, isolated);
		return chip;
	}));
	who.hidden = event.detail.length === 0;
	forget.type = "button";
	forget.className = "small";
	forget.textContent = "Forget";
	forget.title = "Forget the keys and tokens in this tab's memory";
	forget.addEventListener("click", async () => {
		(await import("./client.js")).forget();
		show(true);
	});
	who.append(forget);
});

// -- the first page

for (const element of document.querySelectorAll(".url"))
	element.textContent = base.href.replace(/\/$/, "");
for (const pre of home.querySelectorAll("pre")) {
	const button = document.createElement("button");

	button.type = "button";
	button.className = "small copy";
	button.textContent = "Copy";
	button.addEventListener("click", async () =>
		(await import("./ui.js")).copy(pre.textContent, button));
	pre.after(button);
}

show(false);
showReadiness();
setInterval(showReadiness, READY_EVERY);
