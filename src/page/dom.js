/** Making elements. What people wrote goes through `text` or `append`, and so can only ever be text. */

import { words } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** `attributes`: `text`, `onclick`, and plain ones. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function fromTemplate(id) {
  return document.getElementById(id).content.cloneNode(true);
}

/** For whoever chose another language than the document's: `data-words` is text, `data-label` a name, `data-hint` a placeholder. */
export function translate(page) {
  for (const element of page.querySelectorAll("[data-words]")) element.textContent = words(element.dataset.words);
  for (const element of page.querySelectorAll("[data-label]")) {
    element.ariaLabel = words(element.dataset.label);
    if (element.title) element.title = element.ariaLabel;
  }
  for (const element of page.querySelectorAll("[data-hint]")) element.placeholder = words(element.dataset.hint);
  for (const { content } of page.querySelectorAll("template")) translate(content);
}

/** Puts a text on the clipboard. Over plain HTTP, and in frames, that takes a selection (`execCommand`). */
export async function copy(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch {
    // Not for this page.
  }
  const field = make("textarea", { class: "unseen", text });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** A line to copy. */
export function commandLine(line) {
  const code = make("code", { text: decodeURI(line), tabindex: 0 });
  const button = make("button", { class: "quiet", type: "button", text: words("copy") });
  copies(button, line);
  return make("div", { class: "command" }, code, button);
}

/** A button that copies a line, and says so. */
export function copies(button, line) {
  button.addEventListener("click", async () => {
    await copy(line);
    button.textContent = words("copied");
  });
}
