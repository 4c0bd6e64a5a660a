// QR codes (ISO/IEC 18004) of up to 134 bytes: versions 1 to 6, error correction L.

import { svg } from "./dom.js";

const WORDS = [26, 44, 70, 100, 134, 172];
const CHECKS = [7, 10, 15, 20, 26, 18];
const MASKS = [
	(x, y) => (x + y) % 2, (x, y) => y % 2, (x) => x % 3, (x, y) => (x + y) % 3,
	(x, y) => (((x / 3) | 0) + ((y / 2) | 0)) % 2, (x, y) => ((x * y) % 2) + ((x * y) % 3),
	(x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

function multiply(a, b) {
	let product = 0;
	for (let bit = 7; bit >= 0; bit--) {
		product = (product << 1) ^ ((product >> 7) * 0x11d) ^ (((b >> bit) & 1) * a);
	}
	return product;
}

/** The check bytes of Reed and Solomon. */
function checks(data, count) {
	const divisor = Array(count).fill(0);
	divisor[count - 1] = 1;
	for (let i = 0, root = 1; i < count; i++, root = multiply(root, 2)) {
		for (let j = 0; j < count; j++) divisor[j] = multiply(divisor[j], root) ^ (divisor[j + 1] ?? 0);
	}
	const rest = Array(count).fill(0);
	for (const byte of data) {
		const factor = byte ^ rest.shift();
		rest.push(0);
		divisor.forEach((coefficient, i) => (rest[i] ^= multiply(coefficient, factor)));
	}
	return rest;
}

/** All bits of a symbol. The largest has two blocks, whose bytes take turns. */
function bitsOf(bytes, version) {
	const blocks = version > 5 ? 2 : 1;
	const room = WORDS[version - 1] - CHECKS[version - 1] * blocks;
	const byte = (value) => value.toString(2).padStart(8, "0");
	let bits = `0100${[bytes.length, ...bytes].map(byte).join("")}0000`;
	for (let pad = 0xec; bits.length < room * 8; pad ^= 0xfd) bits += byte(pad);
	const data = bits.match(/.{8}/g).map((word) => parseInt(word, 2));
	const parts = Array.from({ length: blocks }, (_, i) => data.slice((i * room) / blocks, ((i + 1) * room) / blocks));
	const sums = parts.map((part) => checks(part, CHECKS[version - 1]));
	return [parts, sums].flatMap((all) => all[0].flatMap((_, i) => all.map((part) => byte(part[i])))).join("");
}

/** The symbol as rows of zeros and ones, if the text is not too long. */
export function encode(text) {
	const bytes = new TextEncoder().encode(text);
	const version = WORDS.findIndex((words, i) => bytes.length + 2 <= words - CHECKS[i] * (i > 4 ? 2 : 1)) + 1;
	if (!version) return null;
	const size = version * 4 + 17;
	const rows = Array.from({ length: size }, () => Array(size).fill(0));
	const fixed = rows.map((row) => [...row]);
	const set = (x, y, dark) => {
		if (rows[y]?.[x] === undefined) return;
		rows[y][x] = Number(dark);
		fixed[y][x] = 1;
	};
	for (let i = 0; i < size; i++) {
		set(6, i, i % 2 === 0);
		set(i, 6, i % 2 === 0);
	}
	const square = (cx, cy, radius, light) => {
		for (let y = -radius; y <= radius; y++) {
			for (let x = -radius; x <= radius; x++) {
				set(cx + x, cy + y, !light.includes(Math.max(Math.abs(x), Math.abs(y))));
			}
		}
	};
	for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, [2, 4]);
	if (version > 1) square(size - 7, size - 7, 2, [1]);
	const format = (mask) => {
		let rest = 8 | mask;
		for (let i = 0; i < 10; i++) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
		const info = (((8 | mask) << 10) | rest) ^ 0x5412;
		for (let i = 0; i < 15; i++) {
			const bit = (info >> i) & 1;
			if (i < 8) set(8, i < 6 ? i : i + 1, bit);
			else set(i < 9 ? 7 : 14 - i, 8, bit);
			if (i < 8) set(size - 1 - i, 8, bit);
			else set(8, size - 15 + i, bit);
		}
		set(8, size - 8, 1);
	};
	format(0);
	const bits = bitsOf(bytes, version);
	for (let right = size - 1, at = 0; right > 0; right -= right === 8 ? 3 : 2) {
		for (let step = 0; step < size; step++) {
			const y = (right + (right < 6 ? 1 : 0)) & 2 ? step : size - 1 - step;
			for (const x of [right, right - 1]) if (!fixed[y][x]) rows[y][x] = Number(bits[at++] ?? 0);
		}
	}
	const masked = (mask) => {
		format(mask);
		return rows.map((row, y) => row.map((dark, x) => (fixed[y][x] ? dark : dark ^ (MASKS[mask](x, y) === 0))));
	};
	const symbols = MASKS.map((_, mask) => masked(mask));
	const costs = symbols.map(cost);
	return symbols[costs.indexOf(Math.min(...costs))];
}

/** How hard a symbol is to read: what looks like a corner and is none, and long runs. */
function cost(rows) {
	const lines = [...rows, ...rows.map((_, x) => rows.map((row) => row[x]))].map((line) => line.join(""));
	return lines.join("2").match(/(?=0{6}|1{6}|00001011101|10111010000)/g)?.length ?? 0;
}

/** A drawing of a text, with the margin that scanners need. */
export function code(text) {
	const rows = encode(text);
	if (!rows) return null;
	const path = rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + 4} ${y + 4}h1v1h-1z` : "")));
	return svg(`0 0 ${rows.length + 8} ${rows.length + 8}`, path.join(""), "qr");
}
