/** One document for all pages: the address says which, and only its modules are loaded. */

import { applyTheme } from "./switches.js";
import { language, learn } from "./words.js";

applyTheme();
learn(JSON.parse(document.getElementById("words").textContent));
document.documentElement.lang = language;

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
