// The texts of the page. A catalogue is a file with one text a line, in this order:

const KEYS = `
tag lead create choose name domain ttl reopen reopenwhy new boxes ready proving copy copied qr share sharewhy ticket
ticketwhy left extend extended erase erasewhy inbox empty emptywhy pick arrived unread unknown nosubject tls notls
code copycode links follow rich text headers source content blocked blockedwhy load files save delete deleted
encrypted malformed truncated expired erased overwhy soon offline lost many busy failed taken badname gone keys k_move
k_back k_on close language dark promise
`.trim().split(/\s+/);

export const LANGUAGES = {
	en: "English", de: "Deutsch", es: "Español", fr: "Français", pt: "Português",
	ar: "العربية", ja: "日本語", zh: "中文",
};

let words = {};
export let language = "en";

/** The language that was chosen here before, or the first that the browser asks for and we have. */
export function preferred() {
	const asked = [localStorage.language, ...navigator.languages];
	const known = asked.map((name) => (name ?? "").toLowerCase().split("-")[0]);
	return known.find((name) => name in LANGUAGES) ?? "en";
}

export async function speak(name) {
	const lines = (await (await fetch(new URL(`lang/${name}.txt`, import.meta.url))).text()).split("\n");
	words = Object.fromEntries(KEYS.map((key, i) => [key, lines[i]]));
	language = name;
	document.documentElement.lang = name;
	document.documentElement.dir = name === "ar" ? "rtl" : "ltr";
}

/** The text of a key; `{name}` in it is what `values` says. */
export const t = (key, values) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

/** A point in time: the hour, and the day unless it is today. */
export function moment(text) {
	const time = new Date(text);
	const dateStyle = time.toDateString() === new Date().toDateString() ? undefined : "medium";
	const locale = navigator.languages.find((name) => name.startsWith(language)) ?? language;
	return time.toLocaleString(locale, { dateStyle, timeStyle: "short" });
}

/** Seconds in one unit: "15 minutes". */
export function span(secs) {
	const [unit, length] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]]
		.find(([, length]) => secs >= length && secs % length === 0) ?? ["second", 1];
	return (secs / length).toLocaleString(language, { style: "unit", unit, unitDisplay: "long" });
}

export function size(bytes) {
	const style = { style: "unit", unit: bytes < 1e6 ? "kilobyte" : "megabyte", maximumSignificantDigits: 2 };
	return (bytes / (bytes < 1e6 ? 1e3 : 1e6)).toLocaleString(language, style);
}
