/** What a test in a real browser stands on: a browser for the file, a server and its people for each test. */

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import { openBrowser, Server } from "./harness.mjs";

export let browser;
export let server;
/** Those whose pages are looked after: whoever arrives is put here. */
export let people;

/** Sets the stage for all tests of a file. @param {() => string[]} [flags]  of the server */
export function onStage(flags = () => []) {
  before(async () => {
    browser = await openBrowser();
  });
  after(() => browser?.close());

  beforeEach(async () => {
    people = [];
    server = await Server.start(...flags());
  });

  /** Whatever a test was about: nobody may have seen an error, a dialog or a violation of the policy. */
  afterEach(async () => {
    const complaints = people.flatMap((person) => person.complaints);
    for (const person of people) await person.leave();
    await server.stop();
    assert.deepEqual(complaints, []);
  });
}
