/** A page in Chromium as a program: serves it, says each line of standard input by its form, and prints each line of its list. */

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { chromium } from "../../browser/node_modules/playwright-core/index.mjs";

const [file, port, base, room] = process.argv.slice(2);
const html = readFileSync(file);
const server = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end(html));
await new Promise((ready) => server.listen(Number(port), "127.0.0.1", ready));

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
page.on("console", (message) => console.error(message.text()));
page.on("pageerror", (error) => console.error(error));
await page.exposeFunction("said", (text) => console.log(text));
await page.addInitScript(() => {
  const told = (changes) => changes.flatMap(({ addedNodes }) => [...addedNodes]).filter((node) => node.tagName === "LI").forEach((item) => globalThis.said(item.textContent));
  new MutationObserver(told).observe(document, { childList: true, subtree: true });
});
await page.goto(`http://127.0.0.1:${port}/?${new URLSearchParams({ base, room })}`);
for await (const text of createInterface({ input: process.stdin })) {
  await page.fill("[name=text]", text);
  await page.press("[name=text]", "Enter");
}
await browser.close();
server.close();
