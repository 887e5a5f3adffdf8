/**
 * The page under load, in Chromium:
 *
 *     MARU_BIN=../../target/release/maru node load.mjs
 *
 * A room at 50 messages a second for a minute: what the tab keeps, whether it freezes, how late rows are. Then the
 * 1,000 rows that it shows, scrolled; and how soon pages are painted. The server, on loopback, has no limits of rate.
 * Other work on the machine is in these figures too: run it where there is none.
 */

import { once } from "node:events";
import { createServer } from "node:http";
import { openBrowser, Person, Server } from "./harness.mjs";

const RATE = 50;
const SECONDS = 60;
/** By then, what is made once and kept has been made. */
const SETTLED_SECONDS = 10;
const GUESTS = 8;
const VISITS = 10;
/** A new window's own interface, which is made of pages too, has been loaded by then. */
const SETTLED_WINDOW_MS = 1_000;
/** A screenful in four frames: a wheel turned fast. */
const SCROLL_PIXELS = 200;

if (!process.env.MARU_BIN) {
  console.error("usage: MARU_BIN=<maru> node load.mjs");
  process.exit(2);
}
const server = await Server.start("--rate-limit", "off");
const browser = await openBrowser();
try {
  console.log(`${browser.version()}, ${RATE} messages/s for ${SECONDS} s from ${GUESTS} guests\n`);
  const reader = await Person.arrive(browser, `${server.url}/r/load`);
  await reader.isLive();
  await flood(reader);
  await scroll(reader);
  await reader.leave();
  for (const complaint of reader.complaints) console.log(complaint);
  await paints(["/", "/chat/", "/r/quiet", "/r/load"]);
} finally {
  await browser.close();
  await server.stop();
}

/** What a minute of messages does to the tab that shows them. */
async function flood(reader) {
  const tools = await reader.context.newCDPSession(reader.page);
  await tools.send("Performance.enable");
  await reader.page.evaluate(watch);
  const kept = [["at the start", await weigh(tools, reader)]];
  const said = speak(RATE * SECONDS);
  await sleep(SETTLED_SECONDS * 1_000);
  kept.push([`after ${SETTLED_SECONDS} s`, await weigh(tools, reader)]);
  const messages = await said;
  await reader.page.locator(`[data-seq="${Math.max(...messages.map(({ seq }) => seq))}"]`).waitFor();
  const { rows, frames, tasks } = await reader.page.evaluate(() => window.watched);
  kept.push(["at the end", await weigh(tools, reader)]);
  await tools.detach();

  table("kept, once the garbage is collected", ["", "JS heap", "DOM nodes", "listeners", "rows"], kept.map(([when, { heap, nodes, listeners, shown }]) => {
    return [when, `${(heap / 2 ** 20).toFixed(1)} MiB`, nodes, listeners, shown];
  }));
  const drawn = new Map(rows);
  const late = (since) => messages.flatMap((message) => (drawn.has(message.seq) ? [drawn.get(message.seq) - message[since]] : []));
  table(`${drawn.size} rows drawn of ${messages.length} messages`, ["ms", "p50", "p99", "worst"], [
    ["from the answer to the row", ...spread(late("answered"))],
    ["from the call to the row", ...spread(late("called"))],
    ["from frame to frame", ...spread(frames)],
  ]);
  const long = tasks.filter(({ start }) => !kept.some(([, { from, to }]) => start >= from && start <= to)).map(({ ms }) => ms);
  table("tasks of 50 ms and more", ["number", "longest", "together"], [[long.length, ms(Math.max(0, ...long)), ms(sum(long))]]);
}

