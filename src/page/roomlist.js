/** The list of conversations. */

import { avatar } from "./avatar.js";
import { make } from "./dom.js";
import { previewOf, whenOf } from "./phrases.js";
import { MOST_UNREAD } from "./rooms.js";
import { words } from "./words.js";

export class RoomList {
  #root;
  #list;
  #end;
  #rooms;
  #myId = "";
  #drawn = new Map();
  #frame = 0;
  #open = null;
  #state = "loading";
  #handlers;
  #near;

  /** @param {Element} root @param {import("./rooms.js").Rooms} rooms */
  constructor(root, rooms, handlers) {
    this.#root = root;
    this.#list = root.querySelector(".rooms");
    this.#end = root.querySelector(".rooms-end");
    this.#rooms = rooms;
    this.#handlers = handlers;
    this.#list.addEventListener("keydown", (event) => this.#walk(event));
    this.#near = new IntersectionObserver(([end]) => end.isIntersecting && this.#state === "more" && handlers.onmore());
    this.#near.observe(this.#end);
  }

  set me(user) {
    this.#myId = user.id;
    this.draw();
  }

  /** The room that is open, or null. */
  set open(id) {
    this.#open = id;
    this.draw();
  }

  /** @param {"loading"|"more"|"failed"|"whole"} state  of what lies below */
  set state(state) {
    this.#state = state;
    this.draw();
  }

  focus(id) {
    this.#drawn.get(id)?.element.firstElementChild.focus();
  }

  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#update();
    });
  }

  #update() {
    const rooms = this.#rooms.list(this.#open);
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    const ids = new Set(rooms.map(({ id }) => id));
    for (const [id, { element }] of this.#drawn) {
      if (ids.has(id)) continue;
      element.remove();
      this.#drawn.delete(id);
    }
    let next = this.#list.firstElementChild;
    for (const room of rooms) {
      const element = this.#element(room);
      if (element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(element, next);
    }
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    this.#drawEnd(rooms.length === 0);
  }

  /** Beneath the list: what one can do when there is more, nothing, or no answer. */
  #drawEnd(isEmpty) {
    const look = `${this.#state}${isEmpty}`;
    if (this.#end.dataset.look === look) return;
    this.#end.dataset.look = look;
    const parts = {
      loading: () => [make("p", { text: words("loading") })],
      more: () => [this.#button("showMore")],
      failed: () => [make("p", { text: words("notListed") }), this.#button("again")],
      whole: () => (isEmpty ? this.#nothing() : []),
    };
    this.#root.classList.toggle("bare", this.#state === "whole" && isEmpty);
    this.#end.replaceChildren(...parts[this.#state]());
    // An end that stays in sight is told of again only if it is looked at anew.
    this.#near.unobserve(this.#end);
    this.#near.observe(this.#end);
  }

  #nothing() {
    const find = make("button", { class: "primary", type: "button", text: words("find"), onclick: this.#handlers.onfind });
    return [make("h2", { text: words("noRooms") }), make("p", { text: words("noRoomsText") }), find];
  }

  #button(word) {
    return make("button", { class: "quiet", type: "button", text: words(word), onclick: this.#handlers.onmore });
  }

  #element(room) {
    const typing = this.#rooms.typists(room.id, Date.now()).length > 0;
    const line = typing ? words("typing") : previewOf(room, this.#myId);
    const title = this.#rooms.title(room);
    const others = this.#rooms.others(room);
    const isOnline = others.some(({ online }) => online);
    const isOpen = room.id === this.#open;
    const when = whenOf(room.last.ts);
    const look = JSON.stringify([title, line, when, typing, isOnline, isOpen, room.unread, others.map(({ id }) => id)]);
    const drawn = this.#drawn.get(room.id);
    if (drawn?.look === look) return drawn.element;
    const element = drawn?.element ?? make("li", {}, make("a", { href: `/chat/${room.id}` }));
    const link = element.firstElementChild;
    link.className = room.unread ? "unread" : "";
    if (isOpen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    link.replaceChildren(
      faceOf(others, isOnline),
      make("span", { class: "name", text: title, dir: "auto" }),
      make("time", { datetime: new Date(room.last.ts).toISOString(), text: when }),
      make("span", { class: typing ? "preview typing" : "preview", text: line, dir: "auto" }),
      badge(room.unread),
    );
    this.#drawn.set(room.id, { element, look });
    return element;
  }

  #walk(event) {
    const step = { ArrowUp: "previousElementSibling", ArrowDown: "nextElementSibling" }[event.key];
    const next = step && event.target.closest("li")?.[step];
    if (!next) return;
    event.preventDefault();
    next.firstElementChild.focus();
  }
}

function badge(unread) {
  if (unread === 0) return "";
  const shown = unread >= MOST_UNREAD ? `${MOST_UNREAD - 1}+` : unread;
  const spoken = make("span", { class: "unseen", text: words("unread", { n: shown }) });
  return make("span", { class: "badge" }, make("span", { text: shown, "aria-hidden": true }), spoken);
}

/** One face, or two for a group; with a dot for somebody who is there. */
export function faceOf(others, isOnline) {
  const faces = others.slice(0, 2).map(({ id }) => avatar(id));
  const face = make("span", { class: faces.length > 1 ? "face two" : "face" }, ...faces);
  if (isOnline) face.append(make("span", { class: "there" }, make("span", { class: "unseen", text: words("online") })));
  return face;
}
