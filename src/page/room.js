/** `/r/{slug}`: an open room. */

import { begin, slug } from "./begin.js";
import { startRoom } from "./maru.js";
import { openRoom } from "./openroom.js";

await begin();
openRoom(slug(), {}, async ({ id }) => location.assign(`/chat/${(await startRoom([id])).id}`));
