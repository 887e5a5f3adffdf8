/** The page in a real browser, against the real server. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Person, SERVER_AWAY } from "./harness.mjs";
import { HOSTILE_NAME, HOSTILE_TEXTS } from "./hostile.mjs";
import { browser, onStage, people, server } from "./stage.mjs";

onStage();

async function visit(path, options) {
  const person = await Person.arrive(browser, server.url + path, options);
  people.push(person);
  return person;
}

async function enter(room, options) {
  const person = await visit(`/r/${encodeURIComponent(room)}`, options);
  await person.isLive();
  return person;
}

/** `count` messages by several people, in order. */
async function fill(room, count) {
  const cookies = [];
  for (let n = 1; n <= count; n++) {
    const speaker = n % 8;
    const { cookie } = await server.say(room, `message ${n}`, { cookie: cookies[speaker], name: `Speaker ${speaker}` });
    cookies[speaker] = cookie;
  }
  return Array.from({ length: count }, (_, n) => `message ${n + 1}`);
}

const scroller = ".scroller";

describe("in a room", () => {
  test("two people talk, and see who came and went", async () => {
    const ann = await enter("lobby");
    await ann.page.getByText("It is quiet in here.").waitFor();
    const ben = await enter("lobby");
    const name = await ben.name();
    await ann.notices(name);
    await ann.page.locator(".here", { hasText: "2" }).waitFor();
    await ann.page.locator(".faces li", { hasText: name }).waitFor();

    await ann.write("안녕, Ben!");
    await ben.write("Hello, Ann.");
    await ann.seesOnly(["안녕, Ben!", "Hello, Ann."]);
    await ben.seesOnly(["안녕, Ben!", "Hello, Ann."]);
    assert.equal(await ann.message("안녕, Ben!").getAttribute("class"), "message mine first");
    assert.equal(await ben.message("안녕, Ben!").getAttribute("class"), "message first");

    await ben.leave();
    await ann.page.locator(".notice", { hasText: /left|나갔/ }).filter({ hasText: name }).waitFor();
    await ann.page.locator(".here", { hasText: "1" }).waitFor();
    assert.equal(await ann.page.locator(".faces li", { hasText: name }).count(), 0);
  });

  test("a room is the same however its name is written", async () => {
    const ann = await enter("Tea-Room");
    const ben = await enter("ｔｅａ-ｒｏｏｍ");
    await ann.write("one room");
    await ben.seesOnly(["one room"]);
    assert.equal(await ben.page.locator("h1").textContent(), "tea-room");
  });

  test("a room that is not for me says so, and is not asked for again and again", async () => {
    const ann = await visit("/");
    ann.allow(/status of 404/);
    await ann.page.goto(`${server.url}/r/0190a1b2-0000-7000-8000-000000000000`);
    await ann.page.getByText("You cannot enter this room.").waitFor();
    assert.ok(await ann.page.locator("textarea").isHidden());
  });

  test("two windows of one person are one person", async () => {
    const ann = await enter("lobby");
    const second = await ann.context.newPage();
    await second.goto(ann.page.url());
    await second.locator('.connection[data-state="live"]').waitFor();
    await second.locator("textarea").fill("from the second window");
    await second.locator("textarea").press("Enter");
    await ann.seesOnly(["from the second window"]);
    assert.equal(await ann.page.locator(".message.mine").count(), 1);
    assert.equal(await ann.page.locator(".here").textContent(), "1 here");
    assert.equal(await ann.page.locator(".notice").count(), 0);
  });

  test("a new name is everyone's from the next message on, and past messages keep the old", async () => {
    const ann = await enter("lobby");
    const ben = await enter("lobby");
    const before = await ann.name();
    await ann.write("one");
    await ben.seesOnly(["one"]);
    await ann.page.locator(".me button").click();
    ann.allow(/status of 4\d\d/);
    await ann.page.locator(".rename input").fill("  ");
    await ann.page.locator(".rename .primary").click();
    await ann.page.locator("#name-error:not(:empty)").waitFor();
    await ann.page.locator(".rename input").fill("안나");
    await ann.page.locator(".rename .primary").click();
    await ann.page.locator(".me .who", { hasText: "안나" }).waitFor();
    await ann.write("two");
    await ben.seesOnly(["one", "two"]);
    assert.deepEqual(await ben.page.locator(".head .name").allTextContents(), [before, "안나"]);
    await ben.page.locator(".faces li", { hasText: "안나" }).waitFor();
  });

  test("edit and delete are seen by the other, and a deleted text is nowhere", async () => {
    const ann = await enter("lobby");
    const ben = await enter("lobby");
    await ann.write("a first verison");
    await ann.write("a secret");
    await ann.seesOnly(["a first verison", "a secret"]);

    await ann.message("a first verison").hover();
    await ann.message("a first verison").getByRole("button", { name: "Edit" }).click();
    assert.equal(await ann.page.locator("textarea").inputValue(), "a first verison");
    await ann.write("a first version");
    await ben.seesOnly(["a first version", "a secret"]);
    await ben.message("a first version").getByText("edited").waitFor();

    const secret = ann.message("a secret");
    await secret.hover();
    await secret.getByRole("button", { name: "Delete" }).click();
    await ann.page.getByRole("button", { name: "Delete?" }).click();
    await ben.page.getByText("message deleted").waitFor();
    await ben.seesOnly(["a first version", undefined]);
    await ben.page.reload();
    await ben.seesOnly(["a first version", undefined]);
    assert.ok(!(await ben.page.content()).includes("a secret"));
    assert.ok(!JSON.stringify(await server.log("lobby")).includes("a secret"));
  });

  test("the arrow key recalls my last message, and Escape brings back what I was writing", async () => {
    const ann = await enter("lobby");
    await ann.write("again");
    await ann.seesOnly(["again"]);
    const field = ann.page.locator("textarea");
    await field.press("ArrowUp");
    assert.equal(await field.inputValue(), "again");
    await field.press("Escape");
    assert.equal(await field.inputValue(), "");
  });

  test("Enter while a Hangul syllable is composed sends nothing, and Shift + Enter starts a line", async () => {
    const ann = await enter("lobby");
    const field = ann.page.locator("textarea");
    await field.focus();
    const keys = await ann.context.newCDPSession(ann.page);
    await keys.send("Input.imeSetComposition", { text: "안", selectionStart: 1, selectionEnd: 1 });
    await keys.send("Input.dispatchKeyEvent", { type: "rawKeyDown", key: "Enter", code: "Enter", windowsVirtualKeyCode: 229 });
    await keys.send("Input.insertText", { text: "안녕" });
    await field.press("Shift+Enter");
    await field.pressSequentially("하세요");
    assert.equal(await field.inputValue(), "안녕\n하세요");
    await field.press("Enter");
    await ann.seesOnly(["안녕\n하세요"]);
  });

  test("a text that is too long is not sent, and says by how much", async () => {
    const ann = await enter("lobby");
    await ann.page.locator("textarea").fill("가".repeat(1_366));
    await ann.page.getByText("too long by 2 bytes").waitFor();
    assert.ok(await ann.page.locator(".send").isDisabled());
    await ann.page.locator("textarea").fill("가".repeat(1_365));
    await ann.page.locator("textarea").press("Enter");
    await ann.seesOnly(["가".repeat(1_365)]);
  });

  test("hostile texts and names stay text", async () => {
    const ann = await enter("lobby");
    const { cookie } = await server.say("lobby", HOSTILE_TEXTS[0], { name: HOSTILE_NAME });
    for (const text of HOSTILE_TEXTS.slice(1)) await server.say("lobby", text, { cookie });
    await ann.seesOnly(HOSTILE_TEXTS);
    assert.equal(await ann.page.locator(".head .name").first().textContent(), HOSTILE_NAME);
    const { wide, foreign } = await ann.page.evaluate(() => ({
      wide: document.documentElement.scrollWidth > innerWidth || document.querySelector(".messages").scrollWidth > document.querySelector(".scroller").clientWidth,
      foreign: document.querySelectorAll(".messages :is(img, script, style, b, iframe, a)").length,
    }));
    assert.deepEqual({ wide, foreign }, { wide: false, foreign: 0 });
    await ann.page.reload();
    await ann.seesOnly(HOSTILE_TEXTS);
  });

  test("everything fits on a phone", async () => {
    const ann = await visit("/", { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true });
    const isWide = () => document.documentElement.scrollWidth > innerWidth;
    assert.ok(!(await ann.page.evaluate(isWide)), "the first page");
    await ann.page.goto(`${server.url}/r/${"long-name-".repeat(6)}`);
    await ann.isLive();
    assert.ok(!(await ann.page.evaluate(isWide)), "an empty room");
    const text = "a message that is long enough for more than one line on a phone";
    await ann.write(text);
    await ann.seesOnly([text]);
    assert.ok(!(await ann.page.evaluate(isWide)), "a room");
    await ann.message(text).locator(".bubble").tap();
    const { x } = await ann.message(text).getByRole("button", { name: "Edit" }).boundingBox();
    assert.ok(x >= 0, "what can be done with a message is in sight");
    await ann.page.locator(".here").tap();
    await ann.page.getByRole("button", { name: "Change your name" }).waitFor();
    await ann.page.getByRole("button", { name: "Close" }).tap();
    await ann.page.locator(".people").waitFor({ state: "hidden" });
  });

  test("the page speaks Korean to those who do", async () => {
    const su = await enter("수다방", { locale: "ko-KR" });
    assert.equal(await su.page.locator("html").getAttribute("lang"), "ko");
    assert.equal(await su.page.locator("h1").textContent(), "수다방");
    assert.match(await su.name(), /[가-힣]/);
    await su.page.getByText("아직 조용하네요.").waitFor();
    await su.write("반가워요");
    await su.seesOnly(["반가워요"]);
    await su.page.getByText("오늘").waitFor();
  });
});

