/** What is seen before any module has run, and by whom none ever does. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Person } from "./harness.mjs";
import { browser, onStage, people, server } from "./stage.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const NAMED = { named: "somebody" };
/** What pages are opened with. */
const SCRIPT = /\/(landing|room|chat|framed)\.js$/;
const NOBODY = "0190a1b2-0000-7000-8000-000000000000";

onStage();

/** A page whose modules are still on their way. @param {Record<string, string>} chosen  before, on this browser */
async function early(path, options, chosen = {}) {
  const person = await Person.arrive(browser, "about:blank", options);
  people.push(person);
  await person.context.addInitScript((chosen) => {
    for (const [name, value] of Object.entries(chosen)) localStorage.setItem(`maru:${name}`, value);
  }, chosen);
  await person.page.route(SCRIPT, () => {});
  await person.page.goto(server.url + path, { waitUntil: "commit" });
  await person.page.waitForFunction(() => performance.getEntriesByName("first-paint").length > 0);
  return person.page;
}

const isSeen = (page, text) => page.getByText(text, { exact: true }).isVisible();
const ground = () => getComputedStyle(document.body).backgroundColor;

describe("before the scripts have come", () => {
  for (const [path, locale, text, chosen] of [
    ["/", "en-US", "An open floor to talk on."],
    ["/", "ko-KR", "누구나 올라앉아 이야기하는 마루."],
    ["/r/lobby", "en-US", "Enter sends, Shift + Enter starts a new line"],
    ["/r/lobby", "ko-KR", "Enter로 보내고, Shift + Enter로 줄을 바꿔요"],
    ["/chat/", "en-US", "What shall people call you?"],
    ["/chat/", "ko-KR", "대화를 골라 주세요", NAMED],
    [`/chat/${NOBODY}`, "en-US", "Chats", NAMED],
    ["/embed/lobby", "en-US", "People here"],
  ]) {
    test(`${path} is there in ${locale}, out of reach${chosen ? ", for somebody with a name" : ""}`, async () => {
      const page = await early(path, { locale }, chosen);
      assert.ok(await isSeen(page, text));
      assert.equal(await page.locator("html").getAttribute("lang"), locale.slice(0, 2));
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.tagName), "BODY");
    });
  }

  test("somebody without a name sees no conversations, and somebody with one is not asked for it", async () => {
    assert.ok(!(await isSeen(await early("/chat/"), "Chats")));
    assert.ok(!(await isSeen(await early("/chat/", {}, NAMED), "What shall people call you?")));
  });

  test("a frame shows no way out of it", async () => {
    assert.ok(!(await (await early("/embed/lobby")).locator(".home").isVisible()));
  });

  test("the theme that was chosen is there, whatever the system's is", async () => {
    const light = await (await early("/", { colorScheme: "light" })).evaluate(ground);
    const dark = await (await early("/", { colorScheme: "dark" })).evaluate(ground);
    assert.notEqual(light, dark);
    assert.equal(await (await early("/", { colorScheme: "light" }, { theme: "dark" })).evaluate(ground), dark);
    assert.equal(await (await early("/", { colorScheme: "dark" }, { theme: "light" })).evaluate(ground), light);
    assert.equal(await (await early("/embed/lobby#theme=dark", { colorScheme: "light" })).evaluate(ground), dark);
  });

  test("nothing is said in a language that was not chosen", async () => {
    const page = await early("/", { locale: "en-US" }, { lang: "ko" });
    assert.ok(!(await page.locator(".card").isVisible()));
    await page.unroute(SCRIPT);
    await page.reload();
    await page.getByText("누구나 올라앉아 이야기하는 마루.").waitFor();
    assert.equal(await page.locator("#slug").getAttribute("placeholder"), "수다방, tea, …");
  });

  for (const [device, options] of Object.entries({ "a desktop": {}, "a phone": PHONE })) {
    test(`on ${device} everything stands where it will be`, async () => {
      for (const [path, parts] of [
        ["/", [".card .logo", ".tagline", "#slug", ".terminal h2", ".switches"]],
        ["/r/lobby", [".bar .logo", ".scroller", "textarea", ".send", ".people"]],
        ["/chat/", [".gate h1", "#my-name", ".switches"]],
      ]) {
        const page = await early(path, options);
        const places = () => page.evaluate((parts) => parts.map((part) => {
          const { x, y, width, height } = document.querySelector(part).getBoundingClientRect();
          return { part, x, y, width, height };
        }), parts);
        const before = await places();
        people.at(-1).allow(/status of 401/);
        await page.unroute(SCRIPT);
        await page.reload();
        await page.locator(`${path === "/chat/" ? ".gate" : "body > :is(.landing, .room)"}:not([inert])`).waitFor();
        assert.deepEqual(await places(), before);
      }
    });
  }
});

describe("without scripts", () => {
  for (const [locale, text] of [["en-US", "This page needs JavaScript."], ["ko-KR", "이 페이지에는 JavaScript가 필요해요."]]) {
    test(`the page says in ${locale} what one can do, and shows nothing that does not work`, async () => {
      for (const path of ["/", "/r/lobby", "/chat/", "/embed/lobby"]) {
        const person = await Person.arrive(browser, server.url + path, { locale, javaScriptEnabled: false });
        people.push(person);
        await person.page.locator("noscript p").waitFor();
        assert.ok((await person.page.locator("noscript p").textContent()).startsWith(text));
        assert.equal(await person.page.locator("body > [inert]").locator("visible=true").count(), 0);
      }
    });
  }
});
