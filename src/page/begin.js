/** What every page does before anything else. Each page is a document of its own, and a module that is run. */

import { translate } from "./dom.js";
import { language, learn } from "./words.js";

/** Says what the page says in the reader's language, and waits until it has been seen. */
export async function begin() {
  learn(JSON.parse(document.getElementById("words").textContent));
  if (document.documentElement.lang !== language) {
    translate(document);
    document.documentElement.lang = language;
  }
  await painted();
}

/** The room that the address names. */
export function slug() {
  return decodeURIComponent(location.pathname.split("/")[2]).normalize("NFKC").toLowerCase();
}

/** What came with the document is seen first; what brings it to life would keep that back. Of a hidden page nothing is painted. */
function painted() {
  return document.hidden || new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}
