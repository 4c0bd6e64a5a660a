// What programs do that use mailjs, against a server of ours. The first argument is the scenario.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import net from "node:net";

const require = createRequire(process.env.MAYFLY_CLIENTS + "/");
const required = require("@cemalgnlts/mailjs");
const Mailjs = required.default ?? required;

const server = process.env.MAYFLY_HTTP;
const [smtpHost, smtpPort] = process.env.MAYFLY_SMTP.split(":");

function client(options) {
  const mailjs = new Mailjs(options);
  mailjs.baseUrl = server;
  mailjs.baseMercure = `${server}/.well-known/mercure`;
  return mailjs;
}

function good(answer) {
  assert.equal(answer.status, true, JSON.stringify(answer));
  return answer.data;
}

function bad(answer, code, message) {
  assert.deepEqual([answer.status, answer.statusCode, answer.message], [false, code, message]);
}

// Sends a mail, one line after another.
function send(to, lines) {
  const said = [
    "EHLO client.example",
    "MAIL FROM:<sender@client.example>",
    `RCPT TO:<${to}>`,
    "DATA",
    [...lines, "."].join("\r\n"),
    "QUIT",
  ];
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(smtpPort), smtpHost);
    let heard = "";
    socket.on("error", reject);
    socket.on("close", resolve);
    socket.on("data", (bytes) => {
      heard += bytes;
      if (!/^\d{3} .*\r\n$/m.test(heard)) return;
      if (/^[45]/.test(heard)) reject(new Error(heard));
      heard = "";
      const next = said.shift();
      if (next) socket.write(next + "\r\n");
      else socket.end();
    });
  });
}

// What comes under a name, one after another.
function inbox() {
  const come = [];
  const waiting = [];
  return {
    put: (item) => (waiting.length ? waiting.shift()(item) : come.push(item)),
    next: () =>
      come.length
        ? Promise.resolve(come.shift())
        : new Promise((resolve, reject) => {
            const timer = setTimeout(() => reject(new Error("no event in time")), 60_000);
            waiting.push((item) => (clearTimeout(timer), resolve(item)));
          }),
  };
}

async function life() {
  const mailjs = client();
  const domains = good(await mailjs.getDomains());
  assert.deepEqual(domains.map((it) => it.domain), ["mayfly.test"]);
  assert.deepEqual(good(await mailjs.getDomain(domains[0].id)), domains[0]);

  const { username, password } = good(await mailjs.createOneAccount());
  bad(await mailjs.register(username, "another"), 422, "address: This value is already used.");
  bad(await mailjs.register("x@elsewhere.example", "x"), 422, "address: This is not a domain of ours.");
  bad(await client().login(username, "wrong"), 401, "Invalid credentials.");
  bad(await client().login("nobody@mayfly.test", password), 401, "Invalid credentials.");
  bad(await client().me(), 401, "JWT Token not found");

  const me = good(await mailjs.me());
  assert.equal(me.address, username);
  assert.equal(me.used, 0);
  assert.equal(me["@id"], undefined, "plain JSON was asked for");
  assert.deepEqual(good(await mailjs.getAccount(mailjs.id)), me);
  const again = client();
  good(await again.loginWithToken(mailjs.token));
  assert.equal(again.id, mailjs.id);

  const [open, arrive, seen, deleted] = [inbox(), inbox(), inbox(), inbox()];
  mailjs.on("open", open.put);
  mailjs.on("arrive", arrive.put);
  mailjs.on("seen", seen.put);
  mailjs.on("delete", deleted.put);
  await open.next();
  await send(username, [
    "From: =?utf-8?q?J=C3=B6rg?= <joerg@a.test>",
    `To: <${username}>`,
    "Subject: Hello",
    "Message-ID: <1@a.test>",
    "",
    "Your code is 482913.",
  ]);
  const arrived = await arrive.next();
  assert.equal(arrived.subject, "Hello");
  assert.deepEqual(arrived.from, { address: "joerg@a.test", name: "J\u00f6rg" });

  const [listed, ...none] = good(await mailjs.getMessages());
  assert.deepEqual(none, []);
  assert.equal(listed.id, arrived.id);
  assert.deepEqual([listed.intro, listed.seen, listed.msgid], ["Your code is 482913.", false, "<1@a.test>"]);
  const message = good(await mailjs.getMessage(listed.id));
  assert.match(message.text, /482913/);
  assert.deepEqual(message.html, []);
  assert.deepEqual(message.to, [{ address: username, name: "" }]);
  assert.match(good(await mailjs.getSource(listed.id)).data, /^Return-Path: <sender@client\.example>\r\n/);

  assert.deepEqual(good(await mailjs.setMessageSeen(listed.id)), { seen: true });
  assert.equal((await seen.next()).id, listed.id);
  assert.equal(good(await mailjs.getMessages())[0].seen, true);
  assert.ok(good(await mailjs.me()).used > 0);

  good(await mailjs.deleteMessage(listed.id));
  assert.equal((await deleted.next()).id, listed.id);
  bad(await mailjs.getMessage(listed.id), 404, "Not Found");
  assert.deepEqual(good(await mailjs.getMessages()), []);

  const { id, token } = mailjs;
  good(await mailjs.deleteMe());
  mailjs.token = token;
  bad(await mailjs.getAccount(id), 401, "Invalid JWT Token");
  bad(await mailjs.register(username, password), 422, "address: This value is already used.");
}

// The server lets three requests a minute pass: the client tries again three times, and then says what it was told.
async function limits() {
  const mailjs = client();
  for (let nth = 0; nth < 3; nth++) good(await mailjs.getDomains());
  const refused = await mailjs.getDomains();
  assert.deepEqual([refused.status, refused.statusCode], [false, 429]);
  assert.match(refused.message, /Too many requests/);
}

await { life, limits }[process.argv[2]]();
console.log("well");
process.exit(0);
