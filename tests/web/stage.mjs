// What every scenario needs: a browser, the page in it, mail, and eyes on everything that must not happen.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import axe from "axe-core";
import { chromium } from "playwright-core";

const { MAYFLY_HTTP, MAYFLY_SMTP, MAYFLY_CHROMIUM = "/usr/bin/chromium" } = process.env;

/** Where the page is. */
export const ORIGIN = `http://${MAYFLY_HTTP}`;

/** How long anything may take before a test gives up, in milliseconds. */
export const PATIENCE = 30_000;

/** Sends one mail by hand: what stands in it is exactly what is given. */
export function deliver(to, mail) {
  const [host, port] = MAYFLY_SMTP.split(/:(?=\d+$)/);
  const content = mail.replace(/\r?\n/g, "\r\n").replace(/^\./gm, "..");
  const steps = ["EHLO client.example", "MAIL FROM:<sender@client.example> BODY=8BITMIME", `RCPT TO:<${to}>`, "DATA", `${content}\r\n.`, "QUIT"];
  return new Promise((done, fail) => {
    const socket = connect(Number(port), host.replace(/[[\]]/g, ""));
    let text = "";
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error("no reply in time")));
    socket.on("data", (bytes) => {
      text += bytes;
      if (!/^\d{3} .*\r\n$/m.test(text)) return;
      if (!/^[23]/.test(text)) socket.destroy(new Error(text));
      text = "";
      const step = steps.shift();
      if (step) socket.write(`${step}\r\n`);
    });
    socket.on("error", fail);
    socket.on("close", (failed) => !failed && done());
  });
}

/** A mail with this header and body. */
export const mail = (subject, body = "Hello.\n", more = "") =>
  `From: Harbour <hello@harbour.test>\nSubject: ${subject}\n${more}\n${body}`;

/** A mail of HTML. */
export const htmlMail = (subject, html, more = "") => mail(subject, html, `MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n${more}`);

/** Asks the API beside the page. */
export async function api(method, path, token, body) {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { "Content-Type": "application/json" }) };
  const answer = await fetch(ORIGIN + path, { method, headers, body: body && JSON.stringify(body) });
  return answer.status === 204 ? null : answer.json();
}

/** A browser with a profile of its own, closed and forgotten at the end. */
export async function withBrowser(work) {
  const profile = mkdtempSync(join(tmpdir(), "mayfly-web-"));
  const browser = await chromium.launch({
    executablePath: MAYFLY_CHROMIUM,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", `--disk-cache-dir=${profile}`],
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
  });
  try {
    await work(browser);
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A page that is watched: violations of its policy, errors, scripts of strangers and requests to anywhere else. */
export class Stage {
  constructor(context, page) {
    Object.assign(this, { context, page, violations: [], errors: [], foreign: [], requests: [], ran: [], opened: [] });
  }

  static async open(browser, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", acceptDownloads: true, ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    const stage = new Stage(context, page);
    await context.exposeFunction("report", (text) => stage.violations.push(text));
    await context.exposeFunction("canary", (text) => stage.ran.push(text));
    await context.addInitScript(() => {
      const tell = (event) => window.report?.(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
      addEventListener("securitypolicyviolation", tell);
      for (const name of ["alert", "confirm", "prompt", "print"]) window[name] = () => window.canary(`${name} in ${location.href}`);
    });
    // Nothing of a mail may ever ask anybody for anything. What tries is noted, and does not leave this machine.
    await context.route((url) => url.origin !== ORIGIN && /^https?:$/.test(url.protocol), (route) => {
      stage.foreign.push(route.request().url());
      return route.abort();
    });
    context.on("request", (request) => stage.requests.push(request));
    context.on("page", (other) => other !== page && stage.opened.push(other));
    page.on("pageerror", (why) => stage.errors.push(String(why)));
    page.on("dialog", (dialog) => {
      stage.ran.push(dialog.message());
      dialog.dismiss();
    });
    await page.goto(ORIGIN);
    return stage;
  }

  /** Nothing happened that must not. */
  calm() {
    assert.deepEqual(this.errors, [], "errors of the page");
    assert.deepEqual(this.violations, [], "violations of its policy");
    assert.deepEqual(this.ran, [], "scripts of strangers");
    assert.deepEqual(this.foreign, [], "requests to other origins");
  }

  /** A mailbox made by pressing the button; its address. */
  async create() {
    await this.page.getByRole("button", { name: "Get an address" }).click();
    return this.address();
  }

  async address() {
    return (await this.page.locator(".address").textContent()).trim();
  }

  /** The token of the mailbox that is shown, from the tab's own storage. */
  async token() {
    const address = await this.address();
    const kept = await this.page.evaluate(() => JSON.parse(sessionStorage.getItem("mailboxes")));
    return kept.find((box) => box.address_unicode === address).token;
  }

  row(subject) {
    return this.page.locator(".row", { hasText: subject });
  }

  async read(subject) {
    await this.row(subject).click();
    await this.page.locator(".reader h2", { hasText: subject }).waitFor();
  }

  /** The frame of the message that is open, loaded. */
  async frame() {
    const element = await this.page.locator("iframe").elementHandle();
    const frame = await element.contentFrame();
    await frame.waitForLoadState("load");
    return frame;
  }

  said(text) {
    return this.page.locator("#say", { hasText: text }).waitFor();
  }

  /** Waits until something in the page is so. */
  until(question, argument) {
    return this.page.waitForFunction(question, argument);
  }

  /** No violation of WCAG 2.2 AA, and nothing to scroll sideways. */
  async accessible(state) {
    const found = await this.page.evaluate(async (source) => {
      if (!window.axe) (0, eval)(source);
      const { violations } = await window.axe.run({ exclude: [["iframe"]] }, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
        resultTypes: ["violations"],
      });
      return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
    }, axe.source);
    assert.deepEqual(found, [], state);
    const over = await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(over <= 0, `${state}: ${over} px too wide`);
  }
}
