// SPDX-License-Identifier: GPL-2.0-only
"use strict";

const by_id = (id) => document.getElementById(id);
const matrix = by_id("matrix");
const panel = by_id("panel");
let chosen = null; // the mark that the panel is about
let asked_at = null; // where the panel was asked for

// -- rows: folded, and filtered -----------------------------------------------------------

function fold(body, closed) {
	body.classList.toggle("closed", closed);
	body.querySelector("button").setAttribute("aria-expanded", String(!closed));
}

// Show the rows that are asked for; who looks for something sees its group open.
function filter() {
	const asked = (id) => by_id(id) !== null && by_id(id).checked;
	const words = by_id("words").value.toLowerCase().split(/\s+/).filter(Boolean);
	const flips = asked("only-flips");
	const odd = asked("only-odd");
	const all = by_id("fold").getAttribute("aria-pressed") === "true";
	let shown = 0;

	for (const body of matrix.tBodies) {
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
		fold(body, !(all || words.length || odd || body.dataset.open === "yes"));
	}
	by_id("shown").textContent = `${shown} test${shown === 1 ? "" : "s"}`;
	roam(null);
}

// -- marks: one of them can be reached with Tab, the others from there with the arrows ------

const marks = () => [...matrix.querySelectorAll("tr")].filter((row) => row.offsetParent !== null)
	.map((row) => [...row.cells].filter((cell) => cell.tagName === "TD" &&
		!cell.classList.contains("right") && !cell.classList.contains("name")))
	.filter((cells) => cells.length && cells[0].parentNode.dataset.test !== undefined);

function roam(cell) {
	for (const old of matrix.querySelectorAll("td[tabindex='0']"))
		old.tabIndex = -1;
	const next = cell || (marks()[0] || [])[0];
	if (next)
		next.tabIndex = 0;
	return next;
}

function walk(event) {
	const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
	const cell = event.target.closest("tr[data-test] td");

	if (!cell)
		return;
	if (event.key === "Enter" || event.key === " ") {
		event.preventDefault();
		show(cell);
	} else if (event.key in step) {
		const rows = marks();
		const row = rows.findIndex((cells) => cells.includes(cell));
		const column = rows[row].indexOf(cell);
		const [down, right] = step[event.key];
		const next = (rows[row + down] || [])[column + right];

		event.preventDefault();
		if (next) {
			roam(next).focus();
			next.scrollIntoView({ block: "nearest", inline: "nearest" });
		}
	}
}

// -- the panel: what is known of a mark -----------------------------------------------------

function add(tag, text, name) {
	const made = document.createElement(tag);

	made.textContent = text;
	if (name)
		made.className = name;
	by_id("panel-body").append(made);
}

const heading = (cell) => matrix.tHead.rows[matrix.tHead.rows.length - 1].cells[cell.cellIndex];
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function fill(title, where, details) {
	by_id("panel-title").textContent = title;
	by_id("panel-where").textContent = where;
	by_id("panel-body").replaceChildren();
	for (const part of details ? details.children : [])
		if (part.tagName !== "SUMMARY")
			by_id("panel-body").append(part.cloneNode(true));
	if (!panel.open)
		panel.showModal();
	panel.scrollTop = 0;
	// What matters in a console is at its end.
	for (const console of panel.querySelectorAll("pre.console"))
		console.scrollTop = console.scrollHeight;
}

// Show what is known of a mark; of one that simply passed that is where its log is.
function show(cell) {
	const test = cell.parentNode.dataset.test;
	const link = cell.querySelector("a");
	const column = heading(cell).dataset;
	const label = link ? link.title : `${cell.textContent.trim()} ${said(cell)}`;

	chosen = cell;
	fill(test, `${column.column}: ${label}`, link && by_id(link.hash.slice(1)));
	if (!link && !cell.classList.contains("none")) {
		if (cell.parentNode.dataset.console) {
			add("h4", "console");
			add("p", `${column.logs}/${cell.parentNode.dataset.console}`, "mono");
		}
		add("h4", "run it again");
		add("pre", `${column.run} -- ${quoted(test)}`, "command");
	}
	by_id("panel-back").parentNode.hidden = matrix.classList.contains("one");
	by_id("panel-back").disabled = !beside(-1);
	by_id("panel-on").disabled = !beside(1);
}

function said(cell) {
	const words = { ok: "passes", skip: "does not apply", none: "was not run", either: "a race, both are stated" };

	return Object.keys(words).filter((kind) => cell.classList.contains(kind))
		.map((kind) => words[kind]).join("");
}

function beside(step) {
	const next = chosen && (step < 0 ? chosen.previousElementSibling : chosen.nextElementSibling);

	return next && next.tagName === "TD" && !next.classList.contains("right") ? next : null;
}

function move(step) {
	const next = beside(step);

	if (next) {
		roam(next);
		show(next);
	}
}

// Show the evidence of that name; return whether there is any.
function show_evidence(id) {
	const target = by_id(decodeURIComponent(id));

	if (!target || !target.matches("details.one[id]"))
		return false;
	const link = matrix && matrix.querySelector(`tr[data-test] a[href="#${CSS.escape(target.id)}"]`);
	if (link) {
		show(link.closest("td"));
	} else {
		chosen = null;
		by_id("panel-back").parentNode.hidden = true;
		fill(target.querySelector(".title").textContent,
			target.querySelector("summary .soft").textContent, target);
	}
	return true;
}

// -- start ----------------------------------------------------------------------------------

if (by_id("words")) {
	for (const name of ["words", "only-flips", "only-odd"])
		if (by_id(name))
			by_id(name).addEventListener("input", filter);
	by_id("fold").addEventListener("click", () => {
		const all = by_id("fold").getAttribute("aria-pressed") !== "true";

		by_id("fold").setAttribute("aria-pressed", String(all));
		by_id("fold").textContent = all ? "close all" : "open all";
		filter();
	});
	matrix.addEventListener("click", (event) => {
		const button = event.target.closest(".group button");
		const cell = event.target.closest("tr[data-test] td:not(.right)");

		if (button) {
			const body = button.closest("tbody");

			fold(body, !body.classList.contains("closed"));
		} else if (cell) {
			event.preventDefault();
			roam(cell);
			show(cell);
		}
	});
	for (const link of matrix.querySelectorAll("tr[data-test] a"))
		link.tabIndex = -1;
	matrix.addEventListener("keydown", walk);
	by_id("filter").hidden = false;
	filter();
}
by_id("panel-close").addEventListener("click", () => panel.close());
by_id("panel-back").addEventListener("click", () => move(-1));
by_id("panel-on").addEventListener("click", () => move(1));
panel.addEventListener("click", (event) => {
	if (event.target === panel)
		panel.close();
});
panel.addEventListener("close", () => {
	if (location.hash)
		history.replaceState(null, "", location.pathname + location.search);
	(asked_at || chosen || document.body).focus();
	asked_at = null;
});
// Where evidence is asked for one stays: the panel opens over it.
document.addEventListener("click", (event) => {
	const link = event.target.closest("a[href^='#']");

	if (link && !event.defaultPrevented && show_evidence(link.hash.slice(1))) {
		event.preventDefault();
		asked_at = link;
	}
});
window.addEventListener("hashchange", () => show_evidence(location.hash.slice(1)));
show_evidence(location.hash.slice(1));
