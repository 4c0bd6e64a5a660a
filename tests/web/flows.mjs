// What people do with the page.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import jsQR from "jsqr";
import { ORIGIN, Stage, api, deliver, htmlMail, mail } from "./stage.mjs";

const CODE = htmlMail("Your verification code is 482913",
  "<p>Your verification code: <b>482913</b></p><a href='https://harbour.test/verify?token=Zk39fQx81LmN02pQ'>Verify my address</a>");

/** Whether the tab's clipboard holds this. */
async function pasted(stage, text) {
  assert.equal(await stage.page.evaluate(() => navigator.clipboard.readText()), text);
}

const CLIPBOARD = { permissions: ["clipboard-read", "clipboard-write"] };

/** Created, copied, mail arrives by itself, read, code and address copied, deleted, erased. */
export async function from_creation_to_erasure(browser) {
  const stage = await Stage.open(browser, CLIPBOARD);
  const { page } = stage;
  const address = await stage.create();
  await page.getByRole("button", { name: "Copy", exact: true }).click();
  await stage.said("Copied");
  await pasted(stage, address);
  await page.getByText("Nothing here yet").waitFor();
  await deliver(address, CODE);
  await stage.said("New mail from Harbour");
  await stage.until(() => document.title === "(1) mayfly");
  // Whoever is doing something else is left alone.
  assert.equal(await page.evaluate(() => document.activeElement.classList.contains("row")), false);
  await stage.read("482913");
  await stage.until(() => document.title === "mayfly");
  await page.getByRole("button", { name: "Copy code" }).click();
  await pasted(stage, "482913");
  const link = page.locator(".links a");
  assert.equal(await link.getAttribute("href"), "https://harbour.test/verify?token=Zk39fQx81LmN02pQ");
  assert.equal(await page.locator(".links strong").textContent(), "harbour.test");
  assert.deepEqual([await link.getAttribute("target"), await link.getAttribute("rel")], ["_blank", "noopener noreferrer nofollow"]);
  const frame = await stage.frame();
  assert.match(await frame.locator("body").textContent(), /482913/);
  await page.locator(".reader").getByRole("button", { name: "Delete" }).click();
  await stage.said("Message deleted");
  await page.locator(".row").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Erase" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Erase" }).click();
  await page.getByRole("heading", { name: "The mailbox is erased" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.mailboxes), "[]");
  stage.calm();
}

/** The parts of a message: text, header, source, attachments that are saved. */
export async function all_parts_of_a_message(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const address = await stage.create();
  await deliver(address, mail("Two parts", "--b\n\nHello <b>there</b>.\n--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=minutes.pdf\n\n%PDF-1.4\n--b--\n",
    "X-Place: harbour\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n"));
  await stage.read("Two parts");
  assert.equal((await page.locator(".text").textContent()).trim(), "Hello <b>there</b>.");
  await page.getByRole("button", { name: "Header" }).click();
  await page.locator("dt", { hasText: "X-Place" }).waitFor();
  await page.getByRole("button", { name: "Source", exact: true }).click();
  await page.locator("pre", { hasText: "X-Place: harbour" }).waitFor();
  for (const [button, name, holds] of [["Save: minutes.pdf", "minutes.pdf", /^%PDF/], ["Save: Source", /^\w+\.eml$/, /X-Place: harbour/]]) {
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: button }).click()]);
    assert.match(file.suggestedFilename(), new RegExp(name));
    const chunks = [];
    for await (const chunk of await file.createReadStream()) chunks.push(chunk);
    assert.match(Buffer.concat(chunks).toString(), holds);
  }
  stage.calm();
}

/** A name, a domain and a lifetime are chosen; what cannot be had is told. */
export async function a_chosen_address(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const choose = async (name) => {
    await page.getByText("Choose name and lifetime").click();
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Domain").selectOption({ index: 1 });
    await page.getByLabel("Lifetime").selectOption("900");
    await page.getByLabel("Name").press("Enter");
  };
  await choose("Harbour.Master");
  await stage.until(() => document.querySelector(".address")?.textContent === "harbour.master@second.test");
  await stage.until(() => /^1[45]:/.test(document.querySelector("#timer").textContent));
  await page.getByRole("button", { name: "New address" }).click();
  await choose("harbour.master");
  await stage.said("Somebody has this address");
  await page.getByLabel("Name").fill("two words");
  await page.getByLabel("Name").press("Enter");
  await stage.said("This cannot be an address here");
  stage.calm();
}

