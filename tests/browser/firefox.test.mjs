/** The core of the page in Firefox: talk, coming back, hostile texts, Korean, direct messages. */

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { Firefox } from "./firefox.mjs";
import { Server } from "./harness.mjs";
import { HOSTILE_NAME, HOSTILE_TEXTS } from "./hostile.mjs";
import { Wire } from "./wire.mjs";

const ENTER = "\uE007";
const FIELD = "textarea";

let firefox;
let server;
/** What a test expects to be complained about. */
let expected;

before(async () => {
  firefox = await Firefox.open();
});
after(() => firefox?.close());

beforeEach(async () => {
  expected = [];
  server = await Server.start();
});

afterEach(async () => {
  await firefox.forget();
  await firefox.go("about:blank");
  const found = await complaints();
  await firefox.privileged(() => Services.console.reset());
  await server.stop();
  assert.deepEqual(found.filter((one) => !expected.some((pattern) => pattern.test(one))), []);
});

/** Firefox tells of every stream that breaks off, or finds no server. */
const STREAM_AWAY = /^Event Source: /;

/** Exceptions, rejections, violations of the policy, as the console of the browser has them. */
function complaints() {
  return firefox.privileged(() => {
    const errors = Services.console.getMessageArray().filter((message) => message instanceof Ci.nsIScriptError);
    const ours = errors.filter(({ sourceName, flags }) => /^https?:/.test(sourceName) && !(flags & Ci.nsIScriptError.warningFlag));
    return ours.map(({ category, errorMessage }) => `${category}: ${errorMessage}`);
  });
}

async function enter(room, url = server.url) {
  await firefox.go(`${url}/r/${encodeURIComponent(room)}`);
  await isIn("live");
}

function isIn(state) {
  return firefox.until((name) => document.querySelector(`.connection[data-state="${name}"]`) !== null, state);
}

function write(text) {
  return firefox.type(FIELD, text + ENTER);
}

function shows(selector, text = "") {
  return firefox.until((where, what) => {
    return [...document.querySelectorAll(where)].some((element) => element.textContent.includes(what));
  }, selector, text);
}

/** Wait until these texts, and no others, stand in the room in this order, and all are in the log. */
async function seesOnly(texts) {
  try {
    await firefox.until((wanted) => {
      const rows = [...document.querySelectorAll(".message")];
      const shown = rows.map((row) => row.querySelector(".text")?.textContent);
      return rows.every((row) => row.dataset.seq) && JSON.stringify(shown) === JSON.stringify(wanted);
    }, texts);
  } catch {
    const shown = await firefox.run(() => [...document.querySelectorAll(".message .text")].map((text) => text.textContent));
    throw new Error(`expected ${JSON.stringify(texts)}, but the page shows ${JSON.stringify(shown)}`);
  }
  assert.ok(await firefox.run(() => document.querySelector(".gap") === null), "nothing is missing");
}

async function texts(room) {
  return (await server.log(room)).map((event) => event.text);
}

/** Somebody without a browser. */
class Caller {
  static async named(name) {
    const caller = new Caller();
    const answer = await caller.#fetch("POST", "/api/session", { name });
    caller.cookie = answer.headers.getSetCookie().map((line) => line.split(";")[0]).join("; ");
    caller.me = (await answer.json()).user;
    return caller;
  }

  /** The room with whoever goes by this name. */
  async meet(name) {
    const { users } = await this.ask("GET", `/api/chat/search?${new URLSearchParams({ q: name })}`);
    return (await this.ask("POST", "/api/chat/", { members: [users[0].id] })).id;
  }

  say(room, text) {
    return this.ask("POST", `/api/chat/${room}/messages`, { text });
  }

