/** Who is here, and changing one's own name. */

import { avatar } from "./avatar.js";
import { make } from "./dom.js";
import { words } from "./words.js";

/** Faces shown; the rest of a crowd is a number. */
const FACES = 100;
/** There is room for the list beside the conversation. */
const WIDE = "(min-width: 56rem)";
/** Digests name only some of a crowd; the list is asked for again, at most this often. */
const REFRESH_MS = 5_000;

export class People {
  #panel;
  #button;
  #mine;
  #form;
  #handlers;
  #me = null;
  #here = new Map();
  #faces = new Map();
  #online = 0;
  #refreshing = null;
  #wide = matchMedia(WIDE);

  constructor(root, handlers) {
    this.#panel = root.querySelector(".people");
    this.#button = root.querySelector(".here");
    this.#mine = root.querySelector(".me");
    this.#form = root.querySelector(".rename");
    this.#mine.querySelector("button").addEventListener("click", () => this.#startRenaming());
    this.#handlers = handlers;
    this.#button.addEventListener("click", () => this.#toggle(this.#button.getAttribute("aria-expanded") !== "true"));
    this.#panel.querySelector(".close").addEventListener("click", () => this.#toggle(false));
    this.#panel.addEventListener("keydown", (event) => event.key === "Escape" && this.#leave());
    root.querySelector(".talk").addEventListener("click", () => this.#wide.matches || this.#show(false));
    this.#wide.addEventListener("change", () => this.#show(this.#wide.matches));
    this.#show(this.#wide.matches);
    this.#form.querySelector(".cancel").addEventListener("click", () => this.#stopRenaming());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#rename();
    });
    this.#draw();
  }

  /** A stream has begun. */
  greet(online) {
    this.#online = online;
    this.#draw();
    this.#refresh();
  }

  change({ joined = [], left = [], online }) {
    for (const user of joined) this.#here.set(user.id, user);
    for (const user of left) this.#here.delete(user.id);
    this.#online = online;
    this.#draw();
    if (this.#here.size !== online) this.#refreshing ??= setTimeout(() => this.#refresh(), REFRESH_MS);
  }

  /** Words carry their speaker's newest name. */
  heard(user) {
    const known = this.#here.get(user.id);
    if (!known || known.name === user.name) return;
    this.#here.set(user.id, user);
    this.#draw();
  }

  setMe(me) {
    this.#me = me;
    this.#mine.hidden = false;
    this.#mine.querySelector(".face").replaceChildren(avatar(me.id));
    this.#mine.querySelector(".who").textContent = me.name;
    this.#draw();
  }

  async #refresh() {
    clearTimeout(this.#refreshing);
    this.#refreshing = null;
    try {
      const { members, online } = await this.#handlers.onlist();
      this.#here = new Map(members.map((user) => [user.id, user]));
      this.#online = online;
      this.#draw();
    } catch {
      // The next presence event asks again.
    }
  }

  #draw() {
    const others = [...this.#here.values()].filter((user) => user.id !== this.#me?.id);
    others.sort((a, b) => a.name.localeCompare(b.name));
    const shown = others.slice(0, FACES);
    const faces = new Map(shown.map((user) => [user.id, this.#face(user)]));
    this.#faces = faces;
    const list = this.#panel.querySelector(".faces");
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    list.replaceChildren(...faces.values());
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    const unseen = this.#online - faces.size - 1;
    this.#panel.querySelector(".others").textContent = unseen > 0 ? words("more", { n: unseen }) : "";
    this.#button.hidden = !this.#me;
    this.#button.textContent = words("here", { n: this.#online });
  }

  /** Somebody, and what one can do about them, if anything; open as it was. */
  #face({ id, name }) {
    const known = this.#faces.get(id);
    if (known) {
      known.querySelector(".who").textContent = name;
      return known;
    }
    const face = [avatar(id), make("span", { class: "who", text: name, dir: "auto" })];
    if (!this.#handlers.onmessage) return make("li", { class: "face-only" }, ...face);
    const who = make("summary", {}, ...face);
    const error = make("p", { class: "error", role: "alert" });
    const write = make("button", { class: "quiet", type: "button", text: words("message") });
    write.addEventListener("click", () => {
      this.#handlers.onmessage({ id }).catch((why) => (error.textContent = words("failed", { why: why.message })));
    });
    return make("li", {}, make("details", {}, who, make("div", { class: "deeds" }, write, error)));
  }

  #show(open) {
    this.#button.setAttribute("aria-expanded", open);
    this.#panel.classList.toggle("open", open);
  }

  #toggle(open) {
    this.#show(open);
    if (!open) this.#button.focus();
    else if (!this.#wide.matches) this.#panel.querySelector(".close").focus();
  }

  #leave() {
    if (!this.#form.hidden) this.#stopRenaming();
    else if (!this.#wide.matches) this.#toggle(false);
  }

  #startRenaming() {
    const input = this.#form.querySelector("input");
    this.#form.hidden = false;
    this.#form.querySelector(".error").textContent = "";
    input.value = this.#me.name;
    input.focus();
    input.select();
  }

  #stopRenaming() {
    this.#form.hidden = true;
    this.#mine.querySelector("button").focus();
  }

  async #rename() {
    const name = this.#form.querySelector("input").value.trim();
    try {
      if (name !== this.#me.name) await this.#handlers.onrename(name);
      this.#stopRenaming();
    } catch (error) {
      this.#form.querySelector(".error").textContent = error.message;
    }
  }
}
