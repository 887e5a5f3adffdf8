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
 * `openInbox` is the same for everything that happens in one's rooms with members, in one stream.
 *
 * All tabs of a browser that listen to the same thing share one stream, where there are Web Locks.
 *
 * Pages of another site get no cookie of the server's, so there one is known by a token that the page keeps:
 *
 *     import { Tokens } from "https://chat.example/tokens.js";
 *
 *     const options = { base: "https://chat.example", tokens: new Tokens() };
 *     const room = connect("lobby", handlers, options);
 *
 * The server has to know such a page's origin (`--origin https://blog.example`).
 *
 * @typedef {{id: string, name: string, kind: string}} User
 * @typedef {{room: string, epoch: number, seq: number, id: string, type: string, user: User, text: string,
 *   ts: number, client_id?: string, target?: number, status?: string, edited?: number, by?: User}} Event
 *   times in milliseconds
 *
 * @typedef {"connecting"|"replaying"|"live"|"waiting"|"paused"|"refused"|"closed"} State
 *   `waiting` for a lost connection to come back; `paused` in the back-forward cache; `refused` for good
 *
 * @typedef {object} Handlers  all optional
 * @property {(event: Event) => void} onevent
 * @property {(gap: {from: string, to: string, reason: string}) => void} ongap  events behind `from`, up to
 *   and with `to`, that the stream could not give; `history()` may have them
 * @property {(state: State, detail: {code?: string}) => void} onstate
 * @property {(hello: {user: User, cursor: string, tip: string, online?: number, resumed: boolean}) => void} onhello
 * @property {(presence: {joined: User[], left: User[], online?: number, text?: string}) => void} onpresence
 * @property {(typing: {room: string, user: {id: string, name: string}}) => void} ontyping
 * @property {(read: {room: string, user: string, seq: number}) => void} onread  `user`: an id
 * @property {(data: object) => void} onlive and `onping`, `onbye`: likewise
 *
 * @typedef {{base?: string, tokens?: import("./tokens.js").Tokens, world?: any}} Options  the server's origin, when it is not the
 *   page's; by what one is known, when it is not a cookie; what stands in for `globalThis` in tests
 */

/** The server is heard from every 15 s ± 20 %: after two silent beats the stream is dead. */
const SILENCE_MS = 40_000;
/** The server answers within 10 s; later the answer is lost. */
const ANSWER_MS = 20_000;
const BACKOFF_MS = { first: 1_000, most: 30_000 };
/** Events that the tab with the stream keeps for other tabs. */
const KEPT = 200;

const KINDS = ["hello", "live", "gap", "ping", "presence", "typing", "read", "bye"];

/**
 * Enter a room.
 * @param {string} room  slug or id
 * @param {Partial<Handlers>} [handlers]
 * @param {Options} [options]
 */
export function connect(room, handlers = {}, options = {}) {
  return new Connection(room, handlers, options);
}

/**
 * Listen to everything that happens in my rooms with members from now on. Who has no session is refused.
 * @param {Partial<Handlers>} [handlers]
 * @param {Options} [options]
 */
export function openInbox(handlers = {}, options = {}) {
  return new Inbox(handlers, options);
}

/** Who I am, or null. @param {Options} [options] @returns {Promise<User|null>} */
export async function whoAmI(options = {}) {
  const answer = await exchange(options, "GET", "/api/session");
  return answer.status === 401 ? null : demand(answer).user;
}

/** Become somebody new. @returns {Promise<User>} */
export async function signIn(name, options = {}) {
  return demand(await exchange(options, "POST", "/api/session", { name })).user;
}

/** Take another name, of 1–32 characters; past messages keep the old one. @returns {Promise<User>} */
export async function rename(name, options = {}) {
  return demand(await ask(options, "PATCH", "/api/session", { name })).user;
}

/** Forget who I am; the next stream makes a new guest. */
export async function signOut(options = {}) {
  demand(await exchange(options, "DELETE", "/api/session"));
  options.tokens?.drop();
}

/**
 * A room with these people: with one the room of the two of us, which there is once; with more a new group.
 * @param {string[]} members  their ids
 * @param {{name?: string, clientId?: string}} [group]  under one `clientId` it is made once
 */
