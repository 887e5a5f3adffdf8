/**
 * maru.js: listen to a room and speak in it, from any page.
 *
 *     import { connect } from "https://chat.example/maru.js";
 *
 *     const room = connect("lobby", { onevent: ({ user, text }) => console.log(user.name, text) });
 *     await room.send("hello");
 *
 * Events are handed over once each and in order, across lost connections, restarts of the server and
 * sleeping laptops; what can no longer be given is announced by `ongap`. What `send` has taken is tried,
 * under one `client_id`, until the server has answered, and so is said once.
 *
 * @typedef {{id: string, name: string, kind: string}} User
 * @typedef {{epoch: number, seq: number, id: string, type: string, user: User, text: string, ts: number,
 *   client_id?: string, target?: number, status?: string, edited?: number}} Event  times in milliseconds
 *
 * @typedef {"connecting"|"replaying"|"live"|"waiting"|"paused"|"refused"|"closed"} State
 *   `waiting` for a lost connection to come back; `paused` in the back-forward cache; `refused` for good
 *
 * @typedef {object} Handlers  all optional
 * @property {(event: Event) => void} onevent
 * @property {(gap: {from: string, to: string, reason: string}) => void} ongap  events behind `from`, up to
 *   and with `to`, that the stream could not give; `history()` may have them
 * @property {(state: State, detail: {code?: string}) => void} onstate
 * @property {(hello: {user: User, cursor: string, tip: string, online: number, resumed: boolean}) => void} onhello
 * @property {(presence: {joined: User[], left: User[], online: number, text: string}) => void} onpresence
 * @property {(data: object) => void} onlive and `ontyping`, `onread`, `onping`, `onbye`: likewise
 */

/** The server is heard from every 15 s ± 20 %: after two silent beats the stream is dead. */
const SILENCE_MS = 40_000;
/** The server answers within 10 s; later the answer is lost. */
const ANSWER_MS = 20_000;
const BACKOFF_MS = { first: 1_000, most: 30_000 };

const KINDS = ["hello", "live", "gap", "ping", "presence", "typing", "read", "bye"];

/**
 * Enter a room.
 * @param {string} room  slug or id
 * @param {Partial<Handlers>} [handlers]
 * @param {{base?: string, world?: object}} [options]  the server's origin, when it is not the page's; what
 *   stands in for `globalThis` in tests
 */
export function connect(room, handlers = {}, options = {}) {
  return new Connection(room, handlers, options);
}

/** Take another name, of 1–32 characters; past messages keep the old one. @returns {Promise<User>} */
export async function rename(name, options = {}) {
  return demand(await ask(options, "PATCH", "/api/session", { name })).user;
}

/** Forget who I am; the next stream makes a new guest. */
export async function signOut(options = {}) {
  demand(await ask(options, "DELETE", "/api/session"));
}

/** The server said no: `code` is stable (`too_large`, `forbidden`, …), `message` is for people. */
export class MaruError extends Error {
  constructor(status, { code, detail, title } = {}) {
    super(detail || title || `HTTP ${status}`);
    this.name = "MaruError";
    this.status = status;
    this.code = code || (status ? "unexpected" : "unreachable");
  }
}

/** One room, listened to as long as the page lives. */
export class Connection {
  /** @type {User|null} who the server took me for at the last `hello` */
  me = null;
  /** @type {State} */
  state = "connecting";

  #room;
  #handlers;
  #options;
  #world;
  #position = new Position();
  #source = null;
  #silence = null;
  #reopening = null;
  #failures = 0;
  #heard = 0;
  #farewell;
  #sent = Promise.resolve();
  #hurry = () => {};
  #greeted;
  #greet;
  #ended = new AbortController();

  constructor(room, handlers, options) {
    this.#room = room;
    this.#handlers = handlers;
    this.#options = options;
    this.#world = options.world ?? globalThis;
    this.#greeted = new Promise((resolve) => (this.#greet = resolve));
    this.#listenToThePage();
    this.#open();
  }

