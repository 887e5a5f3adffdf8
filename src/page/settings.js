/** What somebody chose on this browser. Storage may be forbidden; then nothing is remembered. */

/** In a frame, what the page around it wants, which is stronger: `#theme=dark&lang=ko`. */
const wanted = new URLSearchParams(globalThis.location?.pathname.startsWith("/embed/") ? location.hash.slice(1) : "");

/** @returns {string|null} */
export function setting(name) {
  if (wanted.has(name)) return wanted.get(name);
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
  try {
    if (value) localStorage.setItem(`maru:${name}`, value);
    else localStorage.removeItem(`maru:${name}`);
  } catch {
    // Then it is chosen again the next time.
  }
}
