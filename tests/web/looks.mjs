// How the page looks, in every state, on small and large screens, light and dark, from left to right and from right
// to left: to people, as pictures for the documents, and to those who cannot see it.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { Stage, api, deliver, htmlMail, mail } from "./stage.mjs";

const WIDTHS = [320, 768, 1280];

const WELCOME = htmlMail("Your verification code is 482913",
  `<div style="max-width:34rem;margin:auto"><h1 style="color:#17324d;font-size:26px">Welcome aboard</h1>
  <p>Somebody, most likely you, opened an account at Harbour with this address.</p>
  <p>Your verification code: <b>482913</b></p>
  <p><a href="https://harbour.test/verify?token=Zk39fQx81LmN02pQ" style="background-color:#17324d;color:#ffffff;padding:10px 18px;border-radius:6px">Verify my address</a></p>
  <p style="color:#667">It is valid for ten minutes. If it was not you, do nothing.</p></div><img src="https://t.test/p.gif" alt="">`);

const MINUTES = mail("Minutes of Tuesday’s meeting", "--b\n\nHello,\n\nthe minutes are attached. Corrections until Friday, please.\n\nIngrid\n--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=\"minutes-of-a-meeting-with-a-very-long-name-2026-11-24.pdf\"\n\n%PDF-1.4\n--b--\n",
  "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n").replace("Harbour <hello@harbour.test>", "Ingrid Solberg <ingrid@fjord.test>");

const ARABIC = mail("رمز التحقق الخاص بك هو 771204", "مرحبًا،\n\nرمز التحقق: 771204\n").replace("Harbour <hello@harbour.test>", "=?utf-8?B?2YXYsdiz2Yk=?= <salam@marsa.test>");

const LONG = mail(`${"Donaudampfschifffahrtsgesellschaft".repeat(4)} and other words`, `${"x".repeat(400)}\n`);

/** Each state of the page, reached from the one before. */
const STATES = [
  ["welcome", async () => {}],
  ["a name is chosen", async ({ page }) => page.locator("summary").first().click()],
  ["an old mailbox is opened", async ({ page }) => page.locator("summary").nth(1).click()],
  ["an empty mailbox", async (stage) => {
    await stage.page.locator(".hero .main").click();
    await stage.page.locator(".empty").waitFor();
  }],
  ["a list", async (stage) => {
    const address = await stage.address();
    for (const mail of [LONG, ARABIC, MINUTES, WELCOME]) await deliver(address, mail);
    await stage.row("482913").waitFor();
  }],
  ["HTML, a code and a link", async (stage) => {
    await stage.read("482913");
    await stage.frame();
  }],
  ["its header", async ({ page }) => {
    await page.locator("[data-way=headers]").click();
    await page.locator(".pairs dd").first().waitFor();
  }],
  ["its source", async ({ page }) => {
    await page.locator("[data-way=source]").click();
    await page.locator("pre").waitFor();
  }],
  ["text and an attachment", async (stage) => {
    await back(stage);
    await stage.read("Minutes");
  }],
  ["long words", async (stage) => {
    await back(stage);
    await stage.read("Donau");
  }],
  ["the other direction", async (stage) => {
    await back(stage);
    await stage.read("771204");
  }],
  ["the code to scan", async (stage) => dialog(stage, ".actions button >> nth=1")],
  ["the link to share", async (stage) => dialog(stage, ".actions button >> nth=2")],
  ["the question before erasing", async (stage) => dialog(stage, ".life .danger")],
  ["the keys", async (stage) => dialog(stage, "#tools button >> nth=1")],
  ["offline", async ({ context, page }) => {
    await page.keyboard.press("Escape");
    await context.setOffline(true);
    await page.locator("#trouble").waitFor();
  }],
  ["a second mailbox", async (stage) => {
    await stage.context.setOffline(false);
    await stage.page.locator("#trouble").waitFor({ state: "hidden" });
    await stage.page.locator(".boxes .ghost").click();
    await stage.page.locator(".hero .main").click();
    await stage.page.locator(".empty").waitFor();
  }],
  ["an ended mailbox", async (stage) => {
    await api("DELETE", "/api/v1/mailbox", await stage.token());
    await stage.page.locator(".hero").waitFor();
  }],
];

