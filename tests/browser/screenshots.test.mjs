/** The pictures for the documents can be taken; what is on them is for people to judge. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { EYES, PICTURES, takeScreens } from "./screenshots.mjs";

/** A page of one colour takes fewer. */
const PLAIN_BYTES = 10_000;

test("every picture is made, of the size of its screen, and no page complains", async () => {
  const directory = await mkdtemp(join(tmpdir(), "maru-screens-"));
  try {
    assert.deepEqual(await takeScreens(directory), []);
    assert.deepEqual((await readdir(directory)).sort(), PICTURES.map(({ file }) => file).sort());
    for (const { file, eye } of PICTURES) {
      const picture = await readFile(join(directory, file));
      const { viewport, deviceScaleFactor = 1 } = EYES[eye];
      const { width, height } = sizeOf(picture);
      assert.deepEqual({ width, height }, { width: viewport.width * deviceScaleFactor, height: viewport.height * deviceScaleFactor }, file);
      assert.ok(picture.length > PLAIN_BYTES, `${file} shows something`);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

/** From the header of a PNG (RFC 2083, 4.1.1). */
function sizeOf(picture) {
  assert.equal(picture.toString("latin1", 1, 4), "PNG");
  return { width: picture.readUInt32BE(16), height: picture.readUInt32BE(20) };
}
