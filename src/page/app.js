/** One document for both pages: the address says which. */

import { openLanding } from "./landing.js";
import { openRoom } from "./room.js";
import { language } from "./words.js";

document.documentElement.lang = language;

const path = /^\/r\/([^/]+)\/?$/.exec(location.pathname);
if (path) openRoom(decodeURIComponent(path[1]).normalize("NFKC").toLowerCase());
else openLanding();
