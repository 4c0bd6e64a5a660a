// Reads, deletes and purges mailboxes with inbucket-js-client. Arguments: its folder, and the address of the server.
// Two messages are in `js@open.test`.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [folder, base] = process.argv.slice(2);
const { InbucketAPIClient } = createRequire(`${folder}/`)("inbucket-js-client");
const client = new InbucketAPIClient(base);

const list = await client.mailbox("js");
assert.deepEqual(list.map((it) => [it.mailbox, it.id, it.subject]), [
  ["js", "1", "one \u00fc"],
  ["js", "2", "two"],
]);
const ids = async (name) => (await client.mailbox(name)).map((it) => it.id);
assert.deepEqual(await ids("js@open.test"), ["1", "2"]);
assert.deepEqual(await ids("JS+tag"), ["1", "2"]);
assert.deepEqual(await client.mailbox("nobody"), []);

const message = await client.message("js", "1");
assert.equal(message.from, "Ann B <ann@a.test>");
assert.equal(message.body.text, "Your code is 482913.");
assert.match(message.body.html, /<b>482913<\/b>/);
assert.doesNotMatch(message.body.html, /script/);
assert.deepEqual(message.header["From"], ["Ann B <ann@a.test>"]);
assert.deepEqual(message.header["Subject"], ["=?utf-8?q?one_=C3=BC?="]);
const [file] = message.attachments;
assert.deepEqual([file.filename, file["content-type"]], ["a b.txt", "text/plain"]);
// MD5 of "attached".
assert.equal(file.md5, "871e3311400fec611e1c2ae01acd3717");
for (const link of [file["download-link"], file["view-link"]]) {
  const bytes = await (await fetch(link)).text();
  assert.equal(bytes, "attached");
}
await assert.rejects(client.message("js", "99"), /404/);
assert.equal((await client.message("js", "latest")).id, "2");
assert.equal(await client.deleteMessage("js", "1"), "OK");
assert.equal((await client.mailbox("js")).length, 1);
await assert.rejects(client.deleteMessage("js", "1"), /404/);
assert.equal(await client.purgeMailbox("js"), "OK");
assert.deepEqual(await client.mailbox("js"), []);
console.log("done");
