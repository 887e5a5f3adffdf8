/** A room on somebody's page: another site, a frame, and no cookie. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { Person } from "./harness.mjs";
import { browser, onStage, people, server } from "./stage.mjs";

/** A site whose pages are what a test says: `localhost`, where maru is `127.0.0.1`. */
class Site {
  pages = {};
  #server = createServer((request, response) => {
    const page = this.pages[request.url];
    response.writeHead(page ? 200 : 204, { "Content-Type": "text/html; charset=utf-8" }).end(page);
  });

  async open() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.origin = `http://localhost:${this.#server.address().port}`;
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

const blog = new Site();
const stranger = new Site();
before(() => Promise.all([blog.open(), stranger.open()]));
after(() => [blog, stranger].forEach((site) => site.close()));
onStage(() => ["--origin", blog.origin]);

/** The line that puts a room on a page. */
function line(room, attributes = "") {
  return `<script type="module" src="${server.url}/embed.js" data-room="${room}" ${attributes}></script>`;
}

/** Somebody reads a page of this site. */
async function read(site, body, { options, allowed } = {}) {
  site.pages["/post"] = `<!doctype html><title>A post</title><body><h1>A post</h1>${body}<p>The end.</p></body>`;
  const person = await Person.arrive(browser, `${site.origin}/post`, options, allowed);
  people.push(person);
  return person;
}

async function enter(room) {
  const person = await Person.arrive(browser, `${server.url}/r/${room}`);
  people.push(person);
  await person.isLive();
  return person;
}

/** What is in the frame of this title, as soon as it is live. */
async function framed(person, title) {
  const frame = person.page.frameLocator(`iframe[title="${title}"]`);
  await frame.locator('.connection[data-state="live"]').waitFor();
  return frame;
}

const nameIn = (frame) => frame.locator(".me .who").textContent();
const messageIn = (frame, text) => frame.locator(".message", { has: frame.getByText(text, { exact: true }) });

async function say(frame, text) {
  await frame.locator("textarea").fill(text);
  await frame.locator("textarea").press("Enter");
}

test("a room stands where its line stands, and what is said in it is heard in the room", async () => {
  const ben = await enter("blog");
  const ann = await read(blog, line("blog"));
  const frame = await framed(ann, "blog");
  const order = await ann.page.evaluate(() => [...document.body.children].map(({ tagName }) => tagName));
  assert.deepEqual(order, ["H1", "SCRIPT", "IFRAME", "P"]);
  assert.equal(await ann.page.evaluate(() => document.activeElement.tagName), "BODY", "it does not take the focus");

  await say(frame, "from the blog");
  await ben.seesOnly(["from the blog"]);
  await ben.write("from the room");
  await messageIn(frame, "from the room").waitFor();
  await frame.locator(".here", { hasText: "2" }).waitFor();
  assert.equal(await ben.page.locator(".head .name").first().textContent(), await nameIn(frame));

  const whole = frame.getByRole("link", { name: "blog" });
  assert.equal(await whole.getAttribute("href"), "/r/blog");
  assert.deepEqual([await whole.getAttribute("target"), await whole.getAttribute("rel")], ["_blank", "noopener"]);
  assert.deepEqual(await ann.context.cookies(), []);
});

test("after a reload one is the same guest, under the name that one took", async () => {
  const ann = await read(blog, line("blog"), { options: { viewport: { width: 720, height: 800 } } });
  let frame = await framed(ann, "blog");
  const given = await nameIn(frame);
  await say(frame, "one");
  await messageIn(frame, "one").and(frame.locator("[data-seq]")).waitFor();
  await ann.page.reload();
  frame = await framed(ann, "blog");
  assert.equal(await nameIn(frame), given);

  await frame.locator(".here").click();
  await frame.getByRole("button", { name: "Change your name" }).click();
  await frame.locator(".rename input").fill("안나");
  await frame.locator(".rename .primary").click();
  await frame.locator(".me .who", { hasText: "안나" }).waitFor();
  await ann.page.reload();
  frame = await framed(ann, "blog");
  assert.equal(await nameIn(frame), "안나");
  await say(frame, "two");
  await messageIn(frame, "two").and(frame.locator("[data-seq]")).waitFor();
  assert.equal(await frame.locator(".message.mine").count(), 2);
});

test("whose token is worth nothing any more is somebody new, and goes on", async () => {
  const ben = await enter("blog");
  const ann = await read(blog, line("blog"), { allowed: [/status of 401/] });
  const frame = await framed(ann, "blog");
  const before = await nameIn(frame);
  const inside = ann.page.frames().find((one) => one.url().startsWith(server.url));
  const token = await inside.evaluate(() => JSON.parse(localStorage.getItem("maru:token")).token);
  await fetch(`${server.url}/api/session`, { method: "DELETE", headers: { Authorization: `Bearer ${token}` } });
  await frame.locator(".me .who").filter({ hasNotText: before }).waitFor({ state: "attached" });
  await say(frame, "as another");
  await ben.seesOnly(["as another"]);
});

