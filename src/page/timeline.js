/**
 * The part of a room's log that a page shows, as rows. No DOM and no clock: values in, values out.
 *
 * Entries are in the order of `seq`; quiet `notice`s (who came and went) and `gap`s take the `seq` of the
 * message before them. My own messages that are not in the log yet are echoes: they stand below everything
 * else, in the order in which I sent them, and become messages when the log has them.
 */

/** Messages of one person within this time are a group. */
const GROUP_MS = 5 * 60_000;
/** Edits and deletions are remembered for messages that are not here yet. */
const AMENDMENTS_KEPT = 1_000;
/** A notice says at most this many things. */
const NOTICE_TEXTS = 3;

export class Timeline {
  #entries = [];
  #echoes = [];
  #messages = new Map();
  #amendments = new Map();
  #me = { id: "", name: "" };
  #keys = 0;
  #onchange;
  #tell;

  /** @param {(event: object) => string|null} tell  a quiet line for somebody who came or left */
  constructor(onchange = () => {}, tell = () => null) {
    this.#onchange = onchange;
    this.#tell = tell;
  }

  get size() {
    return this.#entries.length;
  }

  get hasMessages() {
    return this.#entries.some((entry) => entry.kind === "message") || this.#echoes.length > 0;
  }

  /** The oldest and newest entry of the log that is shown, or undefined. */
  get oldest() {
    return this.#entries.find(isLogged);
  }

  get newest() {
    return this.#entries.findLast(isLogged);
  }

