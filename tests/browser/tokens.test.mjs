/** Being known without a cookie: `maru.js` with `tokens`, without a browser. */

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { connect, rename, signIn, signOut, whoAmI } from "../../src/page/maru.js";
import { Tokens } from "../../src/page/tokens.js";
import { ANN, settled, World } from "./world.mjs";

const BEN = { id: "b", name: "Ben", kind: "guest" };
const NOON = new Date(2026, 0, 15, 12).getTime();

/** As `localStorage`, which tabs share. */
class Kept extends Map {
  getItem = (key) => this.get(key) ?? null;
  setItem = (key, value) => void this.set(key, value);
  removeItem = (key) => void this.delete(key);
}

const keptIn = (storage) => new Tokens({ storage: () => storage });
const DAY = 86_400_000;
const BASE = "https://chat.example";
const session = (token, user = ANN) => ({ user, token, expires_at: Date.now() + 30 * DAY });
const signedOut = [401, { code: "unauthenticated" }];
const forbidden = () => {
  throw new Error("forbidden");
};

/** The server's part: `token` is good, and tickets are numbered. */
class Server extends World {
  good = "t1";
  tickets = 0;

  fetch = async (url, asked) => {
    const path = url.replace(BASE, "");
    const token = asked.headers.Authorization?.replace("Bearer ", "");
    this.asked.push({ path, method: asked.method, token, credentials: asked.credentials });
    return Response.json(...this.answer(`${asked.method} ${path}`, token));
  };

  answer(what, token) {
    if (what === "POST /api/session") return [session(this.good), { status: 201 }];
    if (token !== this.good) return [{ code: "unauthenticated" }, { status: 401 }];
    if (what === "POST /api/session/ticket") return [{ ticket: `ticket ${++this.tickets}` }, { status: 201 }];
    if (what === "PATCH /api/session") return [session((this.good = "t2")), { status: 200 }];
    return [{ seq: 1 }, { status: 200 }];
  }

  get paths() {
    return this.asked.map(({ method, path, token }) => `${method} ${path} ${token ?? "-"}`);
  }
}

const place = "/api/chat/lobby/events";

const open = [];
afterEach(() => open.splice(0).forEach((room) => room.close()));

function enter(...where) {
  const room = connect(...where);
  open.push(room);
  return room;
}

test("tokens open a stream by a ticket, and no cookie is sent", async () => {
  const world = new Server();
  enter("lobby", {}, { world, base: BASE, tokens: new Tokens({ storage: forbidden }) });
  await settled();
  assert.deepEqual(world.paths, ["POST /api/session -", "POST /api/session/ticket t1"]);
  assert.equal(world.source.url, `${BASE}${place}?ticket=ticket%201`);
  assert.equal(world.source.withCredentials, false);
  assert.ok(world.asked.every(({ credentials }) => credentials === "omit"));
});

test("tokens are kept over visits, and are those of one person however much is asked at once", async () => {
  const kept = new Kept();
  const world = new Server();
  const options = { world, tokens: keptIn(kept) };
  const rooms = ["lobby", "attic"].map((room) => enter(room, {}, options));
  rooms[0].history().catch(() => {});
  await settled();
  assert.equal(world.paths.filter((path) => path === "POST /api/session -").length, 1);
  const later = new Server();
  enter("lobby", {}, { world: later, tokens: keptIn(kept) });
  await settled();
  assert.deepEqual(later.paths, ["POST /api/session/ticket t1"]);
});

test("tokens that are refused are replaced, and so are tickets", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const world = new Server();
  const states = [];
  enter("lobby", { onstate: (state) => states.push(state) }, { world, tokens: keptIn(new Kept()) });
  await settled();
  world.source.greet("1-7");
  world.good = "t2";
  world.asked = [];
  world.source.readyState = 2;
  world.source.onerror();
  await settled();
  const probe = "GET /api/chat/lobby";
  assert.deepEqual(world.paths, [`${probe} t1`, "POST /api/session -", `${probe} t2`]);
  t.mock.timers.tick(1_000);
  await settled();
  assert.equal(world.sources.length, 2);
  assert.equal(world.source.url, `${place}?last_event_id=1-7&ticket=ticket%202`);
  assert.deepEqual(states, ["replaying", "live", "waiting"]);
});

test("tokens that the server has none of at the moment are asked for again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const world = new World();
  const states = [];
  enter("lobby", { onstate: (state) => states.push(state) }, { world, tokens: keptIn(new Kept()) });
  await settled();
  assert.deepEqual([world.asked.length, world.sources.length], [2, 0]);
  world.answers = [[201, session("t1")], [201, { ticket: "a" }]];
  t.mock.timers.tick(1_000);
  await settled();
  assert.equal(world.source.url, `${place}?ticket=a`);
  assert.deepEqual(states, ["waiting"]);
});

test("tokens change with the name, and end with the session", async () => {
  const kept = new Kept();
  const world = new World();
  const tokens = keptIn(kept);
  const options = { world, tokens };
  world.answers = [signedOut, [201, session("t1")], [200, session("t2", BEN)], [200, { user: BEN }], [204]];
  assert.equal(await whoAmI(options), null);
  assert.equal(tokens.current, null, "who only asks is nobody new");
  await signIn("Ann", options);
  assert.equal(tokens.current, "t1");
  assert.equal((await rename("Ben", options)).name, "Ben");
  assert.equal(keptIn(kept).current, "t2");
  assert.equal((await whoAmI(options)).name, "Ben");
  assert.equal(world.asked.at(-1).headers.Authorization, "Bearer t2");
  await signOut(options);
  assert.deepEqual([tokens.current, kept.size], [null, 0]);
});

test("tokens of a day ago are given anew before the next stream", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOON });
  const kept = new Kept();
  const tokens = keptIn(kept);
  tokens.keep(session("t1"));
  t.mock.timers.setTime(NOON + DAY + 1);
  const world = new World();
  world.answers = [[200, session("t2")], [201, { ticket: "a" }]];
  enter("lobby", {}, { world, tokens });
  await settled();
  assert.deepEqual(world.asked.map(({ url }) => url), ["/api/session", "/api/session/ticket"]);
  assert.equal(world.asked[1].headers.Authorization, "Bearer t2");
  assert.ok(!tokens.isDue);
});

test("tokens are not lost to an answer about older ones", () => {
  const kept = new Kept();
  const [here, there] = [keptIn(kept), keptIn(kept)];
  here.keep(session("t1"));
  there.keep(session("t2"));
  here.drop("t1");
  assert.equal(here.current, "t2");
  assert.ok(here.isShared);
});

test("tokens last as long as the page where storage is forbidden, full or tampered with", () => {
  const full = Object.assign(new Kept(), { setItem: forbidden });
  for (const storage of [forbidden, () => full]) {
    const tokens = new Tokens({ storage });
    tokens.keep(session("t1"));
    assert.deepEqual([tokens.current, tokens.isShared], ["t1", false]);
    tokens.drop("t1");
    assert.equal(tokens.current, null);
  }
  for (const value of ["null", "{", "5", '{"token":{}}', '{"token":"a b"}', '{"token":""}']) {
    const tokens = keptIn(new Kept([["maru:token", value]]));
    assert.equal(tokens.current, null, value);
  }
});