/** What a scanner sees in the codes is the address, and the link. */
export async function codes_can_be_scanned(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const scan = async () => {
    const picture = await page.locator("dialog .qr").screenshot();
    const image = await page.evaluate(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      canvas.drawImage(bitmap, 0, 0);
      const { data, width, height } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
      return { data: [...data], width, height };
    }, picture.toString("base64"));
    return jsQR(Uint8ClampedArray.from(image.data), image.width, image.height)?.data;
  };
  const address = await stage.create();
  await page.getByRole("button", { name: "QR code" }).click();
  assert.equal(await scan(), address);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Share" }).click();
  assert.equal(await scan(), `${ORIGIN}/#${await stage.token()}`);
  stage.calm();
}

/** Two mailboxes beside each other, each with its own mail; both survive a reload, and neither leaves the tab. */
export async function two_mailboxes(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const first = await stage.create();
  await deliver(first, mail("For the first"));
  await stage.row("For the first").waitFor();
  await page.getByRole("button", { name: "New address" }).click();
  const second = await stage.create();
  assert.notEqual(first, second);
  await page.getByText("Nothing here yet").waitFor();
  await deliver(second, mail("For the second"));
  await stage.row("For the second").waitFor();
  assert.equal(await stage.row("For the first").count(), 0);
  await stage.until(() => document.title === "(2) mayfly");
  // The one that is not shown is looked after too.
  await deliver(first, mail("Later"));
  await stage.until(() => document.title === "(3) mayfly");
  await page.reload();
  await stage.row("For the second").waitFor();
  await page.locator(".boxes button", { hasText: first.split("@")[0] }).click();
  await stage.row("For the first").waitFor();
  assert.equal(await stage.address(), first);
  const stores = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie, String(location)]);
  assert.ok(!stores.join().includes("mf_"), "tokens stay in the tab's own storage");
  const other = await stage.context.newPage();
  await other.goto(ORIGIN);
  await other.getByRole("button", { name: "Get an address" }).waitFor();
  stage.calm();
}

/** A shared link opens the mailbox; its secret is in no request, and in no address that the browser keeps. */
export async function m4_a_shared_link(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const address = await stage.create();
  const token = await stage.token();
  await deliver(address, mail("For both"));
  await page.getByRole("button", { name: "Share" }).click();
  const link = await page.locator("#link").textContent();
  assert.equal(link, `${ORIGIN}/#${token}`);
  // What is said while a dialog is open is said in it.
  await page.getByRole("dialog").getByRole("button", { name: "Copy" }).first().click();
  await page.getByRole("dialog").getByRole("status").filter({ hasText: "Copied" }).waitFor();
  const guest = await Stage.open(browser);
  await guest.page.goto("about:blank");
  await guest.page.goto(link);
  await guest.row("For both").waitFor();
  assert.equal(await guest.address(), address);
  assert.equal(guest.page.url(), `${ORIGIN}/`);
  // Pasted into a page that is open already, too.
  await page.keyboard.press("Escape");
  await page.evaluate((secret) => (location.hash = secret), token);
  await stage.until(() => !location.hash);
  await guest.read("For both");
  for (const { requests } of [stage, guest]) {
    for (const request of requests) {
      const told = request.url() + ((await request.allHeaders()).referer ?? "") + (request.postData() ?? "");
      assert.ok(!told.includes(token), `the token in ${request.url()}`);
    }
  }
  await guest.page.goBack();
  assert.ok(!guest.page.url().includes(token));
  stage.calm();
  guest.calm();
}

/** A mailbox ends by itself while one looks at it, and its mail is not shown any more; nor after a step back. */
export async function m7_an_ended_mailbox_shows_nothing(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const { token, address } = await api("POST", "/api/v1/mailboxes", null, { ttl: 6 });
  await deliver(address, mail("Gone soon"));
  await page.goto(`${ORIGIN}/#${token}`);
  await stage.row("Gone soon").waitFor();
  await page.getByRole("heading", { name: "This mailbox has expired" }).waitFor();
  assert.equal(await stage.row("Gone soon").count(), 0);
  await page.goto(`${ORIGIN}/?away`);
  await page.goBack();
  await page.locator("#foot a").waitFor();
  assert.ok(!(await page.content()).includes("Gone soon"));
  for (const request of stage.requests.filter((request) => request.url().includes("/api/"))) {
    const answer = await request.response();
    const headers = answer ? await answer.allHeaders() : { "cache-control": "no-store" };
    assert.equal(headers["cache-control"], "no-store", request.url());
    assert.equal(headers.etag, undefined, request.url());
  }
  await page.getByRole("button", { name: "Get an address" }).first().click();
  await page.locator(".address").waitFor();
  stage.calm();
}

