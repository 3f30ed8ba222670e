// SPDX-License-Identifier: GPL-2.0-only
"use strict";

// Show the rows that are asked for; a file without one goes with its rows.
function filter() {
	const words = document.getElementById("words").value.toLowerCase().split(/\s+/);
	const flips = document.getElementById("only-flips").checked;
	const odd = document.getElementById("only-odd").checked;
	let shown = 0;

	for (const body of document.querySelectorAll("#matrix tbody")) {
		let rows = 0;

		for (const row of body.querySelectorAll("tr[data-test]")) {
			const text = row.dataset.test.toLowerCase();
			const there = words.every((word) => text.includes(word)) &&
				(!flips || row.dataset.flips === "yes") &&
				(!odd || row.dataset.odd === "yes");

			row.hidden = !there;
			rows += there;
		}
		body.hidden = !rows;
		shown += rows;
	}
	document.getElementById("shown").textContent = `${shown} tests shown`;
}

// What a link points to is opened, and has the focus.
function open_target() {
	const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));

	if (target && target.tagName === "DETAILS") {
		target.open = true;
		target.querySelector("summary").focus();
	}
}

if (document.getElementById("words")) {
	for (const name of ["words", "only-flips", "only-odd"])
		document.getElementById(name).addEventListener("input", filter);
	document.getElementById("filter").hidden = false;
	filter();
}
window.addEventListener("hashchange", open_target);
open_target();
