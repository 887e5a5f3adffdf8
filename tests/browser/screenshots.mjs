/**
 * The pictures of the page for the documents, which change only when the page does:
 *
 *     MARU_BIN=../../target/debug/maru node screenshots.mjs ../../docs/screens
 *
 * People are a site's own, so that their ids, and with them their faces, are always the same; the clock stands still.
 */

import { createHmac } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openBrowser, Person, Server, SERVER_AWAY } from "./harness.mjs";

const SECRET = "what the pictures' site and maru know";
/** Where the documents have it, whatever port it really is. */
const ORIGIN = "http://localhost:8080";
const NOW = Date.parse("2026-03-20T10:30:00Z");

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** The same picture each time, to the last bit. */
const STEADY = [
  "--disable-gpu-rasterization", "--disable-lcd-text", "--disable-partial-raster", "--disable-skia-runtime-opts",
  "--force-color-profile=srgb", "--num-raster-threads=1",
];

export const EYES = {
  "desktop-light": { ...DESKTOP, colorScheme: "light" },
  "desktop-dark": { ...DESKTOP, colorScheme: "dark" },
  "phone-light": { ...PHONE, colorScheme: "light" },
  "phone-dark": { ...PHONE, colorScheme: "dark" },
  "phone-ko": { ...PHONE, colorScheme: "light", locale: "ko-KR" },
};
const VIEWS = ["landing", "empty", "room", "no-chats", "chats", "chat", "group", "offline"];
/** In Korean there is one of each kind. */
const KOREAN = ["room", "chats", "chat"];
export const PICTURES = Object.keys(EYES).flatMap((eye) => (eye.endsWith("ko") ? KOREAN : VIEWS).map((view) => ({ view, eye, file: `${view}-${eye}.png` })));

const PEOPLE = ["Mira", "Hana", "Jonas", "수진", "민호"];
const IN_THE_ROOM = [
  ["Hana", "Good morning! Is the floor still warm? ☀️"],
  ["Jonas", "Morning. The kettle is on."],
  ["Jonas", "I moved the reading group to four, the hall is taken until half past three."],
  ["Mira", "Four is fine with me"],
  ["수진", "네 시 좋아요. 간식은 제가 가져갈게요 🍊"],
  ["Hana", "수진 씨 최고예요!"],
  ["Mira", "I'll bring the big teapot, and the second lamp if someone can help carry it."],
  ["민호", "저 세 시부터 있어요. 같이 옮겨요."],
  ["Jonas", "What are we reading, though? I have two candidates:\nthe chapter on queues, or the one on letters that arrive twice."],
  ["Hana", "The second. Nothing should ever arrive twice."],
  ["Mira", "Agreed, and nothing should get lost"],
];
const IN_THE_GROUP = [
  ["Hana", "Four o'clock it is."],
  ["Jonas", "I have copied the chapter for everybody, six pages."],
  ["수진", "간식은 귤이랑 약과예요"],
  ["Mira", "Then I bring the tea."],
  ["Hana", "And bring the second lamp, please"],
  ["Mira", "With 민호's help"],
];
const WITH_SUJIN = [
  ["수진", "네 시 좋아요. 간식은 제가 가져갈게요 🍊"],
  ["Mira", "수진 씨 최고예요!"],
  ["Mira", "I'll bring the big teapot, and the second lamp if someone can help carry it."],
  ["수진", "저 세 시부터 있어요. 같이 옮겨요."],
  ["Mira", "그럼 세 시에 봐요 ☀️"],
];
const FROM_OTHERS = [
  ["Jonas", "The hall key is with the neighbour."],
  ["Jonas", "Second floor, the green door."],
  ["민호", "등불 하나 더 있어요. 가져갈까요?"],
];

/** All pictures, into a directory. @returns {Promise<string[]>} what the pages complained about */
export async function takeScreens(directory) {
  await mkdir(directory, { recursive: true });
  const server = await Server.start("--rate-limit", "off", "--jwt-secret", SECRET);
  const browser = await openBrowser(...STEADY, `--host-resolver-rules=MAP ${new URL(ORIGIN).host} ${new URL(server.url).host}`);
  const gone = new AbortController();
  const complaints = [];
  const look = (member) => Looks.by(member, { browser, directory, complaints });
  try {
    await takeVisitor(await look());
    await takeNewcomer(await look(new Member(server, "newcomer", "Mira")));
    const people = Object.fromEntries(PEOPLE.map((name) => [name, new Member(server, name, name)]));
    const rooms = await talk(people, gone.signal);
    await takeChats(await look(people.Mira), people.수진, rooms);
    await takeRoom(await look(people.Mira), server);
    return complaints;
  } finally {
    gone.abort();
    await browser.close();
    await server.stop();
  }
}

/** Nobody yet. */
async function takeVisitor(looks) {
  await looks.go("/");
  await looks.see(".landing");
  await looks.take("landing");
  await looks.leave();
}

/** Somebody whom no one has written to. */
async function takeNewcomer(looks) {
  await looks.go("/chat/");
  await looks.see(".rooms-end h2");
  await looks.take("no-chats");
  await looks.go("/r/quiet");
  await looks.see(".empty .command");
  await looks.take("empty");
  await looks.leave();
}

/** Everybody says what there is to say. @returns the rooms that Mira has with others */
async function talk(people, signal) {
  const { Mira, Hana, Jonas, 수진: sujin, 민호: minho } = people;
  for (const other of [Hana, Jonas, sujin, minho]) await other.listen("/api/chat/hearth/events", signal);
  for (const other of [Hana, sujin]) await other.listen("/api/events", signal);
  for (const [name, text] of IN_THE_ROOM) await people[name].say("hearth", text);
  const group = await Hana.start([Mira, Jonas, sujin], "Reading group");
  for (const [name, text] of IN_THE_GROUP) await people[name].say(group, text);
  for (const [name, text] of FROM_OTHERS) await people[name].say(await people[name].start([Mira]), text);
  const direct = await sujin.start([Mira]);
  for (const [name, text] of WITH_SUJIN) await people[name].say(direct, text);
  return { group, direct };
}