  /** Whose messages are my own. */
  set me(user) {
    this.#me = user;
    for (const echo of this.#echoes) this.#change(echo, { user });
  }

  echo(clientId) {
    return this.#echoes.find((echo) => echo.clientId === clientId);
  }

  /** My newest message that is still there, or undefined. */
  get myNewest() {
    return this.#entries.findLast(({ user, deleted }) => user?.id === this.#me.id && !deleted);
  }

  /** Take events, live, replayed or from history, in any order and any number of times. */
  put(...events) {
    for (const event of events) this.#put(event);
  }

  #put(event) {
    if (event.type === "edit" || event.type === "delete") return this.#amend(event);
    const known = this.#messages.get(event.seq);
    if (known?.id === event.id) return this.#refresh(known, event);
    if (known) this.drop(known);
    if (event.type !== "message") return this.#putChange(event);

    const echo = event.user.id === this.#me.id ? this.echo(event.client_id) : undefined;
    if (echo) this.dropEcho(echo.clientId);
    const entry = this.#entry("message", {
      ...event, day: dayOf(event.ts), edited: event.edited ?? 0, deleted: event.status === "deleted", amendedBy: 0,
    });
    if (echo) entry.key = echo.key;
    this.#log(entry);
    const amendment = this.#amendments.get(entry.seq);
    if (amendment) this.#apply(entry, amendment);
  }

  /** Of the members of a room. */
  #putChange(event) {
    const text = this.#tell(event);
    const { seq, epoch, id, ts } = event;
    if (text) this.#log(this.#entry("notice", { seq, epoch, id, ts, day: dayOf(ts), texts: [text] }));
  }

  #log(entry) {
    this.#insert(entry);
    this.#messages.set(entry.seq, entry);
  }

  /** My own words, before the log has them: sending, waiting, sent or failed. */
  putEcho({ clientId, text, ts, status }) {
    this.#echoes.push(this.#entry("echo", { clientId, user: this.#me, text, ts, status, why: "" }));
    this.#onchange();
  }

  setEcho(clientId, status, why = "") {
    const echo = this.echo(clientId);
    if (echo) this.#change(echo, { status, why });
  }

  dropEcho(clientId) {
    this.#echoes = this.#echoes.filter((echo) => echo.clientId !== clientId);
    this.#onchange();
  }

  /** Someone came or went. Notices in a row are one row. */
  putNotice(text) {
    const last = this.#entries.at(-1);
    if (last?.kind === "notice" && !isLogged(last)) this.#change(last, { texts: [...last.texts, text].slice(-NOTICE_TEXTS) });
    else this.#insert(this.#entry("notice", { seq: last?.seq ?? 0, texts: [text] }));
  }

  /** Events are missing behind `after` (a seq), up to and with the cursor `to`. */
  putGap(after, to) {
    this.#insert(this.#entry("gap", { seq: after, to, status: "open" }));
  }

  setGap(gap, changes) {
    this.#change(gap, changes);
  }

  drop(entry) {
    this.#cut(this.#entries.indexOf(entry), 1);
  }

  /** Everything but echoes away: the log that was shown is not the server's any more. */
  clear() {
    this.#entries = [];
    this.#messages.clear();
    this.#amendments.clear();
    this.#onchange();
  }

  /** Keep at most so many entries at one end. @returns {boolean} whether any went */
  keepNewest(most) {
    return this.#cut(0, this.#entries.length - most);
  }

  keepOldest(most) {
    return this.#cut(most, this.#entries.length - most);
  }

  /** From top to bottom. A row's `key` stays; its `look` changes when it has to be drawn again. */
  rows() {
    const rows = [];
    let before = null;
    let day = "";
    for (const entry of [...this.#entries, ...this.#echoes]) {
      // Only the log's own times make days: they never go back.
      if (entry.day && entry.day !== day) {
        day = entry.day;
        rows.push({ kind: "day", key: `d${day}`, look: "", ts: entry.ts });
        before = null;
      }
      const row = { kind: entry.kind, key: entry.key, entry, look: `${entry.version}` };
      if (entry.user) {
        row.mine = entry.kind === "echo" || entry.user.id === this.#me.id;
        row.first = !belongTogether(before, entry);
        row.look += `${row.first}${row.mine}${entry.kind}`;
      }
      rows.push(row);
      before = entry;
    }
    return rows;
  }

  #amend(event) {
    const known = this.#amendments.get(event.target);
    if (known && known.seq > event.seq) return;
    this.#amendments.delete(event.target);
    this.#amendments.set(event.target, event);
    if (this.#amendments.size > AMENDMENTS_KEPT) this.#amendments.delete(this.#amendments.keys().next().value);
    const entry = this.#messages.get(event.target);
    if (entry) this.#apply(entry, event);
  }

  #apply(entry, { type, seq, status, text, ts }) {
    if (entry.deleted || seq <= entry.amendedBy) return;
    entry.amendedBy = seq;
    if (type === "delete") this.#change(entry, { deleted: true, text: "" });
    // An edit of a message deleted later is replayed without its text; the deletion follows.
    else if (status !== "deleted") this.#change(entry, { text, edited: ts });
  }

  /** History knows a message with its edits, the stream as it was written. */
  #refresh(entry, event) {
    if (entry.kind !== "message") return;
    if (event.status === "deleted") this.#apply(entry, { type: "delete", seq: Infinity });
    else if (event.edited > entry.edited) this.#change(entry, { text: event.text, edited: event.edited });
  }

  #entry(kind, fields) {
    return { ...fields, kind, key: ++this.#keys, version: 0 };
  }

  #insert(entry) {
    let at = this.#entries.length;
    while (at > 0 && this.#entries[at - 1].seq > entry.seq) at--;
    this.#entries.splice(at, 0, entry);
    this.#onchange();
  }

  #change(entry, changes) {
    Object.assign(entry, changes);
    entry.version++;
    this.#onchange();
  }

  #cut(from, count) {
    if (from < 0 || count <= 0) return false;
    this.#onchange();
    for (const entry of this.#entries.splice(from, count)) {
      if (isLogged(entry)) this.#messages.delete(entry.seq);
    }
    return true;
  }
}

/** Part of the log, and no line of the page's own. */
function isLogged(entry) {
  return entry.id !== undefined;
}

function belongTogether(before, entry) {
  if (!before?.user) return false;
  const { user } = before;
  return user.id === entry.user.id && user.name === entry.user.name && entry.ts - before.ts < GROUP_MS;
}

/** The reader's own calendar day, as a key. */
function dayOf(ts) {
  const date = new Date(ts);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}
