/** The parts of the page that need no browser. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { afterEach, describe, test } from "node:test";
import { traits } from "../../src/page/avatar.js";
import { bytesOver, isSend } from "../../src/page/composer.js";
import { slugOf } from "../../src/page/slug.js";
import {
  backoff, connect, isPassing, MaruError, newId, openInbox, parseCursor, Position, retryAfter,
} from "../../src/page/maru.js";
import { maySendAgain, Outbox } from "../../src/page/outbox.js";
import { changeOf, previewOf } from "../../src/page/phrases.js";
import { Rooms } from "../../src/page/rooms.js";
import { LeftOff } from "../../src/page/leftoff.js";
import { isEmojiAlone, isLong, partsOf } from "../../src/page/text.js";
import { Timeline } from "../../src/page/timeline.js";
import { Typists, typingOf } from "../../src/page/typing.js";
import { learn } from "../../src/page/words.js";
import { ANN, settled, World } from "./world.mjs";

learn(JSON.parse(await readFile(new URL("../../src/page/words.json", import.meta.url))));

const BEN = { id: "b", name: "Ben", kind: "guest" };
const NOON = new Date(2026, 0, 15, 12).getTime();

const said = (seq, text = `text ${seq}`, more = {}) => ({
  room: "lobby", epoch: 1, seq, id: `id-${seq}`, type: "message", user: ANN, text, ts: NOON + seq, ...more,
});

describe("a position", () => {
  test("takes what follows, drops repeats, and notices holes", () => {
    const position = new Position();
    position.start("1-4");
    const found = [5, 5, 4, 6, 9, 8, 10].map((seq) => position.take({ epoch: 1, seq }));
    assert.deepEqual(found, ["next", "repeat", "repeat", "next", "hole", "repeat", "next"]);
    assert.equal(position.cursor, "1-10");
  });

  test("without a start begins anywhere", () => {
    const position = new Position();
    assert.equal(position.take({ epoch: 3, seq: 77 }), "next");
    assert.equal(position.cursor, "3-77");
  });

  test("does not take another epoch for what follows", () => {
    const position = new Position();
    position.start("1-4");
    assert.equal(position.take({ epoch: 2, seq: 5 }), "hole");
  });

  test("goes back when a gap says so", () => {
    const position = new Position();
    position.start("1-400");
    position.start("1-20");
    assert.equal(position.take({ epoch: 1, seq: 21 }), "next");
  });
});

test("a cursor is two numbers and nothing else", () => {
  assert.deepEqual(parseCursor("2-1048633"), { epoch: 2, seq: 1048633 });
  for (const not of ["", null, undefined, "1", "1-", "-1", "1-2-3", "a-b", "1-2\n", " 1-2"]) assert.equal(parseCursor(not), null);
});

test("waiting times double, are spread, and end", () => {
  assert.deepEqual([0, 1, 2, 3].map((n) => backoff(n, () => 1)), [1_000, 2_000, 4_000, 8_000]);
  assert.equal(backoff(0, () => 0), 500);
  assert.equal(backoff(1_000, () => 1), 30_000);
});

test("Retry-After is seconds or a date", () => {
  assert.equal(retryAfter("3"), 3_000);
  assert.equal(retryAfter("Thu, 15 Jan 2026 12:00:10 GMT", Date.UTC(2026, 0, 15, 12)), 10_000);
  assert.equal(retryAfter("Thu, 15 Jan 2026 12:00:00 GMT", Date.UTC(2026, 0, 15, 13)), 0);
  for (const not of [null, "", "soon"]) assert.equal(retryAfter(not), null);
});

test("only what may pass is tried again", () => {
  for (const status of [0, 408, 429, 500, 502, 503, 504]) assert.ok(isPassing(status), status);
  for (const status of [200, 201, 400, 401, 403, 404, 413, 415, 422]) assert.ok(!isPassing(status), status);
});

test("ids are 32 hexadecimal digits, and differ", () => {
  assert.match(newId(), /^[0-9a-f]{32}$/);
  assert.notEqual(newId(), newId());
});

test("room names become slugs", () => {
  assert.deepEqual(slugOf("  #Lobby "), { slug: "lobby" });
  assert.deepEqual(slugOf("수다방 둘"), { slug: "수다방-둘" });
  assert.deepEqual(slugOf("ＡＢＣ１"), { slug: "abc1" });
  assert.deepEqual(slugOf("search"), { problem: "reservedSlug" });
  assert.deepEqual(slugOf("0190a1b2-0000-7000-8000-000000000000"), { problem: "reservedSlug" });
  for (const bad of ["", "a/b", "a.b", "🙂", "x".repeat(65)]) assert.deepEqual(slugOf(bad), { problem: "badSlug" });
});

test("Enter sends, unless it belongs to the writing", () => {
  assert.ok(isSend({ key: "Enter", keyCode: 13 }));
  assert.ok(!isSend({ key: "Enter", keyCode: 13, shiftKey: true }));
  assert.ok(!isSend({ key: "Enter", keyCode: 13, isComposing: true }));
  assert.ok(!isSend({ key: "Enter", keyCode: 229 }));
});

test("texts are measured in bytes", () => {
  assert.equal(bytesOver("a".repeat(4_096)), 0);
  assert.equal(bytesOver("가".repeat(1_366)), 2);
});

test("a face depends on the id alone, and people differ", () => {
  assert.deepEqual(traits("a"), traits("a"));
  const looks = new Set(Array.from({ length: 500 }, (_, n) => JSON.stringify(traits(`0190a1b2-${n}`))));
  assert.equal(looks.size, 500);
});

describe("a timeline", () => {
  const texts = (timeline) => timeline.rows().filter((row) => row.entry?.text !== undefined).map((row) => row.entry.text);
  const kinds = (timeline) => timeline.rows().map((row) => row.kind);

  test("is in order and without repeats, whatever order events come in", () => {
    const timeline = new Timeline();
    for (const seq of [3, 1, 2, 3, 5, 4, 1]) timeline.put(said(seq));
    assert.deepEqual(texts(timeline), ["text 1", "text 2", "text 3", "text 4", "text 5"]);
  });

  test("groups by person and time", () => {
    const timeline = new Timeline();
    timeline.put(said(1));
    timeline.put(said(2));
    timeline.put(said(3, "b", { user: BEN }));
    timeline.put(said(4, "later", { user: BEN, ts: NOON + 10 * 60_000 }));
    timeline.put(said(5, "renamed", { user: { ...BEN, name: "Benno" }, ts: NOON + 10 * 60_000 }));
    assert.deepEqual(timeline.rows().map((row) => row.first ?? row.kind), ["day", true, false, true, true, true]);
  });

  test("begins a new day with its date", () => {
    const timeline = new Timeline();
    timeline.put(said(1));
    timeline.put(said(2, "next day", { ts: NOON + 86_400_000 }));
    assert.deepEqual(kinds(timeline), ["day", "message", "day", "message"]);
  });

  test("shows edits and deletions, also of messages that come later", () => {
    const timeline = new Timeline();
    timeline.put(said(1, "teh"));
    timeline.put({ ...said(3, "the"), type: "edit", target: 1 });
    timeline.put({ ...said(4, ""), type: "delete", target: 2 });
    timeline.put(said(2, "secret"));
    const [first, second] = timeline.rows().slice(1).map((row) => row.entry);
    assert.deepEqual([first.text, first.edited > 0], ["the", true]);
    assert.deepEqual([second.text, second.deleted], ["", true]);
  });

  test("takes neither an older edit over a newer nor an edit over a deletion", () => {
    const timeline = new Timeline();
    const edit = (seq, text) => ({ ...said(seq, text), type: "edit", target: 1 });
    timeline.put(said(1, "first"));
    timeline.put(edit(3, "third"));
    timeline.put(edit(2, "second"));
    assert.deepEqual(texts(timeline), ["third"]);
    timeline.put({ ...said(4, ""), type: "delete", target: 1 });
    timeline.put(edit(5, "back again"));
    assert.deepEqual(texts(timeline), [""]);
  });

  test("keeps my echo below, until the log has it", () => {
    const timeline = new Timeline();
    timeline.me = ANN;
    timeline.putEcho({ clientId: "c1", text: "mine", ts: NOON, status: "sending" });
    timeline.put(said(1, "theirs", { user: BEN, client_id: "c1" }));
    assert.deepEqual(kinds(timeline), ["day", "message", "echo"]);
    const { key } = timeline.rows().at(-1);
    timeline.put(said(2, "mine", { client_id: "c1" }));
    assert.deepEqual(kinds(timeline), ["day", "message", "message"]);
    assert.equal(timeline.rows().at(-1).key, key, "the row stays the same one");
  });

  test("says in one line who came and went in a row", () => {
    const timeline = new Timeline();
    timeline.put(said(1));
    for (const text of ["a joined", "b joined", "a left", "c joined"]) timeline.putNotice(text);
    timeline.put(said(2));
    assert.deepEqual(kinds(timeline), ["day", "message", "notice", "message"]);
    assert.deepEqual(timeline.rows()[2].entry.texts, ["b joined", "a left", "c joined"]);
  });

  test("tells who came and went where the log has it, once and on its day", () => {
    const timeline = new Timeline(() => {}, ({ type, user }) => `${user.name} ${type}`);
    timeline.put(said(3), said(1, undefined, { type: "join" }), said(2, undefined, { type: "leave", user: BEN }));
    timeline.put(said(1, undefined, { type: "join" }));
    assert.deepEqual(kinds(timeline), ["day", "notice", "notice", "message"]);
    assert.deepEqual(timeline.rows().flatMap(({ entry }) => entry?.texts ?? []), ["Ann join", "Ben leave"]);
    assert.equal(timeline.oldest.seq, 1);
    assert.ok(!new Timeline().hasMessages);
  });

  test("has a gap where events are missing, and fills it", () => {
    const timeline = new Timeline();
    timeline.put(said(1));
    timeline.putGap(1, "1-5");
    timeline.put(said(6));
    timeline.put(said(5));
    assert.deepEqual(kinds(timeline), ["day", "message", "gap", "message", "message"]);
    timeline.drop(timeline.rows()[2].entry);
    timeline.put(said(1));
    assert.deepEqual(texts(timeline), ["text 1", "text 5", "text 6"]);
  });

  test("lets go of either end", () => {
    const timeline = new Timeline();
    for (let seq = 1; seq <= 10; seq++) timeline.put(said(seq));
    assert.ok(timeline.keepNewest(6));
    assert.ok(!timeline.keepNewest(6));
    assert.ok(timeline.keepOldest(4));
    assert.deepEqual([timeline.oldest.seq, timeline.newest.seq, timeline.size], [5, 8, 4]);
    timeline.put(said(4));
    assert.equal(timeline.oldest.seq, 4);
  });

  test("takes history's word where it is further on", () => {
    const timeline = new Timeline();
    timeline.put(said(1, "teh"));
    timeline.put(said(1, "the", { edited: NOON + 5 }));
    assert.deepEqual(texts(timeline), ["the"]);
    timeline.put(said(1, "", { status: "deleted" }));
    assert.deepEqual(texts(timeline), [""]);
  });
});

describe("a list of rooms", () => {
  const member = (user, read = 0) => ({ ...user, role: "member", read, online: false });
  const listed = (more = {}) => ({
    id: "r", kind: "direct", name: null, members: [member(ANN), member(BEN)], last: said(3), tip: "1-3", read: 3, unread: 0,
    ...more,
  });
  const heard = (seq, more = {}) => said(seq, `text ${seq}`, { room: "r", user: BEN, ...more });

  function roomsOf(...rooms) {
    const mine = new Rooms();
    mine.me = ANN;
    mine.replace(rooms);
    return mine;
  }

  test("counts what others said, once each, until I speak or read", () => {
    const rooms = roomsOf(listed());
    for (const seq of [2, 3, 4, 5, 5]) assert.ok(rooms.take(heard(seq)));
    assert.equal(rooms.unread, 2);
    assert.equal(rooms.get("r").last.text, "text 5");
    rooms.take(heard(6, { user: ANN }));
    assert.equal(rooms.unread, 0);
    rooms.take(heard(7));
    rooms.read({ room: "r", user: ANN.id, seq: 6 });
    assert.equal(rooms.unread, 1);
    assert.ok(rooms.read({ room: "r", user: ANN.id, seq: 7 }));
    assert.equal(rooms.unread, 0);
  });

  test("does not know how much is unread behind a mark in the middle", () => {
    const rooms = roomsOf(listed({ tip: "1-9", unread: 6 }));
    assert.ok(!rooms.read({ room: "r", user: ANN.id, seq: 5 }));
  });

  test("counts no deleted message, and takes its text from the line", () => {
    const rooms = roomsOf(listed());
    rooms.take(heard(4));
    rooms.take(heard(5, { type: "edit", target: 4, text: "better" }));
    assert.equal(rooms.get("r").last.text, "better");
    rooms.take(heard(6, { type: "delete", target: 4, text: undefined }));
    assert.equal(rooms.unread, 0);
    assert.deepEqual([rooms.get("r").last.text, rooms.get("r").last.status], ["", "deleted"]);
  });

  test("an answer that is older than what was heard meanwhile is caught up with", async () => {
    const rooms = roomsOf();
    await rooms.ask(async () => {
      assert.ok(!rooms.take(heard(4)));
      rooms.put(listed());
    });
    assert.equal(rooms.unread, 1);
    assert.equal(rooms.get("r").last.seq, 4);
  });

  test("follows who comes and goes, and forgets the room that I leave", () => {
    const cho = { id: "c", name: "Cho", kind: "guest" };
    const rooms = roomsOf(listed({ kind: "group", name: "Tea" }));
    rooms.take(heard(4, { type: "join", user: cho, by: BEN }));
    assert.deepEqual(rooms.get("r").members.map(({ name }) => name), ["Ann", "Ben", "Cho"]);
    rooms.take(heard(5, { type: "leave", user: BEN }));
    assert.deepEqual(rooms.others(rooms.get("r")).map(({ name }) => name), ["Cho"]);
    rooms.take(heard(6, { type: "leave", user: ANN, by: cho }));
    assert.equal(rooms.get("r"), undefined);
    assert.ok(rooms.take(heard(7, { type: "leave", user: ANN })), "no reason to ask for it");
  });

  test("is in the order of activity, without rooms of two where nobody has spoken", () => {
    const rooms = roomsOf(
      listed({ id: "old", last: said(1) }),
      listed({ id: "new", last: said(9) }),
      listed({ id: "silent", last: said(1, "", { type: "join" }) }),
    );
    assert.deepEqual(rooms.list(null).map(({ id }) => id), ["new", "old"]);
    assert.deepEqual(rooms.list("silent").map(({ id }) => id), ["new", "silent", "old"]);
  });

  test("knows who is writing, for a while", () => {
    const rooms = roomsOf(listed());
    rooms.typing({ room: "r", user: BEN }, 1_000);
    rooms.typing({ room: "r", user: ANN }, 1_000);
    assert.deepEqual(rooms.typists("r", 5_000), ["Ben"]);
    assert.deepEqual(rooms.typists("r", 6_001), []);
    rooms.typing({ room: "r", user: BEN }, 7_000);
    rooms.take(heard(4));
    assert.deepEqual(rooms.typists("r", 7_001), []);
  });

  test("calls a group by its name, or by who is in it", () => {
    const people = Array.from({ length: 5 }, (_, n) => member({ id: `p${n}`, name: `P${n}`, kind: "guest" }));
    const rooms = roomsOf();
    assert.equal(rooms.title(listed()), "Ben");
    assert.equal(rooms.title(listed({ kind: "group", name: "Tea" })), "Tea");
    assert.equal(rooms.title(listed({ kind: "group", members: [member(ANN), ...people] })), "P0, P1, P2 and 2 more");
  });

  test("says what happened last from my point of view", () => {
    const line = (last, kind = "group") => previewOf({ kind, last }, ANN.id);
    assert.equal(line(said(1)), "You: text 1");
    assert.equal(line(said(1, "hi", { user: BEN })), "Ben: hi");
    assert.equal(line(said(1, "hi", { user: BEN }), "direct"), "hi");
    assert.equal(line(said(1, "", { user: BEN, status: "deleted" }), "direct"), "message deleted");
    assert.equal(changeOf({ type: "join", seq: 4, user: ANN, by: BEN }, ANN.id), "Ben added you");
    assert.equal(changeOf({ type: "join", seq: 4, user: BEN, by: ANN }, ANN.id), "You added Ben");
    assert.equal(changeOf({ type: "leave", seq: 4, user: BEN }, ANN.id), "Ben left");
  });
});

describe("an outbox", () => {
  /** As a browser's: the keys are properties. */
  class Kept {
    setItem(key, value) {
      this[key] = value;
    }
    removeItem(key) {
      delete this[key];
    }
  }
  const message = (clientId, ts, user = null) => ({ clientId, text: clientId, ts, user });

  test("keeps a room's messages in order, and other rooms' apart", () => {
    const shared = new Kept();
    const outbox = new Outbox("lobby", () => shared);
    new Outbox("lobby2", () => shared).put(message("x", 1));
    outbox.put(message("b", 2));
    outbox.put(message("a", 1));
    assert.deepEqual(outbox.all().map((m) => m.clientId), ["a", "b"]);
    outbox.remove("a");
    assert.deepEqual(outbox.all().map((m) => m.clientId), ["b"]);
  });

  test("without storage forgets, and says so once each time", (t) => {
    t.mock.method(console, "warn", () => {});
    const outbox = new Outbox("lobby", () => {
      throw new Error("forbidden");
    });
    outbox.put(message("a", 1));
    assert.deepEqual(outbox.all(), []);
  });

  test("sends again only what the server still knows, of the same person", () => {
    const hour = 3_600_000;
    assert.ok(maySendAgain(message("a", 0, "me"), "me", 22 * hour));
    assert.ok(maySendAgain(message("a", 0, null), "me", 22 * hour));
    assert.ok(!maySendAgain(message("a", 0, "me"), "me", 24 * hour));
    assert.ok(!maySendAgain(message("a", 0, "me"), "you", hour));
  });
});

