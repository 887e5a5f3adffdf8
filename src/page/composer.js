/** Where one writes: a new message, or a message of one's own again. */

import { words } from "./words.js";

/** The server's limit, in bytes of UTF-8. */
const TEXT_BYTES = 4_096;

/** How many bytes a text is over the server's limit; 0 when it fits. */
export function bytesOver(text) {
  return Math.max(0, new TextEncoder().encode(text).length - TEXT_BYTES);
}

/** Enter sends, unless it belongs to the writing: a new line, or a syllable being composed. */
export function isSend({ key, shiftKey, isComposing, keyCode }) {
  return key === "Enter" && !shiftKey && !isComposing && keyCode !== 229;
}

export class Composer {
  #form;
  #field;
  #error;
  #editing = null;
  #draft = "";
  #handlers;

  constructor(form, handlers) {
    this.#form = form;
    this.#handlers = handlers;
    this.#field = form.querySelector("textarea");
    this.#error = form.querySelector(".error");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#field.addEventListener("input", () => {
      this.#fit();
      if (this.#editing === null && this.#field.value !== "") handlers.onwrite();
    });
    form.querySelector(".stop-editing").addEventListener("click", () => this.stopEditing());
    this.#fit();
  }

  setHint(text) {
    this.#field.placeholder = text;
  }

  /** Change a message of mine; what was being written comes back afterwards. */
  edit(seq, text) {
    if (this.#editing === null) this.#draft = this.#field.value;
    this.#editing = seq;
    this.#form.querySelector(".editing").hidden = false;
    this.#set(text);
    this.#field.focus();
    this.#field.setSelectionRange(text.length, text.length);
  }

  complain({ message }) {
    this.#error.textContent = words("failed", { why: message });
  }

  stopEditing() {
    if (this.#editing === null) return;
    this.#editing = null;
    this.#form.querySelector(".editing").hidden = true;
    this.#set(this.#draft);
    this.#draft = "";
    this.#field.focus();
  }

  #key(event) {
    if (isSend(event)) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Escape" && !event.isComposing) {
      this.stopEditing();
    } else if (event.key === "ArrowUp" && this.#field.value === "" && this.#handlers.onrecall()) {
      event.preventDefault();
    }
  }

  async #submit() {
    const text = this.#field.value.trim();
    if (text === "" || bytesOver(text)) return this.#field.focus();
    const seq = this.#editing;
    if (seq === null) {
      this.#set("");
      return this.#handlers.onsend(text);
    }
    try {
      await this.#handlers.onedit(seq, text);
      if (this.#editing === seq) this.stopEditing();
    } catch (error) {
      this.complain(error);
    }
  }

  #set(text) {
    this.#field.value = text;
    this.#fit();
  }

  /** As high as its text. */
  #fit() {
    const field = this.#field;
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
    const over = bytesOver(field.value.trim());
    this.#error.textContent = over ? words("tooLong", { n: over }) : "";
    this.#form.querySelector(".send").disabled = over > 0 || field.value.trim() === "";
  }
}