describe("what people say", () => {
  test("addresses are links to nowhere but where they say, and take nothing along", async () => {
    const [ann, ben] = [await enter("links"), await enter("links")];
    await ben.write("see https://a.example/x?y=1, or <b>http://b.example</b>");
    const links = ann.message("see https://a.example/x?y=1, or <b>http://b.example</b>").locator("a");
    await links.first().waitFor();
    const seen = await links.evaluateAll((all) => all.map(({ href, rel, target, textContent }) => ({ href, rel, target, textContent })));
    const [rel, target] = ["noopener noreferrer nofollow ugc", "_blank"];
    assert.deepEqual(seen, [
      { href: "https://a.example/x?y=1", rel, target, textContent: "https://a.example/x?y=1" },
      { href: "http://b.example/", rel, target, textContent: "http://b.example" },
    ]);
  });

  test("emoji are large when they are alone", async () => {
    const ann = await enter("emoji");
    for (const text of ["🙂", "fine 🙂"]) await ann.write(text);
    const size = (text) => ann.message(text).locator(".text").evaluate((node) => parseFloat(getComputedStyle(node).fontSize));
    await ann.seesOnly(["🙂", "fine 🙂"]);
    assert.ok((await size("🙂")) > 2 * (await size("fine 🙂")));
  });

  test("a long text is folded until one wants to see it", async () => {
    const [ann, ben] = [await enter("long"), await enter("long")];
    const text = Array.from({ length: 40 }, (_, n) => `line ${n}`).join("\n");
    await ben.write(text);
    await ann.seesOnly([text]);
    const bubble = ann.page.locator(".message .bubble");
    const height = async () => (await bubble.boundingBox()).height;
    const folded = await height();
    await ann.page.getByRole("button", { name: "Show all" }).click();
    assert.ok((await height()) > 2 * folded);
    await ben.page.locator(".message").hover();
    await ben.page.locator(".message").getByRole("button", { name: "Edit" }).click();
    await ben.write(`${text}!`);
    await ann.seesOnly([`${text}!`]);
    await ann.page.getByRole("button", { name: "Show less" }).click();
    assert.ok((await height()) < 1.5 * folded);
  });

  test("who is writing is seen by the others, until they have said it", async () => {
    const [ann, ben] = [await enter("typing"), await enter("typing")];
    await ben.page.locator("textarea").fill("I am about to");
    await ann.page.getByText(`${await ben.name()} is typing…`).waitFor();
    assert.equal(await ben.page.locator("p.typing").textContent(), "");
    await ben.page.locator("textarea").press("Enter");
    await ann.page.locator("p.typing:empty").waitFor({ state: "attached" });
  });
});

