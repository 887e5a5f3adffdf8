/** Direct messages in a real browser, against the real server. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Person, SERVER_AWAY } from "./harness.mjs";
import { browser, onStage, people, server } from "./stage.mjs";

/** Chromium logs every answer that is an error; these are what the page asks to find out. */
const NOBODY_YET = /status of 401/;
const NOT_MINE = /status of 404/;

onStage();

/** Somebody who has chosen a name, and sees the list of conversations. */
async function arrive(name, options) {
  const person = await Person.arrive(browser, `${server.url}/chat/`, options, [NOBODY_YET]);
  people.push(person);
  await person.page.locator(".gate:not([inert]) #my-name").fill(name);
  await person.page.locator(".gate:not([inert]) #my-name").press("Enter");
  await isLive(person.page);
  return person;
}

function isLive(page) {
  return page.locator('.chat .connection[data-state="live"]').waitFor({ state: "attached" });
}

const finder = (person) => person.page.locator(".side .finder input");
const row = (person, title) => person.page.locator(".rooms a", { hasText: title });
const heading = (person) => person.page.locator("#talk-title");

/** Find somebody by typing, and open the conversation. */
async function meet(person, typed, name) {
  await finder(person).fill(typed);
  await person.page.getByRole("option", { name, exact: true }).waitFor();
  await finder(person).press("Enter");
  await heading(person).filter({ hasText: name }).waitFor();
}

/** Ann and Ben, and Ann has opened the room of the two. */
async function twoPeople() {
  const [ann, ben] = [await arrive("Ann"), await arrive("Ben")];
  await meet(ann, "Ben", "Ben");
  return [ann, ben];
}

