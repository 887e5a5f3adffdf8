/** What the page says, in the reader's language, and how it writes times and days. */

import { setting } from "./settings.js";

const WORDS = {};

/** As chosen by the switch, else as the document comes, which is as the browser asked for it. */
export const language = (setting("lang") || globalThis.document?.documentElement.lang) === "ko" ? "ko" : "en";

/** @param {Record<string, [string, string]>} all  in English and in Korean, as the document carries them */
export function learn(all) {
  Object.assign(WORDS, all);
}

/** A sentence, its `{places}` filled. */
export function words(key, places = {}) {
  return WORDS[key][language === "ko" ? 1 : 0].replace(/\{(\w+)\}/g, (_, place) => places[place]);
}

export const timeOf = writer({ hour: "numeric", minute: "2-digit" });
const wholeDay = writer({ dateStyle: "full" });

/** Writes as the language does. Learning how takes a browser longer than all else before the first frame: it is put off. */
export function writer(options) {
  let format = null;
  return (ts) => (format ??= new Intl.DateTimeFormat(language, options)).format(ts);
}

export function dayOf(ts, now = Date.now()) {
  const days = Math.round((midnight(now) - midnight(ts)) / 86_400_000);
  if (days === 0) return words("today");
  return days === 1 ? words("yesterday") : wholeDay(ts);
}

function midnight(ts) {
  return new Date(ts).setHours(0, 0, 0, 0);
}