describe("coming back", () => {
  test("a line stands where one left off, until one speaks", async () => {
    const [ann, ben] = [await enter("back"), await enter("back")];
    await ann.write("zero");
    await ben.write("one");
    await ann.seesOnly(["zero", "one"]);
    await ann.page.waitForFunction(() => localStorage.getItem("maru:seen")?.includes("1-2"));
    await ann.page.goto("about:blank");
    for (const text of ["two", "three"]) await ben.write(text);
    await ben.seesOnly(["zero", "one", "two", "three"]);
    await ann.page.goto(`${server.url}/r/back`);
    await ann.seesOnly(["zero", "one", "two", "three"]);
    const rows = () => ann.page.locator(".messages > :is(.message, .fresh)").evaluateAll((all) => {
      return all.map((row) => row.querySelector(".text")?.textContent ?? row.textContent);
    });
    assert.deepEqual(await rows(), ["zero", "one", "New", "two", "three"]);
    await ann.write("four");
    await ann.page.locator(".fresh").waitFor({ state: "detached" });
    assert.deepEqual(await rows(), ["zero", "one", "two", "three", "four"]);
    await ann.page.reload();
    await ann.seesOnly(["zero", "one", "two", "three", "four"]);
    assert.deepEqual(await rows(), ["zero", "one", "two", "three", "four"]);
  });
});

