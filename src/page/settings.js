/** What somebody chose on this browser. Storage may be forbidden; then nothing is remembered. */

/** @returns {string|null} */
export function setting(name) {
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
