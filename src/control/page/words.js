// The texts of the page in the language of whoever reads it. A catalogue is a file with one text a line, in this order:

const KEYS = `
tag lead create choose name random domain ttl reopen reopenwhy new boxes ready proving copy copied qr share
sharewhy ticket ticketwhy left extend extended erase erasewhy inbox message empty emptywhy pick arrived unread
unknown nosubject notext tls notls code copycode links follow rich text headers source content blocked
blockedwhy load files save delete deleted encrypted malformed truncated expired erased overwhy soon offline lost
many busy failed taken badname gone keys k_move k_back k_on close language dark promise
`.trim().split(/\s+/);

/** The languages that there are, by their own names. */
export const LANGUAGES = {
	en: "English", de: "Deutsch", es: "Español", fr: "Français", pt: "Português",
	ar: "العربية", ja: "日本語", zh: "中文",
};

const catalogues = new Map();
let words = new Map();
export let language = "en";

async function catalogue(name) {
	if (!catalogues.has(name)) {
		const answer = await fetch(new URL(`lang/${name}.txt`, import.meta.url));
		const lines = (await answer.text()).split("\n");
		catalogues.set(name, new Map(KEYS.map((key, i) => [key, lines[i]])));
	}
	return catalogues.get(name);
}

/** The language that was chosen here before, or the first that the browser asks for and that there is. */
export function preferred() {
	const asked = [localStorage.language, ...navigator.languages];
	const known = asked.map((name) => (name ?? "").toLowerCase().split("-")[0]);
	return known.find((name) => name in LANGUAGES) ?? "en";
}

/** Speaks a language from now on. */
export async function speak(name) {
	words = await catalogue(name);
	language = name;
	document.documentElement.lang = name;
	document.documentElement.dir = name === "ar" ? "rtl" : "ltr";
}

/** The text of a key; `{name}` in it is what `values` says. */
export const t = (key, values = {}) =>
	(words.get(key) ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

/** A point in time as people here write it: the hour today, the day before that. */
export function moment(time) {
	const today = time.toDateString() === new Date().toDateString();
	const style = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
	return new Intl.DateTimeFormat(language, style).format(time);
}

/** A span of seconds in one unit: "15 minutes". */
export function span(secs) {
	const [unit, length] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]]
		.find(([, length]) => secs >= length && secs % length === 0) ?? ["second", 1];
	return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" })
		.format(secs / length);
}

/** A number of bytes in a unit that fits. */
export function size(bytes) {
	const [unit, length] = bytes < 1000 ? ["byte", 1] : bytes < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
	const style = { style: "unit", unit, maximumFractionDigits: bytes < 1e6 ? 0 : 1 };
	return new Intl.NumberFormat(language, style).format(bytes / length);
}