describe("the way to others", () => {
  test("the room's link can be copied, also where browsers have no clipboard for pages", async () => {
    for (const isMissing of [false, true]) {
      const ann = await enter("수다방", { permissions: ["clipboard-read", "clipboard-write"] });
      if (isMissing) {
        await ann.page.evaluate(() => {
          window.kept = navigator.clipboard;
          Object.defineProperty(navigator, "clipboard", { value: undefined });
        });
      }
      await ann.page.getByRole("button", { name: "Copy the link to this room" }).click();
      await ann.page.getByRole("status").filter({ hasText: "Link copied" }).waitFor();
      const copied = await ann.page.evaluate(() => (window.kept ?? navigator.clipboard).readText());
      assert.equal(copied, `${server.url}/r/%EC%88%98%EB%8B%A4%EB%B0%A9`);
    }
  });

  test("another room is a click away", async () => {
    const ann = await enter("first");
    await ann.page.getByRole("link", { name: "Open another room" }).click();
    await ann.page.locator("#slug").fill("Second");
    await ann.page.locator("#slug").press("Enter");
    await ann.isLive();
    assert.equal(new URL(ann.page.url()).pathname, "/r/second");
  });
});

describe("for everyone", () => {
  for (const [device, options] of Object.entries({
    "a desktop, in the dark": { colorScheme: "dark" },
    "a phone, in the light": { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: "light" },
  })) {
    test(`nothing stands in the way of assistive technology on ${device}`, async () => {
      const ann = await visit("/", { ...options, reducedMotion: "reduce" });
      await ann.page.locator("#slug").waitFor();
      await ann.findsNothingInTheWay();
      await ann.page.goto(`${server.url}/r/everyone`);
      await ann.isLive();
      await ann.findsNothingInTheWay();
      const ben = await enter("everyone", { locale: "ko-KR" });
      const texts = ["see https://a.example/", "🙂", Array(40).fill("a line").join("\n")];
      for (const text of texts) await ben.write(text);
      await ann.write(texts[0]);
      await ann.seesOnly([...texts, texts[0]]);
      await ann.findsNothingInTheWay();
      await ben.findsNothingInTheWay();
      if ((await ann.page.locator(".here").getAttribute("aria-expanded")) === "false") await ann.page.locator(".here").click();
      await ann.page.getByRole("button", { name: "Change your name" }).click();
      await ann.findsNothingInTheWay();
      await ann.page.getByRole("button", { name: "Cancel" }).click();
      for (const person of people) person.allow(SERVER_AWAY);
      await server.kill();
      await ann.page.locator('.connection[data-state="waiting"]').waitFor();
      await ann.findsNothingInTheWay();
    });
  }
});

