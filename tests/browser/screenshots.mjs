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
      const whole = { ...options, colorScheme, reducedMotion: "reduce" };
      await takeRooms(`${size}-${colorScheme}`, whole);
      await takeChats(`${size}-${colorScheme}`, whole);
    }
  }
} finally {
  await browser.close();
}

async function takeRooms(suffix, options) {
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

async function takeChats(suffix, options) {
  const server = await Server.start();
  const isPhone = suffix.startsWith("phone");
  const shoot = (person, name) => person.page.screenshot({ path: join(directory, `${name}-${suffix}.png`) });
  const visit = (more = {}) => Person.arrive(browser, `${server.url}/chat/`, { ...options, ...more });
  const isLive = ({ page }) => page.locator('.chat .connection[data-state="live"]').waitFor({ state: "attached" });
  const arrive = async (name, more) => {
    const person = await visit(more);
    await person.page.locator("#my-name").fill(name);
    await person.page.locator("#my-name").press("Enter");
    await isLive(person);
    return person;
  };
  const open = async (person, typed, name) => {
    if (isPhone && (await person.page.locator(".back").isVisible())) await person.page.locator(".back").click();
    await person.page.locator(".side .finder input").fill(typed);
    await person.page.getByRole("option", { name, exact: true }).click();
    await person.page.locator("#talk-title", { hasText: name }).waitFor();
  };
  const back = async ({ page }) => {
    await page.goto(`${server.url}/chat/`);
    await isLive({ page });
  };
  const group = async (person, name, others) => {
    await person.page.locator(".new-group").click();
    const dialog = person.page.getByRole("dialog");
    await dialog.locator("#group-name").fill(name);
    for (const other of others) {
      await dialog.getByRole("combobox").fill(other.slice(0, 1));
      await dialog.getByRole("option", { name: other }).waitFor();
      if (other === others.at(-1)) await shoot(person, "chat-group");
      await dialog.getByRole("option", { name: other }).click();
    }
    await dialog.locator(".primary").click();
    await person.page.locator("#talk-title", { hasText: name }).waitFor();
  };

  const mira = await visit();
  await mira.page.locator("#my-name").fill("Mira");
  await shoot(mira, "chat-name");
  await mira.page.locator("#my-name").press("Enter");
  await isLive(mira);
  await mira.page.getByText("No conversations yet").waitFor();
  await shoot(mira, "chat-empty");
  const sujin = await arrive("수진", { locale: "ko-KR" });
  const others = [];
  for (const name of ["Hana", "Jonas", "수정", "민호"]) others.push(await arrive(name));
  const [hana, jonas] = others;

  await open(jonas, "Mira", "Mira");
  for (const text of ["The hall key is with the neighbour.", "Second floor, the green door."]) await jonas.write(text);
  await open(others[3], "Mira", "Mira");
  await others[3].write("등불 하나 더 있어요. 가져갈까요?");
  await group(hana, "Reading group", ["Mira", "Jonas", "수진"]);
  for (const text of ["Four o'clock it is.", "Who brings the tea?"]) await hana.write(text);
  await open(sujin, "Mira", "Mira");
  const said = [];
  const talk = async (person, text) => {
    said.push(text);
    await person.write(text);
    await person.seesOnly(said);
  };
  await talk(sujin, "네 시 좋아요. 간식은 제가 가져갈게요 🍊");
  if (isPhone) await shoot(mira, "chat-list");
  await mira.page.locator(".rooms a", { hasText: "수진" }).click();
  await talk(mira, "수진 씨 최고예요!");
  await talk(mira, "I'll bring the big teapot, and the second lamp if someone can help carry it.");
  await talk(sujin, "저 세 시부터 있어요. 같이 옮겨요.");
  await talk(mira, "그럼 세 시에 봐요 ☀️");
  await mira.page.locator(".seen").waitFor();
  await sujin.page.locator("textarea").pressSequentially("네, 거기서 봐요", { delay: 400 });
  await mira.page.locator("p.typing:not(:empty)").waitFor();
  await shoot(mira, "chat");
  await sujin.page.locator("textarea").fill("");
  await shoot(sujin, "chat-ko");
  await back(sujin);
  await shoot(sujin, "chat-list-ko");
  await sujin.page.locator(".side .finder input").fill("ㅅㅈ");
  await sujin.page.getByRole("option").first().waitFor();
  await shoot(sujin, "chat-search-ko");
  await sujin.page.locator(".side .finder input").fill("아무개");
  await sujin.page.locator(".finder .note span").waitFor();
  await shoot(sujin, "chat-nobody-ko");

  await back(mira);
  await mira.page.locator(".rooms a", { hasText: "Reading group" }).click();
  await mira.page.locator(".message").first().waitFor();
  await shoot(mira, "chat-group-open");
  await mira.page.locator(".members-of").click();
  await mira.page.getByRole("dialog").waitFor();
  await shoot(mira, "chat-members");
  await mira.page.getByRole("dialog").locator(".leave").click();
  await shoot(mira, "chat-leaving");
  await back(mira);
  await mira.page.locator(".settings").click();
  await mira.page.getByRole("dialog").waitFor();
  await shoot(mira, "chat-you");
  await mira.page.getByRole("dialog").locator(".close").click();
  await open(mira, "수정", "수정");
  await mira.page.locator(".empty").waitFor();
  await shoot(mira, "chat-hello");
  await mira.page.goto(`${server.url}/chat/0190a1b2-0000-4000-8000-000000000000`);
  await mira.page.locator(".aside .primary").waitFor();
  await shoot(mira, "chat-not-there");
  await back(mira);
  await mira.page.locator(".rooms a", { hasText: "수진" }).click();
  await mira.seesOnly(said);
  await server.kill();
  await mira.page.locator('.connection[data-state="waiting"]').waitFor({ state: "attached" });
  await mira.write("Are you still there?");
  await mira.page.locator(".kept").waitFor();
  await mira.page.locator('.message[data-status="waiting"]').waitFor();
  await shoot(mira, "chat-offline");
  for (const person of [mira, sujin, ...others]) await person.leave();
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