/** A group with everybody else in it. @returns {Promise<string>} its address */
async function makeGroup(maker, name, others) {
  const { page } = maker;
  await page.getByRole("button", { name: "New group" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name of the group").fill(name);
  for (const other of others) {
    await dialog.getByRole("combobox").fill(other);
    await dialog.getByRole("option", { name: other }).click();
    await dialog.getByRole("button", { name: `Remove ${other}` }).waitFor();
  }
  await dialog.getByRole("button", { name: "Create" }).click();
  await heading(maker).filter({ hasText: name }).waitFor();
  return page.url();
}

describe("two people", () => {
  test("find each other, talk, and see what is read and that one is typing", async () => {
    const ann = await arrive("Ann");
    const ben = await arrive("Ben");
    await meet(ann, "be", "Ben");
    await ann.page.getByText("Say hello to Ben").waitFor();
    assert.equal(await row(ben, "Ann").count(), 0, "an empty room is nothing to show to the other");

    await ann.write("안녕, Ben!");
    await ann.seesOnly(["안녕, Ben!"]);
    assert.equal(await ann.page.locator(".seen").count(), 0);
    await row(ben, "Ann").filter({ hasText: "안녕, Ben!" }).locator(".badge", { hasText: "1" }).waitFor();
    await ben.page.waitForFunction(() => document.title.startsWith("(1) "));

    await row(ben, "Ann").click();
    await ben.seesOnly(["안녕, Ben!"]);
    await ann.page.locator(".seen", { hasText: "Seen" }).waitFor();
    await ben.page.waitForFunction(() => document.title === "Ann · maru");
    assert.equal(await ben.page.locator(".badge").count(), 0);

    await ben.page.locator("textarea").pressSequentially("Hello");
    await ann.page.locator("p.typing", { hasText: "Ben is typing…" }).waitFor();
    await ben.page.locator("textarea").press("Enter");
    await ann.seesOnly(["안녕, Ben!", "Hello"]);
    await ann.page.locator("p.typing:empty").waitFor({ state: "attached" });
    assert.equal(await ann.page.locator(".seen").count(), 0, "an answer says that one has read");
  });

  test("see who is online", async () => {
    const [ann, ben] = await twoPeople();
    await ann.write("hello");
    await ann.page.locator(".sub", { hasText: "online" }).waitFor();
    await row(ann, "Ben").locator(".there").waitFor();
    await row(ben, "Ann").waitFor();
    await ben.leave();
    await ann.page.locator(".sub", { hasText: "offline" }).waitFor();
    assert.equal(await row(ann, "Ben").locator(".there").count(), 0);
  });

  test("have one room, whoever begins", async () => {
    const [ann, ben] = await twoPeople();
    await meet(ben, "Ann", "Ann");
    assert.equal(ann.page.url(), ben.page.url());
  });

  test("edit and delete what they said", async () => {
    const [ann, ben] = await twoPeople();
    await ann.write("a first verison");
    await ann.write("a secret");
    await ann.seesOnly(["a first verison", "a secret"]);
    await row(ben, "Ann").click();
    await ann.message("a first verison").hover();
    await ann.message("a first verison").getByRole("button", { name: "Edit" }).click();
    await ann.write("a first version");
    await ben.seesOnly(["a first version", "a secret"]);
    // Until then the rows may still move from under the pointer.
    await ann.page.locator(".editing").waitFor({ state: "hidden" });
    await ann.message("a secret").hover();
    await ann.message("a secret").getByRole("button", { name: "Delete" }).click();
    await ann.page.getByRole("button", { name: "Delete?" }).click();
    await ben.seesOnly(["a first version", undefined]);
    await row(ben, "Ann").filter({ hasText: "message deleted" }).waitFor();
    await ben.page.reload();
    await ben.seesOnly(["a first version", undefined]);
    assert.ok(!(await ben.page.content()).includes("a secret"));
  });

  test("who comes back finds a line above what is new", async () => {
    const [ann, ben] = await twoPeople();
    await ann.write("one");
    await row(ben, "Ann").click();
    await ben.seesOnly(["one"]);
    await ann.page.locator(".seen").waitFor();
    await ben.page.goto(`${server.url}/chat/`);
    await isLive(ben.page);
    await ann.write("two");
    await ann.write("three");
    await row(ben, "Ann").locator(".badge", { hasText: "2" }).waitFor();
    await row(ben, "Ann").click();
    await ben.seesOnly(["one", "two", "three"]);
    const rows = await ben.page.locator(".messages > :is(.message, .fresh)").allTextContents();
    assert.deepEqual(rows.map((text) => text.replace(/Ann\d.*[AP]M/, "").trim()), ["one", "New", "two", "three"]);
  });
});

describe("a third person", () => {
  test("sees nothing, by whatever address", async () => {
    const ann = await arrive("Ann");
    const ben = await arrive("Ben");
    const eve = await arrive("Eve");
    await meet(ann, "Ben", "Ben");
    await ann.write("between us");
    await row(ben, "Ann").waitFor();
    eve.allow(NOT_MINE);
    await eve.page.goto(ann.page.url());
    await eve.page.getByText("This conversation is not there").waitFor();
    await isLive(eve.page);
    assert.equal(await eve.page.locator(".rooms a").count(), 0);
    assert.ok(!(await eve.page.content()).includes("between us"));
    const id = ann.page.url().split("/").at(-1);
    const answers = await eve.page.evaluate(async (room) => {
      const ask = async (path, method = "GET", body) => {
        const headers = body ? { "Content-Type": "application/json" } : {};
        const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
        return `${answer.status} ${await answer.text()}`;
      };
      const asked = (of) => Promise.all([
        ask(`/api/chat/${of}`), ask(`/api/chat/${of}/events`), ask(`/api/history?room=${of}`),
        ask(`/api/chat/${of}/members`), ask(`/api/chat/${of}/messages`, "POST", { text: "x" }),
        ask(`/api/chat/${of}/read`, "POST", { seq: 1 }), ask(`/api/chat/${of}/typing`, "POST", {}),
      ]);
      return [await asked(room), await asked("0190a1b2-0000-4000-8000-000000000000")];
    }, id);
    assert.deepEqual(answers[0], answers[1]);
    assert.ok(answers[0].every((answer) => answer.startsWith("404 ")), answers[0].join("\n"));
    await eve.page.getByRole("link", { name: "Back to the conversations" }).click();
    await eve.page.getByText("No conversations yet").waitFor();
    assert.equal(new URL(eve.page.url()).pathname, "/chat/");
  });

  test("names and texts of strangers are only ever text", async () => {
    const name = "<img src=x onerror=alert(1)>";
    const ann = await arrive("Ann");
    const eve = await arrive(name);
    await meet(eve, "Ann", "Ann");
    await eve.write("<script>alert(2)</script>");
    await row(ann, name).filter({ hasText: "<script>alert(2)</script>" }).click();
    await ann.seesOnly(["<script>alert(2)</script>"]);
    assert.equal(await heading(ann).textContent(), name);
    assert.equal(await ann.page.locator(":is(.side, .pane, title) :is(img, script)").count(), 0);
  });
});

describe("a browser with two tabs", () => {
  test("has one stream, and both agree on what is unread", async () => {
    const ann = await arrive("Ann");
    const ben = await arrive("Ben");
    const streams = [];
    ben.context.on("request", (request) => request.url().includes("/api/events") && streams.push(request.url()));
    const second = await ben.context.newPage();
    await second.goto(`${server.url}/chat/`);
    await isLive(second);
    assert.deepEqual(streams, [], "the second tab opens no stream of its own");

    await meet(ann, "Ben", "Ben");
    for (const text of ["one", "two"]) await ann.write(text);
    for (const page of [ben.page, second]) await page.locator(".rooms .badge", { hasText: "2" }).waitFor();
    await second.locator(".rooms a").click();
    await ben.page.waitForFunction(() => document.querySelector(".rooms a") && !document.querySelector(".badge"));
    await ben.page.waitForFunction(() => !document.title.startsWith("("));
  });

  test("goes on with the other tab when the one with the stream is closed", async () => {
    const [ann, ben] = await twoPeople();
    await ann.write("one");
    await row(ben, "Ann").waitFor();
    const second = await ben.context.newPage();
    await second.goto(`${server.url}/chat/`);
    await isLive(second);
    await second.locator(".rooms a").click();
    await ben.page.close();
    for (const text of ["two", "three"]) await ann.write(text);
    await second.getByText("three", { exact: true }).first().waitFor();
    await second.waitForFunction(() => {
      return [...document.querySelectorAll(".message .text")].map((text) => text.textContent).join() === "one,two,three";
    });
  });
});

describe("who looks elsewhere", () => {
  /** The page is told that nobody looks at it. */
  async function hide(page) {
    await page.evaluate(() => {
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
  }

  /** Every tab of this browser knows that nobody looks at any. */
  function isUnseen(page) {
    return page.waitForFunction(async () => !(await navigator.locks.query()).held.some(({ name }) => name === "maru:seen"));
  }

  /** What this page has called one back with. */
  async function keepNotifications({ context }) {
    await context.grantPermissions(["notifications"]);
    await context.addInitScript(() => {
      window.notified = [];
      window.Notification = class {
        static permission = "granted";
        constructor(title, { body, tag }) {
          window.notified.push({ title, body, tag });
          window.lastNotification = this;
        }
        close() {}
      };
    });
  }

  test("is called back, once, by what others say and by nothing else", async () => {
    const [ann, ben] = [await arrive("Ann"), await arrive("Ben")];
    await keepNotifications(ann);
    await ann.page.reload();
    await isLive(ann.page);
    await meet(ben, "ann", "Ann");
    await ben.write("are you there?");
    await row(ann, "Ben").locator(".badge").waitFor();
    assert.deepEqual(await ann.page.evaluate("notified"), [], "who looks needs no calling");
    await hide(ann.page);
    await isUnseen(ann.page);
    await ben.write("hello?");
    await ann.page.waitForFunction(() => window.notified.length > 0);
    const [{ title, body, tag }, ...more] = await ann.page.evaluate("notified");
    assert.deepEqual([title, body, more], ["Ben", "hello?", []]);
    assert.match(tag, /^maru:[0-9a-f-]{36}$/);
    assert.equal(await ann.page.title(), "(2) Chats · maru");
    await ann.page.evaluate("lastNotification.onclick()");
    await ann.seesOnly(["are you there?", "hello?"]);
  });

  test("is not called while another tab is looked at", async () => {
    const [ann, ben] = [await arrive("Ann"), await arrive("Ben")];
    await keepNotifications(ann);
    await ann.page.reload();
    await isLive(ann.page);
    const other = await ann.context.newPage();
    await other.goto(`${server.url}/chat/`);
    await isLive(other);
    await hide(ann.page);
    await meet(ben, "ann", "Ann");
    await ben.write("hello?");
    await row(ann, "Ben").locator(".badge").waitFor();
    await hide(other);
    await isUnseen(ann.page);
    await ben.write("anybody?");
    await ann.page.waitForFunction(() => window.notified.length > 0);
    assert.deepEqual((await ann.page.evaluate("notified")).map(({ body }) => body), ["anybody?"]);
    assert.deepEqual(await other.evaluate("notified"), [], "one tab calls");
  });
});

describe("a group", () => {
  test("is made, grows, and is left", async () => {
    const [ann, ben, cho, dan] = [await arrive("Ann"), await arrive("Ben"), await arrive("초롱"), await arrive("Dan")];
    await makeGroup(ann, "Tea circle", ["Ben", "초롱"]);
    await ann.write("welcome");
    await row(ben, "Tea circle").filter({ hasText: "Ann: welcome" }).click();
    await row(cho, "Tea circle").click();
    await ann.page.locator(".seen", { hasText: "Seen by everyone" }).waitFor();
    await ben.seesOnly(["welcome"]);

    await ben.page.getByRole("button", { name: "Members" }).click();
    const dialog = ben.page.getByRole("dialog");
    await dialog.getByRole("combobox").fill("dan");
    await dialog.getByRole("option", { name: "Dan" }).click();
    await dialog.locator(".faces li", { hasText: "Dan" }).waitFor();
    assert.equal(await dialog.locator("h2").textContent(), "4 members");
    await dialog.getByRole("button", { name: "Done" }).click();
    await ann.page.locator(".notice", { hasText: "Ben added Dan" }).waitFor();
    await row(dan, "Tea circle").click();
    await dan.page.locator(".notice", { hasText: "Ben added you" }).waitFor();
    assert.deepEqual(await dan.texts(), [], "who comes later sees nothing from before");

    await ben.page.getByRole("button", { name: "Members" }).click();
    await ben.page.getByRole("button", { name: "Leave the group" }).click();
    await ben.page.getByRole("button", { name: "Leave", exact: true }).click();
    await ben.page.getByText("No conversations yet").waitFor();
    await ann.page.locator(".notice", { hasText: "Ben left" }).waitFor();
    await ann.write("without Ben");
    await dan.seesOnly(["without Ben"]);
    assert.equal(await ben.page.locator(".rooms a").count(), 0);
  });

  test("that one is not in any more says so, and leads back", async () => {
    const [ann, ben] = [await arrive("Ann"), await arrive("Ben")];
    await arrive("Cho");
    await makeGroup(ann, "Tea circle", ["Ben", "Cho"]);
    await ann.write("hello");
    await row(ben, "Tea circle").click();
    await ben.seesOnly(["hello"]);
    const elsewhere = await ben.context.newPage();
    await elsewhere.goto(ben.page.url());
    await elsewhere.getByRole("button", { name: "Members" }).click();
    await elsewhere.getByRole("button", { name: "Leave the group" }).click();
    await elsewhere.getByRole("button", { name: "Leave", exact: true }).click();
    await ben.page.getByText("You are not in this conversation any more").waitFor();
    assert.ok(await ben.page.locator("textarea").count() === 0);
    await ben.page.getByRole("link", { name: "Back to the conversations" }).click();
    await ben.page.getByText("No conversations yet").waitFor();
  });
});

describe("the owner of a group", () => {
  test("removes a member, who sees nothing more at once, and nobody else can", async () => {
    const [ann, ben, cho] = [await arrive("Ann"), await arrive("Ben"), await arrive("Cho")];
    await makeGroup(ann, "Tea circle", ["Ben", "Cho"]);
    await ann.write("welcome");
    for (const other of [ben, cho]) {
      await row(other, "Tea circle").click();
      await other.seesOnly(["welcome"]);
    }
    await ben.page.getByRole("button", { name: "Members" }).click();
    await ben.page.getByRole("dialog").locator(".faces li").nth(2).waitFor();
    assert.equal(await ben.page.getByRole("button", { name: "Remove" }).count(), 0);

    await ann.page.getByRole("button", { name: "Members" }).click();
    const dialog = ann.page.getByRole("dialog");
    assert.equal(await dialog.getByRole("button", { name: "Remove Ann" }).count(), 0);
    await dialog.getByRole("button", { name: "Remove Ben" }).click();
    await dialog.getByText("Remove Ben?").waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    assert.equal(await dialog.locator(".faces li").count(), 3);

    ann.allow(/status of 503|net::ERR_FAILED/);
    await ann.page.route("**/bans", (route) => route.abort());
    await dialog.getByRole("button", { name: "Remove Ben" }).click();
    await dialog.getByRole("button", { name: "Remove", exact: true }).click();
    await dialog.getByText("That did not work").waitFor();
    await ann.page.unroute("**/bans");

    await dialog.getByRole("button", { name: "Remove Ben" }).click();
    await ann.findsNothingInTheWay();
    await dialog.getByRole("button", { name: "Remove", exact: true }).click();
    await dialog.locator("h2", { hasText: "2 members" }).waitFor();
    assert.equal(await dialog.locator(".error").textContent(), "");
    await ben.page.getByText("You are not in this conversation any more").waitFor();
    await dialog.getByRole("button", { name: "Done" }).click();
    await cho.page.locator(".notice", { hasText: "Ann removed Ben" }).waitFor();
    await ann.write("without Ben");
    await cho.seesOnly(["welcome", "without Ben"]);
    assert.equal(await ben.page.locator(".rooms a").count(), 0);

    await ann.page.getByRole("button", { name: "Members" }).click();
    await dialog.getByRole("combobox").fill("ben");
    await dialog.getByRole("option", { name: "Ben" }).click();
    await row(ben, "Tea circle").waitFor();
  });
});

describe("finding people", () => {
  test("works by syllable, by part of one, by initial consonants and by keyboard alone", async () => {
    const ann = await arrive("Ann");
    await arrive("한국 사람");
    await arrive("하늘");
    for (const [typed, expected] of [["하", ["하늘", "한국 사람"]], ["ㅎㄱ", ["한국 사람"]], ["한", ["한국 사람"]], ["ㅎㄴ", ["하늘"]]]) {
      await finder(ann).fill(typed);
      await ann.page.waitForFunction((names) => {
        const found = [...document.querySelectorAll("[role=option] .who")].map((who) => who.textContent).sort();
        return JSON.stringify(found) === JSON.stringify(names);
      }, expected);
    }
    await finder(ann).fill("하");
    await ann.page.getByRole("option").nth(1).waitFor();
    const second = await ann.page.getByRole("option").nth(1).textContent();
    await finder(ann).press("ArrowDown");
    assert.equal(await finder(ann).getAttribute("aria-activedescendant"), await ann.page.getByRole("option").nth(1).getAttribute("id"));
    await finder(ann).press("Enter");
    await heading(ann).filter({ hasText: second }).waitFor();
  });

  test("Enter while a syllable is composed picks nobody", async () => {
    const ann = await arrive("Ann");
    await arrive("하늘");
    await finder(ann).focus();
    const keys = await ann.context.newCDPSession(ann.page);
    await keys.send("Input.imeSetComposition", { text: "하", selectionStart: 1, selectionEnd: 1 });
    await ann.page.getByRole("option", { name: "하늘" }).waitFor();
    await keys.send("Input.dispatchKeyEvent", { type: "rawKeyDown", key: "Enter", code: "Enter", windowsVirtualKeyCode: 229 });
    assert.equal(new URL(ann.page.url()).pathname, "/chat/");
    await keys.send("Input.insertText", { text: "하" });
    await finder(ann).press("Enter");
    await heading(ann).filter({ hasText: "하늘" }).waitFor();
  });

  test("is what there is to do where there are no conversations", async () => {
    const ann = await arrive("Ann");
    await ann.page.getByText("No conversations yet").waitFor();
    assert.ok(!(await ann.page.getByText("Pick a conversation").isVisible()));
    await ann.page.getByRole("button", { name: "Find people" }).click();
    assert.ok(await finder(ann).evaluate((field) => field === document.activeElement));
    await arrive("Ben");
    await meet(ann, "ben", "Ben");
    await ann.write("hello");
    await ann.page.goto(`${server.url}/chat/`);
    await row(ann, "Ben").waitFor();
    assert.ok(await ann.page.getByText("Pick a conversation").isVisible());
    assert.equal(await ann.page.getByRole("button", { name: "Find people" }).count(), 0);
  });

  test("says when there is nobody, gives a link to send them, and Escape brings the list back", async () => {
    const ann = await arrive("Ann", { permissions: ["clipboard-read", "clipboard-write"] });
    await finder(ann).fill("nobody at all");
    await ann.page.getByText("Nobody is found by that name.").waitFor();
    await ann.findsNothingInTheWay();
    await ann.page.getByRole("button", { name: "Copy a link for them" }).click();
    await ann.page.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await ann.page.evaluate(() => navigator.clipboard.readText()), `${server.url}/chat/`);
    await finder(ann).focus();
    await finder(ann).press("Escape");
    await ann.page.getByText("No conversations yet").waitFor();
  });

  test("begins in an open room with a click on a person", async () => {
    const ann = await arrive("Ann");
    await ann.page.goto(`${server.url}/r/lobby`);
    await ann.isLive();
    const ben = await arrive("Ben");
    await ben.page.goto(`${server.url}/r/lobby`);
    await ben.isLive();
    await ann.page.locator(".faces summary", { hasText: "Ben" }).click();
    await ann.page.locator(".faces").getByRole("button", { name: "Message" }).click();
    await heading(ann).filter({ hasText: "Ben" }).waitFor();
    assert.match(new URL(ann.page.url()).pathname, /^\/chat\/[0-9a-f-]{36}$/);
  });
});

describe("an address", () => {
  test("opens its conversation, and the history of the browser leads through them", async () => {
    const ann = await arrive("Ann");
    await arrive("Ben");
    await arrive("Cho");
    await meet(ann, "Ben", "Ben");
    await ann.write("to Ben");
    await ann.seesOnly(["to Ben"]);
    await meet(ann, "Cho", "Cho");
    await ann.write("to Cho");
    await ann.seesOnly(["to Cho"]);
    await ann.page.goBack();
    await ann.seesOnly(["to Ben"]);
    await ann.page.reload();
    await ann.seesOnly(["to Ben"]);
    await heading(ann).filter({ hasText: "Ben" }).waitFor();
    assert.equal(await ann.page.locator(".rooms [aria-current]").count(), 1);
  });

  test("of the first page leads here, and a guest is asked for a name but may keep the one there is", async () => {
    const ann = await Person.arrive(browser, `${server.url}/r/lobby`);
    people.push(ann);
    await ann.isLive();
    const name = await ann.name();
    await ann.page.goto(server.url);
    await ann.page.getByRole("link", { name: "Direct messages" }).click();
    assert.equal(await ann.page.locator(".gate:not([inert]) #my-name").inputValue(), name);
    await ann.page.getByRole("button", { name: "Not now" }).click();
    await isLive(ann.page);
    await ann.page.getByText("Nobody can find you yet.").waitFor();
    await ann.page.getByRole("button", { name: "Choose a name" }).click();
    const dialog = ann.page.getByRole("dialog");
    await dialog.getByLabel("Your name").fill("Ann");
    await dialog.getByRole("button", { name: "Save" }).click();
    await ann.page.getByText("Nobody can find you yet.").waitFor({ state: "hidden" });
    const ben = await arrive("Ben");
    await meet(ben, "Ann", "Ann");
  });
});

describe("through trouble", () => {
  test("what is said while the server is down is kept over a reload, and said once", async () => {
    const [ann, ben] = await twoPeople();
    await ann.write("before");
    await row(ben, "Ann").click();
    await ben.seesOnly(["before"]);
    for (const person of [ann, ben]) person.allow(SERVER_AWAY);
    await server.kill();
    await ann.page.locator('.connection[data-state="waiting"]').waitFor();
    await ann.write("meanwhile");
    await ann.page.locator('.message[data-status="waiting"]').waitFor();
    await ann.page.locator(".kept").waitFor();
    await server.start();
    await ann.page.reload();
    await ann.seesOnly(["before", "meanwhile"]);
    await ben.seesOnly(["before", "meanwhile"]);
  });

  test("a page that was away catches up, with its list", async () => {
    const [ann, ben] = await twoPeople();
    await ann.write("one");
    await row(ben, "Ann").click();
    await ben.seesOnly(["one"]);
    ben.allow(/net::ERR_INTERNET_DISCONNECTED/);
    await ben.context.setOffline(true);
    await ann.write("two");
    await ann.seesOnly(["one", "two"]);
    await ben.context.setOffline(false);
    await ben.page.evaluate(() => dispatchEvent(new Event("pagehide")));
    await ben.page.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
    await ben.seesOnly(["one", "two"]);
    await ann.page.locator(".seen").waitFor();
  });
});

describe("for everyone", () => {
  const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
  for (const [device, options] of Object.entries({
    "a desktop, in the light": { colorScheme: "light" },
    "a phone, in the dark": { ...PHONE, colorScheme: "dark" },
  })) {
    test(`nothing stands in the way of assistive technology on ${device}`, async () => {
      const ann = await Person.arrive(browser, `${server.url}/chat/`, { ...options, reducedMotion: "reduce" }, [NOBODY_YET]);
      people.push(ann);
      const { page } = ann;
      await page.locator(".gate:not([inert]) #my-name").fill("Ann");
      await ann.findsNothingInTheWay();
      await page.locator(".gate:not([inert]) #my-name").press("Enter");
      await page.getByText("No conversations yet").waitFor();
      await ann.findsNothingInTheWay();
      const ben = await arrive("Ben");
      await arrive("Cho");
      await finder(ann).fill("Ben");
      await page.getByRole("option").waitFor();
      await ann.findsNothingInTheWay();
      await finder(ann).press("Enter");
      await page.getByText("Say hello to Ben").waitFor();
      await ann.findsNothingInTheWay();
      await ann.write("hello");
      await row(ben, "Ann").click();
      await page.locator(".seen").waitFor();
      await ben.write("hello yourself");
      await ann.seesOnly(["hello", "hello yourself"]);
      await ann.findsNothingInTheWay();
      await page.goto(`${server.url}/chat/`);
      await ben.write("still there?");
      await row(ann, "Ben").locator(".badge").waitFor();
      await ann.findsNothingInTheWay();
      await makeGroup(ann, "Tea", ["Ben", "Cho"]);
      await page.getByRole("button", { name: "Members" }).click();
      await page.getByRole("button", { name: "Leave the group" }).click();
      await ann.findsNothingInTheWay();
      await page.getByRole("button", { name: "Stay" }).click();
      await page.getByRole("button", { name: "Done" }).click();
      await page.goto(`${server.url}/chat/`);
      await page.getByRole("button", { name: "You and settings" }).click();
      await ann.findsNothingInTheWay();
    });
  }

  test("a phone shows the list or a conversation, and nothing is wider than it", async () => {
    const ann = await arrive("Ann", PHONE);
    await arrive("Ben");
    const isWide = () => document.documentElement.scrollWidth > innerWidth;
    assert.ok(!(await ann.page.evaluate(isWide)), "the list");
    assert.ok(await ann.page.locator(".pane").isHidden());
    await meet(ann, "Ben", "Ben");
    assert.ok(await ann.page.locator(".side").isHidden());
    await ann.write("a message that is long enough for more than one line on a phone, and then some more of it");
    assert.ok(!(await ann.page.evaluate(isWide)), "a conversation");
    await ann.page.getByRole("link", { name: "Back to the conversations" }).tap();
    await row(ann, "Ben").waitFor();
    assert.ok(await ann.page.locator(".pane").isHidden());
    await ann.page.getByRole("button", { name: "New group" }).tap();
    await ann.page.getByRole("dialog").waitFor();
    assert.ok(!(await ann.page.evaluate(isWide)), "a dialog");
  });

  test("a keyboard is told its keys, and a phone is not", async () => {
    const [ann, ben] = [await arrive("Ann"), await arrive("Ben", PHONE)];
    await meet(ann, "Ben", "Ben");
    await meet(ben, "Ann", "Ann");
    assert.ok(await ann.page.getByText("Enter sends").isVisible());
    assert.ok(!(await ben.page.getByText("Enter sends").isVisible()));
  });

  test("every button of a dialog looks like one, and whether one can send is seen", async () => {
    const ann = await arrive("Ann", { colorScheme: "dark" });
    await ann.page.getByRole("button", { name: "You and settings" }).click();
    const edge = (button) => getComputedStyle(button).borderTopWidth;
    assert.equal(await ann.page.getByRole("button", { name: "Done" }).evaluate(edge), "1px");
    await ann.page.keyboard.press("Escape");
    await ann.page.getByRole("button", { name: "New group" }).click();
    assert.equal(await ann.page.getByRole("button", { name: "Cancel" }).evaluate(edge), "1px");
    await ann.page.keyboard.press("Escape");
    await arrive("Ben");
    await meet(ann, "Ben", "Ben");
    const look = () => ann.page.locator(".send").evaluate((button) => {
      const { backgroundColor, boxShadow } = getComputedStyle(button);
      return { filled: backgroundColor !== "rgba(0, 0, 0, 0)", ringed: boxShadow !== "none" };
    });
    assert.deepEqual(await look(), { filled: false, ringed: true });
    await ann.page.locator("textarea").fill("hello");
    assert.deepEqual(await look(), { filled: true, ringed: false });
  });

  test("the page speaks Korean, and English to who chooses it", async () => {
    const su = await arrive("수진", { locale: "ko-KR" });
    await su.page.getByRole("heading", { name: "대화", exact: true }).waitFor();
    await su.page.getByRole("button", { name: "나와 설정" }).click();
    await su.page.getByLabel("언어").selectOption("en");
    await su.page.getByRole("heading", { name: "Chats" }).waitFor();
    assert.equal(await su.page.locator("html").getAttribute("lang"), "en");
  });

  test("light and dark are chosen by the system, or by hand", async () => {
    const ann = await arrive("Ann", { colorScheme: "dark" });
    const ground = () => getComputedStyle(document.body).backgroundColor;
    const dark = await ann.page.evaluate(ground);
    await ann.page.getByRole("button", { name: "You and settings" }).click();
    await ann.page.getByLabel("Theme").selectOption("light");
    assert.notEqual(await ann.page.evaluate(ground), dark);
    await ann.page.reload();
    assert.notEqual(await ann.page.evaluate(ground), dark);
  });
});
