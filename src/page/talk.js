/** One conversation: the messages, whom they are with, who has read them, and who is writing. */

import { avatar } from "./avatar.js";
import { Conversation } from "./conversation.js";
import { fromTemplate, make } from "./dom.js";
import { LeftOff } from "./leftoff.js";
import { changeOf } from "./phrases.js";
import { faceOf } from "./roomlist.js";
import { words } from "./words.js";

/** Looked at for so long, messages are read. */
const READ_MS = 300;
/** A mark that the server did not take is given again so much later. */
const AGAIN_MS = 3_000;

export class Talk {
  id;
  #root;
  #rooms;
  #room;
  #me;
  #handlers;
  #conversation;
  #left;
  #reading = null;
  #closed = new AbortController();

  /** @param {Element} pane @param {import("./rooms.js").Rooms} rooms @param {import("./maru.js").Room} room */
  constructor(pane, { id, rooms, room, me, onmembers, onread }) {
    this.id = id;
    this.#root = pane;
    this.#rooms = rooms;
    this.#room = room;
    this.#me = me;
    this.#handlers = { onread };
    const { read, unread, tip, kind } = this.#listed;
    this.#left = new LeftOff(unread > 0 ? read : null);
    pane.replaceChildren(fromTemplate("talk"));
    this.#find(".members-of").hidden = kind !== "group";
    this.#find(".talk").classList.toggle("two", kind === "direct");
    this.#find(".members-of").addEventListener("click", onmembers);
    const title = rooms.title(this.#listed);
    this.#conversation = new Conversation(pane, {
      room,
      key: id,
      beginning: kind === "group" ? words("beganGroup") : words("beganWith", { name: title }),
      hint: () => words("compose"),
      invitation: () => this.#invitation(),
      tell: (event) => (kind === "group" ? changeOf(event, me.id) : null),
      adorn: (rows) => this.#adorn(rows),
      onlook: () => this.#look(),
    });
    this.#conversation.start(tip);
    this.#conversation.become(me);
    this.#conversation.begin();
    document.addEventListener("visibilitychange", () => this.#turn(), { signal: this.#closed.signal });
    this.update();
  }

  focus() {
    if (matchMedia("(hover: hover)").matches) this.#find("textarea").focus();
    else this.#find("h1").focus();
  }

  become(me) {
    this.#me = me;
    this.#conversation.become(me);
  }

  event(event, isNews) {
    this.#left.event(event, event.user.id === this.#me.id, document.hidden);
    this.#conversation.event(event, isNews);
    this.update();
  }

  /** Something is missing: what is shown is asked for anew. */
  reload() {
    this.#conversation.reset(this.#listed.tip);
    this.update();
  }

  /** Who is here, who writes and who has read may have changed. */
  update() {
    const room = this.#listed;
    if (!room) return;
    const others = this.#rooms.others(room);
    const online = others.filter((member) => member.online).length;
    const isGroup = room.kind === "group";
    this.#find("h1").textContent = this.#rooms.title(room);
    this.#find("header .face").replaceWith(faceOf(others, online > 0));
    const counts = { n: room.members.length, online: online + 1 };
    const alone = online ? words("online") : words("offlineNow");
    this.#find(".sub").textContent = isGroup ? words("onlineOf", counts) : alone;
    this.#conversation.showTyping(this.#rooms.typists(this.id, Date.now()));
    this.#conversation.draw();
    this.#look();
  }

  close() {
    this.#closed.abort();
    this.#conversation.close();
    clearTimeout(this.#reading);
  }

  get #listed() {
    return this.#rooms.get(this.id);
  }

  /** Away and back again: what comes meanwhile is new. */
  #turn() {
    if (document.hidden && this.#listed?.unread === 0) this.#left.forget();
    this.#look();
  }

  #look() {
    const room = this.#listed;
    const seen = this.#conversation?.seen ?? 0;
    if (document.hidden || this.#reading || !this.#conversation?.isAtEnd) return;
    if (!room || (seen <= room.read && room.unread === 0)) return;
    this.#reading = setTimeout(async () => {
      const upTo = this.#conversation.seen;
      try {
        await this.#room.read(upTo);
        this.#handlers.onread(upTo);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
      this.#reading = null;
      if (!this.#closed.signal.aborted) this.#look();
    }, READ_MS);
  }

  #adorn(rows) {
    const room = this.#listed;
    if (!room) return rows;
    const seen = this.#seen(rows, room);
    const line = seen && { kind: "seen", key: "seen", look: seen.text, text: seen.text };
    return this.#left.adorn(line ? rows.toSpliced(seen.at + 1, 0, line) : rows);
  }

  /** Beneath the last of my messages that others have read, unless they have answered. */
  #seen(rows, room) {
    for (let at = rows.length - 1; at >= 0; at--) {
      const { kind, mine, entry } = rows[at];
      if (kind !== "message") continue;
      if (!mine) return null;
      const others = this.#rooms.others(room);
      const readers = others.filter(({ read }) => read >= entry.seq).map(({ name }) => name);
      if (readers.length === 0) continue;
      if (room.kind === "direct") return { at, text: words("seen") };
      if (readers.length === others.length) return { at, text: words("seenByAll") };
      return { at, text: words("seenBy", { names: readers.join(", ") }) };
    }
    return null;
  }

  #invitation() {
    const room = this.#listed;
    const others = this.#rooms.others(room);
    const kind = room.kind === "group" ? "sayHelloAll" : "sayHello";
    return [
      avatar(others[0]?.id ?? this.#me.id),
      make("h2", { text: words(kind, { name: this.#rooms.title(room) }) }),
      make("p", { text: words(`${kind}Text`) }),
    ];
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }
}