test("theme, language and height are as the line says", async () => {
  const attributes = 'data-theme="dark" data-lang="ko" data-height="300" title="Talk about it"';
  const ann = await read(blog, line("blog", attributes) + line("attic"), { options: { colorScheme: "light" } });
  const dark = await framed(ann, "Talk about it");
  await dark.getByText("아직 조용하네요.").waitFor();
  const schemeOf = (frame) => frame.locator("html").evaluate((html) => getComputedStyle(html).colorScheme);
  assert.equal(await schemeOf(dark), "dark");
  const plain = await framed(ann, "attic");
  assert.equal(await schemeOf(plain), "light dark");
  const height = async (title) => (await ann.page.locator(`iframe[title="${title}"]`).boundingBox()).height;
  assert.deepEqual([await height("Talk about it"), await height("attic")], [300, 28 * 16]);
  assert.ok(await dark.locator(".composer").evaluate((composer) => composer.getBoundingClientRect().bottom <= innerHeight));
});

test("two rooms on one page are two rooms of one person, and a line that comes later is a third", async () => {
  const ann = await read(blog, line("tea") + line("coffee"));
  const [tea, coffee] = [await framed(ann, "tea"), await framed(ann, "coffee")];
  await say(tea, "green");
  await say(coffee, "black");
  await messageIn(tea, "green").waitFor();
  await messageIn(coffee, "black").waitFor();
  assert.equal(await nameIn(tea), await nameIn(coffee));
  assert.deepEqual([(await server.log("tea")).length, (await server.log("coffee")).length], [1, 1]);

  await ann.page.evaluate((src) => {
    const script = Object.assign(document.createElement("script"), { type: "module", src });
    script.dataset.room = "water";
    document.body.append(script);
  }, `${server.url}/embed.js`);
  const water = await framed(ann, "water");
  assert.equal(await nameIn(water), await nameIn(tea));
  assert.equal(await ann.page.locator("iframe").count(), 3);
});

test("one room twice on one page shares a stream", async () => {
  const ann = await read(blog, line("tea", 'title="one"') + line("tea", 'title="two"'));
  const [one, two] = [await framed(ann, "one"), await framed(ann, "two")];
  await say(one, "said once");
  await messageIn(two, "said once").waitFor();
  assert.equal(await one.locator(".here").textContent(), "1 here");
  const streams = /^maru_streams (\d+)/m.exec(await (await fetch(`${server.url}/metrics`)).text());
  assert.equal(streams[1], "1");
});

test("where storage is forbidden one is somebody as long as the page lasts", async () => {
  const ben = await enter("blog");
  const ann = await read(blog, "");
  await ann.context.addInitScript(() => {
    const forbid = () => {
      throw new DOMException("Access is denied for this document.", "SecurityError");
    };
    Object.defineProperty(window, "localStorage", { get: forbid });
    LockManager.prototype.request = async () => forbid();
  });
  blog.pages["/post"] += line("blog");
  await ann.page.reload();
  const frame = await framed(ann, "blog");
  await say(frame, "without a memory");
  await ben.seesOnly(["without a memory"]);
  await messageIn(frame, "without a memory").and(frame.locator(".mine")).waitFor();
});

test("a site that is not configured frames nothing", async () => {
  const person = await Person.arrive(browser, "about:blank", {}, [/frame-ancestors/, /ERR_BLOCKED_BY_RESPONSE/]);
  people.push(person);
  stranger.pages["/post"] = `<!doctype html><title>A post</title><body>${line("blog")}</body>`;
  blog.pages["/post"] = `<!doctype html><title>A post</title><body><iframe src="${server.url}/r/blog"></iframe></body>`;
  for (const [site, rule] of [[stranger, /frame-ancestors/], [blog, /frame-ancestors/]]) {
    const refused = person.page.waitForEvent("console", (message) => rule.test(message.text()));
    await person.page.goto(`${site.origin}/post`);
    await refused;
    assert.equal(await person.page.frameLocator("iframe").locator(".room").count(), 0);
  }
});

test("a line that cannot be says why", async () => {
  const person = await Person.arrive(browser, "about:blank");
  people.push(person);
  const warnings = [];
  person.page.on("console", (message) => message.type() === "warning" && warnings.push(message.text()));
  blog.pages["/post"] = `<!doctype html><title>A post</title>${line("lobby")}<body>
    ${line("no/such")} ${line("tea", 'data-height="tall" data-theme="pink"')}</body>`;
  await person.page.goto(`${blog.origin}/post`);
  const tea = await framed(person, "tea");
  assert.equal(await person.page.locator("iframe").count(), 1);
  assert.equal(await tea.locator("html").getAttribute("data-theme"), "");
  const about = ["stands in the head", "data-room is no room's name", "data-theme is one of", "data-height is a length"];
  for (const what of about) assert.equal(warnings.filter((warning) => warning.includes(what)).length, 1, what);
});

test("a page of a configured site speaks by maru.js and a token of its own", async () => {
  const ben = await enter("blog");
  const ann = await read(blog, "");
  const { heard, me } = await ann.page.evaluate(async (base) => {
    const { connect, rename, whoAmI } = await import(`${base}/maru.js`);
    const { Tokens } = await import(`${base}/tokens.js`);
    const options = { base, tokens: new Tokens() };
    let hear;
    const heard = new Promise((resolve) => (hear = resolve));
    const room = connect("blog", { onevent: hear }, options);
    await room.send("from a script");
    await rename("Ann", options);
    return { heard: (await heard).text, me: (await whoAmI(options)).name };
  }, server.url);
  assert.deepEqual({ heard, me }, { heard: "from a script", me: "Ann" });
  await ben.seesOnly(["from a script"]);
});