  async ask(method, path, body) {
    return (await this.#fetch(method, path, body)).json();
  }

  async #fetch(method, path, body) {
    const headers = { "Content-Type": "application/json", ...(this.cookie && { Cookie: this.cookie }) };
    const answer = await fetch(server.url + path, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return answer;
  }
}

describe("in Firefox", () => {
  test("two people talk, in Korean too", async () => {
    await enter("수다방");
    const said = [];
    let cookie;
    for (const [mine, other] of [["안녕하세요", "Hello from a terminal"], ["밥 먹었어요?", "아직이요 🍚"], ["three", "four"]]) {
      await write(mine);
      await seesOnly([...said, mine]);
      ({ cookie } = await server.say("수다방", other, { cookie, name: "Ben" }));
      said.push(mine, other);
      await seesOnly(said);
    }
    assert.deepEqual(await texts("수다방"), said);
    const names = await firefox.run(() => [...document.querySelectorAll(".message:not(.mine) .name")].map((name) => name.textContent));
    assert.deepEqual(names, ["Ben", "Ben", "Ben"]);
    await firefox.reload();
    await seesOnly(said);
    assert.equal(await firefox.run(() => document.querySelectorAll(".message.mine").length), 3);
  });

  test("a killed server that comes back loses nothing and repeats nothing", async () => {
    expected.push(STREAM_AWAY);
    await enter("lobby");
    const said = [];
    for (let round = 1; round <= 2; round++) {
      await write(`before ${round}`);
      said.push(`before ${round}`, `while down ${round}`, `after ${round}`);
      await seesOnly(said.slice(0, -2));
      await server.kill();
      await isIn("waiting");
      await write(`while down ${round}`);
      await shows('.message[data-status="waiting"]');
      await server.start();
      await seesOnly(said.slice(0, -1));
      await isIn("live");
      await server.say("lobby", `after ${round}`);
      await seesOnly(said);
    }
    assert.deepEqual(await texts("lobby"), said);
  });

  test("what is said while the server is down is kept over a reload, and said once", async () => {
    expected.push(STREAM_AWAY);
    await enter("lobby");
    await write("before");
    await seesOnly(["before"]);
    await server.kill();
    await isIn("waiting");
    for (const text of ["kept one", "kept two"]) await write(text);
    await shows('.message[data-status="waiting"]', "kept one");
    await firefox.go("about:blank");
    await server.start();
    await enter("lobby");
    await seesOnly(["before", "kept one", "kept two"]);
    assert.deepEqual(await texts("lobby"), ["before", "kept one", "kept two"]);
    await firefox.until(() => !Object.keys(localStorage).some((key) => key.startsWith("maru:outbox:")));
  });

  test("a stream that was cut goes on without a gap", async () => {
    expected.push(STREAM_AWAY);
    const wire = await Wire.to(server.url);
    try {
      await enter("lobby", wire.url);
      const said = [];
      let cookie;
      for (let round = 1; round <= 3; round++) {
        wire.cut();
        await isIn("waiting");
        for (let n = 1; n <= 10; n++) {
          said.push(`round ${round}, ${n}`);
          ({ cookie } = await server.say("lobby", said.at(-1), { cookie }));
        }
        wire.mend();
        await seesOnly(said);
      }
      assert.deepEqual(await texts("lobby"), said);
    } finally {
      wire.close();
    }
  });

  test("two tabs share a stream, and one goes on when the other, which had it, is closed", async () => {
    await enter("lobby");
    const first = await firefox.tab();
    await firefox.openTab();
    await enter("lobby");
    await firefox.until(() => navigator.locks.query().then(({ held, pending }) => held.length === 1 && pending.length === 1));
    const { cookie } = await server.say("lobby", "to both");
    await seesOnly(["to both"]);
    await firefox.closeTab(first);
    await firefox.until(() => navigator.locks.query().then(({ held, pending }) => held.length === 1 && pending.length === 0));
    await server.say("lobby", "to one", { cookie });
    await seesOnly(["to both", "to one"]);
  });

  test("hostile texts and names stay text", async () => {
    await enter("lobby");
    const { cookie } = await server.say("lobby", HOSTILE_TEXTS[0], { name: HOSTILE_NAME });
    for (const text of HOSTILE_TEXTS.slice(1)) await server.say("lobby", text, { cookie });
    await seesOnly(HOSTILE_TEXTS);
    const look = () => ({
      name: document.querySelector(".message .name").textContent,
      foreign: document.querySelectorAll(".messages :is(img, script, style, b, iframe, a)").length,
      wide: document.documentElement.scrollWidth > innerWidth || document.querySelector(".messages").scrollWidth > document.querySelector(".scroller").clientWidth,
    });
    assert.deepEqual(await firefox.run(look), { name: HOSTILE_NAME, foreign: 0, wide: false });
    await firefox.reload();
    await seesOnly(HOSTILE_TEXTS);
  });

  test("Enter while a Hangul syllable is composed sends nothing, and sends after it", async () => {
    await enter("lobby");
    await firefox.click(FIELD);
    await firefox.run((field) => {
      window.entered = [];
      document.querySelector(field).addEventListener("keydown", ({ key, isComposing }) => key === "Enter" && window.entered.push(isComposing));
    }, FIELD);
    await compose("안녕");
    await firefox.until((field) => document.querySelector(field).value === "안녕", FIELD);
    await pressEnterWhileComposing();
    await firefox.until(() => window.entered.length === 1);
    await commit();
    const look = (field) => [window.entered, document.querySelector(field).value, document.querySelectorAll(".message").length];
    assert.deepEqual(await firefox.run(look, FIELD), [[true], "안녕", 0]);
    await firefox.type(FIELD, ENTER);
    await seesOnly(["안녕"]);
    assert.deepEqual(await texts("lobby"), ["안녕"]);
  });

  test("direct messages come by list and by conversation, over a restart too", async () => {
    expected.push(STREAM_AWAY);
    await firefox.go(`${server.url}/chat/`);
    await firefox.type(".gate:not([inert]) #my-name", `안나${ENTER}`);
    await isIn("live");
    await shows(".rooms-end", "No conversations yet");
    const ben = await Caller.named("Ben");
    const room = await ben.meet("안나");
    await ben.say(room, "안녕, 안나!");
    await shows(".rooms a", "안녕, 안나!");
    await shows(".rooms .badge", "1");
    await firefox.until(() => document.title.startsWith("(1) "));

    await firefox.click(".rooms a");
    await shows("#talk-title", "Ben");
    await seesOnly(["안녕, 안나!"]);
    await firefox.until(() => document.querySelector(".badge") === null);
    await write("Hello, Ben");
    await seesOnly(["안녕, 안나!", "Hello, Ben"]);
    await ben.say(room, "one more");
    await seesOnly(["안녕, 안나!", "Hello, Ben", "one more"]);
    await shows(".rooms a", "one more");

    await server.kill();
    await isIn("waiting");
    await write("while down");
    await server.start();
    await seesOnly(["안녕, 안나!", "Hello, Ben", "one more", "while down"]);
    await isIn("live");
    await ben.say(room, "after");
    await seesOnly(["안녕, 안나!", "Hello, Ben", "one more", "while down", "after"]);
    await shows(".rooms a", "after");
    const { events } = await ben.ask("GET", `/api/history?${new URLSearchParams({ room })}`);
    const said = events.filter(({ type }) => type === "message").map(({ text }) => text);
    assert.deepEqual(said, ["안녕, 안나!", "Hello, Ben", "one more", "while down", "after"]);
  });

  test("whatever goes wrong on a page is found out", { timeout: 30_000 }, async () => {
    await enter("lobby");
    await firefox.run(() => {
      setTimeout(() => {
        throw new Error("thrown");
      });
      Promise.reject(new Error("rejected"));
      document.body.append(Object.assign(document.createElement("script"), { textContent: "1" }));
    });
    expected.push(/^content javascript: Error: thrown$/, /^content javascript: Error: rejected$/, /^CSP_/);
    let found = [];
    while (found.length < 3) found = await complaints();
    assert.deepEqual(found.filter((one) => !expected.some((pattern) => pattern.test(one))), []);
  });
});

/** A syllable under an input method's cursor, by Firefox's own way from one to a page. */
async function compose(text) {
  await firefox.privileged((syllable) => {
    const method = Cc["@mozilla.org/text-input-processor;1"].createInstance(Ci.nsITextInputProcessor);
    method.beginInputTransaction(window, () => true);
    method.setPendingCompositionString(syllable);
    method.appendClauseToPendingComposition(syllable.length, method.ATTR_RAW_CLAUSE);
    method.setCaretInPendingComposition(syllable.length);
    method.flushPendingComposition();
    window.inputMethod = method;
  }, text);
}

function pressEnterWhileComposing() {
  return firefox.privileged(() => window.inputMethod.keydown(new KeyboardEvent("", { key: "Enter", code: "Enter", keyCode: 13 })));
}

async function commit() {
  await firefox.privileged(() => window.inputMethod.commitComposition());
}
