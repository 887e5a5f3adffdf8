/** A field to find people with, and what it finds below (ARIA combobox with a listbox). */

import { copies, make } from "./dom.js";
import { words } from "./words.js";

/** So long after a key, while the next may come. */
const PATIENCE_MS = 150;
/** Who types faster than the server searches waits a little. */
const TOO_FAST_MS = 1_000;

let fields = 0;

export class Finder {
  #root;
  #field;
  #found;
  #note;
  #handlers;
  #items = [];
  #at = -1;
  #timer = null;
  #asked = 0;
  #id = `found-${++fields}`;

  /**
   * @param {Element} root
   * @param {object} handlers
   * @param {(q: string) => Promise<{face: Node, label: string}[]>} handlers.search
   * @param {(item: object) => void} handlers.onpick
   */
  constructor(root, handlers) {
    this.#root = root;
    this.#handlers = handlers;
    [this.#field, this.#found, this.#note] = root.children;
    this.#found.id = this.#id;
    this.#field.setAttribute("aria-controls", this.#id);
    this.#field.addEventListener("input", () => this.#ask(PATIENCE_MS));
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    // What is clicked is picked before the field is left.
    this.#found.addEventListener("pointerdown", (event) => event.preventDefault());
  }

  focus() {
    this.#field.focus();
  }

  clear() {
    this.#field.value = "";
    this.#ask(0);
  }

  #ask(wait) {
    clearTimeout(this.#timer);
    const q = this.#field.value.trim();
    const asked = ++this.#asked;
    this.#root.classList.toggle("busy", q !== "");
    if (q === "") return this.#show([], "");
    this.#timer = setTimeout(async () => {
      try {
        const items = await this.#handlers.search(q);
        if (asked === this.#asked) this.#show(items, items.length ? "" : "foundNobody");
      } catch (error) {
        if (asked !== this.#asked) return;
        if (error.status === 429) this.#ask(TOO_FAST_MS);
        else this.#show([], "notFound");
      }
    }, wait);
  }

  #show(items, problem) {
    this.#items = items;
    this.#field.setAttribute("aria-expanded", items.length > 0);
    this.#found.replaceChildren(...items.map((item, n) => this.#option(item, n)));
    this.#note.className = items.length ? "note unseen" : "note";
    this.#note.textContent = problem ? words(problem) : items.length ? words("found", { n: items.length }) : "";
    if (problem === "foundNobody") this.#note.append(make("span", { text: words("foundNobodyWhy") }), invitation());
    this.#walk(items.length ? 0 : -1);
  }

  #option(item, n) {
    const name = make("span", { class: "who", text: item.label, dir: "auto" });
    const onclick = () => this.#pick(item);
    return make("li", { role: "option", id: `${this.#id}-${n}`, "aria-selected": false, onclick }, item.face, name);
  }

  #walk(at) {
    this.#found.children[this.#at]?.setAttribute("aria-selected", false);
    this.#at = at;
    const option = this.#found.children[at];
    option?.setAttribute("aria-selected", true);
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.#field.setAttribute("aria-activedescendant", option.id);
    else this.#field.removeAttribute("aria-activedescendant");
  }

  #pick(item) {
    this.clear();
    this.#handlers.onpick(item);
  }

  /** While a syllable is being composed, keys belong to it. */
  #key(event) {
    if (event.isComposing || event.keyCode === 229) return;
    const { length } = this.#items;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape" && this.#field.value !== "") this.clear();
    else if (event.key === "Enter" && this.#field.value.trim() === "") return;
    else if (event.key === "Enter") this.#items[this.#at] && this.#pick(this.#items[this.#at]);
    else if (step && length) this.#walk((this.#at + step + length) % length);
    else return;
    event.preventDefault();
  }
}

/** Who follows it is asked for a name, and is found from then on. */
function invitation() {
  const button = make("button", { class: "primary", type: "button", text: words("copyInvitation") });
  copies(button, `${location.origin}/chat/`);
  return button;
}
