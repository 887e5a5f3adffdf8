/** tokens.js: who one is, for pages that get no cookie; beside maru.js, whose option it is. */

/** A token lasts for 30 days; one that lasts for less than this is a day old, and given anew when asked about. */
const YOUNG_MS = 29 * 86_400_000;

/**
 * By what one is known without a cookie: a token of a session, from the server, which lasts for 30 days after it was
 * last used. Who has none is somebody new, and so is whoever has one that the server does not take any more.
 */
export class Tokens {
  /** What is kept under this name is of one server and one person. */
  name;
  #storage;
  #unkept = null;
  #arrival = null;

  /**
   * @param {object} [where]
   * @param {string} [where.name]  tells the tokens of several servers apart
   * @param {() => Storage} [where.storage]  looking alone may already be forbidden; then the token lasts as long as the page
   */
  constructor({ name = "token", storage = () => localStorage } = {}) {
    this.name = name;
    this.#storage = storage;
  }

  /** @returns {string|null} */
  get current() {
    return this.#entry?.token ?? null;
  }

  /** It is worth asking for a new one. */
  get isDue() {
    return this.#entry?.expires_at < Date.now() + YOUNG_MS;
  }

  /** Do all tabs know what is kept here? */
  get isShared() {
    return this.#unkept === null && this.#attempt((storage) => storage.getItem(this.#key)) !== undefined;
  }

  /** @param {{token: string, expires_at: number}} entry  in ms since 1970 */
  keep({ token, expires_at }) {
    const entry = { token, expires_at };
    const isKept = this.#attempt((storage) => storage.setItem(this.#key, JSON.stringify(entry)) ?? true);
    this.#unkept = isKept ? null : entry;
  }

  /** @param {string|null} [token]  unless another has taken its place already */
  drop(token = this.current) {
    if (token !== this.current) return;
    this.#unkept = null;
    this.#attempt((storage) => storage.removeItem(this.#key));
  }

  /**
   * Has a token be made by one at a time, in this tab and, where there are Web Locks, in all of them.
   * @template T @param {() => Promise<T>} make @param {LockManager} [locks] @returns {Promise<T>}
   */
  arrive(make, locks) {
    const made = () => (locks ? locks.request(this.#key, make).catch(make) : make());
    this.#arrival ??= made().finally(() => (this.#arrival = null));
    return this.#arrival;
  }

  get #key() {
    return `maru:${this.name}`;
  }

  get #entry() {
    const entry = this.#unkept ?? this.#attempt((storage) => JSON.parse(storage.getItem(this.#key)));
    return /^[!-~]+$/.test(entry?.token ?? "") ? entry : undefined;
  }

  /** Storage may be full, forbidden or tampered with: then undefined. */
  #attempt(act) {
    try {
      return act(this.#storage());
    } catch {
      return undefined;
    }
  }
}