export async function startRoom(members, { name, clientId = newId() } = {}, options = {}) {
  const headers = { "Idempotency-Key": clientId };
  return demand(await ask(options, "POST", "/api/chat/", { members, ...(name && { name }) }, headers));
}

/** The server said no: `code` is stable (`too_large`, `forbidden`, …), `message` is for people. */
export class MaruError extends Error {
  /** @param {number} status  0 without an answer @param {{code?: string, detail?: string, title?: string}} [problem] */
  constructor(status, { code, detail, title } = {}) {
    super(detail || title || `HTTP ${status}`);
    this.name = "MaruError";
    this.status = status;
    this.code = code || (status ? "unexpected" : "unreachable");
  }
}

/** What one can do in a room. */
export class Room {
  #name;
  #stream;
  #options;
  #sent = Promise.resolve();

  constructor(name, stream, options) {
    this.#name = name;
    this.#stream = stream;
    this.#options = options;
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
    return this.#demand("GET", `/api/history?${query({ room: this.#name, ...page })}`);
  }

  /** Change the text of a message of mine. */
  edit(seq, text) {
    return this.#demand("PATCH", this.#path(`/messages/${seq}`), { text });
  }

  /** Take back a message of mine; its text is never given out again. */
  remove(seq) {
    return this.#demand("DELETE", this.#path(`/messages/${seq}`));
  }

  /** The room itself: kind, name, tip, and its members where it has any. */
  about() {
    return this.#demand("GET", this.#path(""));
  }

  /** Who is here now. @returns {Promise<{members: User[], online: number}>} */
  members() {
    return this.#demand("GET", this.#path("/members"));
  }

  /** Have somebody be a member of a group. @param {string} user  an id */
  add(user) {
    return this.#demand("POST", this.#path("/members"), { user });
  }

  /**
   * A group's owner: have somebody not be a member any more, by a ban. It is short and lifted at once, for with a
   * guest it shuts out whoever else is a guest at the same address.
   * @param {string} user  an id
   */
  async expel(user) {
    await this.#demand("POST", this.#path("/bans"), { user, seconds: 1 });
    await this.#demand("DELETE", this.#path(`/bans/${user}`)).catch(() => {});
  }

  /** Not be a member of a group any more. */
  leave() {
    return this.#demand("DELETE", this.#path("/members/me"));
  }

  /** I have read up to here. */
  read(seq) {
    return this.#demand("POST", this.#path("/read"), { seq });
  }

  /** I am writing; at most one every 2 s is passed on. */
  typing() {
    return this.#demand("POST", this.#path("/typing"), {});
  }

  async #send(text, clientId, signal, onretry) {
    // Before a stream has answered there may be no session, and a POST would make a second guest.
    await this.#stream.greeted;
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      const answer = await ask(this.#options, "POST", this.#path("/messages"), { text, client_id: clientId });
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
      if (asked === null) this.#stream.whenBack(resolve);
      signal?.addEventListener("abort", resolve);
    });
    clearTimeout(timer);
  }

  #path(rest) {
    return `/api/chat/${encodeURIComponent(this.#name)}${rest}`;
  }

  async #demand(method, path, body) {
    return demand(await ask(this.#options, method, path, body));
  }
}

/** One room, listened to as long as the page lives. */
export class Connection extends Room {
  #stream;

  constructor(name, handlers, options) {
    const path = `/api/chat/${encodeURIComponent(name)}`;
    const stream = new Stream({ path: `${path}/events`, probe: path, query: "" }, handlers, options);
    super(name, stream, options);
    this.#stream = stream;
  }

  /** Who the server took me for at the last `hello`. @returns {User|null} */
  get me() {
    return this.#stream.me;
  }

  /** @returns {State} */
  get state() {
    return this.#stream.state;
  }

  /** Up to where events have been handed over. @returns {string|null} */
  get cursor() {
    return this.#stream.cursor;
  }

  /** Stop listening. Messages under way are still sent. */
  close() {
    this.#stream.close();
  }
}

/** All my rooms with members. */
export class Inbox {
  #stream;
  #options;

  constructor(handlers, options) {
    this.#options = options;
    const place = { path: "/api/events", probe: "/api/session", query: "history=0" };
    this.#stream = new Stream(place, handlers, options);
  }

