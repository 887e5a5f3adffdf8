/**
 * The messages of one room on the page, whatever brings them: the rows, what lies above and below them, what is
 * being sent, and where one writes. What a page adds comes by its settings.
 *
 * @typedef {object} Settings
 * @property {import("./maru.js").Room} room  what is asked for history and told what to say
 * @property {string} key  under which unsent messages are kept
 * @property {string} beginning  what stands above the first message
 * @property {(me: object) => string} hint  what stands where one writes
 * @property {() => Node[]} invitation  what stands where nobody has spoken yet
 * @property {(event: object) => string|null} [tell]  a quiet line for somebody who came or left
 * @property {(rows: object[]) => object[]} [adorn]  the rows as the page shows them
 * @property {() => void} [onlook]  the view, or what is in it, has changed
 */

import { Composer } from "./composer.js";
import { make } from "./dom.js";
import { MessageList } from "./list.js";
import { formatCursor, newId, parseCursor } from "./maru.js";
import { maySendAgain, Outbox } from "./outbox.js";
import { Timeline } from "./timeline.js";
import { tellTyping, typingOf } from "./typing.js";
import { words } from "./words.js";

/** Rows on the page; further ones come from history when one goes there. */
const MOST_ROWS = 1_000;
/** Events asked for at once. */
const PAGE = 50;
/** Pixels from either end at which more is asked for. */
const AHEAD = 800;
/** New messages kept for screen readers. */
const ANNOUNCED = 5;

export class Conversation {
  #root;
  #settings;
  #room;
  #me = null;
  #outbox;
  #timeline;
  #list;
  #composer;
  #newest;
  #announcer;
  #typing;

  /** Unsent messages that wait until it is known who I am; what stops those under way. */
  #kept = [];
  #sending = new Map();

  /** What lies above the rows: more, loading, failed, or beginning. */
  #older = "more";
  #before = null;
  /** Reading far back, the newest rows are let go; new events are then only counted. */
  #detached = false;
  #after = null;
  #loadingNewer = false;
  /** The newest seq that the stream has given, shown or not. */
  #seen = 0;
  #start = null;
  #begun = false;
  #fresh = 0;