async function back({ page }) {
  if (await page.locator(".goback").isVisible()) await page.locator(".goback").click();
}

async function dialog({ page }, button) {
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await back({ page });
  await page.locator(button).click();
  await page.locator("dialog").waitFor();
}

async function in_every_state(browser, options, language) {
  for (const width of WIDTHS) {
    const stage = await Stage.open(browser, { viewport: { width, height: 800 }, reducedMotion: "reduce", ...options });
    if (language) await stage.page.locator("#tools select").selectOption(language);
    for (const [state, reach] of STATES) {
      await reach(stage);
      await stage.accessible(`${state}, ${width} px, ${JSON.stringify(options)}, ${language ?? "en"}`);
    }
    stage.calm();
    await stage.context.close();
  }
}

export const accessible_in_the_light = (browser) => in_every_state(browser, { colorScheme: "light" });
export const accessible_in_the_dark = (browser) => in_every_state(browser, { colorScheme: "dark" });
export const accessible_from_right_to_left = (browser) => in_every_state(browser, { colorScheme: "light" }, "ar");
export const accessible_from_right_to_left_in_the_dark = (browser) => in_every_state(browser, { colorScheme: "dark" }, "ar");

/** The judge of all that does see what is wrong. */
export async function the_judge_is_awake(browser) {
  const stage = await Stage.open(browser);
  await stage.page.locator(".hero .main").waitFor();
  await stage.page.evaluate(() => {
    const button = document.createElement("button");
    button.style.color = "#eee";
    button.style.width = "3000px";
    document.querySelector("main").append(button);
  });
  await assert.rejects(stage.accessible("planted"), /button-name/);
}

/** The switch for dark colours wins over the system, and stays. */
export async function dark_by_choice(browser) {
  const stage = await Stage.open(browser, { colorScheme: "light" });
  const { page } = stage;
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  const choice = page.getByRole("button", { name: "Dark colours" });
  await choice.click();
  const dark = await paper();
  assert.notEqual(light, dark);
  assert.equal(await choice.getAttribute("aria-pressed"), "true");
  await page.reload();
  await choice.waitFor();
  assert.equal(await paper(), dark);
  await choice.click();
  assert.equal(await paper(), light);
  stage.calm();
}

/** The pictures of the documents, into the folder that MAYFLY_PICTURES names. */
export async function pictures(browser) {
  const folder = process.env.MAYFLY_PICTURES;
  mkdirSync(folder, { recursive: true });
  const takes = [
    ["desktop-light", { viewport: { width: 1280, height: 860 }, colorScheme: "light" }, "en", "482913"],
    ["desktop-rtl", { viewport: { width: 1280, height: 760 }, colorScheme: "light" }, "ar", "771204"],
    ["mobile-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }, "en", "482913"],
    ["mobile-list-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }, "en", null],
    ["welcome-light", { viewport: { width: 1280, height: 720 }, colorScheme: "light" }, "en", undefined],
  ];
  for (const [name, options, language, subject] of takes) {
    const stage = await Stage.open(browser, { reducedMotion: "reduce", ...options });
    const { page } = stage;
    await page.locator("#tools select").selectOption(language);
    if (subject !== undefined) {
      await page.locator(".hero .main").click();
      const address = await stage.address();
      for (const mail of [MINUTES, ARABIC, WELCOME]) await deliver(address, mail);
      await stage.row("482913").waitFor();
      if (subject) await stage.read(subject);
      if (subject === "482913") await stage.frame();
      await stage.until(() => !document.querySelector("#say").textContent);
    }
    await page.evaluate(() => document.activeElement.blur());
    await page.screenshot({ path: `${folder}/${name}.png`, fullPage: false });
    await stage.context.close();
  }
}