/** On the page: when which row was drawn, how far apart frames are, and what took long. */
function watch() {
  const watched = { rows: [], frames: [], tasks: [] };
  window.watched = watched;
  const seen = new Set();
  new MutationObserver((changes) => {
    const now = performance.timeOrigin + performance.now();
    for (const row of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
      const seq = Number(row.dataset?.seq);
      if (!seq || seen.has(seq)) continue;
      seen.add(seq);
      watched.rows.push([seq, now]);
    }
  }).observe(document.querySelector(".messages"), { childList: true });
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) watched.tasks.push({ start: startTime, ms: duration });
  }).observe({ type: "longtask" });
  let before = performance.now();
  const frame = (now) => {
    watched.frames.push(now - before);
    before = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

/** What is left when nothing superfluous is; and when, for collecting takes its time. */
async function weigh(tools, { page }) {
  const now = () => page.evaluate(() => performance.now());
  const from = await now();
  await tools.send("HeapProfiler.collectGarbage");
  const { metrics } = await tools.send("Performance.getMetrics");
  const metric = (wanted) => metrics.find(({ name }) => name === wanted).value;
  const shown = await page.locator(".message").count();
  return { from, to: await now(), heap: metric("JSHeapUsedSize"), nodes: metric("Nodes"), listeners: metric("JSEventListeners"), shown };
}

/** On time, whether earlier ones have been answered or not. @returns what became of each */
async function speak(count) {
  const cookies = [];
  for (let guest = 0; guest < GUESTS; guest++) cookies.push((await server.say("elsewhere", "hello", { name: `Guest ${guest}` })).cookie);
  const messages = [];
  for (let n = 0, since = now(); n < count; n++) {
    await sleep(since + (n * 1_000) / RATE - now());
    messages.push(say(`message ${n}, long enough to be one that somebody may have written`, cookies[n % GUESTS]));
  }
  return Promise.all(messages);
}

async function say(text, cookie) {
  const called = now();
  const { seq } = await server.say("load", text, { cookie });
  return { seq, called, answered: now() };
}

/** From the end of what is shown to its beginning and back. */
async function scroll({ page }) {
  const { frames, shown } = await page.evaluate(async (step) => {
    const view = document.querySelector(".scroller");
    const frames = [];
    const nextFrame = () => new Promise(requestAnimationFrame);
    let before = await nextFrame();
    const goTo = async (end) => {
      while (Math.abs(view.scrollTop - end) > step) {
        view.scrollTop += Math.sign(end - view.scrollTop) * step;
        const now = await nextFrame();
        frames.push(now - before);
        before = now;
      }
    };
    // Nearer to the top, older messages would be asked for.
    await goTo(1_000);
    await goTo(view.scrollHeight - view.clientHeight - step);
    return { frames, shown: document.querySelectorAll(".message").length };
  }, SCROLL_PIXELS);
  table(`${shown} rows scrolled up and down, ${SCROLL_PIXELS} pixels a frame`, ["ms", "p50", "p99", "worst", "frames/s"], [
    ["from frame to frame", ...spread(frames), Math.round((1_000 * frames.length) / sum(frames))],
  ]);
}

/** How soon each page is painted; and beside them the floor: a page of one word, which is all browser. */
async function paints(paths) {
  const floor = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html>maru")).listen(0, "127.0.0.1");
  await once(floor, "listening");
  const rows = [["one word", ...(await paint(`http://127.0.0.1:${floor.address().port}/`))]];
  floor.close();
  for (const path of paths) rows.push([path, ...(await paint(server.url + path))]);
  table(`painted first and ready for use, after the call, median of ${VISITS} visits`, ["ms", "content", "slowest", "ready", "slowest"], rows);
}

/** For somebody whom the server and the browser have not seen before, in a window that is there already. */
async function paint(url) {
  const visits = [];
  for (let n = 0; n <= VISITS; n++) {
    const visitor = await Person.arrive(browser, "about:blank");
    await visitor.context.addInitScript(noteWhenReady);
    await sleep(SETTLED_WINDOW_MS);
    await visitor.page.goto(url);
    const found = await visitor.page.waitForFunction(() => {
      const [content] = performance.getEntriesByName("first-contentful-paint");
      const isPlain = !document.querySelector("script");
      return content && (window.ready ?? isPlain) && [content.startTime, window.ready ?? 0];
    });
    visits.push(await found.jsonValue());
    await visitor.leave();
  }
  // The first one warms the server.
  const [contentful, ready] = [0, 1].map((at) => visits.slice(1).map((times) => times[at]));
  return [contentful, ready].flatMap((times) => [ms(median(times)), ms(Math.max(...times))]);
}

/** On the page: when what was `inert` until the scripts ran has come to life. */
function noteWhenReady() {
  new MutationObserver((changes) => {
    if (changes.some(({ target }) => !target.inert)) window.ready ??= performance.now();
  }).observe(document, { attributeFilter: ["inert"], subtree: true });
}

function table(title, head, rows) {
  const lines = [head, ...rows].map((cells) => cells.map(String));
  const widths = head.map((_, at) => Math.max(...lines.map((cells) => cells[at].length)));
  console.log(title);
  for (const cells of lines) console.log(`  ${cells.map((cell, at) => (at ? cell.padStart(widths[at]) : cell.padEnd(widths[at]))).join("  ")}`);
  console.log();
}

function spread(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return [0.5, 0.99, 1].map((part) => ms(sorted[Math.ceil(part * sorted.length) - 1] ?? NaN));
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function ms(value) {
  return value.toFixed(1);
}

function now() {
  return performance.timeOrigin + performance.now();
}

function sleep(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}
