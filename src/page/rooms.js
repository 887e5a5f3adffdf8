/**
 * My rooms with members, as the list shows them: what the server listed, changed by what the inbox tells. No DOM,
 * no network and no clock: values in, values out.
 *
 * @typedef {{id: string, name: string, kind: string, role: string, read: number, online: boolean}} Member
 * @typedef {object} Listed
 * @property {string} id
 * @property {"direct"|"group"} kind
 * @property {string|null} name
 * @property {Member[]} members
 * @property {object|null} last  the last event, as the list shows it
 * @property {string} tip  a cursor
 * @property {number} read  up to where I have read
 * @property {number} unread  others' messages after that
 */

import { parseCursor } from "./maru.js";
import { Typists } from "./typing.js";
import { words } from "./words.js";

/** The server counts no further. */
export const MOST_UNREAD = 100;
/** Names in the title of a group that has none. */
const NAMES = 3;

export class Rooms {
  #me = "";
  #rooms = new Map();
  /** Events heard while something is being asked for, whose answer may be older than they are. */
  #heard = null;
  #asking = 0;

  set me(user) {
    this.#me = user.id;
  }

  get(id) {
    return this.#rooms.get(id);
  }

  /** What the list shows, newest activity first: an empty room of two only to who has it open. */
  list(open) {
    const shown = [...this.#rooms.values()].filter(({ id, kind, last }) => {
      return last && (kind === "group" || last.type !== "join" || id === open);
    });
    return shown.sort((a, b) => b.last.ts - a.last.ts || (a.id < b.id ? 1 : -1));
  }

  /** Groups with these letters in their title. */
  groups(q) {
    const part = q.normalize("NFKC").toLowerCase();
    return [...this.#rooms.values()].filter((room) => {
      return room.kind === "group" && this.title(room).normalize("NFKC").toLowerCase().includes(part);
    });
  }

  get unread() {
    return [...this.#rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  }

  /** Take the server's answer, and what was heard while it was on its way. */
  async ask(asking) {
    this.#asking++;
    this.#heard ??= [];
    try {
      return await asking();
    } finally {
      if (--this.#asking === 0) this.#heard = null;
    }
  }

  /** Instead of all that was known. @param {Listed[]} rooms */
  replace(rooms) {
    this.#rooms.clear();
    for (const room of rooms) this.put(room);
  }

  /** @param {Partial<Listed>} room */
  put(room) {
    const known = this.#rooms.get(room.id);
    const entry = {
      last: null, typing: new Typists(), tip: "1-0", read: 0, unread: 0, ...known, ...room,
      members: room.members.map((member) => ({ ...member })),
    };
    this.#rooms.set(room.id, entry);
    for (const event of this.#heard?.filter((heard) => heard.room === room.id) ?? []) {
      this.#apply(entry, event);
      if (!entry.last || event.seq > entry.last.seq) entry.last = preview(entry.last, event);
    }
    return entry;
  }

  drop(id) {
    this.#rooms.delete(id);
  }

  /** @returns {boolean} whether its room is known; otherwise it has to be asked for */
  take(event) {
    this.#heard?.push(event);
    const room = this.#rooms.get(event.room);
    if (room) this.#apply(room, event);
    return room !== undefined || this.#isMyLeaving(event);
  }

  /** @returns {boolean} whether the number of unread messages is certain; otherwise it has to be asked for */
  read({ room: id, user, seq }) {
    const room = this.#rooms.get(id);
    const member = room?.members.find((one) => one.id === user);
    if (member) member.read = Math.max(member.read, seq);
    if (!room || user !== this.#me || seq <= room.read) return true;
    room.read = seq;
    const isAll = seq >= parseCursor(room.tip).seq;
    if (isAll || room.unread === 0) room.unread = 0;
    return isAll;
  }

  presence({ joined = [], left = [] }) {
    for (const room of this.#rooms.values()) {
      for (const member of room.members) {
        if (joined.some(({ id }) => id === member.id)) member.online = true;
        if (left.some(({ id }) => id === member.id)) member.online = false;
      }
    }
  }

  typing({ room, user }, now) {
    if (user.id !== this.#me) this.#rooms.get(room)?.typing.heard(user, now);
  }

  /** Who is writing in a room now, by name. */
  typists(id, now) {
    return this.#rooms.get(id)?.typing.names(now) ?? [];
  }

  others(room) {
    return room.members.filter(({ id }) => id !== this.#me);
  }

  /** What a room is called: a group by its name, any other by who else is in it. */
  title(room) {
    if (room.name) return room.name;
    const names = this.others(room).map(({ name }) => name);
    if (names.length === 0) return words("alone");
    const more = names.length - NAMES;
    return names.slice(0, NAMES).join(", ") + (more > 0 ? ` ${words("more", { n: more })}` : "");
  }

  #isMyLeaving({ type, user }) {
    return type === "leave" && user.id === this.#me;
  }

  #apply(room, event) {
    const [{ epoch, seq }, tip] = [event, parseCursor(room.tip)];
    if (epoch < tip.epoch || (epoch === tip.epoch && seq <= tip.seq)) return;
    room.tip = `${epoch}-${seq}`;
    if (this.#isMyLeaving(event)) return this.#rooms.delete(room.id);
    const isMine = event.user.id === this.#me;
    const member = room.members.find(({ id }) => id === event.user.id);
    if (member) member.name = event.user.name;
    this.#change(room, event, isMine, member);
    room.last = preview(room.last, event);
  }

  #change(room, event, isMine, member) {
    const { type, seq, user, target } = event;
    if (type === "message") {
      room.typing.stopped(user.id);
      if (member) member.read = seq;
      if (isMine) room.read = seq;
      room.unread = isMine ? 0 : Math.min(room.unread + 1, MOST_UNREAD);
    } else if (type === "delete" && !isMine && target > room.read && room.unread < MOST_UNREAD) {
      room.unread = Math.max(room.unread - 1, 0);
    } else if (type === "join" && !member) {
      room.members.push({ ...user, role: "member", read: seq - 1, online: !event.by });
    } else if (type === "leave") {
      room.members = room.members.filter(({ id }) => id !== user.id);
    }
  }
}

/** What stands in the list after an event: an edit or a deletion changes the line, if it is about it. */
function preview(last, event) {
  if (event.type !== "edit" && event.type !== "delete") return event;
  if (last?.type !== "message" || last.seq !== event.target) return last && { ...last, ts: event.ts };
  if (event.type === "delete") return { ...last, text: "", status: "deleted", ts: event.ts };
  return event.status === "deleted" ? last : { ...last, text: event.text, ts: event.ts };
}
