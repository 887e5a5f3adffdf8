/** `/r/{slug}`: brings the stream, the timeline and what one sees of it together. */

import { avatar } from "./avatar.js";
import { Composer } from "./composer.js";
import { commandLine, fromTemplate, make } from "./dom.js";
import { MessageList } from "./list.js";
import { connect, formatCursor, newId, parseCursor, rename } from "./maru.js";
import { maySendAgain, Outbox } from "./outbox.js";
import { People } from "./people.js";
import { Timeline } from "./timeline.js";
import { words } from "./words.js";

/** Rows on the page; further ones come from history when one goes there. */
const MOST_ROWS = 1_000;
/** Events asked for at once. */
const PAGE = 50;
/** Pixels from either end at which more is asked for. */
const AHEAD = 800;
/** New messages kept for screen readers. */
const ANNOUNCED = 5;
/** A connection lost for longer is worth a sentence. */
const WORTH_SAYING_MS = 2_000;

export function openRoom(slug) {
  document.title = `${slug} · maru`;
  document.body.append(fromTemplate("room"));
  new Room(slug, document.querySelector(".room"));
}

class Room {
  #slug;
  #root;
  #me = null;
  #connection;
  #outbox;
  #timeline = new Timeline(() => this.#list.draw());
  #list;
  #composer;
  #people;

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
  #lostFor = null;

  constructor(slug, root) {
    this.#slug = slug;
    this.#root = root;
    this.#find(".name").textContent = slug;
    this.#outbox = new Outbox(slug, () => localStorage);
    this.#list = new MessageList(this.#find(".scroller"), () => this.#rows(), {
      onscroll: () => this.#scrolled(),
      onedit: ({ seq, text }) => this.#composer.edit(seq, text),
      ondelete: ({ seq }) => this.#connection.remove(seq).catch((error) => this.#composer.complain(error)),
      onretry: (echo) => this.#sayAgain(echo),
      ondiscard: (echo) => this.#discard(echo),
      onload: (gap) => this.#loadGap(gap),
      ondismiss: (gap) => this.#timeline.drop(gap),
      onagain: () => this.#loadOlder(),
    });
    this.#composer = new Composer(this.#find(".composer"), {
      onsend: (text) => this.#say(text),
      onedit: (seq, text) => this.#connection.edit(seq, text),
      onrecall: () => this.#recall(),
    });
    this.#people = new People(root, {
      onlist: () => this.#connection.members(),
      onrename: async (name) => this.#become(await rename(name)),
    });
    this.#find(".newest").addEventListener("click", () => this.#goToNewest());
    this.#remember();
    this.#state("connecting");
    this.#connection = connect(slug, {
      onevent: (event) => this.#event(event),
      onhello: (hello) => this.#hello(hello),
      onlive: () => this.#live(),
      ongap: (gap) => this.#gap(gap),
      onpresence: (presence) => this.#presence(presence),
      onstate: (state) => this.#state(state),
    });
    if (matchMedia("(hover: hover)").matches) this.#find("textarea").focus();
  }

  #hello({ user, cursor, online }) {
    this.#become(user);
    this.#people.greet(online);
    if (this.#start === null) {
      this.#start = parseCursor(cursor);
      if (this.#start.seq === 0) this.#above("beginning");
    }
    for (const message of this.#kept.splice(0)) this.#send(message);
  }

  #live() {
    this.#begun = true;
    this.#list.draw();
  }

  #event(event) {
    this.#seen = event.seq;
    const mine = event.user?.id === this.#me.id;
    if (event.client_id && mine) this.#outbox.remove(event.client_id);
    if (event.type === "message" && !mine) this.#announce(event);
    if (event.user) this.#people.heard(event.user);
    if (this.#timeline.size >= MOST_ROWS && !this.#list.isAtEnd) this.#detach();
    if (this.#detached && event.type === "message") this.#timeline.dropEcho(event.client_id);
    else this.#timeline.put(event);
    if (this.#list.isAtEnd && this.#timeline.keepNewest(MOST_ROWS)) this.#moreAbove(null);
  }

  #announce({ user, text }) {
    if (!this.#list.isAtEnd) this.#fresh++;
    if (this.#connection.state !== "live") return;
    const announcer = this.#find(".announcer");
    announcer.append(make("p", { text: `${user.name}: ${text}` }));
    while (announcer.childElementCount > ANNOUNCED) announcer.firstElementChild.remove();
  }

  #gap({ to }) {
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

  #presence(presence) {
    this.#people.change(presence);
    const others = [presence.joined, presence.left].flat().some((user) => user && user.id !== this.#me.id);
    if (others && !this.#detached) this.#timeline.putNotice(presence.text);
  }

  #state(state) {
    const lost = state === "waiting";
    const shown = lost && navigator.onLine === false ? "offline" : state;
    const connection = this.#find(".connection");
    connection.dataset.state = state;
    connection.querySelector(".label").textContent = words(shown);
    clearTimeout(this.#lostFor);
    if (!lost) this.#find(".kept").hidden = true;
    else this.#lostFor = setTimeout(() => (this.#find(".kept").hidden = false), WORTH_SAYING_MS);
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
      await this.#connection.send(text, { clientId, signal: stop.signal, onretry: waits });
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

  #become(user) {
    this.#me = user;
    this.#timeline.me = user;
    this.#composer.setName(user.name);
    this.#people.setMe(user);
  }

  #scrolled() {
    if (this.#list.isAtEnd && !this.#detached) this.#fresh = 0;
    const newest = this.#find(".newest");
    newest.hidden = this.#list.isAtEnd && !this.#detached;
    newest.textContent = this.#fresh ? words("fresh", { n: this.#fresh }) : words("newest");
    if (this.#begun && this.#older === "more" && this.#list.above < AHEAD) this.#loadOlder();
    if (this.#detached && this.#list.below < AHEAD) this.#loadNewer();
  }

  async #loadOlder() {
    this.#above("loading");
    const { oldest } = this.#timeline;
    try {
      const before = this.#before ?? formatCursor(oldest ?? { ...this.#start, seq: this.#start.seq + 1 });
      const page = await this.#connection.history({ before, limit: PAGE });
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
      const page = await this.#connection.history({ after: this.#after ?? formatCursor(newest), limit: PAGE });
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
      const page = await this.#connection.history({ limit: PAGE }).catch(() => null);
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
      const { events, before } = await this.#connection.history({ before: end, limit: PAGE });
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
    const rows = this.#timeline.rows();
    if (!this.#begun) return rows;
    if (!this.#timeline.hasMessages && this.#older === "beginning") {
      return [{ kind: "empty", key: "empty", look: "", content: () => this.#invitation() }, ...rows];
    }
    return [{ kind: "top", key: "top", look: this.#older, status: this.#older, room: this.#slug }, ...rows];
  }

  #invitation() {
    const address = location.origin + location.pathname;
    return [
      avatar(this.#me.id),
      make("h2", { text: words("emptyTitle") }),
      make("p", { text: words("emptyText") }),
      commandLine(address),
      commandLine(`curl -d hello ${address}`),
    ];
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }
}
