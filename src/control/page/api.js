// The server's API. Tokens travel in a header field, never in an address.

/** An answer that is no success: `code` is a word for programs, `wait` how many seconds to stay away. */
export class Problem extends Error {
	constructor(status, code, wait = 0) {
		super(code);
		Object.assign(this, { status, code, wait });
	}
}

/** Asks the server. That it cannot be reached is the problem `offline`. */
export async function ask(method, path, { token, body, signal, since } = {}) {
	const headers = {};
	if (token) headers.Authorization = `Bearer ${token}`;
	if (body) headers["Content-Type"] = "application/json";
	if (since) headers["Last-Event-ID"] = since;
	const request = { method, headers, signal, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit", redirect: "error" };
	const answer = await fetch(`/api/v1/${path}`, request).catch(() => {
		throw new Problem(0, "offline");
	});
	if (answer.ok) return answer;
	const told = await answer.json().catch(() => ({}));
	throw new Problem(answer.status, told.code, Number(answer.headers.get("Retry-After")));
}

export const json = async (...request) => (await ask(...request)).json();

/** A connection without any sign of life for so long is dead. */
const SILENCE_MAX = 90_000;

/** Reads a mailbox's events after `since` until the stream ends. */
export async function stream(token, since, signal, heard) {
	const quit = new AbortController();
	let timer;
	const alive = () => {
		clearTimeout(timer);
		timer = setTimeout(() => quit.abort(), SILENCE_MAX);
	};
	try {
		alive();
		const answer = await ask("GET", "events", { token, since, signal: AbortSignal.any([signal, quit.signal]) });
		const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
		for (let text = ""; ;) {
			const { value, done } = await reader.read();
			if (done) return;
			alive();
			const blocks = (text + value).split("\n\n");
			text = blocks.pop();
			for (const block of blocks) {
				const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
				if (fields.event) heard(fields.event, JSON.parse(fields.data), fields.id);
			}
		}
	} finally {
		clearTimeout(timer);
	}
}