describe("a connection", () => {
  function enter(t) {
    t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
    const world = new World();
    const log = [];
    const room = connect(
      "수다방",
      {
        onevent: (event) => log.push(event.seq),
        ongap: (gap) => log.push(`gap ${gap.from}..${gap.to}`),
        onstate: (state, { code }) => log.push(code ? `${state}: ${code}` : state),
      },
      { world },
    );
    return { world, room, log, tick: (ms) => t.mock.timers.tick(ms) };
  }

  test("hands over each event once, and reports the states", (t) => {
    const { world, log, room } = enter(t);
    assert.equal(world.source.url, `/api/chat/${encodeURIComponent("수다방")}/events`);
    world.source.greet("1-0");
    for (const seq of [1, 2, 2, 3]) world.source.give("message", said(seq));
    assert.deepEqual(log, ["replaying", "live", 1, 2, 3]);
    assert.equal(room.me.name, "Ann");
  });

  test("is made anew at its cursor when the server falls silent", (t) => {
    const { world, tick } = enter(t);
    world.source.greet("1-7");
    world.source.give("message", said(8));
    tick(30_000);
    world.source.give("ping", { ts: 1 });
    tick(30_000);
    assert.equal(world.sources.length, 1, "a ping is a sign of life");
    tick(10_000);
    assert.equal(world.sources.length, 2);
    assert.match(world.source.url, /\?last_event_id=1-8$/);
    assert.equal(world.sources[0].readyState, 2, "the old one is closed");
  });

  test("leaves reconnecting to the browser, and goes on where it was", (t) => {
    const { world, log } = enter(t);
    world.source.greet("1-0");
    world.source.give("message", said(1));
    world.source.give("bye", { code: "draining" });
    world.source.readyState = 0;
    world.source.onerror();
    world.source.greet("1-1", true);
    world.source.give("message", said(1));
    world.source.give("message", said(2));
    assert.equal(world.sources.length, 1);
    assert.deepEqual(log, ["replaying", "live", 1, "waiting: draining", "replaying", "live", 2]);
  });

  test("tries again when the browser has given up, but not where it is refused", async (t) => {
    const { world, log, tick } = enter(t);
    world.answers = [[502], [400, { code: "bad_request" }]];
    world.source.readyState = 2;
    world.source.onerror();
    await settled();
    tick(1_000);
    assert.equal(world.sources.length, 2);
    world.source.readyState = 2;
    world.source.onerror();
    await settled();
    tick(60_000);
    assert.equal(world.sources.length, 2);
    assert.deepEqual(log, ["waiting", "refused: bad_request"]);
  });

  test("announces gaps, and holes that were not announced", (t) => {
    const { world, log } = enter(t);
    world.source.greet("1-10");
    world.source.give("gap", { from: "1-10", to: "1-40", reason: "trimmed" });
    world.source.give("message", said(41));
    world.source.give("message", said(45));
    assert.deepEqual(log.slice(2), ["gap 1-10..1-40", 41, "gap 1-41..1-44", 45]);
  });

  test("follows a log that went back", (t) => {
    const { world, log } = enter(t);
    world.source.greet("1-900");
    world.source.greet("1-20");
    world.source.give("gap", { from: "1-900", to: "1-20", reason: "unknown" });
    world.source.give("message", said(21));
    assert.equal(log.at(-1), 21);
  });

  test("keeps nothing open in the back-forward cache, and wakes up from it", (t) => {
    const { world, log } = enter(t);
    world.source.greet("1-3");
    world.dispatchEvent(new Event("pagehide"));
    assert.equal(world.source.readyState, 2);
    world.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    assert.equal(world.sources.length, 2);
    assert.match(world.source.url, /last_event_id=1-3/);
    assert.deepEqual(log.slice(2), ["paused", "waiting"]);
  });

  test("looks again when the network or the reader is back, if there is a need", (t) => {
    const { world } = enter(t);
    world.source.greet("1-3");
    world.dispatchEvent(new Event("online"));
    assert.equal(world.sources.length, 1);
    world.source.readyState = 0;
    world.document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(world.sources.length, 2);
  });

  test("after close stays closed", (t) => {
    const { world, room, log, tick } = enter(t);
    world.source.greet("1-3");
    room.close();
    world.dispatchEvent(new Event("online"));
    tick(100_000);
    assert.equal(world.sources.length, 1);
    assert.equal(log.at(-1), "closed");
  });

  test("speaks only once it is someone, in order, under one client_id for all attempts", async (t) => {
    const { world, room, tick } = enter(t);
    const waits = [];
    const sent = [
      room.send("one", { clientId: "c1", onretry: (why) => waits.push(why.code) }),
      room.send("two", { clientId: "c2" }),
    ];
    await settled();
    assert.equal(world.asked.length, 0);
    world.answers = [[], [503, { code: "overloaded" }, { "Retry-After": "7" }], [201, { seq: 1 }], [201, { seq: 2 }]];
    world.source.greet("1-0");
    await settled();
    tick(1_000);
    await settled();
    tick(6_900);
    await settled();
    assert.equal(world.asked.length, 2, "Retry-After is honoured");
    tick(100);
    assert.deepEqual((await Promise.all(sent)).map((answer) => answer.seq), [1, 2]);
    assert.deepEqual(world.asked.map(({ body }) => body.client_id), ["c1", "c1", "c1", "c2"]);
    assert.deepEqual(waits, ["unreachable", "overloaded"]);
  });

  test("speaks at once when the stream is back", async (t) => {
    const { world, room } = enter(t);
    world.source.greet("1-0");
    const sent = room.send("hello");
    await settled();
    world.answers = [[201, { seq: 1 }]];
    world.source.greet("1-0", true);
    assert.equal((await sent).seq, 1);
  });

  test("does not insist on what is refused, and goes on with the next", async (t) => {
    const { world, room } = enter(t);
    world.source.greet("1-0");
    world.answers = [[413, { code: "too_large", detail: "at most 4,096 bytes" }], [201, { seq: 1 }]];
    const [refused, next] = await Promise.allSettled([room.send("x".repeat(5_000)), room.send("y")]);
    assert.ok(refused.reason instanceof MaruError);
    assert.deepEqual([refused.reason.code, refused.reason.message], ["too_large", "at most 4,096 bytes"]);
    assert.equal(next.value.seq, 1);
  });

  test("stops trying when told to", async (t) => {
    const { world, room } = enter(t);
    const stop = new AbortController();
    world.source.greet("1-0");
    const sent = room.send("hello", { signal: stop.signal });
    await settled();
    stop.abort();
    await assert.rejects(sent, { name: "AbortError" });
    assert.equal(world.asked.length, 1);
  });
});