  /**
   * Speak. Resolves when the server has answered for the message, however many attempts that takes.
   * Messages go out one after the other, in the order of the calls.
   *
   * @param {string} text
   * @param {{clientId?: string, signal?: AbortSignal, onretry?: (why: MaruError) => void}} [options]
   *   a `clientId` of one's own lets it be tried again after a reload; `signal` stops trying
   * @returns {Promise<{id: string, seq: number, cursor: string, ts: number}>}
   * @throws {MaruError} when the message is refused for good
   */
  send(text, { clientId = newId(), signal, onretry } = {}) {
    const sent = this.#sent.then(() => this.#send(text, clientId, signal, onretry));
    this.#sent = sent.catch(() => {});
    return sent;
  }

  /**
   * A page of the log, ascending, with edits and deletions applied.
   * @param {{before?: string, after?: string, limit?: number}} [page]  cursors; `limit` 1–200
   * @returns {Promise<{events: Event[], tip: string, before: string|null, after: string|null}>}
   */
  history(page = {}) {
    return this.#demand("GET", `/api/history?${new URLSearchParams({ room: this.#room, ...page })}`);
  }

  /** Change the text of a message of mine. */
  edit(seq, text) {
    return this.#demand("PATCH", this.#path(`/messages/${seq}`), { text });
  }

  /** Take back a message of mine; its text is never given out again. */
  remove(seq) {
    return this.#demand("DELETE", this.#path(`/messages/${seq}`));
  }

  /** Who is here now. @returns {Promise<{members: User[], online: number}>} */
  members() {
    return this.#demand("GET", this.#path("/members"));
  }

  /** Stop listening. Messages under way are still sent. */
  close() {
    this.#ended.abort();
    this.#drop();
    this.#say("closed");
  }

  #open() {
    this.#drop();
    if (this.state !== "connecting") this.#say("waiting");
    const base = this.#options.base ?? "";
    const { cursor } = this.#position;
    // For streams made anew; an EventSource that reconnects sends a header, which is stronger.
    const url = base + this.#path("/events") + (cursor ? `?last_event_id=${cursor}` : "");
    const source = new this.#world.EventSource(url, { withCredentials: base !== "" });
    this.#source = source;
    source.onmessage = (message) => this.#hear("event", message);
    for (const kind of KINDS) source.addEventListener(kind, (message) => this.#hear(kind, message));
    source.onerror = () => this.#lose(source);
    this.#watch();
  }

  #drop() {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#silence);
    clearTimeout(this.#reopening);
  }

  #watch() {
    this.#heard = Date.now();
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#open(), SILENCE_MS);
  }

  #hear(kind, message) {
    this.#watch();
    const data = JSON.parse(message.data);
    if (kind === "event" && !this.#isNext(data)) return;
    if (kind === "hello") {
      this.#failures = 0;
      this.#farewell = undefined;
      this.me = data.user;
      if (!this.#position.cursor || !data.resumed) this.#position.start(data.cursor);
      this.#say("replaying");
    }
    if (kind === "live") this.#say("live");
    if (kind === "gap") this.#position.start(data.to);
    if (kind === "bye") this.#farewell = data.code;
    this.#handlers[`on${kind}`]?.(data);
    if (kind === "hello") this.#greet();
    if (kind === "live") this.#hurry();
  }

  #isNext(event) {
    const from = this.#position.cursor;
    const found = this.#position.take(event);
    // A server that keeps its promises announces its holes; one that does not is not believed.
    const to = formatCursor({ epoch: event.epoch, seq: event.seq - 1 });
    if (found === "hole") this.#handlers.ongap?.({ from, to, reason: found });
    return found !== "repeat";
  }

  /** Unless it is CLOSED, an EventSource comes back by itself, with Last-Event-ID. */
  #lose(source) {
    if (source !== this.#source) return;
    this.#say("waiting", { code: this.#farewell });
    if (source.readyState === 2) this.#recreate();
  }

  /** The browser has given up and does not say why: ask by hand whether there is a room for me at all. */
  async #recreate() {
    this.#drop();
    const { status, body } = await this.#ask("GET", this.#path(""));
    if (this.#source || this.state !== "waiting") return;
    if (status >= 400 && !isPassing(status)) this.#say("refused", { code: body.code });
    else this.#reopening = setTimeout(() => this.#open(), backoff(this.#failures++));
  }

  /** Nothing stays open in the back-forward cache, and after every sleep one looks again. */
  #listenToThePage() {
    const { signal } = this.#ended;
    const { document } = this.#world;
    const wake = () => {
      if (document?.visibilityState === "hidden" || this.state === "refused") return;
      if (this.#source?.readyState !== 1 || Date.now() - this.#heard > SILENCE_MS) this.#open();
      this.#hurry();
    };
    const pause = () => {
      this.#drop();
      this.#say("paused");
    };
    this.#world.addEventListener?.("pagehide", pause, { signal });
    this.#world.addEventListener?.("pageshow", (event) => event.persisted && wake(), { signal });
    this.#world.addEventListener?.("online", wake, { signal });
    document?.addEventListener("visibilitychange", wake, { signal });
  }

  #say(state, detail = {}) {
    if (state === this.state && !detail.code) return;
    this.state = state;
    this.#handlers.onstate?.(state, detail);
  }

  async #send(text, clientId, signal, onretry) {
    // Before a stream has answered there may be no session, and a POST would make a second guest.
    await this.#greeted;
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      const answer = await this.#ask("POST", this.#path("/messages"), { text, client_id: clientId });
      if (!isPassing(answer.status)) return demand(answer);
      onretry?.(new MaruError(answer.status, answer.body));
      await this.#pause(answer.wait, attempt, signal);
    }
  }

  /** As long as the server asks for, else until the stream is back. */
  async #pause(asked, attempt, signal) {
    let timer;
    await new Promise((resolve) => {
      timer = setTimeout(resolve, asked ?? backoff(attempt));
      if (asked === null) this.#hurry = resolve;
      signal?.addEventListener("abort", resolve);
    });
    clearTimeout(timer);
  }

  #path(rest) {
    return `/api/chat/${encodeURIComponent(this.#room)}${rest}`;
  }

  #ask(method, path, body) {
    return ask(this.#options, method, path, body);
  }

  async #demand(method, path, body) {
    return demand(await this.#ask(method, path, body));
  }
}

