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

const clock = new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(language, { dateStyle: "full" });

export function timeOf(ts) {
  return clock.format(ts);
}

export function dayOf(ts, now = Date.now()) {
  const days = Math.round((midnight(now) - midnight(ts)) / 86_400_000);
  if (days === 0) return words("today");
  return days === 1 ? words("yesterday") : calendar.format(ts);
}

function midnight(ts) {
  return new Date(ts).setHours(0, 0, 0, 0);
}