describe("a stream that tabs share", () => {
  /** Tabs of one browser: they hear each other, and one at a time holds a lock. */
  class Browser {
    channels = new Set();
    locks = new Map();
    sources = [];

    tab() {
      const browser = this;
      const world = new EventTarget();
      return Object.assign(world, {
        addEventListener: world.addEventListener.bind(world),
        document: Object.assign(new EventTarget(), { visibilityState: "visible" }),
        fetch: async () => new Response("{}", { status: 503 }),
        navigator: { locks: { request: (name, { signal }, act) => browser.#request(name, signal, act) } },
        BroadcastChannel: class {
          constructor(name) {
            this.name = name;
            browser.channels.add(this);
          }
          postMessage(message) {
            const data = JSON.stringify(message);
            for (const other of browser.channels) {
              if (other !== this && other.name === this.name) queueMicrotask(() => other.onmessage({ data: JSON.parse(data) }));
            }
          }
          close() {
            browser.channels.delete(this);
            this.onmessage = () => {};
          }
        },
        EventSource: class extends EventTarget {
          readyState = 0;
          constructor(url) {
            super();
            this.url = url;
            browser.sources.push(this);
          }
          close() {
            this.readyState = 2;
          }
          give(kind, data, lastEventId = "") {
            this.readyState = 1;
            const message = Object.assign(new Event(kind), { data: JSON.stringify(data), lastEventId });
            if (kind === "message") this.onmessage(message);
            else this.dispatchEvent(message);
          }
          greet(cursor, resumed) {
            this.give("hello", { user: ANN, cursor, tip: cursor, resumed }, cursor);
            this.give("live", { tip: cursor });
          }
          tell(place, data = said(1)) {
            this.give("message", data, `1-${place}`);
          }
        },
      });
    }

    async #request(name, signal, act) {
      const turn = (this.locks.get(name) ?? Promise.resolve()).then(() => !signal.aborted && act());
      this.locks.set(name, turn);
      await turn;
    }
  }

  const open = [];
  afterEach(() => open.splice(0).forEach((inbox) => inbox.close()));

  function listen(browser) {
    const log = [];
    const world = browser.tab();
    const inbox = openInbox({
      onevent: (event) => log.push(event.text),
      ongap: ({ from, to }) => log.push(`gap ${from}..${to}`),
      onlive: () => log.push("live"),
    }, { world });
    open.push(inbox);
    return { log, inbox, world };
  }

  test("is opened once, and all hear all of it", async () => {
    const browser = new Browser();
    const tabs = [listen(browser), listen(browser)];
    await settled();
    assert.deepEqual(browser.sources.map(({ url }) => url), ["/api/events?history=0"]);
    browser.sources[0].greet("1-10", false);
    browser.sources[0].tell(11, said(1, "one"));
    browser.sources[0].tell(12, { type: "gone" });
    browser.sources[0].tell(13, said(7, "two"));
    await settled();
    for (const { log, inbox } of tabs) {
      assert.deepEqual(log, ["live", "one", "two"]);
      assert.equal(inbox.state, "live");
    }
    assert.deepEqual(tabs.map(({ inbox }) => inbox.leads), [true, false]);
    tabs.push(listen(browser));
    await settled();
    assert.deepEqual(tabs[2].log, ["live"], "a tab that comes later begins where the stream is");
    browser.sources[0].tell(14, said(8, "three"));
    await settled();
    assert.deepEqual(tabs.map(({ log }) => log.at(-1)), ["three", "three", "three"]);
    assert.equal(browser.sources.length, 1);
  });

  test("is taken over by another tab, at its own place", async () => {
    const browser = new Browser();
    const [first, second, third] = [listen(browser), listen(browser), listen(browser)];
    await settled();
    browser.sources[0].greet("1-10", false);
    browser.sources[0].tell(11, said(1, "one"));
    await settled();
    first.inbox.close();
    await settled();
    assert.equal(browser.sources[0].readyState, 2);
    assert.equal(browser.sources[1].url, "/api/events?last_event_id=1-11");
    browser.sources[1].greet("1-11", true);
    browser.sources[1].tell(12, said(2, "two"));
    await settled();
    for (const { log } of [second, third]) assert.deepEqual(log, ["live", "one", "live", "two"]);
  });

  test("tells a tab that was away what it missed, or that it is too much", async () => {
    const browser = new Browser();
    const [, second] = [listen(browser), listen(browser)];
    await settled();
    browser.sources[0].greet("1-10", false);
    browser.sources[0].tell(11, said(1, "one"));
    await settled();
    second.world.dispatchEvent(new Event("pagehide"));
    for (const n of [12, 13]) browser.sources[0].tell(n, said(n, `text ${n}`));
    second.world.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    await settled();
    assert.deepEqual(second.log, ["live", "one", "text 12", "text 13", "live"]);
    second.world.dispatchEvent(new Event("pagehide"));
    for (let n = 14; n < 300; n++) browser.sources[0].tell(n, said(n));
    second.world.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    await settled();
    assert.deepEqual(second.log.slice(5), ["gap 1-13..1-299", "live"]);
    browser.sources[0].tell(300, said(300, "after"));
    await settled();
    assert.equal(second.log.at(-1), "after");
  });
});

describe("what somebody said", () => {
  const links = (text) => partsOf(text).filter(({ href }) => href).map(({ text }) => text);

  test("is whole, whatever in it is an address", () => {
    for (const text of ["", "no address", "https://a.example", "see https://a.example/x, and http://b.example."]) {
      assert.equal(partsOf(text).map((part) => part.text).join(""), text);
    }
  });

  test("has addresses without what ends the sentence", () => {
    assert.deepEqual(links("see https://a.example/x?y=1#z, and http://b.example."), ["https://a.example/x?y=1#z", "http://b.example"]);
    assert.deepEqual(links("(https://a.example/wiki/Maru_(room))"), ["https://a.example/wiki/Maru_(room)"]);
    assert.deepEqual(links("주소는 https://한국.example/수다방 입니다"), ["https://한국.example/수다방"]);
    assert.deepEqual(links("“https://a.example/!”"), ["https://a.example/"]);
    assert.deepEqual(links("https://a.example에서 봐요"), ["https://a.example"]);
  });

  test("leads nowhere but to the host that it names", () => {
    const hostile = [
      "javascript:alert(1)", "data:text/html,x", "https://good.example@evil.example/", "https://user:word@evil.example",
      "https://", "http://[", "xhttps://a.example", "https://<b>",
    ];
    for (const text of hostile) assert.deepEqual(links(text), [], text);
    assert.deepEqual(partsOf('https://a.example/"onclick=x').map(({ href }) => href), ["https://a.example/", undefined]);
  });

  test("is large when it is one to three emoji and nothing else", () => {
    for (const text of ["🙂", "👨‍👩‍👧 ❤️", "🇰🇷", "👍🏽👍🏽👍🏽", "☀️", "🏳️‍🌈", "1️⃣"]) assert.ok(isEmojiAlone(text), text);
    for (const text of ["", " ", "1", "ok 🙂", "🙂🙂🙂🙂", "©", "#"]) assert.ok(!isEmojiAlone(text), text);
  });

  test("is folded when it is long", () => {
    assert.ok(!isLong("a".repeat(1_000)) && !isLong("\n".repeat(14)));
    assert.ok(isLong("a".repeat(1_001)) && isLong("\n".repeat(15)));
  });
});

describe("where one left off", () => {
  const row = (seq, mine = false) => ({ kind: "message", mine, look: "", entry: { id: `${seq}`, seq } });
  const kinds = (left, rows) => left.adorn(rows).map(({ kind, entry }) => entry?.seq ?? kind);

  test("a line stands above what is new since, and nowhere when nothing is", () => {
    assert.deepEqual(kinds(new LeftOff(1), [row(1), row(2), row(3)]), [1, "fresh", 2, 3]);
    assert.deepEqual(kinds(new LeftOff(3), [row(1), row(2), row(3)]), [1, 2, 3]);
    assert.deepEqual(kinds(new LeftOff(null), [row(1), row(2)]), [1, 2]);
  });

  test("what I said is not new, and with it I have read what was there", () => {
    const left = new LeftOff(1);
    assert.deepEqual(kinds(left, [row(1), row(2, true), row(3)]), [1, 2, "fresh", 3]);
    left.event({ type: "message", seq: 1 }, true, false);
    assert.deepEqual(kinds(left, [row(1), row(2, true), row(3)]), [1, 2, "fresh", 3]);
    left.event({ type: "message", seq: 4 }, true, false);
    assert.deepEqual(kinds(left, [row(1), row(2, true), row(3)]), [1, 2, 3]);
  });

  test("what comes while nobody looks is new from the first of it on", () => {
    const left = new LeftOff();
    left.event({ type: "message", seq: 2 }, false, false);
    left.event({ type: "message", seq: 3 }, false, true);
    left.event({ type: "message", seq: 4 }, false, true);
    assert.deepEqual(kinds(left, [row(1), row(2), row(3), row(4)]), [1, 2, "fresh", 3, 4]);
  });

  test("where nothing older is shown there is no line", () => {
    assert.deepEqual(kinds(new LeftOff(1), [row(2), row(3)]), [2, 3]);
  });
});

describe("who is writing", () => {
  test("is named until they have said it, or five seconds are over", () => {
    const typists = new Typists();
    typists.heard({ id: "a", name: "Ann" }, 1_000);
    typists.heard({ id: "b", name: "Ben" }, 3_000);
    assert.equal(typingOf(typists.names(5_999)), "Ann and Ben are typing…");
    assert.equal(typingOf(typists.names(6_000)), "Ben is typing…");
    typists.stopped("b");
    assert.equal(typingOf(typists.names(6_000)), "");
    assert.equal(typingOf(["a", "b", "c"]), "Several people are typing…");
  });
});
