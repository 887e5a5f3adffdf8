/** Each page is a document of its own; the address says which, and only its modules are loaded. */

import { translate } from "./dom.js";
import { language, learn } from "./words.js";

learn(JSON.parse(document.getElementById("words").textContent));
if (document.documentElement.lang !== language) {
  translate(document);
  document.documentElement.lang = language;
}

await painted();

const [, place, name] = location.pathname.split("/");
const slug = () => decodeURIComponent(name).normalize("NFKC").toLowerCase();
if (place === "r") {
  const { openRoom } = await import("./room.js");
  openRoom(slug());
} else if (place === "embed") {
  const { openFramed } = await import("./framed.js");
  openFramed(slug());
} else if (place === "chat") {
  const { openChat } = await import("./chat.js");
  openChat();
} else {
  const { openLanding } = await import("./landing.js");
  openLanding();
}

/** What came with the document is seen first; what brings it to life would keep that back. Of a hidden page nothing is painted. */
function painted() {
  return document.hidden || new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}
