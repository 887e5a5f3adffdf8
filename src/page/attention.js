/** What calls one back to a tab that one does not look at: its title and, when allowed, notifications. */

import { MOST_UNREAD } from "./rooms.js";

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

/** One for each room: the next takes the place of the one before. */
export function notify({ room, title, text, onopen }) {
  if (!mayNotify() || !document.hidden) return;
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
