/** What this browser remembers of somebody. Storage may be forbidden; then it is nothing. */

/** What is needed before anything is painted: `first.js` has put it on the root element. */
const chosen = globalThis.document?.documentElement.dataset ?? {};

/** @returns {string|null} */
export function setting(name) {
  if (name in chosen) return chosen[name];
  try {
    return localStorage.getItem(`maru:${name}`);
  } catch {
    return null;
  }
}

/** A random name is nobody's choice, and nobody finds it. */
export function isNamed(me) {
  return me.kind !== "guest" || setting("named") === me.id;
}

/** @param {string} value  empty: as if never chosen */
export function keep(name, value) {
  if (name in chosen) chosen[name] = value;
  try {
    if (value) localStorage.setItem(`maru:${name}`, value);
    else localStorage.removeItem(`maru:${name}`);
  } catch {
    // Then it is chosen again the next time.
  }
}