async function ask({ base = "", world = globalThis }, method, path, body) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), ANSWER_MS);
  try {
    const answer = await world.fetch(base + path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
      credentials: base ? "include" : "same-origin",
      signal: stop.signal,
    });
    const { status, headers } = answer;
    return { status, body: parsed(await answer.text()), wait: retryAfter(headers.get("Retry-After")) };
  } catch {
    return { status: 0, body: {}, wait: null };
  } finally {
    clearTimeout(timer);
  }
}

function demand({ status, body }) {
  if (status >= 200 && status < 300) return body;
  throw new MaruError(status, body);
}

/** Proxies answer with pages of their own: what is not JSON says nothing. */
function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

// What follows is pure.

/** Where a reader stands in a log, and what the next event is to it. */
export class Position {
  #last = null;

  get cursor() {
    return this.#last && formatCursor(this.#last);
  }

  /** A stream starts, or after a gap goes on, behind this cursor. */
  start(cursor) {
    this.#last = parseCursor(cursor) ?? this.#last;
  }

  /** @returns {"next"|"repeat"|"hole"} */
  take({ epoch, seq }) {
    const last = this.#last ?? { epoch, seq: seq - 1 };
    if (seq <= last.seq) return "repeat";
    this.#last = { epoch, seq };
    return epoch === last.epoch && seq === last.seq + 1 ? "next" : "hole";
  }
}

/** `<epoch>-<seq>`, or null for what is not a cursor. */
export function parseCursor(text) {
  const parts = /^(\d{1,15})-(\d{1,15})$/.exec(text);
  return parts && { epoch: Number(parts[1]), seq: Number(parts[2]) };
}

export function formatCursor({ epoch, seq }) {
  return `${epoch}-${seq}`;
}

/** Milliseconds until the next attempt: doubling, and spread so that a crowd does not come back as one. */
export function backoff(attempt, random = Math.random) {
  const most = Math.min(BACKOFF_MS.first * 2 ** attempt, BACKOFF_MS.most);
  return Math.round(most * (0.5 + random() / 2));
}

/** `Retry-After` (RFC 9110, 10.2.3: seconds or a date) in milliseconds from now, or null. */
export function retryAfter(header, now = Date.now()) {
  if (!header) return null;
  const wait = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isNaN(wait) ? null : Math.max(0, wait);
}

/** No answer, or one that says *later*. */
export function isPassing(status) {
  return [0, 408, 429].includes(status) || status >= 500;
}

/** 128 random bits; `crypto.randomUUID` is missing over plain HTTP. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
