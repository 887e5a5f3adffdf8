/**
 * The rows of a timeline as elements: drawn once a frame at most, and only where they changed. What the
 * reader looks at stays where it is, whatever comes, goes or grows above it.
 */

import { avatar } from "./avatar.js";
import { fromTemplate, make } from "./dom.js";
import { foldOf, textOf } from "./text.js";
import { dayOf, timeOf, words } from "./words.js";

/** Within this many pixels of the end one reads along, and stays at the end. */
const NEAR_END = 60;
/** So long a second click on *delete* is a yes. */
const SURE_MS = 5_000;

export class MessageList {
  #scroller;
  #list;
  #rows;
  #handlers;
  #drawn = new Map();
  #frame = 0;
  #isClosed = false;
  #atEnd = true;

  /** @param {Element} scroller @param {() => object[]} rows  what to show, asked for once a frame */
  constructor(scroller, rows, handlers) {
    this.#scroller = scroller;
    this.#list = scroller.querySelector(".messages");
    this.#rows = rows;
    this.#handlers = handlers;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.#walk(event));
    new ResizeObserver(() => this.#atEnd && this.#toEnd()).observe(scroller);
  }

  get isAtEnd() {
    return this.#atEnd;
  }

  /** Pixels above what is seen, and below. */
  get above() {
    return this.#scroller.scrollTop;
  }

  get below() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  /** Draws no more: what it drew has left the page, and answers may still come. */
  close() {
    this.#isClosed = true;
    cancelAnimationFrame(this.#frame);
  }

  draw() {
    if (this.#isClosed) return;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#update();
    });
  }

  goToEnd() {
    this.#atEnd = true;
    this.draw();
  }

  #update() {
    const anchor = this.#atEnd ? null : this.#anchor();
    const rows = this.#rows();
    const keys = new Set(rows.map((row) => row.key));
    for (const [key, { element }] of this.#drawn) {
      if (keys.has(key)) continue;
      element.remove();
      this.#drawn.delete(key);
    }
    let next = this.#list.firstElementChild;
    for (const row of rows) {
      const element = this.#element(row);
      if (element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(element, next);
    }
    if (this.#atEnd) this.#toEnd();
    else if (anchor?.element.isConnected) {
      this.#scroller.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    }
    this.#handlers.onscroll();
  }

  /** The row's element, drawn again when it looks different. */
  #element(row) {
    const drawn = this.#drawn.get(row.key);
    if (drawn?.look === row.look) return drawn.element;
    const element = drawn?.element ?? make("li", { tabindex: -1 });
    const focused = element.contains(document.activeElement);
    DRAW[row.kind](element, row, this.#handlers);
    if (focused) element.focus({ preventScroll: true });
    this.#drawn.set(row.key, { element, look: row.look });
    return element;
  }

  /** The first row in sight, and where it is. */
  #anchor() {
    const { top } = this.#scroller.getBoundingClientRect();
    for (const element of this.#list.children) {
      const box = element.getBoundingClientRect();
      if (box.bottom > top && element.matches(".message, .notice")) return { element, top: box.top };
    }
    return null;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled() {
    this.#atEnd = this.below < NEAR_END;
    this.#handlers.onscroll();
  }

  /** Up and down walk from message to message; what can be done with a message is a Tab away. */
  #walk(event) {
    const step = { ArrowUp: "previousElementSibling", ArrowDown: "nextElementSibling" }[event.key];
    const row = event.target.closest("li");
    if (!step || (!row && event.key === "ArrowDown")) return;
    let next = row ? row[step] : this.#list.lastElementChild;
    while (next && !next.classList.contains("message")) next = next[step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

const DRAW = {
  message: drawMessage,
  echo: drawMessage,

  day: (element, { ts }) => drawLine(element, "day", dayOf(ts)),
  notice: (element, { entry }) => drawLine(element, "notice", entry.texts.join(" · ")),
  seen: (element, { text }) => drawLine(element, "seen", text),
  fresh: (element, { text }) => drawLine(element, "fresh", text),

  gap(element, { entry }, { onload, ondismiss }) {
    element.className = "gap";
    const text = words({ open: "gap", loading: "loading", lost: "gapLost" }[entry.status]);
    element.replaceChildren(make("span", { text }));
    if (entry.status === "open") element.append(button("load", () => onload(entry)));
    if (entry.status !== "loading") element.append(button("dismiss", () => ondismiss(entry)));
  },

  top(element, { status, beginning }, { onagain }) {
    element.className = `top ${status}`;
    const text = status === "beginning" ? beginning : words(status === "failed" ? "notLoaded" : "loading");
    element.replaceChildren(make("span", { text, dir: "auto" }));
    if (status === "failed") element.append(button("again", onagain));
  },

  empty(element, { content }) {
    element.className = "empty";
    element.replaceChildren(...content());
  },
};

function drawLine(element, kind, text) {
  element.className = kind;
  element.replaceChildren(make("span", { text, dir: "auto" }));
}

function drawMessage(element, row, handlers) {
  const { entry, mine, first } = row;
  element.className = mine ? "message mine" : "message";
  element.classList.toggle("first", first);
  if (entry.seq) element.dataset.seq = entry.seq;
  if (entry.kind === "echo") element.dataset.status = entry.status;
  else delete element.dataset.status;
  element.replaceChildren(...head(entry, mine, first), body(element, row, handlers), ...foot(entry, handlers));
}

function head(entry, mine, first) {
  if (!first) return [];
  const time = make("time", { datetime: new Date(entry.ts).toISOString(), text: timeOf(entry.ts) });
  const name = make("span", { class: mine ? "name unseen" : "name", text: entry.user.name, dir: "auto" });
  const line = make("div", { class: "head" }, name, time);
  return mine ? [line] : [avatar(entry.user.id), line];
}

function body(element, { entry, mine }, handlers) {
  const bubble = make("div", { class: entry.deleted ? "bubble deleted" : "bubble" });
  const line = make("div", { class: "body" }, bubble);
  if (entry.deleted) bubble.append(words("deleted"));
  else bubble.append(textOf(entry.text), foldOf(entry.text, element));
  if (entry.edited && !entry.deleted) bubble.append(" ", make("span", { class: "edited", text: words("edited") }));
  if (mine && entry.seq && !entry.deleted) line.append(tools(entry, handlers));
  return line;
}

/** Deleting asks once more, in its own place. */
function tools(entry, { onedit, ondelete }) {
  const bar = fromTemplate("tools").firstElementChild;
  const [edit, remove, sure] = bar.children;
  const ask = (asking) => {
    edit.hidden = remove.hidden = asking;
    sure.hidden = !asking;
  };
  edit.onclick = () => onedit(entry);
  remove.onclick = () => {
    ask(true);
    sure.focus();
    setTimeout(ask, SURE_MS, false);
  };
  sure.onclick = () => ondelete(entry);
  return bar;
}

/** How a message of mine that is not in the log yet is getting on, once there is a need to say. */
function foot(entry, { onretry, ondiscard }) {
  if (entry.kind !== "echo") return [];
  if (entry.status === "waiting") return [make("div", { class: "foot", text: words("unsent") })];
  if (entry.status !== "failed") return [];
  const why = make("span", { text: words("failed", { why: entry.why }) });
  const buttons = [button("retry", () => onretry(entry)), button("discard", () => ondiscard(entry))];
  return [make("div", { class: "foot" }, why, ...buttons)];
}

function button(word, onclick) {
  return make("button", { class: "quiet", type: "button", text: words(word), onclick });
}
