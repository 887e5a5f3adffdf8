/**
 * Messages without an answer yet, kept so that a reload loses nothing. One storage key each, so that tabs do
 * not overwrite each other's.
 *
 * @typedef {{clientId: string, text: string, ts: number, user: string|null}} Unsent
 *   `user`: who first tried to say it; the server knows a `client_id` again only of the same person
 */

/** The server forgets a `client_id` after 24 h; a message older than this is not sent again unasked. */
const TRUSTED_MS = 23 * 3_600_000;

export class Outbox {
  #prefix;
  #storage;

  /** @param {string} room @param {() => Storage} storage  looking alone may already be forbidden */
  constructor(room, storage) {
    this.#prefix = `maru:outbox:${room}:`;
    this.#storage = storage;
  }

  /** @param {Unsent} message */
  put(message) {
    this.#attempt(() => this.#storage().setItem(this.#prefix + message.clientId, JSON.stringify(message)));
  }

  remove(clientId) {
    this.#attempt(() => this.#storage().removeItem(this.#prefix + clientId));
  }

  /** @returns {Unsent[]} in the order in which they were said */
  all() {
    const found = [];
    this.#attempt(() => {
      for (const [key, value] of Object.entries(this.#storage())) {
        if (key.startsWith(this.#prefix)) found.push(JSON.parse(value));
      }
    });
    return found.sort((a, b) => a.ts - b.ts);
  }

  /** Storage may be full, forbidden or tampered with; the page then works, without a memory. */
  #attempt(act) {
    try {
      act();
    } catch (error) {
      console.warn("outbox:", error.message);
    }
  }
}

/** Whether sending it again under the same `client_id` is sure to say it only once. */
export function maySendAgain(message, myId, now) {
  return now - message.ts < TRUSTED_MS && (message.user === null || message.user === myId);
}
