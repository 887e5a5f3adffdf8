/**
 * The pictures of the page for the documents:
 *
 *     MARU_BIN=../../target/release/maru node screenshots.mjs ../../docs
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openBrowser, Person, Server, SERVER_AWAY } from "./harness.mjs";

const SIZES = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};
const SCHEMES = ["light", "dark"];

const CONVERSATION = [
  ["Hana", "Good morning! Is the floor still warm? ☀️"],
  ["Jonas", "Morning. The kettle is on."],
  ["Jonas", "I moved the reading group to four, the hall is taken until half past three."],
  ["me", "Four is fine with me"],
  ["수진", "네 시 좋아요. 간식은 제가 가져갈게요 🍊"],
  ["Hana", "수진 씨 최고예요!"],
  ["me", "I'll bring the big teapot, and the second lamp if someone can help carry it."],
  ["민호", "저 세 시부터 있어요. 같이 옮겨요."],
  ["Jonas", "What are we reading, though? I have two candidates:\nthe chapter on queues, or the one on letters that arrive twice."],
  ["Hana", "The second. Nothing should ever arrive twice."],
  ["me", "Agreed, and nothing should get lost"],
];

const directory = process.argv[2];
if (!directory || !process.env.MARU_BIN) {
  console.error("usage: MARU_BIN=<maru> node screenshots.mjs <directory>");
  process.exit(2);
}
await mkdir(directory, { recursive: true });

const browser = await openBrowser();
try {
  for (const [size, options] of Object.entries(SIZES)) {
    for (const colorScheme of SCHEMES) {
      await takeAll(`${size}-${colorScheme}`, { ...options, colorScheme, reducedMotion: "reduce" });
    }
  }
} finally {
  await browser.close();
}

async function takeAll(suffix, options) {
  const server = await Server.start();
  const shoot = (person, name) => person.page.screenshot({ path: join(directory, `${name}-${suffix}.png`) });
  const arrive = (path, more = {}) => Person.arrive(browser, server.url + path, { ...options, ...more });

  const visitor = await arrive("/");
  await shoot(visitor, "landing");
  await visitor.leave();

  const host = await arrive("/r/hearth");
  await host.isLive();
  await shoot(host, "empty");
  await rename(host, "Mira");
  const guests = {};
  for (const name of ["Hana", "Jonas", "수진", "민호"]) {
    guests[name] = await arrive("/r/hearth", { locale: "ko-KR" });
    await guests[name].isLive();
    await rename(guests[name], name);
  }
  const said = [];
  for (const [name, text] of CONVERSATION) {
    said.push(text);
    await (guests[name] ?? host).write(text);
    await host.seesOnly(said);
  }
  await shoot(host, "room");
  await shoot(guests["수진"], "room-ko");
  if (suffix.startsWith("phone")) {
    await host.page.locator(".here").click();
    await shoot(host, "people");
    await host.page.locator(".people .close").click();
  }

  host.allow(SERVER_AWAY);
  await server.kill();
  await host.page.locator('.connection[data-state="waiting"]').waitFor();
  await host.write("Are you still there?");
  await host.page.locator(".kept").waitFor();
  await host.page.locator('.message[data-status="waiting"]').waitFor();
  await shoot(host, "offline");
  for (const person of [host, ...Object.values(guests)]) await person.leave();
  await server.stop();
}

async function rename(person, name) {
  const { page } = person;
  const narrow = !(await page.locator(".people").isVisible());
  if (narrow) await page.locator(".here").click();
  await page.locator(".me button").click();
  await page.locator(".rename input").fill(name);
  await page.locator(".rename .primary").click();
  await page.locator(".me .who", { hasText: name }).waitFor();
  if (narrow) await page.locator(".people .close").click();
}
