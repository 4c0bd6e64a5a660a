// The page: what is shown, and what keys and buttons do. It keeps tokens in the tab, the choice of language, colours and
// keys in the browser, and nothing else.

import { json } from "./api.js";
import { Box, boxes, keep, restore } from "./boxes.js";
import { ask, help, share, showCode } from "./dialogs.js";
import { $, button, copy, h, icon, say } from "./dom.js";
import { prove } from "./proof.js";
import { sender, subject, view } from "./reader.js";
import { LANGUAGES, language, moment, preferred, span, speak, t } from "./words.js";

const WHY = {
	"bad-field": "badname", busy: "busy", "no-memory": "busy", "no-such-mailbox": "gone", "no-such-message": "gone",
	offline: "offline", taken: "taken",
};
const SPANS = [900, 3600, 21600, 86400, 604800];
const POLL = 15_000;

let info = { domains: [], ttl_default: 3600, ttl_max: 86400 };
let current = null;
let opened = null;

const find = (selector) => document.querySelector(selector);
const rows = () => [...document.querySelectorAll(".row")];
const rowOf = (id) => rows().find((row) => row.dataset.id === id);

const reason = (why) => (why.status === 429 ? t("many", { n: why.wait || 1 }) : t(WHY[why.code] ?? "failed"));
const failed = (why) => say(reason(why));

const attempt = (work) => async (event) => {
	event?.preventDefault?.();
	try {
		await work(event);
	} catch (why) {
		if (why.code === "no-such-mailbox" && current?.live) current.end("expired", tell);
		else failed(why);
	}
};

function show(box) {
	current?.stop();
	[current, opened] = [box, null];
	render();
	if (box?.live) box.watch(tell);
}

function enter(made) {
	const known = boxes.findIndex((box) => box.address === made.address);
	if (known >= 0) boxes.splice(known, 1);
	const box = new Box({ ttl: made.expires_in ?? info.ttl_default, ...made });
	boxes.push(box);
	keep();
	show(box);
}

async function create(body) {
	if (info.proof_of_work_bits > 0) {
		say(t("proving"));
		body.proof = await prove();
	}
	enter(await json("POST", "mailboxes", { body }));
	say(t("ready"));
}

/** Opens a mailbox with what somebody kept of it: a link, its token, or a recovery ticket. */
async function reopen(text) {
	const token = text.trim().split("#").pop();
	if (/^mf_[a-z2-7]{32}$/.test(token)) enter({ token, ...await json("GET", "mailbox", { token }) });
	else enter(await json("POST", "mailbox/recover", { body: { recovery: token } }));
}

function forget(box) {
	boxes.splice(boxes.indexOf(box), 1);
	keep();
	show(boxes.at(-1) ?? null);
}

function tell(box, what, data) {
	const here = box === current;
	if (what === "message") {
		if (here) addRow(data);
		if (box.greeted) say(t("arrived", { from: sender(data) }));
	} else if (what === "open") {
		box.greeted = true;
		trouble();
	} else if (what === "trouble") {
		if (here) trouble(data.status || !navigator.onLine ? reason(data) : t("lost"));
	} else if (what === "expires-soon") {
		say(t("soon"));
		attempt(() => box.refresh())();
	} else if (what === "expired" || what === "erased") {
		say(t(what));
		box.how = what;
		if (here) render();
	} else if (here && what === "removed") {
		const row = rowOf(data);
		const focused = row === document.activeElement;
		row?.parentNode.remove();
		if (opened === data) close();
		else if (focused) settle();
	}
	count();
	keep();
}

function trouble(text = "") {
	const place = $("trouble");
	if (!place || place.textContent === text) return;
	place.textContent = text;
	place.hidden = !text;
	if (text) say(text);
}

function count() {
	const unread = boxes.reduce((sum, box) => sum + box.unread, 0);
	document.title = unread ? `(${unread}) mayfly` : "mayfly";
	document.querySelectorAll(".badge").forEach((badge, i) => {
		const n = boxes[i]?.unread;
		badge.textContent = n;
		badge.hidden = !n;
		badge.setAttribute("aria-label", t("unread", { n }));
	});
	const empty = find(".empty");
	if (empty) empty.hidden = current.messages.size > 0;
}