/** The countdown goes down without a word; extending gives the time back. */
export async function time_is_left_and_given(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  await stage.create();
  const token = await stage.token();
  await api("PATCH", "/api/v1/mailbox", token, { ttl: 600 });
  await page.reload();
  await stage.until(() => /^0?9:\d\d$/.test(document.querySelector("#timer")?.textContent ?? ""));
  const timer = page.locator("#timer");
  assert.deepEqual([await timer.getAttribute("role"), await timer.getAttribute("aria-live")], ["timer", null]);
  assert.equal(await page.locator("#say").textContent(), "");
  await page.getByRole("button", { name: "Extend" }).click();
  await stage.said("Extended, time left:");
  await stage.until(() => /^59:|^1:00/.test(document.querySelector("#timer").textContent));
  stage.calm();
}

/** Everything with the keyboard alone, from creation to reading and erasing. */
export async function keyboard_only(browser) {
  const stage = await Stage.open(browser, CLIPBOARD);
  const { page } = stage;
  const press = (key) => page.keyboard.press(key);
  /** Goes on with Tab until a control of this name has the focus. */
  const reach = async (name) => {
    for (let i = 0; i < 60; i++) {
      await press("Tab");
      const here = await page.evaluate(() => {
        const { activeElement: it } = document;
        const { outlineStyle, outlineWidth } = getComputedStyle(it);
        return { name: it.ariaLabel ?? it.textContent, seen: outlineStyle !== "none" && outlineWidth !== "0px" };
      });
      if (here.name?.trim() === name) return assert.ok(here.seen, `the focus on ${name} can be seen`);
    }
    throw new Error(`Tab does not reach ${name}`);
  };
  await reach("Get an address");
  await press("Enter");
  const address = await stage.address();
  for (const subject of ["first", "second", "third"]) {
    await deliver(address, mail(subject));
    await stage.row(subject).waitFor();
  }
  const focused = () => page.evaluate(() => document.activeElement.querySelector(".what")?.textContent);
  await press("c");
  await stage.said("Copied");
  await press("j");
  assert.equal(await focused(), "third");
  await press("j");
  assert.equal(await focused(), "second");
  await press("k");
  assert.equal(await focused(), "third");
  await press("Enter");
  await page.locator(".reader h2", { hasText: "third" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H2");
  await press("Escape");
  assert.equal(await focused(), "third");
  await press("Delete");
  await stage.said("Message deleted");
  assert.equal(await stage.row("third").count(), 0);
  // Who deletes one message is at the next.
  assert.equal(await focused(), "second");
  await press("?");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  // Letters do nothing behind a dialog, and nothing at all once they are turned off.
  assert.equal(await page.evaluate(() => document.activeElement.labels?.[0].textContent), "Single-letter keys");
  await press("Space");
  assert.equal(await page.evaluate(() => localStorage.keys), "off");
  await press("Escape");
  await dialog.waitFor({ state: "detached" });
  const before = await focused();
  await press("j");
  assert.equal(await focused(), before);
  await reach("Erase");
  await press("Enter");
  await dialog.waitFor();
  // What cannot be taken back is not what Enter does by itself.
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Close");
  await press("Shift+Tab");
  await press("Enter");
  await page.getByRole("heading", { name: "The mailbox is erased" }).waitFor();
  stage.calm();
}

/** Without a network one is told so, and it goes on by itself; nothing is missed. */
export async function offline_and_back(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const address = await stage.create();
  await page.getByText("Nothing here yet").waitFor();
  await stage.context.setOffline(true);
  await page.locator("#trouble", { hasText: "You are offline" }).waitFor();
  await deliver(address, mail("Meanwhile"));
  await page.getByRole("button", { name: "Extend" }).click();
  await stage.said("You are offline");
  await stage.context.setOffline(false);
  await stage.row("Meanwhile").waitFor();
  await page.locator("#trouble").waitFor({ state: "hidden" });
  stage.calm();
}

/** Who asks too often is told when to go on. */
export async function too_many_requests(browser) {
  const stage = await Stage.open(browser);
  await stage.page.evaluate(async () => {
    while ((await fetch("/api/v1/info")).ok);
  });
  await stage.page.getByRole("button", { name: "Get an address" }).click();
  await stage.said("Too many requests. Try again in");
  stage.calm();
}

/** Where the server wants work for a mailbox, the page does it. */
export async function work_is_proven(browser) {
  const stage = await Stage.open(browser);
  const asked = stage.page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/mailboxes"));
  await stage.create();
  const { proof } = (await asked).postDataJSON();
  const hash = createHash("sha256").update(`${proof.challenge}:${proof.nonce}`).digest();
  assert.equal(hash.readUInt32BE(0) >>> 20, 0, "twelve zero bits");
  stage.calm();
}

/** A recovery ticket opens the mailbox again with a new token; whoever has the old one is out. */
export async function a_ticket_reopens_a_mailbox(browser) {
  const stage = await Stage.open(browser);
  const address = await stage.create();
  const token = await stage.token();
  await stage.page.getByRole("button", { name: "Share" }).click();
  const ticket = await stage.page.locator("#ticket").textContent();
  await deliver(address, mail("Kept"));
  const other = await Stage.open(browser);
  await other.page.getByText("Open a mailbox you had").click();
  await other.page.getByLabel("Link, key or recovery ticket").fill(ticket);
  await other.page.getByRole("button", { name: "Open" }).click();
  await other.row("Kept").waitFor();
  assert.equal(await other.address(), address);
  assert.notEqual(await other.token(), token);
  await stage.page.getByRole("heading", { name: "This mailbox has expired" }).waitFor();
  await other.page.getByRole("button", { name: "New address" }).click();
  await other.page.getByText("Open a mailbox you had").click();
  await other.page.getByLabel("Link, key or recovery ticket").fill(ticket);
  await other.page.getByRole("button", { name: "Open" }).click();
  await other.said("There is no such mailbox");
  stage.calm();
  other.calm();
}

/** Of a mailbox whose mail is encrypted the page shows that it came, and hands it out as it is kept. */
export async function encrypted_mail_is_handed_out(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
  const { address, token } = await api("POST", "/api/v1/mailboxes", null, { encryption_key: key });
  await page.goto(`${ORIGIN}/#${token}`);
  await page.getByText("Nothing here yet").waitFor();
  await deliver(address, htmlMail("Secret", "<p>secret</p>"));
  await page.locator(".row", { hasText: "Unknown sender" }).click();
  await page.getByText("Only your key opens this message").waitFor();
  assert.equal(await page.locator("iframe, .tabs").count(), 0);
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save: Source" }).click()]);
  assert.match(file.suggestedFilename(), /^\w+\.eml\.age$/);
  stage.calm();
}

/** Images from elsewhere are loaded when they are asked for, and then over HTTPS only. */
export async function remote_images_when_asked(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const address = await stage.create();
  await deliver(address, htmlMail("Pictures", "<p>Hi</p><img src=http://t.test/one.gif><img src=//t.test/two.gif><div style='background:url(https://t.test/three.gif)'>x</div><script>canary('script')</script>"));
  await stage.read("Pictures");
  await stage.frame();
  await page.getByText("Images from elsewhere are blocked: 3.").waitFor();
  stage.calm();
  const asked = page.waitForRequest("https://t.test/two.gif");
  await page.getByRole("button", { name: "Load images" }).click();
  await asked;
  await stage.frame();
  assert.deepEqual(stage.foreign.sort(), ["https://t.test/one.gif", "https://t.test/two.gif"]);
  assert.deepEqual([stage.violations, stage.ran, stage.errors], [[], [], []]);
}

/** Links in a mail open a window of their own that knows nothing of this one. */
export async function links_open_elsewhere(browser) {
  const stage = await Stage.open(browser);
  const { page } = stage;
  const address = await stage.create();
  await deliver(address, htmlMail("A link", "<a href='https://harbour.test/welcome'>Welcome</a>"));
  await stage.read("A link");
  const frame = await stage.frame();
  const [popup] = await Promise.all([stage.context.waitForEvent("page"), frame.getByText("Welcome").click()]);
  await popup.waitForEvent("close", { timeout: 1 }).catch(() => {});
  assert.deepEqual(stage.foreign, ["https://harbour.test/welcome"]);
  const request = stage.requests.find((request) => request.url() === "https://harbour.test/welcome");
  assert.equal((await request.allHeaders()).referer, undefined);
  assert.equal(await popup.evaluate(() => window.opener), null);
  assert.equal(page.url(), `${ORIGIN}/`);
}

/** Every language has its words, its direction and its choice; the first one is what the browser asks for. */
export async function languages(browser) {
  const stage = await Stage.open(browser, { locale: "de-AT" });
  const { page } = stage;
  await page.getByRole("button", { name: "Adresse holen" }).waitFor();
  const seen = new Set();
  for (const language of ["en", "de", "es", "fr", "pt", "ar", "ja", "zh"]) {
    await page.locator("#tools select").selectOption(language);
    await stage.until((language) => document.documentElement.lang === language, language);
    assert.equal(await page.evaluate(() => document.documentElement.dir), language === "ar" ? "rtl" : "ltr");
    const text = await page.locator("h1").textContent();
    assert.ok(!seen.has(text), text);
    seen.add(text);
  }
  await page.reload();
  await stage.until(() => document.documentElement.lang === "zh");
  stage.calm();
}
