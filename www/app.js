// Says whether the API is ready, and puts this host's name into the examples.
"use strict";

for (const element of document.querySelectorAll(".url"))
	element.textContent = location.origin;

const state = document.getElementById("state");

async function check() {
	let ready = false;

	try {
		ready = (await fetch("readyz", { cache: "no-store" })).ok;
	} catch {
		// The web server itself is away: not ready.
	}
	state.textContent = ready ? "Ready" : "Not ready";
	state.className = ready ? "good" : "bad";
}

check();
setInterval(check, 10000);
