/** What the pages of direct messages say about times and about what happened. */

import { dayOf, timeOf, words, writer } from "./words.js";

const day = writer({ month: "short", day: "numeric" });
const date = writer({ dateStyle: "medium" });

/** As short as a list has room for: a time today, then a day. */
export function whenOf(ts, now = Date.now()) {
  const named = dayOf(ts, now);
  if (named === words("today")) return timeOf(ts);
  if (named === words("yesterday")) return named;
  return (new Date(ts).getFullYear() === new Date(now).getFullYear() ? day : date)(ts);
}

/** A quiet line for somebody who came into a room or left it. */
export function changeOf({ type, seq, user, by }, myId) {
  const began = type === "join" && seq === 1;
  const key = began ? "made" : type === "join" ? (by ? "added" : "joined") : by ? "removed" : "left";
  const whose = user.id === myId ? "Me" : by?.id === myId ? "ByMe" : "";
  return words(key + whose, { name: user.name, by: by?.name });
}

/** One line for the last thing that happened in a room. */
export function previewOf({ kind, last }, myId) {
  if (last.type === "join" || last.type === "leave") return kind === "direct" ? words("started") : changeOf(last, myId);
  const text = last.status === "deleted" || last.type === "delete" ? words("deleted") : last.text;
  if (last.user.id === myId) return words("byMe", { text });
  return kind === "group" ? words("by", { name: last.user.name, text }) : text;
}