function render() {
	const parts = [boxes.length > 0 && switcher()];
	if (!current) parts.push(welcome());
	else if (!current.live) parts.push(over());
	else parts.push(card(), h("p.note", { id: "trouble", hidden: true }), h("div.panes",
		h("section.inbox", { "aria-label": t("inbox") }, h("ol.list"),
			h("div.empty", h("span.ripple"), h("p", t("empty")), h("p.quiet", t("emptywhy")))),
		h("article.reader", { "aria-label": t("content") }, pick())));
	$("main").replaceChildren(...parts.filter(Boolean));
	if (current?.live) current.messages.forEach(addRow);
	count();
	tick();
}

const pick = () => h("p.quiet pick", t("pick"));

function tools() {
	const root = document.documentElement;
	const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "")) === "dark";
	const theme = button(icon("moon"), () => {
		localStorage.theme = root.dataset.theme = isDark() ? "light" : "dark";
		theme.setAttribute("aria-pressed", isDark());
	}, "", { title: t("dark"), "aria-pressed": String(isDark()) });
	const change = attempt(async ({ target }) => {
		localStorage.language = target.value;
		await speak(target.value);
		tools();
		opened = null;
		render();
		find("select").focus();
	});
	$("tools").replaceChildren(
		h("select", { "aria-label": t("language"), change }, Object.entries(LANGUAGES).map(([value, name]) =>
			h("option", { value, lang: value, selected: value === language }, name))),
		theme, button("?", help, "", { title: t("keys") }));
	$("foot").replaceChildren(h("p", t("promise")), h("a", { href: "/api" }, "API"));
}

const switcher = () => h("nav.boxes", { "aria-label": t("boxes") },
	boxes.map((box) => button([h("bdi", box.name.split("@")[0]), h("span.badge", { role: "img", hidden: true })],
		() => show(box), "", { "aria-current": String(box === current) })),
	button([icon("plus"), t("new")], () => show(null), "ghost", { "aria-current": String(!current) }));

function welcome() {
	const spans = [...new Set([...SPANS.filter((secs) => secs <= info.ttl_max), info.ttl_default])].sort((a, b) => a - b);
	const submit = attempt(() => {
		const { name, domain, ttl } = Object.fromEntries(new FormData(form));
		return create({ ttl: +ttl, local_part: name || undefined, domain });
	});
	const plain = { dir: "ltr", autocomplete: "off", autocapitalize: "none" };
	const form = h("form", { submit }, h("button.main large", t("create")),
		h("details", h("summary", t("choose")), h("div.fields",
			!info.self_authenticating_only && h("label", t("name"), h("input", { name: "name", maxlength: 64, ...plain })),
			info.domains.length > 0 && h("label", t("domain"), h("select", { name: "domain", dir: "ltr" },
				info.domains.map(({ domain, domain_unicode: shown }) => h("option", { value: domain }, `@${shown ?? domain}`)))),
			h("label", t("ttl"), h("select", { name: "ttl" }, spans.map((secs) =>
				h("option", { value: secs, selected: secs === info.ttl_default }, span(secs))))))));
	const old = h("form", { submit: attempt(() => reopen(old.elements.key.value)) },
		h("details", h("summary", t("reopen")), h("div.fields",
			h("label", t("reopenwhy"), h("input", { name: "key", required: true, ...plain })), h("button", t("follow")))));
	return h("section.hero", h("h1", t("tag")), h("p.lead", t("lead")), form, old);
}

function over() {
	const box = current;
	const again = attempt(() => (forget(box), create({})));
	return h("section.hero", h("h1", t(box.how)), h("p.lead", t("overwhy")),
		button(t("create"), again, "main large"), button(t("close"), () => forget(box)));
}

function card() {
	const box = current;
	const at = box.name.lastIndexOf("@");
	const extend = attempt(async () => {
		await box.extend();
		keep();
		tick();
		say(t("extended", { t: $("timer").textContent }));
	});
	const erase = attempt(async () => {
		box.stop();
		await box.ask("DELETE", "mailbox").finally(() => void box.watch(tell));
		box.end("erased", tell);
	});
	return h("section.card",
		h("div.actions",
			h("h1.address", { dir: "ltr" }, box.name.slice(0, at), h("wbr"), h("span", box.name.slice(at))),
			button([icon("copy"), t("copy")], copyAddress, "main"),
			button([icon("qr"), t("qr")], () => showCode(box)),
			button([icon("share"), t("share")], () => share(box))),
		h("div.life", h("div.line", h("i")),
			h("span", t("left"), " ", h("b", { id: "timer", role: "timer", dir: "ltr" })),
			button([icon("time"), t("extend")], extend),
			button([icon("trash"), t("erase")], () => ask(t("erasewhy"), t("erase"), erase), "danger")));
}

