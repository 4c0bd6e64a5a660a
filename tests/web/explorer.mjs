// The page of the API: what it explains can be tried on it, and nothing of it is kept.

import assert from "node:assert/strict";
import { ORIGIN, Stage, deliver, mail } from "./stage.mjs";

const ATTACK = "</script><img src=x onerror=canary(1)>";

/** The page, drawn. */
async function open(browser, options) {
  const stage = await Stage.open(browser, options);
  await stage.page.goto(`${ORIGIN}/api`);
  await stage.page.locator("article").first().waitFor();
  return stage;
}

/** Opens what an operation is tried with. */
async function begin(stage, operation) {
  const article = stage.page.locator(`#${operation}`);
  if (!(await article.locator(".try").isVisible())) await article.locator("summary", { hasText: "Try it" }).click();
  return article;
}

/** Sends a request and waits for the status of its answer. */
async function send(stage, operation, status) {
  const article = await begin(stage, operation);
  await article.getByRole("button", { name: "Send" }).click();
  await article.locator(".answer .status", { hasText: `${status}` }).waitFor();
  return article.locator(".answer pre").last();
}

export async function the_api_can_be_tried(browser) {
  const stage = await open(browser);
  const { page } = stage;
  const operations = Object.values((await (await fetch(`${ORIGIN}/api/v1/openapi.json`)).json()).paths).flatMap(Object.keys);
  assert.equal(await page.locator("article").count(), operations.length, "all operations are there");
  await send(stage, "showMailbox", 401);

  const creation = await begin(stage, "createMailbox");
  await creation.locator("textarea").fill('{"ttl": "10m"}');
  const made = JSON.parse(await (await send(stage, "createMailbox", 201)).textContent());
  assert.equal(await page.locator("#token").inputValue(), made.token);
  assert.ok(!(await creation.locator(".answer pre").first().textContent()).includes(made.token), "the command has no token");

  const stream = await begin(stage, "watchMailbox");
  await stream.getByRole("button", { name: "Send" }).click();
  await stream.locator(".answer pre", { hasText: "retry: 3000" }).waitFor();
  await deliver(made.address, mail(ATTACK));
  await stream.locator(".answer pre", { hasText: "event: message" }).waitFor();
  await stream.getByRole("button", { name: "Stop" }).click();
  await stream.getByRole("button", { name: "Stop" }).waitFor({ state: "hidden" });

  const list = await send(stage, "listMessages", 200);
  assert.equal(JSON.parse(await list.textContent()).messages[0].subject, ATTACK);
  assert.ok((await (await send(stage, "messageSource", 200)).textContent()).includes(ATTACK));
  await send(stage, "eraseMailbox", 204);
  await send(stage, "showMailbox", 404);

  // The token of one mailbox is nothing that another is created with; a ticket gives a new one.
  await creation.getByRole("button", { name: "Send" }).click();
  await stage.until((old) => document.querySelector("#token").value !== old, made.token);
  const other = JSON.parse(await creation.locator(".answer pre").last().textContent());
  const recovery = await begin(stage, "recoverMailbox");
  await recovery.locator("textarea").fill(JSON.stringify({ recovery: other.recovery }));
  await recovery.getByRole("button", { name: "Send" }).click();
  await stage.until((old) => document.querySelector("#token").value !== old, other.token);

  const kept = await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie, location.href]));
  assert.ok(!kept.includes(made.token), "the token is kept nowhere");
  assert.ok(stage.requests.every((request) => !request.url().includes(made.token)), "and is in no address");
  await page.reload();
  await page.locator("article").first().waitFor();
  assert.equal(await page.locator("#token").inputValue(), "");
  stage.calm();
}

export async function the_api_by_keyboard(browser) {
  const stage = await open(browser);
  const { page } = stage;
  const at = (selector) => stage.until((selector) => document.activeElement?.matches(selector), selector);
  await page.keyboard.press("Tab");
  await at(".skip");
  await page.keyboard.press("Enter");
  await at("#operations");
  const creation = page.locator("#createMailbox");
  await creation.locator("summary", { hasText: "Try it" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await at("#createMailbox textarea");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("{}");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await stage.said("201");
  await page.locator("#contents a", { hasText: "Erase a mailbox" }).focus();
  await page.keyboard.press("Enter");
  await stage.until(() => location.hash === "#eraseMailbox");
  stage.calm();
}

async function accessible(browser, colorScheme) {
  for (const width of [320, 768, 1280]) {
    const stage = await open(browser, { viewport: { width, height: 800 }, colorScheme });
    await stage.accessible(`the API, ${width} px, ${colorScheme}`);
    await send(stage, "createMailbox", 201);
    await send(stage, "listMessages", 200);
    await send(stage, "messageText", 404);
    await stage.page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
    await stage.accessible(`the API with all of it open, ${width} px, ${colorScheme}`);
    stage.calm();
    await stage.context.close();
  }
}

export const the_api_is_accessible_in_the_light = (browser) => accessible(browser, "light");
export const the_api_is_accessible_in_the_dark = (browser) => accessible(browser, "dark");
