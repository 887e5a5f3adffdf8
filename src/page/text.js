/** What somebody said, as elements. Addresses become links; everything else is text and nothing more. */

import { make } from "./dom.js";
import { words } from "./words.js";

/** A text with more lines or characters than these is folded. */
const LINES = 15;
const CHARACTERS = 1_000;

const ADDRESS = /\bhttps?:\/\/[^\s<>"]+/giu;
/** What ends a sentence ends no address; a bracket does if it was opened within. */
const CLOSING = /[.,:;!?'’”…*_~)\]}。、！？」』）]/;
/** A particle that is written on to a host, as in `https://a.example에서`. */
const PARTICLE = /^(https?:\/\/[\w.-]*[a-z\d](?::\d+)?)[\uAC00-\uD7A3]/i;
const OPENED = { ")": "(", "]": "[", "}": "{" };

const EMOJI = /^(?:\s*(?:\p{RI}{2}|[#*\d]\uFE0F?\u20E3|(?:\p{EPres}|\p{ExtPict}\uFE0F)\p{EMod}?(?:\u200D\p{ExtPict}\uFE0F?\p{EMod}?)*[\u{E0020}-\u{E007F}]*)){1,3}\s*$/u;

export function textOf(text) {
  const parts = partsOf(text).map(({ text, href }) => {
    return href ? make("a", { href, target: "_blank", rel: "noopener noreferrer nofollow ugc", text }) : text;
  });
  return make("span", { class: isEmojiAlone(text) ? "text emoji" : "text", dir: "auto" }, ...parts);
}

/** For a text that is too long to be seen whole: a button that unfolds it, within `row`. */
export function foldOf(text, row) {
  if (!isLong(text)) return "";
  const button = make("button", { class: "quiet unfold", type: "button" });
  const fold = (isFolded) => {
    row.classList.toggle("folded", isFolded);
    row.dataset.unfolded = isFolded ? "" : "yes";
    button.textContent = words(isFolded ? "unfold" : "fold");
    button.setAttribute("aria-expanded", !isFolded);
  };
  button.addEventListener("click", () => fold(!row.classList.contains("folded")));
  fold(row.dataset.unfolded !== "yes");
  return button;
}

// What follows is pure.

/** @returns {{text: string, href?: string}[]} the whole text, in parts */
export function partsOf(text) {
  const parts = [];
  let at = 0;
  for (const { 0: match, index } of text.matchAll(ADDRESS)) {
    const address = withoutEnd(match);
    const href = hrefOf(address);
    if (!href) continue;
    if (index > at) parts.push({ text: text.slice(at, index) });
    parts.push({ text: address, href });
    at = index + address.length;
  }
  if (at < text.length) parts.push({ text: text.slice(at) });
  return parts;
}

/** One to three of them, and nothing else. */
export function isEmojiAlone(text) {
  return EMOJI.test(text);
}

export function isLong(text) {
  return text.length > CHARACTERS || text.split("\n", LINES + 1).length > LINES;
}

function withoutEnd(address) {
  const whole = PARTICLE.exec(address)?.[1] ?? address;
  const count = (bracket) => whole.split(bracket).length;
  const left = {};
  for (const [close, open] of Object.entries(OPENED)) left[close] = count(close) - count(open);
  let end = whole.length;
  while (CLOSING.test(whole[end - 1])) {
    if (left[whole[end - 1]]-- <= 0) break;
    end--;
  }
  return whole.slice(0, end);
}

/** An address that pretends to be of another host by a user name before it is no link. */
function hrefOf(address) {
  try {
    const { href, hostname, username, password } = new URL(address);
    return hostname && !username && !password ? href : null;
  } catch {
    return null;
  }
}