const copyAddress = attempt(async () => {
	await copy(current.address);
	say(t("copied"));
});

function addRow(message) {
	const code = message.codes?.[0]?.code;
	find(".list").prepend(h("li", button([
		h("bdi.who", sender(message)), h("time", moment(message.received_at)),
		h("span.what", { dir: "auto" }, subject(message)), code && h("span.tag", code),
	], () => open(message.id), "row", { "data-id": message.id })));
	mark(message.id);
}

function mark(id) {
	const row = rowOf(id);
	row?.classList.toggle("new", !current.read.has(id));
	row?.setAttribute("aria-current", String(id === opened));
}

const open = (id) => attempt(async () => {
	const box = current;
	const before = opened;
	opened = id;
	const message = await box.json("GET", `messages/${id}`);
	if (opened !== id || box !== current) return;
	box.read.add(id);
	const parts = view(box, message, failed, () => remove(id)).flat(Infinity).filter(Boolean);
	find(".reader").replaceChildren(button([icon("back"), t("k_back")], close, "ghost goback"), ...parts);
	find(".panes").classList.add("reading");
	mark(before);
	mark(id);
	count();
	keep();
	find(".reader h2").focus();
})();

function close() {
	const id = opened;
	opened = null;
	find(".panes")?.classList.remove("reading");
	find(".reader")?.replaceChildren(pick());
	mark(id);
	settle(rowOf(id));
}

const settle = (row = rows()[0]) => (row ?? find(".actions .main"))?.focus();

const remove = (id) => attempt(async () => {
	await current.ask("DELETE", `messages/${id}`);
	current.drop(id, tell);
	say(t("deleted"));
})();

/** The time that is left, each second; nobody is told aloud. */
function tick() {
	const timer = $("timer");
	if (!timer) return;
	const left = current.expires ? Math.max(0, Math.round((current.expires - Date.now()) / 1000)) : Infinity;
	const two = (number) => String(Math.floor(number)).padStart(2, "0");
	const hours = left >= 3600 ? `${Math.floor(left / 3600)}:` : "";
	timer.textContent = left === Infinity ? "∞" : `${hours}${two(left / 60 % 60)}:${two(left % 60)}`;
	find(".line i").style.width = `${Math.min(100, 100 * left / current.ttl)}%`;
	find(".life").classList.toggle("soon", left < 60);
	if (left === 0) attempt(() => current.refresh())();
}

/** Single letters can be turned off, for those whose tools send them by themselves. */
function press(event) {
	const { key, target } = event;
	if (event.ctrlKey || event.altKey || event.metaKey || find("dialog[open]") || target.matches?.("input,select")) return;
	const all = rows();
	const focused = target.dataset?.id ?? opened;
	const at = all.findIndex((row) => row.dataset.id === focused);
	const actions = {
		j: () => all[Math.min(at + 1, all.length - 1)]?.focus(),
		k: () => all[Math.max(at - 1, 0)]?.focus(),
		c: () => current?.live && copyAddress(),
		n: () => show(null),
		Delete: () => focused && remove(focused),
		Escape: () => opened && close(),
		"?": help,
	};
	if (!actions[key] || localStorage.keys === "off" && /[jkcn]/.test(key)) return;
	event.preventDefault();
	actions[key]();
}

/** Takes the secret of a shared link out of the address bar, before anything else. */
function shared() {
	const secret = location.hash.slice(1);
	if (secret) history.replaceState(null, "", location.pathname);
	return secret;
}

async function begin() {
	const secret = shared();
	if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;
	await speak(preferred());
	tools();
	restore();
	info = await json("GET", "info").catch(() => info);
	show(boxes.at(-1) ?? null);
	if (secret) await attempt(() => reopen(secret))();
	setInterval(tick, 1000);
	setInterval(() => boxes.filter((box) => box !== current && box.live).forEach((box) =>
		box.sync(tell, box.cursor).catch((why) => why.code === "no-such-mailbox" && box.end("expired", tell))), POLL);
}

addEventListener("keydown", press);
addEventListener("hashchange", () => {
	const secret = shared();
	if (secret) attempt(() => reopen(secret))();
});
addEventListener("offline", () => trouble(t("offline")));
addEventListener("online", () => current?.live && current.watch(tell));
addEventListener("pageshow", ({ persisted }) => persisted && show(current));
begin();
