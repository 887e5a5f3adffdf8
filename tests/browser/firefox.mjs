/**
 * Debian's Firefox, headless and with a fresh profile, driven by geckodriver over W3C WebDriver
 * (https://www.w3.org/TR/webdriver2/): as much of it as the tests ask for.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const FIREFOX = process.env.FIREFOX || "/usr/bin/firefox-esr";
const GECKODRIVER = process.env.GECKODRIVER || fileURLToPath(new URL("../../target/tools/geckodriver/bin/geckodriver", import.meta.url));
const PATIENCE_MS = 20_000;
/** Between two looks at a condition. */
const LOOK_MS = 50;
/** How WebDriver marks the id of an element. */
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";

/** What outlives a test run that breaks off would stay for good. */
const running = new Set();
process.on("exit", () => running.forEach((pid) => end(pid)));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

export class Firefox {
  #driver;
  #session;
  #pid;

  static async open() {
    const firefox = new Firefox();
    // System access lets `privileged` read the browser's own console.
    const driver = spawn(GECKODRIVER, ["--port", "0", "--allow-system-access"], { stdio: ["ignore", "pipe", "ignore"] });
    firefox.#driver = driver;
    const address = await new Promise((resolve, reject) => {
      createInterface({ input: driver.stdout }).on("line", (line) => {
        const listening = /Listening on (127\.0\.0\.1:\d+)/.exec(line);
        if (listening) resolve(listening[1]);
      });
      driver.once("error", (why) => reject(new Error(`${GECKODRIVER}, which ./test installs: ${why.message}`)));
      driver.once("exit", (code) => reject(new Error(`geckodriver ended (${code})`)));
    });
    running.add(driver.pid);
    firefox.#session = `http://${address}/session`;
    const asked = {
      "moz:firefoxOptions": { binary: FIREFOX, args: ["-headless"], prefs: { "intl.accept_languages": "en-US" } },
      unhandledPromptBehavior: "dismiss and notify",
    };
    const { sessionId, capabilities } = await firefox.#ask("POST", "", { capabilities: { alwaysMatch: asked } });
    firefox.#session += `/${sessionId}`;
    firefox.#pid = capabilities["moz:processID"];
    running.add(firefox.#pid);
    return firefox;
  }

  async close() {
    const gone = once(this.#driver, "exit");
    await this.#ask("DELETE", "");
    running.delete(this.#pid);
    end(this.#driver.pid);
    await gone;
    running.delete(this.#driver.pid);
  }

  go(url) {
    return this.#ask("POST", "/url", { url });
  }

  reload() {
    return this.#ask("POST", "/refresh", {});
  }

  tab() {
    return this.#ask("GET", "/window");
  }

  /** Another one, which then is the one that is driven. */
  async openTab() {
    const { handle } = await this.#ask("POST", "/window/new", { type: "tab" });
    await this.#ask("POST", "/window", { handle });
  }

  /** Another than the one that is driven. */
  async closeTab(handle) {
    const driven = await this.tab();
    await this.#ask("POST", "/window", { handle });
    await this.#ask("DELETE", "/window");
    await this.#ask("POST", "/window", { handle: driven });
  }

  /** Nobody to any server: cookies are for all ports of a host. */
  forget() {
    return this.#ask("DELETE", "/cookie");
  }

  /** What a function says on the page, where it knows its arguments and nothing else. */
  run(act, ...args) {
    return this.#ask("POST", "/execute/sync", { script: `return (${act}).apply(null, arguments)`, args });
  }

  /** The same with the rights of the browser itself. */
  async privileged(act, ...args) {
    await this.#ask("POST", "/moz/context", { context: "chrome" });
    return this.run(act, ...args).finally(() => this.#ask("POST", "/moz/context", { context: "content" }));
  }

  /** Until a function says so on the page. */
  async until(act, ...args) {
    for (const since = Date.now(); Date.now() - since < PATIENCE_MS; ) {
      if (await this.run(act, ...args)) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    throw new Error(`never true: ${act} (${JSON.stringify(args)})`);
  }

  async click(selector) {
    await this.#ask("POST", `/element/${await this.#find(selector)}/click`, {});
  }

  /** By the keyboard; `\uE007` is Enter. */
  async type(selector, text) {
    await this.#ask("POST", `/element/${await this.#find(selector)}/value`, { text });
  }

  async #find(selector) {
    await this.until((one) => document.querySelector(one) !== null, selector);
    return (await this.#ask("POST", "/element", { using: "css selector", value: selector }))[ELEMENT];
  }

  async #ask(method, path, body) {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(this.#session + path, { method, headers, body: body && JSON.stringify(body) });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  }
}

function end(pid) {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
