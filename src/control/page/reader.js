// One message, opened. What its sender wrote is text here; HTML is shown in a frame that can do nothing and belongs to
// nobody.

import { button, copy, h, save, say } from "./dom.js";
import { moment, size, t } from "./words.js";

const SOURCE_CHARS_MAX = 200_000;

export const sender = ({ from }) => from?.name || from?.address || t("unknown");
export const subject = (message) => message.subject?.trim() || t("nosubject");

/** The parts of a message's view. `failed` is told what goes wrong. */
export function view(box, message, failed, remove) {
	const has = (list) => list?.length > 0;
	const path = `messages/${message.id}`;
	const take = async (part, name) => {
		try {
			save(await (await box.ask("GET", `${path}/${part}`)).blob(), name);
		} catch (why) {
			failed(why);
		}
	};
	const raw = () => take("raw", `${message.queue_id}.${message.encrypted ? "eml.age" : "eml"}`);
	return [
		h("header",
			h("h2", { tabindex: "-1", dir: "auto" }, subject(message)),
			h("p.from", h("bdi.name", sender(message)), " ",
				message.from?.name && h("bdi", message.from.address ?? "")),
			h("p.quiet", h("time", moment(message.received_at)), " · ", t(message.tls ? "tls" : "notls"))),
		h("div.facts",
			(message.codes ?? []).slice(0, 1).map(({ code }) => h("div.code", h("span", t("code")), h("output", code),
				button(t("copycode"), () => copy(code).then(() => say(t("copied")), failed), "main"))),
			has(message.links) && h("ul.links", { "aria-label": t("links") }, message.links.map(linkOf))),
		message.encrypted && h("p.note", t("encrypted")),
		message.malformed && h("p.note", t("malformed")),
		message.truncated && h("p.note", t("truncated")),
		!message.encrypted && body(box, message, path, failed),
		has(message.attachments) && h("section", h("h3", t("files")), h("ul.files",
			message.attachments.map((file) => h("li", h("bdi", file.name),
				h("span.quiet", size(file.size)),
				button(t("save"), () => take(`attachments/${file.index}`, file.name), "", { "aria-label": `${t("save")}: ${file.name}` }))))),
		h("footer", button(`${t("save")}: ${t("source")}`, raw), button(t("delete"), remove, "danger")),
	];
}

/** A link in words of ours: where it really leads, however it was dressed up. */
function linkOf({ url }) {
	const to = URL.parse(url);
	if (!/^https?:$/.test(to?.protocol)) return null;
	return h("li",
		h("span.where", h("strong", { dir: "ltr" }, to.host),
			h("span.quiet", { dir: "ltr" }, (to.pathname + to.search).slice(0, 120))),
		h("a.button", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, t("follow")));
}

/** The ways to look at it, of which one is shown. */
function body(box, message, path, failed) {
	const pane = h("div.pane");
	const ways = {
		rich: message.html && (() => frame(box, message, path, false, pane)),
		text: () => h("div.text", { dir: "auto" }, message.text),
		headers: async () => {
			const { headers } = await box.json("GET", `${path}/headers`);
			return h("dl.pairs", headers.map(({ name, value }) => [h("dt", name), h("dd", { dir: "auto" }, value)]));
		},
		source: async () => {
			const text = await (await box.ask("GET", `${path}/raw`)).text();
			return h("pre", { dir: "ltr", tabindex: "0", "aria-label": t("source") }, text.slice(0, SOURCE_CHARS_MAX));
		},
	};
	const names = Object.keys(ways).filter((name) => ways[name]);
	const choose = async (name) => {
		for (const tab of tabs) tab.setAttribute("aria-pressed", tab.dataset.way === name);
		try {
			pane.replaceChildren(await ways[name]());
		} catch (why) {
			failed(why);
		}
	};
	const tabs = names.map((name) => button(t(name), () => choose(name), "", { "data-way": name }));
	choose(names[0]);
	return [h("div.tabs", { role: "group", "aria-label": t("content") }, tabs), pane];
}

/** The frame, and above it what is not loaded. Its address is good for a minute and for this only. */
async function frame(box, message, path, remote, pane) {
	const { url } = await box.json("POST", `${path}/view`, { remote });
	const blocked = message.html.remote.length;
	const load = async () => pane.replaceChildren(await frame(box, message, path, true, pane));
	return h("div.framed",
		blocked > 0 && !remote && h("p.note", t("blocked", { n: blocked }), " ", t("blockedwhy"), " ",
			button(t("load"), load)),
		h("iframe", {
			src: url, title: t("content"), referrerpolicy: "no-referrer",
			sandbox: "allow-popups allow-popups-to-escape-sandbox",
		}));
}
