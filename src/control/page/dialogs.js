// What opens above the page.

import { $, button, copy, h, say } from "./dom.js";
import { code } from "./qr.js";
import { t } from "./words.js";

/** Opens one; what is said is said in it, for all else is silent then. */
function open(title, ...content) {
	const dialog = h("dialog", { "aria-labelledby": "title", close: () => (document.body.append($("say")), dialog.remove()) },
		h("h2", { id: "title" }, title), ...content);
	dialog.append(button(t("close"), () => dialog.close()), $("say"));
	document.body.append(dialog);
	dialog.showModal();
	return dialog;
}

const copier = (text) =>
	button(t("copy"), () => copy(text).then(() => say(t("copied")), () => say(t("failed"))), "main");

export function showCode(box) {
	open(t("qr"), code(box.name) ?? h("p", t("failed")), h("p.mono", box.name));
}

/** The link has the secret behind its `#`, which browsers send to nobody. */
export function share(box) {
	const link = `${location.origin}/#${box.token}`;
	open(t("share"), h("p", t("sharewhy")), code(link), h("p.mono", { id: "link" }, link),
		copier(link),
		box.recovery && h("div", h("h3", t("ticket")), h("p", t("ticketwhy")),
			h("p.mono", { id: "ticket" }, box.recovery), copier(box.recovery)));
}

export function ask(question, label, go) {
	const dialog = open(question);
	dialog.lastChild.previousSibling.before(button(label, () => (dialog.close(), go()), "danger"));
}

export function help() {
	const keys = { "j / k": "k_move", Enter: "follow", Esc: "k_back", c: "copy", n: "new", Del: "delete", "?": "keys" };
	const change = ({ target }) => (localStorage.keys = target.checked ? "on" : "off");
	open(t("keys"),
		h("dl.pairs", Object.entries(keys).map(([key, word]) => [h("dt", h("kbd", key)), h("dd", t(word))])),
		h("label", h("input", { type: "checkbox", checked: localStorage.keys !== "off", change }), t("k_on")));
}
