// Tools to build the page. Text is only ever set as text: nothing in the page makes markup of it.

export const $ = (id) => document.getElementById(id);

/** An element, `tag.class`; first its attributes and listeners, if it has any, then its children. */
export function h(kind, ...children) {
	const [tag, name] = kind.split(".");
	const element = document.createElement(tag);
	if (name) element.className = name;
	const attributes = children[0]?.constructor === Object ? children.shift() : {};
	for (const [name, value] of Object.entries(attributes)) {
		if (typeof value === "function") element.addEventListener(name, value);
		else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
	}
	element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
	return element;
}

export const button = (label, click, kind = "", attributes = {}) =>
	h(`button.${kind}`, { type: "button", click, ...attributes }, label);

const ICONS = {
	back: "M15 5l-7 7 7 7",
	copy: "M9 9h11v11H9zM5 15H4V4h11v1",
	moon: "M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10z",
	plus: "M12 5v14M5 12h14",
	qr: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2h-2zM18 18h2v2h-2zM18 14h2M14 20h2",
	share: "M12 15V4M8 8l4-4 4 4M5 13v7h14v-7",
	time: "M12 7v5l3 2M12 3a9 9 0 1 0 .1 0z",
	trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
};

export const icon = (name) => svg("0 0 24 24", ICONS[name], "");

/** A drawing, which says nothing to those who cannot see it. */
export function svg(viewBox, d, name) {
	const [drawing, line] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
	for (const [key, value] of Object.entries({ viewBox, class: name, "aria-hidden": true })) drawing.setAttribute(key, value);
	line.setAttribute("d", d);
	drawing.append(line);
	return drawing;
}

let quiet;

/** Tells people something, on screen and aloud. */
export function say(text) {
	const place = $("say");
	clearTimeout(quiet);
	place.textContent = "";
	// A screen reader notices a change only if there is one.
	requestAnimationFrame(() => {
		place.textContent = text;
		quiet = setTimeout(() => (place.textContent = ""), 6000);
	});
}

/** Copies text, also on pages without TLS, which have no clipboard. */
export async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		const area = h("textarea.away", { readonly: true, "aria-hidden": "true" });
		area.value = text;
		const back = document.activeElement;
		(document.querySelector("dialog[open]") ?? document.body).append(area);
		area.select();
		const copied = document.execCommand("copy");
		area.remove();
		back?.focus();
		if (!copied) throw new Error("clipboard");
	}
}

/** Hands a file to the browser to be saved, never to be shown. */
export function save(bytes, name) {
	const url = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
	h("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
