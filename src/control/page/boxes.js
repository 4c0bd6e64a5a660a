// The mailboxes that are open in this tab. Their tokens live in the tab's own storage and end with it.

import { ask, stream } from "./api.js";

/** Browsers allow few connections to one server: so many tabs keep one open, the others ask now and then. */
const STREAMS_MAX = 4;
const POLL = 15_000;
const PAUSE_MAX = 30_000;

/** Waits; not longer than until the network is back. */
const pause = (time) => new Promise((go) => {
	setTimeout(go, time);
	addEventListener("online", go, { once: true });
});

async function inTurn(work) {
	for (let n = 0; navigator.locks && n < STREAMS_MAX; n++) {
		const had = await navigator.locks.request(`stream ${n}`, { ifAvailable: true }, async (lock) => lock && (await work(), true));
		if (had) return;
	}
	await (navigator.locks ? pause(POLL) : work());
}

export class Box {
	constructor({ token, recovery, ttl, read = [], ...view }) {
		Object.assign(this, { token, recovery, ttl, read: new Set(read), messages: new Map(), cursor: "0", live: true });
		this.take(view);
	}

	take({ address, address_unicode, expires_in, expires }) {
		this.address = address;
		this.name = address_unicode ?? address;
		this.expires = expires_in === undefined ? expires : expires_in && Date.now() + expires_in * 1000;
	}

	get unread() {
		return [...this.messages.keys()].filter((id) => !this.read.has(id)).length;
	}

	ask(method, path, body) {
		return ask(method, path, { token: this.token, body });
	}

	async json(...request) {
		return (await this.ask(...request)).json();
	}

	async refresh() {
		this.take(await this.json("GET", "mailbox"));
	}

	async extend() {
		this.take(await this.json("PATCH", "mailbox", { ttl: this.ttl }));
	}

	/** Lists what came after `from`; from the beginning on also what is gone. */
	async sync(tell, from = "0") {
		const seen = new Set();
		for (let page = { cursor: from, messages: [1] }; page.messages.length;) {
			page = await this.json("GET", `messages?cursor=${page.cursor}`);
			for (const message of page.messages) {
				seen.add(message.id);
				this.add(message, tell);
			}
			this.cursor = page.cursor;
		}
		if (from === "0") [...this.messages.keys()].forEach((id) => seen.has(id) || this.drop(id, tell));
	}

	add(message, tell) {
		if (this.messages.has(message.id)) return;
		this.messages.set(message.id, message);
		tell(this, "message", message);
	}

	drop(id, tell) {
		if (this.messages.delete(id)) tell(this, "removed", id);
	}

	end(how, tell) {
		if (!this.live) return;
		this.live = false;
		this.messages.clear();
		this.stop();
		tell(this, how);
	}

	stop() {
		this.quit?.abort();
	}

	/** Follows what happens until the mailbox ends; comes back by itself, later each time. */
	async watch(tell) {
		this.stop();
		const { signal } = (this.quit = new AbortController());
		let fails = 0;
		const hear = (name, data, id) => {
			fails = 0;
			this.cursor = id;
			if (name === "message") this.add(data, tell);
			else if (name === "removed") this.drop(data.id, tell);
			else if (name === "closed") this.end("expired", tell);
			else if (name === "reset") this.sync(tell).catch(() => this.watch(tell));
			else tell(this, name);
		};
		while (!signal.aborted) {
			try {
				await this.refresh();
				await this.sync(tell);
				tell(this, "open");
				await inTurn(() => stream(this.token, this.cursor, signal, hear));
				await pause(1000);
			} catch (why) {
				if (signal.aborted) return;
				if (why.code === "no-such-mailbox") return this.end("expired", tell);
				tell(this, "trouble", why);
				await pause(Math.max((why.wait ?? 0) * 1000, Math.min(PAUSE_MAX, 1000 * 2 ** fails++)) * (1 + Math.random() / 4));
			}
		}
	}
}

export const boxes = [];

export function keep() {
	sessionStorage.mailboxes = JSON.stringify(boxes.filter((box) => box.live)
		.map(({ token, recovery, ttl, address, name, expires, read }) =>
			({ token, recovery, ttl, address, address_unicode: name, expires, read: [...read].slice(-500) })));
}

export function restore() {
	boxes.push(...JSON.parse(sessionStorage.mailboxes ?? "[]").map((kept) => new Box(kept)));
}
