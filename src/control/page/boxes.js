// The mailboxes that are open in this tab. Their tokens live in the tab's own storage and end with it.

import { ask, json, stream } from "./api.js";

/** Browsers allow few connections to one server: so many tabs keep one open, the others ask now and then. */
const STREAMS_MAX = 4;
const POLL = 15_000;
const PAUSE_MAX = 30_000;
const KEEP = "mailboxes";

/** Waits; not longer than until the network is back. */
const pause = (time) => new Promise((go) => {
	setTimeout(go, time);
	addEventListener("online", go, { once: true });
});

async function inTurn(work) {
	if (!navigator.locks) return work();
	for (let n = 0; n < STREAMS_MAX; n++) {
		const had = await navigator.locks.request(`stream ${n}`, { ifAvailable: true },
			async (lock) => lock && (await work(), true));
		if (had) return;
	}
	await pause(POLL);
}

export class Box {
	constructor({ token, recovery, ttl, read = [], ...view }) {
		Object.assign(this, { token, recovery, ttl, read: new Set(read), messages: new Map(), cursor: "0", live: true });
		this.take(view);
	}

	/** Takes over what the server says of it. */
	take({ address, address_unicode, expires_in, expires }) {
		this.address = address;
		this.name = address_unicode ?? address;
		this.expires = expires_in === undefined ? expires : expires_in && Date.now() + expires_in * 1000;
	}

	get unread() {
		return [...this.messages.keys()].filter((id) => !this.read.has(id)).length;
	}

	ask(method, path, more) {
		return ask(method, `/api/v1/${path}`, { token: this.token, ...more });
	}

	async refresh() {
		this.take(await json("GET", "/api/v1/mailbox", { token: this.token }));
	}

	async extend() {
		const { ttl } = this;
		this.take(await json("PATCH", "/api/v1/mailbox", { token: this.token, body: { ttl } }));
	}

	/** Lists what came since the last time. */
	async sync(tell) {
		for (let more = true; more;) {
			const page = await json("GET", `/api/v1/messages?cursor=${this.cursor}`, { token: this.token });
			page.messages.forEach((message) => this.add(message, tell));
			more = page.messages.length > 0 && page.cursor !== this.cursor;
			this.cursor = page.cursor;
		}
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
		this.stop();
		tell(this, how);
	}

	hear(name, data, tell) {
		if (name === "message") this.add(data, tell);
		else if (name === "removed") this.drop(data.id, tell);
		else if (name === "closed") this.end("expired", tell);
		else if (name === "reset") {
			this.messages.clear();
			this.cursor = "0";
			tell(this, "reset");
		} else tell(this, name);
	}

	stop() {
		this.quit?.abort();
	}

	/** Follows what happens until it is stopped or the mailbox ends; comes back by itself, later each time. */
	async watch(tell) {
		this.stop();
		const { signal } = (this.quit = new AbortController());
		for (let fails = 0; !signal.aborted;) {
			try {
				await this.sync(tell);
				tell(this, "open");
				await inTurn(() => stream(this.token, this.cursor, signal, (name, data, id) => {
					fails = 0;
					this.cursor = id ?? this.cursor;
					this.hear(name, data, tell);
				}));
			} catch (why) {
				if (signal.aborted) return;
				if (why.status === 404 || why.status === 401) return this.end("expired", tell);
				tell(this, "trouble", why);
				const time = Math.max((why.wait ?? 0) * 1000, Math.min(PAUSE_MAX, 1000 * 2 ** fails++));
				await pause(time * (1 + Math.random() / 4));
			}
		}
	}
}

export const boxes = [];

export function keep() {
	const kept = boxes.filter((box) => box.live).map(({ token, recovery, ttl, address, name, expires, read }) =>
		({ token, recovery, ttl, address, address_unicode: name, expires, read: [...read].slice(-500) }));
	sessionStorage.setItem(KEEP, JSON.stringify(kept));
}

export function restore() {
	boxes.push(...JSON.parse(sessionStorage.getItem(KEEP) ?? "[]").map((kept) => new Box(kept)));
}
