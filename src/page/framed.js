/** `/embed/{slug}`: an open room in a frame on a page of any site, where no cookie is sent. */

import { make } from "./dom.js";
import { openRoom } from "./room.js";
import { Tokens } from "./tokens.js";

export function openFramed(slug) {
  const root = openRoom(slug, { tokens: new Tokens() });
  const whole = make("a", { href: `/r/${encodeURIComponent(slug)}`, target: "_blank", rel: "noopener", text: slug });
  root.querySelector(".name").replaceChildren(whole);
}
