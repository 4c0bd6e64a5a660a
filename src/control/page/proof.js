// Proof of work. SHA-256 is written out: browsers keep theirs from pages that came without TLS.

import { json } from "./api.js";

const roots = (power, count) => {
	const words = [];
	for (let n = 2; words.length < count; n++) {
		if (words.every((_, i) => n % words[i][0])) words.push([n, (n ** power % 1 * 2 ** 32) | 0]);
	}
	return Int32Array.from(words, (word) => word[1]);
};
const ROUNDS = roots(1 / 3, 64);
const START = roots(1 / 2, 8);
const turn = (word, by) => (word >>> by) | (word << (32 - by));

/** The SHA-256 of ASCII, as eight words. */
export function sha256(text) {
	const w = new Int32Array(64);
	const state = START.slice();
	const bits = text.length * 8;
	for (let block = 0; block * 512 < bits + 65; block++) {
		for (let i = 0; i < 64; i++) {
			const at = block * 64 + i * 4;
			if (i < 16) {
				w[i] = at >> 2 === ((bits + 576) >> 9) * 16 - 1 ? bits : 0;
				for (let j = 0; j < 4 && at + j <= text.length; j++) {
					w[i] |= (at + j < text.length ? text.charCodeAt(at + j) : 0x80) << (24 - j * 8);
				}
			} else {
				const [x, y] = [w[i - 15], w[i - 2]];
				w[i] = w[i - 16] + w[i - 7] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
			}
		}
		let [a, b, c, d, e, f, g, k] = state;
		for (let i = 0; i < 64; i++) {
			const one = k + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUNDS[i] + w[i];
			const two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
			k = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
		}
		[a, b, c, d, e, f, g, k].forEach((word, i) => (state[i] += word));
	}
	return state;
}

/** Solves a challenge of the server, a little at a time. */
export async function prove() {
	const { challenge, bits } = await json("POST", "challenges");
	const zeros = ([one, two]) => (one ? Math.clz32(one) : 32 + Math.clz32(two));
	for (let nonce = 0; ;) {
		for (const end = performance.now() + 12; performance.now() < end;) {
			for (let i = 0; i < 50; i++, nonce++) {
				if (zeros(sha256(`${challenge}:${nonce}`)) >= bits) return { challenge, nonce: String(nonce) };
			}
		}
		await new Promise((go) => setTimeout(go));
	}
}
