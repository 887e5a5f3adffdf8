/** Where the reader left off, and the line above what is new since then. No DOM, no clock. */

import { keep, setting } from "./settings.js";
import { words } from "./words.js";

/** Open rooms of which it is remembered, those visited last. */
const ROOMS = 50;

export class LeftOff {
  #seq;

  /** @param {number|null} seq  what stands behind it is new; null when nothing is */
  constructor(seq = null) {
    this.#seq = seq;
  }

  /** Who speaks has read what was there; what comes while nobody looks is new. */
  event({ type, seq }, isMine, isHidden) {
    if (type !== "message") return;
    if (isMine && seq > this.#seq) this.#seq = null;
    else if (isHidden) this.#seq ??= seq - 1;
  }

  /** All of it has been read. */
  forget() {
    this.#seq = null;
  }

  /** The rows, with the line. */
  adorn(rows) {
    if (this.#seq === null) return rows;
    const at = rows.findIndex(({ kind, mine, entry }) => kind === "message" && !mine && entry.seq > this.#seq);
    // Where nothing older is shown, all is new, and needs no line.
    if (at <= 0 || !rows.slice(0, at).some(({ entry }) => entry?.id)) return rows;
    const line = { kind: "fresh", key: "fresh", look: "", text: words("newHere") };
    const first = { ...rows[at], first: true, look: `${rows[at].look}new` };
    return [...rows.slice(0, at), line, first, ...rows.slice(at + 1)];
  }
}

/** The cursor up to which an open room was read on this browser, or null. */
export function seenBefore(room) {
  return remembered().find(([name]) => name === room)?.[1] ?? null;
}

export function rememberSeen(room, cursor) {
  const others = remembered().filter(([name]) => name !== room);
  keep("seen", JSON.stringify([[room, cursor], ...others].slice(0, ROOMS)));
}

/** @returns {[string, string][]} */
function remembered() {
  try {
    const rooms = JSON.parse(setting("seen"));
    return Array.isArray(rooms) ? rooms : [];
  } catch {
    return [];
  }
}
