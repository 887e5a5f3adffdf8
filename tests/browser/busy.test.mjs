/** A room where more is said than a page keeps. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Person } from "./harness.mjs";
import { browser, onStage, people, server } from "./stage.mjs";

const MOST_ROWS = 1_000;
const BURST = 1_500;
const SPEAKERS = 8;

onStage(() => ["--rate-limit", "off"]);

describe("after a burst", () => {
  test("the newest thousand are on the page, in order, each once, and the others come by scrolling", async () => {
    const ann = await Person.arrive(browser, `${server.url}/r/busy`);
    people.push(ann);
    await ann.isLive();
    await Promise.all(Array.from({ length: SPEAKERS }, (_, speaker) => speak(speaker)));
    const said = (await server.log("busy")).map(({ text }) => text);
    assert.equal(said.length, BURST);

    await ann.seesOnly(said.slice(-MOST_ROWS));
    assert.ok(await ann.page.locator(".message").last().evaluate((row) => row.getBoundingClientRect().bottom <= innerHeight), "the newest is in sight");
    assert.equal(await ann.page.locator(".gap").count(), 0);

    for (let oldest = await firstOf(ann); oldest > 1; oldest = await firstOf(ann)) {
      await ann.page.locator(".scroller").evaluate((view) => (view.scrollTop = 0));
      await ann.page.locator(`[data-seq="${oldest - 1}"]`).waitFor({ state: "attached" });
      assert.ok((await ann.page.locator(".message").count()) <= MOST_ROWS);
    }
    await ann.seesOnly(said.slice(0, MOST_ROWS));
    await ann.page.getByText("This is where busy begins.").waitFor();

    await ann.page.locator(".newest").click();
    await ann.message(said.at(-1)).waitFor();
    const shown = await ann.texts();
    assert.deepEqual(shown, said.slice(-shown.length));
  });
});

/** One's share of the burst, as fast as it is answered for. */
async function speak(speaker) {
  let cookie;
  for (let n = speaker; n < BURST; n += SPEAKERS) {
    ({ cookie } = await server.say("busy", `message ${n}`, { cookie, name: `Speaker ${speaker}` }));
  }
}

function firstOf({ page }) {
  return page.locator(".message").first().evaluate((row) => Number(row.dataset.seq));
}
