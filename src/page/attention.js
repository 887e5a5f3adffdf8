/** What calls one back to a tab that one does not look at: its title and, when allowed, notifications. */

import { MOST_UNREAD } from "./rooms.js";

const SEEN = "maru:seen";

export function showTitle(title, unread) {
  const count = unread >= MOST_UNREAD ? `${MOST_UNREAD - 1}+` : unread;
  document.title = `${unread ? `(${count}) ` : ""}${title ? `${title} · ` : ""}maru`;
}

export function canNotify() {
  return "Notification" in globalThis && isSecureContext;
}

export function mayNotify() {
  return canNotify() && Notification.permission === "granted";
}

export async function offerToNotify() {
  await Notification.requestPermission();
}

/** A tab that is looked at holds a lock, so that others know of it. */
export function showThatSeen() {
  let letGo = () => {};
  const turn = () => {
    letGo();
    if (document.hidden) return;
    // Granted late, it may be of no use any more.
    const hold = () => (document.hidden ? null : new Promise((resolve) => (letGo = resolve)));
    navigator.locks?.request(SEEN, { mode: "shared" }, hold);
  };
  document.addEventListener("visibilitychange", turn);
  turn();
}

/** Whether any tab of this browser is looked at. */
async function isSeen() {
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  return !document.hidden || held.some(({ name }) => name === SEEN);
}

/** One for each room: the next takes the place of the one before. */
export async function notify({ room, title, text, onopen }) {
  if (!mayNotify() || (await isSeen())) return;
  try {
    const notification = new Notification(title, { body: text, tag: `maru:${room}` });
    notification.onclick = () => {
      window.focus();
      notification.close();
      onopen();
    };
  } catch {
    // Phones want a service worker for it, which this page does without.
  }
}