describe("reading back", () => {
  test("older messages come by scrolling, and the view does not jump", async () => {
    const texts = await fill("long", 120);
    const ann = await enter("long");
    await ann.seesOnly(texts.slice(70));

    const { seq, top } = await ann.page.evaluate((selector) => {
      const view = document.querySelector(selector);
      view.scrollTop = 200;
      const edge = view.getBoundingClientRect().top;
      const row = [...view.querySelectorAll("[data-seq]")].find((r) => r.getBoundingClientRect().top > edge);
      return { seq: row.dataset.seq, top: row.getBoundingClientRect().top };
    }, scroller);
    await ann.seesOnly(texts.slice(20));
    const moved = await ann.page.locator(`[data-seq="${seq}"]`).evaluate((row) => row.getBoundingClientRect().top);
    assert.ok(Math.abs(moved - top) <= 1, `the row moved by ${moved - top} pixels`);

    await ann.page.locator(scroller).evaluate((view) => (view.scrollTop = 0));
    await ann.seesOnly(texts);
    await ann.page.getByText("This is where long begins.").waitFor();
  });

  test("who reads back is not pulled to the end, but told of what is new", async () => {
    const texts = await fill("long", 50);
    const ann = await enter("long");
    await ann.seesOnly(texts);
    await ann.page.locator(scroller).evaluate((view) => (view.scrollTop = 100));
    const before = await ann.page.locator(scroller).evaluate((view) => view.scrollTop);
    await server.say("long", "news");
    await ann.page.locator(".newest", { hasText: "1 new" }).waitFor();
    assert.equal(await ann.page.locator(scroller).evaluate((view) => view.scrollTop), before);
    await ann.page.locator(".newest").click();
    await ann.page.locator(".newest").waitFor({ state: "hidden" });
    assert.ok(await ann.message("news").evaluate((row) => row.getBoundingClientRect().bottom <= innerHeight));
  });

  test("a gap is a line that one can load", async () => {
    const texts = await fill("gappy", 70);
    const log = await server.log("gappy");
    await withStream("gappy", [
      frame("hello", { room: "gappy", user: log[0].user, cursor: "1-0", tip: "1-70", online: 1, resumed: false }, "1-0"),
      ...log.slice(0, 3).map((event) => frame(null, event, `1-${event.seq}`)),
      frame("gap", { from: "1-3", to: "1-60", reason: "trimmed" }, "1-60"),
      ...log.slice(60).map((event) => frame(null, event, `1-${event.seq}`)),
      frame("live", { tip: "1-70" }),
    ], async (ann) => {
      await ann.seesOnly([...texts.slice(0, 3), ...texts.slice(60)]);
      const gap = ann.page.locator(".gap");
      await gap.getByRole("button", { name: "Load" }).click();
      await ann.seesOnly([...texts.slice(0, 3), ...texts.slice(10)]);
      await gap.getByRole("button", { name: "Load" }).click();
      await ann.seesOnly(texts);
      assert.equal(await gap.count(), 0);
    });
  });

  test("a page shows a thousand rows at most, and finds the others again", async () => {
    const user = { id: "u", name: "Many", kind: "guest" };
    const log = Array.from({ length: 3_000 }, (_, n) => ({
      room: "huge", epoch: 1, seq: n + 1, id: `id-${n + 1}`, type: "message", user, text: `message ${n + 1}`, ts: 1_700_000_000_000 + n,
    }));
    const history = (query) => {
      const limit = Number(query.get("limit"));
      const seqOf = (name) => Number(query.get(name)?.split("-")[1] ?? 0);
      const [before, after] = [seqOf("before") || 3_001, seqOf("after")];
      const events = after ? log.slice(after, after + limit) : log.slice(Math.max(0, before - 1 - limit), before - 1);
      const [first, last] = [events[0].seq, events.at(-1).seq];
      return { room: "huge", events, tip: "1-3000", before: first > 1 ? `1-${first}` : null, after: last < 3_000 ? `1-${last}` : null };
    };
    const stream = [
      frame("hello", { room: "huge", user, cursor: "1-1500", tip: "1-3000", online: 1, resumed: false }, "1-1500"),
      ...log.slice(1_500).map((event) => frame(null, event, `1-${event.seq}`)),
      frame("live", { tip: "1-3000" }),
    ];
    await withStream("huge", stream, async (ann) => {
      await ann.page.route("**/api/history?**", (route) => route.fulfill({ json: history(new URL(route.request().url()).searchParams) }));
      const shown = () => ann.page.locator("[data-seq]").evaluateAll((rows) => rows.map((row) => Number(row.dataset.seq)));
      const scrollTo = (top) => ann.page.locator(scroller).evaluate((view, y) => (view.scrollTop = y), top);
      await ann.page.locator('[data-seq="3000"]').waitFor();
      assert.equal((await shown()).length, 1_000);

      for (let oldest = 2_001; oldest > 1_500; [oldest] = await shown()) {
        await scrollTo(0);
        await ann.page.locator(`[data-seq="${oldest - 1}"]`).waitFor({ state: "attached" });
      }
      let seqs = await shown();
      assert.equal(seqs.length, 1_000);
      assert.ok(seqs.at(-1) < 3_000, "the newest were let go");

      for (let newest = seqs.at(-1); newest < 3_000; newest = (await shown()).at(-1)) {
        await scrollTo(1e9);
        await ann.page.locator(`[data-seq="${newest + 1}"]`).waitFor({ state: "attached" });
      }
      seqs = await shown();
      assert.deepEqual(seqs, Array.from({ length: 1_000 }, (_, n) => 2_001 + n), "without a hole");
      await scrollTo(1e9);
      await ann.page.locator(".newest").waitFor({ state: "hidden" });
    });
  });

  /** A stream that says exactly this, and then keeps silent. */
  async function withStream(room, frames, act) {
    const ann = await visit("/");
    ann.allow(SERVER_AWAY);
    await ann.page.route(`**/api/chat/${room}/events**`, (route) =>
      route.fulfill({ contentType: "text/event-stream", body: `retry: 100000000\n\n${frames.join("")}` }),
    );
    await ann.page.goto(`${server.url}/r/${room}`);
    await act(ann);
  }

  function frame(kind, data, id) {
    return `${kind ? `event: ${kind}\n` : ""}${id ? `id: ${id}\n` : ""}data: ${JSON.stringify(data)}\n\n`;
  }
});

