/** `/embed/{slug}`: an open room in a frame on a page of any site, where no cookie is sent. */

import { begin, slug } from "./begin.js";
import { make } from "./dom.js";
import { openRoom } from "./openroom.js";
import { Tokens } from "./tokens.js";

await begin();
const root = openRoom(slug(), { tokens: new Tokens() });
const href = `/r/${encodeURIComponent(slug())}`;
root.querySelector(".name").replaceChildren(make("a", { href, target: "_blank", rel: "noopener", text: slug() }));