async function takeChats(looks, sujin, { group, direct }) {
  await looks.go("/chat/");
  await looks.see(".rooms .there");
  await looks.take("chats");
  await looks.click(`.rooms a[href="/chat/${direct}"]`);
  await looks.seeOnly(WITH_SUJIN);
  await sujin.read(direct);
  await looks.see(".seen");
  await sujin.ask("POST", `/api/chat/${direct}/typing`, {});
  await looks.see("p.typing:not(:empty)");
  await looks.take("chat");
  await looks.go("/chat/");
  await looks.click(`.rooms a[href="/chat/${group}"]`);
  await looks.seeOnly(IN_THE_GROUP);
  await looks.take("group");
  await looks.leave();
}

async function takeRoom(looks, server) {
  await looks.go("/r/hearth");
  await looks.seeOnly(IN_THE_ROOM);
  await looks.see(`.faces:has(li:nth-child(${PEOPLE.length - 1}))`);
  await looks.take("room");
  await looks.each(async (person) => person.allow(SERVER_AWAY));
  await server.kill();
  await looks.see('.connection[data-state="waiting"]');
  await looks.each((person) => person.write("Are you still there?"));
  await looks.see('.lost .message[data-status="waiting"]');
  await looks.take("offline");
  await looks.leave();
}

/** One person at all devices at once. */
class Looks {
  #people = new Map();
  #directory;
  #complaints;

  static async by(member, { browser, directory, complaints }) {
    const looks = new Looks();
    looks.#directory = directory;
    looks.#complaints = complaints;
    for (const [eye, options] of Object.entries(EYES)) {
      const whole = { timezoneId: "UTC", reducedMotion: "reduce", extraHTTPHeaders: member?.headers, ...options };
      const person = await Person.arrive(browser, "about:blank", whole);
      await person.context.clock.setFixedTime(NOW);
      await person.context.addInitScript(tellTime, NOW);
      looks.#people.set(eye, person);
    }
    return looks;
  }

  each(act) {
    return Promise.all([...this.#people.values()].map(act));
  }

  go(path) {
    return this.each(({ page }) => page.goto(ORIGIN + path));
  }

  click(selector) {
    return this.each(({ page }) => page.locator(selector).click());
  }

  see(selector) {
    return this.each(({ page }) => page.locator(selector).first().waitFor({ state: "attached" }));
  }

  seeOnly(said) {
    return this.each((person) => person.seesOnly(said.map(([, text]) => text)));
  }

  async take(view) {
    for (const { eye, file } of PICTURES.filter((picture) => picture.view === view)) {
      const { page } = this.#people.get(eye);
      await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
      await page.screenshot({ path: join(this.#directory, file), animations: "disabled" });
    }
  }

  leave() {
    return this.each((person) => {
      this.#complaints.push(...person.complaints);
      return person.leave();
    });
  }
}

/** On the page: what was said was said just before now, one a minute. */
function tellTime(now) {
  const { parse } = JSON;
  JSON.parse = (text) => parse(text, (_, value) => (value?.seq && value.ts ? { ...value, ts: now - (20 - value.seq) * 60_000 } : value));
}

/** Somebody whom the site knows, without a browser. */
class Member {
  headers;
  #server;

  constructor(server, sub, name) {
    this.#server = server;
    this.headers = { Authorization: `Bearer ${signed({ sub, name, aud: "maru", exp: Math.floor(Date.now() / 1_000) + 3_600 })}` };
  }

  /** The room with these, or a group. @returns {Promise<string>} its id */
  async start(others, name) {
    const members = await Promise.all(others.map(async (other) => (await other.ask("GET", "/api/session")).user.id));
    return (await this.ask("POST", "/api/chat/", { members, name })).id;
  }

  say(room, text) {
    return this.ask("POST", `/api/chat/${room}/messages`, { text });
  }

  async read(room) {
    const { tip } = await this.ask("GET", `/api/chat/${room}`);
    await this.ask("POST", `/api/chat/${room}/read`, { seq: Number(tip.split("-")[1]) });
  }

  /** There, as far as others see. Read to its end, for a body that nobody reads is closed when it is tidied away. */
  async listen(path, signal) {
    const { body } = await this.#fetch("GET", path, { signal });
    body.pipeTo(new WritableStream()).catch(() => {});
  }

  async ask(method, path, body) {
    const answer = await this.#fetch(method, path, { body: body && JSON.stringify(body) });
    return answer.status === 204 ? null : answer.json();
  }

  async #fetch(method, path, options) {
    const headers = { ...this.headers, "Content-Type": "application/json" };
    const answer = await fetch(this.#server.url + path, { method, headers, ...options });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }
}

/** A JWT (RFC 7519), by HMAC-SHA-256. */
function signed(claims) {
  const parts = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
  const mac = createHmac("sha256", SECRET).update(parts.join(".")).digest("base64url");
  return [...parts, mac].join(".");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const directory = process.argv[2];
  if (!directory || !process.env.MARU_BIN) {
    console.error("usage: MARU_BIN=<maru> node screenshots.mjs <directory>");
    process.exit(2);
  }
  const complaints = await takeScreens(directory);
  for (const complaint of complaints) console.error(complaint);
  process.exitCode = complaints.length ? 1 : 0;
}
