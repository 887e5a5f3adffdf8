/** Who is writing just now, and telling others that I am. */

import { keep, setting } from "./settings.js";
import { words } from "./words.js";

/** So long somebody is taken to be writing. */
export const TYPING_MS = 5_000;
/** The server takes one sign of writing every 2 s from a person. */
const TOLD_MS = 2_500;

/** When this tab last gave a sign of my writing, in whatever room; another tab says so in the settings. */
let told = 0;

/** @param {import("./maru.js").Room} room */
export function tellTyping(room) {
  if (Date.now() - Math.max(told, Number(setting("told"))) < TOLD_MS) return;
  told = Date.now();
  keep("told", String(told));
  room.typing().catch(() => {});
}

/** The writers of one room. No clock: times are given. */
export class Typists {
  #writing = new Map();

  heard({ id, name }, now) {
    this.#writing.set(id, { name, until: now + TYPING_MS });
  }

  /** They have said it, or are gone. */
  stopped(id) {
    this.#writing.delete(id);
  }

  names(now) {
    return [...this.#writing.values()].filter(({ until }) => until > now).map(({ name }) => name);
  }
}

export function typingOf([a, b, ...more]) {
  if (a === undefined) return "";
  if (more.length > 0) return words("typingMany");
  return words(b === undefined ? "typing1" : "typing2", { a, b });
}