  /** @param {Element} root @param {Settings} settings */
  constructor(root, settings) {
    this.#root = root;
    this.#settings = settings;
    this.#room = settings.room;
    this.#outbox = new Outbox(settings.key, () => localStorage);
    this.#timeline = new Timeline(() => this.#list.draw(), settings.tell);
    this.#list = new MessageList(this.#find(".scroller"), () => this.#rows(), {
      onscroll: () => this.#scrolled(),
      onedit: ({ seq, text }) => this.#composer.edit(seq, text),
      ondelete: ({ seq }) => this.#room.remove(seq).catch((error) => this.#composer.complain(error)),
      onretry: (echo) => this.#sayAgain(echo),
      ondiscard: (echo) => this.#discard(echo),
      onload: (gap) => this.#loadGap(gap),
      ondismiss: (gap) => this.#timeline.drop(gap),
      onagain: () => this.#loadOlder(),
    });
    this.#composer = new Composer(this.#find(".composer"), {
      onsend: (text) => this.#say(text),
      onedit: (seq, text) => this.#room.edit(seq, text),
      onrecall: () => this.#recall(),
      onwrite: () => tellTyping(this.#room),
    });
    this.#newest = this.#find(".newest");
    this.#announcer = this.#find(".announcer");
    this.#typing = this.#find(".typing");
    this.#newest.addEventListener("click", () => this.#goToNewest());
    this.#remember();
    // In a frame it would take the focus away from the page around it.
    if (window === top && matchMedia("(hover: hover)").matches) this.#find("textarea").focus();
  }

  /** All that there was at first has been given; what comes now is new. */
  get hasBegun() {
    return this.#begun;
  }

  /** Whether the newest that there is can be seen. */
  get isAtEnd() {
    return this.#begun && this.#list.isAtEnd && !this.#detached;
  }

  /** The newest seq that there is. */
  get seen() {
    return this.#seen;
  }

  /** Somebody is here: me. What waited for that goes out. */
  become(user) {
    this.#me = user;
    this.#timeline.me = user;
    this.#composer.setHint(this.#settings.hint(user));
    for (const message of this.#kept.splice(0)) this.#send(message);
  }

  /** Events will be given from behind this cursor on; earlier ones are history. */
  start(cursor) {
    if (this.#start !== null) return;
    this.#start = parseCursor(cursor);
    this.#seen = this.#start.seq;
    if (this.#start.seq === 0) this.#above("beginning");
  }

  /** All that there was to give at first has been given. */
  begin() {
    this.#begun = true;
    this.draw();
  }

  draw() {
    this.#list.draw();
  }

  /** @param {string[]} names  who else is writing now */
  showTyping(names) {
    this.#typing.textContent = typingOf(names);
  }

  /** It leaves the page; what is being sent goes on. */
  close() {
    this.#list.close();
  }

  /** @param {boolean} isNews  it was said just now */
  event(event, isNews) {
    this.#seen = event.seq;
    const mine = event.user?.id === this.#me.id;
    if (event.client_id && mine) this.#outbox.remove(event.client_id);
    if (event.type === "message" && !mine) this.#announce(event, isNews);
    if (this.#timeline.size >= MOST_ROWS && !this.#list.isAtEnd) this.#detach();
    if (this.#detached && event.type === "message") this.#timeline.dropEcho(event.client_id);
    else this.#timeline.put(event);
    if (this.#list.isAtEnd && this.#timeline.keepNewest(MOST_ROWS)) this.#moreAbove(null);
  }

  /** A quiet line. */
  notice(text) {
    if (!this.#detached) this.#timeline.putNotice(text);
  }

  /** Events are missing, up to and with the cursor `to`. */
  gap(to) {
    this.#start = parseCursor(to);
    this.#seen = this.#start.seq;
    const shown = this.#timeline.newest?.seq ?? 0;
    if (shown && this.#seen >= shown && !this.#detached) return this.#timeline.putGap(shown, to);
    // The log went back: it is another one than was shown, and begins anew on the page too.
    if (this.#seen < shown) {
      this.#timeline.clear();
      this.#detached = false;
    }
    this.#moreAbove(null);
  }

  /** Show what history has up to this cursor, instead of what is shown. */
  reset(cursor) {
    this.#timeline.clear();
    this.#detached = false;
    this.#start = parseCursor(cursor);
    this.#seen = this.#start.seq;
    this.#moreAbove(null);
  }

  #announce({ user, text }, isNews) {
    if (!this.#list.isAtEnd) this.#fresh++;
    if (!isNews) return;
    this.#announcer.append(make("p", { text: `${user.name}: ${text}` }));
    while (this.#announcer.childElementCount > ANNOUNCED) this.#announcer.firstElementChild.remove();
  }

  #say(text) {
    const message = { clientId: newId(), text, ts: Date.now(), user: null };
    this.#outbox.put(message);
    this.#timeline.putEcho({ ...message, status: "sending" });
    if (this.#me) this.#send(message);
    else this.#kept.push(message);
    this.#goToNewest();
  }

  /** What an earlier visit could not send goes out as soon as I am someone. */
  #remember() {
    for (const message of this.#outbox.all()) {
      this.#timeline.putEcho({ ...message, status: "waiting" });
      if (message.refused) this.#timeline.setEcho(message.clientId, "failed", message.refused);
      else this.#kept.push(message);
    }
  }

  async #send(kept) {
    const { clientId, text } = kept;
    if (!this.#timeline.echo(clientId)) return;
    if (!maySendAgain(kept, this.#me.id, Date.now())) {
      return this.#timeline.setEcho(clientId, "failed", words("oldUnsent"));
    }
    const message = { ...kept, user: this.#me.id };
    const stop = new AbortController();
    this.#outbox.put(message);
    this.#sending.set(clientId, stop);
    const waits = () => this.#timeline.setEcho(clientId, "waiting");
    try {
      await this.#room.send(text, { clientId, signal: stop.signal, onretry: waits });
      this.#outbox.remove(clientId);
      this.#timeline.setEcho(clientId, "sent");
    } catch (error) {
      if (stop.signal.aborted) return;
      this.#outbox.put({ ...message, refused: error.message });
      this.#timeline.setEcho(clientId, "failed", error.message);
    } finally {
      this.#sending.delete(clientId);
    }
  }

  #sayAgain(echo) {
    this.#discard(echo);
    this.#say(echo.text);
  }

  #discard({ clientId }) {
    this.#sending.get(clientId)?.abort();
    this.#outbox.remove(clientId);
    this.#timeline.dropEcho(clientId);
  }

  #recall() {
    const last = this.#timeline.myNewest;
    if (last) this.#composer.edit(last.seq, last.text);
    return last !== undefined;
  }

  #scrolled() {
    if (this.#list.isAtEnd && !this.#detached) this.#fresh = 0;
    this.#newest.hidden = this.#list.isAtEnd && !this.#detached;
    this.#newest.textContent = this.#fresh ? words("fresh", { n: this.#fresh }) : words("newest");
    if (this.#begun && this.#older === "more" && this.#list.above < AHEAD) this.#loadOlder();
    if (this.#detached && this.#list.below < AHEAD) this.#loadNewer();
    this.#settings.onlook?.();
  }

  async #loadOlder() {
    this.#above("loading");
    const { oldest } = this.#timeline;
    try {
      const before = this.#before ?? formatCursor(oldest ?? { ...this.#start, seq: this.#start.seq + 1 });
      const page = await this.#room.history({ before, limit: PAGE });
      // What was above may have been let go of meanwhile; then the page would not join on.
      if (this.#timeline.oldest !== oldest) return this.#moreAbove(null);
      this.#timeline.put(...page.events);
      if (!this.#list.isAtEnd && this.#timeline.keepOldest(MOST_ROWS)) this.#detach();
      this.#moreAbove(page.before);
      if (page.before === null) this.#above("beginning");
    } catch {
      this.#above("failed");
    }
  }

  async #loadNewer() {
    if (this.#loadingNewer) return;
    this.#loadingNewer = true;
    try {
      const { newest } = this.#timeline;
      const page = await this.#room.history({ after: this.#after ?? formatCursor(newest), limit: PAGE });
      if (this.#timeline.newest === newest) this.#timeline.put(...page.events);
      if (this.#timeline.keepNewest(MOST_ROWS)) this.#moreAbove(null);
      this.#after = page.after;
      if (page.after === null) this.#detached = !this.#reaches(page);
    } catch {
      // The next scroll asks again.
    }
    this.#loadingNewer = false;
  }

  async #goToNewest() {
    this.#list.goToEnd();
    this.#fresh = 0;
    while (this.#detached) {
      const page = await this.#room.history({ limit: PAGE }).catch(() => null);
      if (!page) return;
      this.#timeline.clear();
      this.#timeline.put(...page.events);
      this.#moreAbove(page.before);
      this.#detached = !this.#reaches(page);
    }
    this.#list.goToEnd();
  }

  async #loadGap(gap) {
    this.#timeline.setGap(gap, { status: "loading" });
    try {
      const { epoch, seq } = parseCursor(gap.to);
      const end = formatCursor({ epoch, seq: seq + 1 });
      const { events, before } = await this.#room.history({ before: end, limit: PAGE });
      const missing = events.filter((event) => event.seq > gap.seq);
      this.#timeline.put(...missing);
      const joined = missing.length < events.length;
      if (joined && missing.length) this.#timeline.drop(gap);
      else if (joined || before === null) this.#timeline.setGap(gap, { status: "lost" });
      else this.#timeline.setGap(gap, { status: "open", to: formatCursor({ ...events[0], seq: events[0].seq - 1 }) });
    } catch {
      this.#timeline.setGap(gap, { status: "open" });
    }
  }

  #detach() {
    this.#detached = true;
    this.#after = null;
  }

  #moreAbove(before) {
    this.#before = before;
    this.#above("more");
  }

  #above(older) {
    this.#older = older;
    this.#list.draw();
  }

  /** Whether a page of history ends where the stream is. */
  #reaches({ tip }) {
    return parseCursor(tip).seq >= this.#seen;
  }

  #rows() {
    const rows = this.#settings.adorn?.(this.#timeline.rows()) ?? this.#timeline.rows();
    if (!this.#begun) return rows;
    if (!this.#timeline.hasMessages && this.#older === "beginning") {
      return [{ kind: "empty", key: "empty", look: "", content: this.#settings.invitation }, ...rows];
    }
    const { beginning } = this.#settings;
    return [{ kind: "top", key: "top", look: this.#older, status: this.#older, beginning }, ...rows];
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }
}