  /** @returns {State} */
  get state() {
    return this.#stream.state;
  }

  /** Is it this tab, of all that share the stream, that has it? */
  get leads() {
    return this.#stream.leads;
  }

  /** @param {string} id */
  room(id) {
    return new Room(id, this.#stream, this.#options);
  }

  /** A page of my rooms, newest activity first. @param {{after?: string, limit?: number}} [page] */
  async rooms(page = {}) {
    return demand(await ask(this.#options, "GET", `/api/chat/?${query(page)}`));
  }

  /** People whose name begins so. @returns {Promise<{users: {id: string, name: string}[]}>} */
  async search(q, limit = 20) {
    return demand(await ask(this.#options, "GET", `/api/chat/search?${query({ q, limit })}`));
  }

  close() {
    this.#stream.close();
  }
}

/** A stream as long as the page lives: watched, made anew, and gone on with where it was. */
class Stream {
  me = null;
  /** @type {State} */
  state = "connecting";
  /** Resolves once a stream has answered. @type {Promise<void>} */
  greeted;

  #place;
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
  #waiting = [];
  #greet;
  #ended = new AbortController();

  /** @param {{path: string, probe: string, query: string}} place  `probe`: what says whether it is for me */
  constructor(place, handlers, options) {
    this.#place = place;
    this.#handlers = handlers;
    this.#options = options;
    this.#world = options.world ?? globalThis;
    this.greeted = new Promise((resolve) => (this.#greet = resolve));
    this.#listenToThePage();
    this.#open();
  }

  get leads() {
    return this.#source?.leads === true;
  }

  get cursor() {
    return this.#position.cursor;
  }

  /** @param {() => void} act  once, when there is reason to believe that the server can be reached again */
  whenBack(act) {
    this.#waiting.push(act);
  }

  close() {
    this.#ended.abort();
    this.#drop();
    this.#say("closed");
  }

  #open() {
    this.#drop();
    if (this.state !== "connecting") this.#say("waiting");
    const { BroadcastChannel, navigator } = this.#world;
    const { base = "", tokens } = this.#options;
    const isShared = BroadcastChannel && navigator?.locks && (!tokens || tokens.isShared);
    const source = new (isShared ? SharedSource : Source)({
      world: this.#world,
      url: base + this.#place.path,
      name: `maru:${tokens ? `${tokens.name}:` : ""}${base}${this.#place.path}`,
      ticket: tokens && (() => ticket(this.#options, this.#place.path)),
      query: this.#place.query,
      cursor: () => this.cursor,
      onhear: (kind, data, id) => source === this.#source && this.#hear(kind, JSON.parse(data), id),
      onlose: (isFinal) => source === this.#source && this.#lose(isFinal),
    });
    this.#source = source;
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

  #hear(kind, data, id) {
    this.#watch();
    if (kind === "event" && (!this.#isNext(data, id) || data.type === "gone")) return;
    if (kind === "hello") {
      this.#failures = 0;
      this.#farewell = undefined;
      this.me = data.user;
      if (!this.cursor || !data.resumed) this.#position.start(data.cursor);
      this.#say("replaying");
    }
    if (kind === "live") this.#say("live");
    if (kind === "gap") this.#position.start(data.to);
    if (kind === "bye") this.#farewell = data.code;
    this.#handlers[`on${kind}`]?.(data);
    if (kind === "hello") this.#greet();
    if (kind === "live") this.#hurry();
  }

  /** An inbox has places of its own, which only the id tells. */
  #isNext(event, id) {
    const place = parseCursor(id) ?? event;
    const from = this.cursor;
    const found = this.#position.take(place);
    // A server that keeps its promises announces its holes; one that does not is not believed.
    const to = formatCursor({ epoch: place.epoch, seq: place.seq - 1 });
    if (found === "hole") this.#handlers.ongap?.({ from, to, reason: found });
    return found !== "repeat";
  }

  /** Unless it is final, an EventSource comes back by itself, with Last-Event-ID. */
  #lose(isFinal) {
    this.#say("waiting", { code: this.#farewell });
    if (isFinal) this.#recreate();
  }

  /** The browser has given up and does not say why: ask by hand whether there is anything for me at all. */
  async #recreate() {
    this.#drop();
    const { status, body } = await ask(this.#options, "GET", this.#place.probe);
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
      if (!this.#source?.isOpen || Date.now() - this.#heard > SILENCE_MS) this.#open();
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

  #hurry() {
    for (const act of this.#waiting.splice(0)) act();
  }

  #say(state, detail = {}) {
    if (state === this.state && !detail.code) return;
    this.state = state;
    this.#handlers.onstate?.(state, detail);
  }
}

/** An EventSource of this tab alone. */
class Source {
  leads = true;
  #settings;
  #source = null;
  #isClosed = false;

  constructor(settings) {
    this.#settings = settings;
    if (settings.ticket) this.#openByTicket();
    else this.#open("", !settings.url.startsWith("/"));
  }

  /** A ticket is good for half a day; with one that is over the server refuses the EventSource, and another is made. */
  async #openByTicket() {
    const ticket = await this.#settings.ticket();
    if (this.#isClosed) return;
    if (ticket) this.#open(`ticket=${encodeURIComponent(ticket)}`, false);
    else this.#settings.onlose(true);
  }

  #open(ticket, withCredentials) {
    const { world, url, query, cursor, onhear, onlose } = this.#settings;
    const at = cursor();
    // For streams made anew; an EventSource that reconnects sends a header, which is stronger.
    const parts = [at ? `last_event_id=${at}` : query, ticket].filter(Boolean);
    const whole = url + (parts.length ? `?${parts.join("&")}` : "");
    const source = new world.EventSource(whole, { withCredentials });
    this.#source = source;
    source.onmessage = ({ data, lastEventId }) => onhear("event", data, lastEventId);
    for (const kind of KINDS) {
      source.addEventListener(kind, ({ data, lastEventId }) => onhear(kind, data, lastEventId));
    }
    source.onerror = () => onlose(source.readyState === 2);
  }

  get isOpen() {
    return this.#source?.readyState === 1;
  }

  close() {
    this.#isClosed = true;
    this.#source?.close();
  }
}

/**
 * One EventSource for all tabs: the tab that holds the lock has it and passes on what comes. The others listen
 * to that tab; where one of them stands elsewhere, it asks for what it lacks. A tab that goes lets go of the
 * lock, and the next goes on from the cursor that it has itself.
 */
class SharedSource {
  isOpen = false;
  #settings;
  #channel;
  #id = newId();
  #source = null;
  #closed = new AbortController();

  /** Of the tab that has the stream: its last `hello`, whether it is live, and what came last. */
  #hello = null;
  #live = null;
  #recent = [];
  /** Where the recent events begin, and where the stream is. */
  #from = null;
  #at = null;

  constructor(settings) {
    const { world, name, cursor } = settings;
    this.#settings = settings;
    this.#channel = new world.BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#take(data);
    this.#channel.postMessage({ ask: this.#id, cursor: cursor() });
    const { signal } = this.#closed;
    world.navigator.locks
      .request(name, { signal }, () => {
        this.#lead();
        return new Promise((resolve) => signal.addEventListener("abort", resolve));
      })
      // Locks may be forbidden, as storage may be; then each tab is for itself.
      .catch(() => signal.aborted || this.#lead());
  }

  get leads() {
    return this.#source !== null;
  }

  close() {
    this.#closed.abort();
    this.#channel.close();
    this.#source?.close();
  }

  #lead() {
    this.#source = new Source({
      ...this.#settings,
      onhear: (kind, data, id) => this.#pass({ kind, data, id }),
      onlose: (isFinal) => this.#pass({ lost: true, isFinal }),
    });
  }

  #pass(message) {
    this.#keep(message);
    this.#channel.postMessage(message);
    this.#give(message);
  }

  #keep(message) {
    const { kind, data, id } = message;
    if (kind === "live") this.#live = message;
    if (kind === "event") this.#recent.push(message);
    if (kind === "hello" || kind === "gap") {
      if (kind === "hello") {
        this.#hello = JSON.parse(data);
        this.#live = null;
      }
      const goesOn = kind === "hello" && this.#hello.cursor === this.#at;
      if (!goesOn) this.#recent = [];
      if (!goesOn) this.#from = kind === "hello" ? this.#hello.cursor : id;
      this.#at = kind === "hello" ? this.#hello.cursor : id;
    } else if (kind === "event") {
      this.#at = id;
    }
    if (this.#recent.length > KEPT) this.#from = this.#recent.shift().id;
  }

  #give({ kind, data, id, lost, isFinal }) {
    this.isOpen = !lost;
    if (lost) this.#settings.onlose(isFinal);
    else this.#settings.onhear(kind, data, id);
  }

  /** From another tab. @param {any} heard */
  #take({ ask, cursor, answer, to, ...message }) {
    if (ask) return this.#hello && this.#channel.postMessage({ to: ask, answer: this.#answer(cursor) });
    if (answer) return to === this.#id && answer.forEach((one) => this.#give(one));
    if (this.#source) return;
    const mine = this.#settings.cursor();
    const isElsewhere = mine && message.kind === "hello" && JSON.parse(message.data).cursor !== mine;
    if (isElsewhere) this.#channel.postMessage({ ask: this.#id, cursor: mine });
    else if (this.isOpen || message.kind === "hello") this.#give(message);
  }

  /** What a tab that stands at `cursor` has to hear to be where this one is. */
  #answer(cursor) {
    const events = [{ id: this.#from }, ...this.#recent];
    const at = events.findIndex(({ id }) => id === cursor);
    const isLost = cursor && at < 0;
    const start = at < 0 ? this.#at : cursor;
    const hello = JSON.stringify({ ...this.#hello, cursor: start, resumed: at >= 0 });
    const gap = { kind: "gap", data: JSON.stringify({ from: cursor, to: this.#at, reason: "tab" }), id: this.#at };
    return [
      { kind: "hello", data: hello, id: start },
      ...(isLost ? [gap] : []),
      ...(at < 0 ? [] : events.slice(at + 1)),
      ...(this.#live ? [this.#live] : []),
    ];
  }
}

/**
 * Asks as whoever I am. With tokens: as somebody new, where there is none or the server does not take it any more.
 *
 * @typedef {[method: string, path: string, body?: object, headers?: object]} Request
 * @param {Options} options @param {Request} request
 */
async function ask(options, ...request) {
  const answer = await askOnce(options, ...request);
  return options.tokens && answer.status === 401 ? askOnce(options, ...request) : answer;
}

/** @param {Options} options @param {Request} request */
async function askOnce(options, ...request) {
  const refused = options.tokens && (await arrive(options));
  return refused ?? exchange(options, ...request);
}

/** Sees to it that there is a token. @returns {Promise<object|undefined>} the answer that gave none */
async function arrive(options) {
  const { tokens, world = globalThis } = options;
  if (tokens.current) return undefined;
  return tokens.arrive(async () => {
    if (tokens.current) return undefined;
    const answer = await exchange(options, "POST", "/api/session", {});
    return tokens.current ? undefined : answer;
  }, world.navigator?.locks);
}

/** A ticket for a stream, or null. */
async function ticket(options, path) {
  if (options.tokens.isDue) await exchange(options, "GET", "/api/session");
  const { status, body } = await ask(options, "POST", "/api/session/ticket", { path });
  return status === 201 ? body.ticket : null;
}

/** Asks once. A token that comes with the answer is kept; one that is refused is not. @param {Options} options */
async function exchange({ base = "", tokens, world = globalThis }, method, path, body, headers = {}) {
  const token = tokens?.current;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), ANSWER_MS);
  try {
    const type = body && { "Content-Type": "application/json" };
    const bearer = token && { Authorization: `Bearer ${token}` };
    const response = await world.fetch(base + path, {
      method,
      headers: { ...type, ...bearer, ...headers },
      body: body && JSON.stringify(body),
      credentials: tokens ? "omit" : base ? "include" : "same-origin",
      signal: stop.signal,
    });
    const wait = retryAfter(response.headers.get("Retry-After"));
    const answer = { status: response.status, body: parsed(await response.text()), wait };
    if (answer.status === 401) tokens?.drop(token);
    if (answer.body.token) tokens?.keep(answer.body);
    return answer;
  } catch {
    return { status: 0, body: {}, wait: null };
  } finally {
    clearTimeout(timer);
  }
}

/** @param {Record<string, any>} fields */
function query(fields) {
  return new URLSearchParams(fields);
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