describe("through trouble", () => {
  test("a reload loses nothing and repeats nothing", async () => {
    const ann = await enter("lobby");
    const ben = await enter("lobby");
    const texts = [];
    for (let n = 1; n <= 5; n++) {
      texts.push(`ann ${n}`, `ben ${n}`);
      await ann.write(`ann ${n}`);
      await ben.seesOnly(texts.slice(0, -1));
      await ben.write(`ben ${n}`);
      await ann.seesOnly(texts);
    }
    const name = await ann.name();
    const reloaded = ann.page.reload();
    await ben.write("during the reload");
    texts.push("during the reload");
    await reloaded;
    await ann.seesOnly(texts);
    await ben.seesOnly(texts);
    assert.equal(await ann.name(), name);
    assert.equal(await ann.page.locator(".message.mine").count(), 5);
    assert.equal(await ben.page.locator(".notice", { hasText: "left" }).count(), 0, "a reload is not a departure");
  });

  test("a killed server that comes back loses nothing and repeats nothing", async () => {
    const ann = await enter("lobby");
    const ben = await enter("lobby");
    for (const person of [ann, ben]) person.allow(SERVER_AWAY);
    const texts = [];
    for (let round = 1; round <= 2; round++) {
      texts.push(`before ${round}`, `while down ${round}`);
      await ann.write(`before ${round}`);
      await ben.seesOnly(texts.slice(0, -1));
      await server.kill();
      await ann.page.locator('.connection[data-state="waiting"]').waitFor();
      await ann.write(`while down ${round}`);
      await ann.page.locator('.message[data-status="waiting"]').waitFor();
      await server.start();
      await ben.seesOnly(texts);
      texts.push(`after ${round}`);
      await ben.write(`after ${round}`);
      await ann.seesOnly(texts);
      await ben.seesOnly(texts);
    }
    assert.deepEqual((await server.log("lobby")).map((event) => event.text), texts);
    assert.equal(await ann.page.locator(".gap").count(), 0);
  });

  test("what is said while the server is down is kept over a reload, and said once", async () => {
    const ann = await enter("lobby");
    ann.allow(SERVER_AWAY);
    const url = ann.page.url();
    await ann.write("before");
    await ann.seesOnly(["before"]);
    await server.kill();
    await ann.page.locator('.connection[data-state="waiting"]').waitFor();
    await ann.write("kept one");
    await ann.write("kept two");
    await ann.page.locator('.message[data-status="waiting"]').first().waitFor();
    await ann.page.locator(".kept").waitFor();
    await ann.page.goto("about:blank");
    await server.start();
    await ann.page.goto(url);
    await ann.seesOnly(["before", "kept one", "kept two"]);
    assert.equal((await server.log("lobby")).length, 3);
    await ann.page.reload();
    await ann.seesOnly(["before", "kept one", "kept two"]);
    const kept = await ann.page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("maru:outbox:")));
    assert.deepEqual(kept, []);
  });

  test("a message whose answer was lost is said once", async () => {
    const ann = await enter("lobby");
    ann.allow(SERVER_AWAY);
    let lost = 0;
    await ann.page.route("**/messages", async (route) => {
      await route.fetch();
      if (lost++ < 2) await route.abort("connectionreset");
      else await route.continue();
    });
    await ann.write("only once");
    await ann.seesOnly(["only once"]);
    await ann.write("and then this");
    await ann.seesOnly(["only once", "and then this"]);
    assert.ok(lost >= 2, "the answer was lost on the way");
    assert.deepEqual((await server.log("lobby")).map((event) => event.text), ["only once", "and then this"]);
  });

  test("a refused message says so, and can be discarded or said again", async () => {
    const ann = await enter("lobby");
    ann.allow(/status of 422/);
    await ann.page.route("**/messages", (route) => route.fulfill({ status: 422, json: { code: "no", detail: "not like this" } }), { times: 1 });
    await ann.write("try me");
    await ann.page.getByText("Not sent: not like this").waitFor();
    await ann.page.getByRole("button", { name: "Send again" }).click();
    await ann.seesOnly(["try me"]);
  });
});

