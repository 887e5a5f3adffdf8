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

/** A `<template>` in the reader's language: `data-words` is text, `data-label` a name, `data-hint` a placeholder. */
export function fromTemplate(id) {
  const page = document.getElementById(id).content.cloneNode(true);
  for (const element of page.querySelectorAll("[data-words]")) element.textContent = words(element.dataset.words);
  for (const element of page.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", words(element.dataset.label));
    if (element.tagName === "BUTTON") element.title = words(element.dataset.label);
  }
  for (const element of page.querySelectorAll("[data-hint]")) element.placeholder = words(element.dataset.hint);
  return page;
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
export function commandLine(line, ...before) {
  const button = make("button", { class: "quiet", type: "button", text: words("copy") });
  button.addEventListener("click", async () => {
    await copy(line);
    button.textContent = words("copied");
  });
  const code = make("code", { text: decodeURI(line), tabindex: 0 });
  return make("div", { class: "command" }, ...before, code, button);
}
