/** A real server, a real browser, and people who complain about what they see. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

/** Longer than the ten seconds after which someone who left has left. */
const PATIENCE_MS = 20_000;

/** What Chromium itself logs when a server is away; for tests that take it away. */
export const SERVER_AWAY = /net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|ABORTED)/;

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Servers do not outlive a test run that breaks off. */
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** A server on a data directory of its own, which it keeps over `kill` and `start`. */
export class Server {
  #child = null;
  #data = null;
  #flags = [];
  url = null;

  static async start(...flags) {
    const server = new Server();
    server.#flags = flags;
    server.#data = await mkdtemp(join(tmpdir(), "maru-browser-"));
    await server.start();
    return server;
  }

  /** Again on the same port, once there is one. */
  async start() {
    const binary = process.env.MARU_BIN;
    if (!binary) throw new Error("set MARU_BIN to the server to be tested");
    const listen = this.url ? new URL(this.url).host : "127.0.0.1:0";
    const child = spawn(binary, ["--listen", listen, "--data", this.#data, ...this.#flags], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    let said = "";
    child.stderr.on("data", (chunk) => (said = (said + chunk).slice(-2_000)));
    this.url = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
        if (url) resolve(url[0]);
      });
      child.once("error", reject);
      child.once("exit", (code, signal) => reject(new Error(`the server ended (${code ?? signal}): ${said}`)));
    });
  }

  /** As a power cut would. */
  async kill() {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  async stop() {
    await this.kill();
    await rm(this.#data, { recursive: true, force: true });
  }

  /** Speak without a browser, as often as the server's limits allow. @returns {Promise<object>} the answer */
  async say(room, text, { cookie, name } = {}) {
    for (;;) {
      const query = name ? `?${new URLSearchParams({ name })}` : "";
      const answer = await fetch(`${this.url}/r/${encodeURIComponent(room)}${query}`, {
        method: "POST",
        headers: { "Content-Type": "text/plain; charset=utf-8", ...(cookie && { Cookie: cookie }) },
        body: text,
      });
      if (answer.ok) return { ...(await answer.json()), cookie: cookie ?? cookieOf(answer) };
      if (answer.status !== 429) throw new Error(`${answer.status}: ${await answer.text()}`);
      await answer.body?.cancel();
      await new Promise((resolve) => setTimeout(resolve, 1_000 * Number(answer.headers.get("Retry-After") ?? 1)));
    }
  }

  /** Everything in the room's log, by way of history. */
  async log(room) {
    const events = [];
    let after = null;
    do {
      const query = new URLSearchParams({ room, limit: 200, after: after ?? "1-0" });
      const page = await (await fetch(`${this.url}/api/history?${query}`)).json();
      events.push(...page.events);
      after = page.after;
    } while (after);
    return events;
  }
}

function cookieOf(answer) {
  return answer.headers.getSetCookie().map((line) => line.split(";")[0]).join("; ");
}

export async function openBrowser(...flags) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
      // In place of Playwright's own list, which has storage in frames not be as people's browsers have it.
      "--disable-features=Translate,MediaRouter,OptimizationHints,HttpsUpgrades,PaintHolding",
      ...flags,
    ],
  });
}

/** One person at one browser: a context and a page of their own. */
export class Person {
  /** What went wrong on the page: console errors, exceptions, dialogs, violations of the policy. */
  complaints = [];
  #allowed = [];

  static async arrive(browser, url, options = {}, allowed = []) {
    const person = new Person();
    person.#allowed = allowed;
    person.context = await browser.newContext({ locale: "en-US", ...options });
    person.context.setDefaultTimeout(PATIENCE_MS);
    await person.context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    person.page = await person.context.newPage();
    person.page.on("pageerror", (error) => person.complaints.push(`exception: ${error.stack}`));
    person.page.on("dialog", (dialog) => {
      person.complaints.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    person.page.on("console", (message) => {
      if (message.type() !== "error") return;
      if (person.#allowed.some((pattern) => pattern.test(message.text()))) return;
      person.complaints.push(`console: ${message.text()} (${message.location().url})`);
    });
    await person.page.goto(url);
    return person;
  }

  /** From now on this is no fault of the page: Chromium logs every request that fails as an error. */
  allow(pattern) {
    this.#allowed.push(pattern);
  }

  async isLive() {
    await this.page.locator('.connection[data-state="live"]').waitFor();
  }

  async write(text) {
    await this.page.locator("textarea").fill(text);
    await this.page.locator("textarea").press("Enter");
  }

  /** The message with exactly this text. */
  message(text) {
    return this.page.locator(".message", { has: this.page.getByText(text, { exact: true }) });
  }

  /** Wait until these texts, and no others, stand in the room in this order, and all are in the log. */
  async seesOnly(texts) {
    try {
      await this.page.waitForFunction((expected) => {
        const rows = [...document.querySelectorAll(".message")];
        const shown = rows.map((row) => row.querySelector(".text")?.textContent);
        return rows.every((row) => row.dataset.seq) && JSON.stringify(shown) === JSON.stringify(expected);
      }, texts);
    } catch {
      throw new Error(`expected ${JSON.stringify(texts)}, but the page shows ${JSON.stringify(await this.texts())}`);
    }
  }

  texts() {
    return this.page.locator(".message .text").allTextContents();
  }

  /** Wait for a quiet line that says this. */
  async notices(text) {
    await this.page.locator(".notice", { hasText: text }).waitFor();
  }

  /** The name that the server gave. */
  async name() {
    return this.page.locator(".me .who").textContent();
  }

  /** No violation of WCAG and of good practice that a program can see. */
  async findsNothingInTheWay() {
    const tools = await this.context.newCDPSession(this.page);
    await tools.send("Runtime.evaluate", { expression: AXE });
    const expression = `axe.run(document).then(({ violations }) => JSON.stringify(violations.map(({ id, nodes }) => {
      return [id, ...nodes.map(({ html }) => html.slice(0, 200))];
    })))`;
    const { result } = await tools.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    await tools.detach();
    assert.deepEqual(JSON.parse(result.value), []);
  }

  /** Gone for good, as by closing the window. */
  leave() {
    return this.context.close();
  }
}
