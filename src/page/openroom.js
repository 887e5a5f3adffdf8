/** An open room, on a page of its own or in a frame. */

import { avatar } from "./avatar.js";
import { Conversation } from "./conversation.js";
import { commandLine, copy, make } from "./dom.js";
import { LeftOff, rememberSeen, seenBefore } from "./leftoff.js";
import { connect, parseCursor, rename } from "./maru.js";
import { People } from "./people.js";
import { keep } from "./settings.js";
import { showState } from "./state.js";
import { wireSwitches } from "./switches.js";
import { Typists, TYPING_MS } from "./typing.js";
import { words } from "./words.js";

/** So long it is said that a link was copied. */
const COPIED_MS = 2_000;

/**
 * @param {import("./maru.js").Options} [options]  with `tokens` whoever comes is not who they are elsewhere on maru
 * @param {(user: object) => Promise} [onmessage]  to speak with somebody alone
 */
export function openRoom(slug, options = {}, onmessage = null) {
  document.title = `${slug} · maru`;
  const root = document.querySelector(".room");
  root.inert = false;
  new OpenRoom(root, slug, options, onmessage);
  return root;
}

class OpenRoom {
  #root;
  #slug;
  #options;
  #connection;
  #conversation;
  #people;
  #me = null;
  #left = null;
  #seen = null;
  #typists = new Typists();

  constructor(root, slug, options, onmessage) {
    this.#root = root;
    this.#slug = slug;
    this.#options = options;
    root.querySelector(".name").textContent = slug;
    showState(root, "connecting");
    this.#connection = this.#connect();
    this.#conversation = new Conversation(root, {
      room: this.#connection,
      key: options.tokens ? `token:${slug}` : slug,
      beginning: words("beginning", { room: slug }),
      hint: ({ name }) => words("composeAs", { name }),
      invitation: () => this.#invitation(),
      adorn: (rows) => this.#left?.adorn(rows) ?? rows,
      onlook: () => this.#look(),
    });
    this.#people = new People(root, {
      onlist: () => this.#connection.members(),
      onrename: (name) => this.#rename(name),
      onmessage,
    });
    root.querySelector(".copy-link").addEventListener("click", () => this.#copyLink());
    document.addEventListener("visibilitychange", () => this.#look());
    wireSwitches(root);
  }

  #connect() {
    const handlers = {
      onhello: (hello) => this.#greet(hello),
      onlive: () => this.#conversation.begin(),
      onevent: (event) => this.#event(event),
      ongap: ({ to }) => this.#conversation.gap(to),
      onpresence: (presence) => this.#presence(presence),
      ontyping: ({ user }) => this.#typing(user),
      onstate: (state) => showState(this.#root, state),
    };
    return connect(this.#slug, handlers, this.#options);
  }

  #greet({ user, cursor, tip, online }) {
    this.#left ??= this.#leftOff(tip);
    this.#conversation.start(cursor);
    this.#become(user);
    this.#people.greet(online);
  }

  /** By what this browser has seen of the room before. */
  #leftOff(tip) {
    const [seen, end] = [parseCursor(seenBefore(this.#slug)), parseCursor(tip)];
    return new LeftOff(seen?.epoch === end.epoch && seen.seq < end.seq ? seen.seq : null);
  }

  #become(user) {
    this.#me = user;
    this.#conversation.become(user);
    this.#people.setMe(user);
  }

  async #rename(name) {
    this.#become(await rename(name, this.#options));
    keep("named", this.#me.id);
  }

  #event(event) {
    this.#left.event(event, event.user?.id === this.#me.id, document.hidden && this.#conversation.hasBegun);
    this.#conversation.event(event, this.#connection.state === "live");
    if (!event.user) return;
    this.#people.heard(event.user);
    this.#typists.stopped(event.user.id);
    this.#showTyping();
  }

  #presence(presence) {
    const { joined = [], left = [], text } = presence;
    this.#people.change(presence);
    if ([...joined, ...left].some(({ id }) => id !== this.#me.id)) this.#conversation.notice(text);
    for (const { id } of left) this.#typists.stopped(id);
    this.#showTyping();
  }

  #typing(user) {
    if (user.id === this.#me.id) return;
    this.#typists.heard(user, Date.now());
    this.#showTyping();
    setTimeout(() => this.#showTyping(), TYPING_MS + 100);
  }

  #showTyping() {
    this.#conversation.showTyping(this.#typists.names(Date.now()));
  }

  /** What is seen is not new the next time. */
  #look() {
    if (document.hidden || !this.#conversation?.isAtEnd) return;
    const { cursor } = this.#connection;
    if (cursor !== this.#seen) rememberSeen(this.#slug, (this.#seen = cursor));
  }

  async #copyLink() {
    await copy(this.#address);
    const said = this.#root.querySelector(".copied");
    said.textContent = words("linkCopied");
    setTimeout(() => (said.textContent = ""), COPIED_MS);
  }

  /** An empty room's: how to bring somebody in. */
  #invitation() {
    return [
      avatar(this.#me.id),
      make("h2", { text: words("emptyTitle") }),
      make("p", { text: words("emptyText") }),
      commandLine(this.#address),
      commandLine(`curl -d hello ${this.#address}`),
    ];
  }

  get #address() {
    return `${location.origin}/r/${encodeURIComponent(this.#slug)}`;
  }
}
