/** How the connection is doing: a dot and a word, and a sentence once it has been away for a while. */

import { words } from "./words.js";

/** A connection lost for longer is worth a sentence. */
const WORTH_SAYING_MS = 2_000;

let lostFor = null;

export function showState(root, state) {
  const lost = state === "waiting";
  const shown = lost && navigator.onLine === false ? "offline" : state;
  const connection = root.querySelector(".connection");
  connection.dataset.state = state;
  connection.querySelector(".label").textContent = words(shown);
  root.classList.toggle("refused", state === "refused");
  root.classList.toggle("lost", lost && root.classList.contains("lost"));
  clearTimeout(lostFor);
  if (lost) lostFor = setTimeout(() => root.classList.add("lost"), WORTH_SAYING_MS);
}