describe("the first page", () => {
  test("leads into the room one names", async () => {
    const ann = await visit("/");
    await ann.page.getByLabel("Room name").fill("no/such");
    await ann.page.getByRole("button", { name: "Enter" }).click();
    await ann.page.getByText("Letters, digits").waitFor();
    await ann.page.getByLabel("Room name").fill("수다방 둘");
    await ann.page.getByRole("button", { name: "Enter" }).click();
    await ann.isLive();
    assert.equal(new URL(ann.page.url()).pathname, `/r/${encodeURIComponent("수다방-둘")}`);
  });

  test("leads to the lobby, and shows how to do without a page", async () => {
    const ann = await visit("/");
    await ann.page.getByText(`curl -N ${new URL(server.url).host}/r/lobby`).waitFor();
    await ann.page.setViewportSize({ width: 320, height: 640 });
    const cut = await ann.page.locator(".terminal code").evaluateAll((lines) => lines.filter((line) => line.scrollWidth > line.clientWidth).length);
    assert.equal(cut, 0, "a command that one cannot read whole");
    await ann.page.setViewportSize({ width: 1280, height: 720 });
    await ann.page.getByRole("link", { name: "lobby" }).click();
    await ann.isLive();
    await ann.page.getByRole("link", { name: "maru, home" }).click();
    await ann.page.getByRole("heading", { name: "maru" }).waitFor();
  });
});
