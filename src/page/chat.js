/** `/chat/` and `/chat/{room}`: the conversations of one person, by one stream. */

import { avatar } from "./avatar.js";
import { notify, showThatSeen, showTitle } from "./attention.js";
import { begin } from "./begin.js";
import { fromTemplate, make } from "./dom.js";
import { Finder } from "./finder.js";
import { backoff, openInbox, startRoom, whoAmI } from "./maru.js";
import { previewOf } from "./phrases.js";
import { faceOf, RoomList } from "./roomlist.js";
import { Rooms } from "./rooms.js";
import { isNamed, setting } from "./settings.js";
import { showState } from "./state.js";
import { TYPING_MS } from "./typing.js";
import { words } from "./words.js";

/** The list comes first; what is not in sight yet is loaded when it is needed. */
const parts = { talk: () => import("./talk.js"), dialogs: () => import("./dialogs.js"), you: () => import("./you.js") };

/** Rooms asked for at once. */
const PAGE = 30;

async function openChat() {
  showTitle("", 0);
  if (!setting("named")) parts.you().catch(() => {});
  let me = await somebody();
  const isVisit = roomOf(location.pathname) === null;
  if (!me || (isVisit && !isNamed(me))) me = await (await parts.you()).askForName(me);
  document.querySelector(".gate").remove();
  const root = document.querySelector(".chat");
  root.inert = false;
  new Chat(root, me);
  // Soon, for a server of another version would not have them any more.
  for (const load of Object.values(parts)) load().catch(() => {});
}

/** Asks until there is an answer. */
async function somebody() {
  for (let attempt = 0; ; attempt++) {
    try {
      const me = await whoAmI();
      document.querySelector("body > .aside")?.remove();
      return me;
    } catch {
      if (attempt === 0) document.body.append(asideOf("unreachable"));
      await new Promise((resolve) => setTimeout(resolve, backoff(attempt)));
    }
  }
}

class Chat {
  #root;
  #me;
  #rooms = new Rooms();
  #list;
  #inbox;
  #clients = new Map();
  #talk = null;
  #members = null;
  #next = null;
  #begun = false;

  constructor(root, me) {
    this.#root = root;
    this.#list = new RoomList(root, this.#rooms, { onmore: () => this.#loadMore(), onfind: () => finder.focus() });
    this.#become(me);
    const finder = new Finder(this.#find(".side .finder"), {
      search: (q) => this.#searchAll(q),
      onpick: (item) => this.#pick(item),
    });
    this.#find(".new-group").addEventListener("click", () => this.#makeGroup());
    const openMine = async () => {
      const { openYou } = await parts.you();
      openYou({ me: this.#me, onbecome: (user) => this.#become(user) });
    };
    this.#find(".settings").addEventListener("click", openMine);
    this.#find(".nameless button").addEventListener("click", openMine);
    root.addEventListener("click", (event) => this.#follow(event));
    addEventListener("popstate", () => this.#show(roomOf(location.pathname)));
    showState(root, "connecting");
    showThatSeen();
    this.#inbox = openInbox({
      onhello: ({ user }) => this.#hello(user),
      ongap: () => this.#load(),
      onevent: (event) => this.#event(event),
      onread: (mark) => this.#read(mark),
      ontyping: (typing) => this.#typing(typing),
      onpresence: (presence) => {
        this.#rooms.presence(presence);
        this.#update();
      },
      onstate: (state) => showState(root, state),
    });
  }

  #hello(user) {
    this.#become(user);
    if (!this.#begun) this.#load();
    this.#begun = true;
  }

  #become(me) {
    this.#me = me;
    this.#rooms.me = me;
    this.#list.me = me;
    this.#talk?.become(me);
    this.#find(".settings").replaceChildren(avatar(me.id));
    this.#find(".nameless").hidden = isNamed(me);
  }

  /** The list from its top, and with it what is open. */
  async #load() {
    this.#list.state = "loading";
    try {
      await this.#rooms.ask(async () => {
        const page = await this.#inbox.rooms({ limit: PAGE });
        this.#rooms.replace(page.rooms);
        this.#listed(page);
        if (this.#talk && !this.#rooms.get(this.#talk.id)) await this.#learn(this.#talk.id);
      });
    } catch {
      this.#list.state = "failed";
    }
    if (!this.#talk) this.#show(roomOf(location.pathname));
    else if (this.#rooms.get(this.#talk.id)) this.#talk.reload();
    else this.#end();
    this.#update();
  }

  async #loadMore() {
    if (this.#next === null) return this.#load();
    this.#list.state = "loading";
    try {
      await this.#rooms.ask(async () => {
        const page = await this.#inbox.rooms({ limit: PAGE, after: this.#next });
        for (const room of page.rooms) this.#rooms.put(room);
        this.#listed(page);
      });
    } catch {
      this.#list.state = "failed";
    }
    this.#update();
  }

  #listed({ next }) {
    this.#next = next;
    this.#list.state = next ? "more" : "whole";
  }

  /** A room that the list has not shown yet. @returns {Promise<boolean>} whether it is there for me */
  async #learn(id, last) {
    try {
      await this.#rooms.ask(async () => this.#rooms.put({ ...(last && { last }), ...(await this.#client(id).about()) }));
      return true;
    } catch (error) {
      if (error.status === 0 || error.status >= 500) throw error;
      return false;
    } finally {
      this.#update();
    }
  }

  #event(event) {
    const isNews = this.#inbox.state === "live";
    const isKnown = this.#rooms.take(event);
    if (!isKnown) this.#learn(event.room, event).catch(() => (this.#list.state = "failed"));
    if (this.#talk?.id === event.room) {
      if (this.#rooms.get(event.room)) this.#talk.event(event, isNews);
      else this.#end();
    }
    const room = this.#rooms.get(event.room);
    if (room && isNews && event.type === "message" && event.user.id !== this.#me.id && this.#inbox.leads) {
      const title = this.#rooms.title(room);
      notify({ room: room.id, title, text: previewOf(room, this.#me.id), onopen: () => this.#go(room.id) });
    }
    this.#update();
  }

  #read(mark) {
    if (!this.#rooms.read(mark)) this.#learn(mark.room).catch(() => {});
    this.#update();
  }

  #typing(typing) {
    this.#rooms.typing(typing, Date.now());
    setTimeout(() => this.#update(), TYPING_MS + 100);
    this.#update();
  }

  #update() {
    this.#list.draw();
    this.#talk?.update();
    this.#members?.update();
    const room = this.#rooms.get(this.#talk?.id);
    showTitle(room ? this.#rooms.title(room) : words("conversations"), this.#rooms.unread);
  }

  async #search(q) {
    const { users } = await this.#inbox.search(q);
    return users.map(({ id, name }) => ({ id, label: name, face: avatar(id) }));
  }

  /** People, and groups of mine that are called so. */
  async #searchAll(q) {
    const groups = this.#rooms.groups(q).map((room) => {
      return { room: room.id, label: this.#rooms.title(room), face: faceOf(this.#rooms.others(room)) };
    });
    return [...groups, ...(await this.#search(q))];
  }

  async #pick({ id, room }) {
    try {
      if (room) this.#go(room);
      else await this.#open(await startRoom([id]));
    } catch (error) {
      this.#pane(asideOf("unreachable", error.message));
    }
  }

  /** A room that was just made, or had been before. */
  async #open(room) {
    if (!this.#rooms.get(room.id)) await this.#learn(room.id);
    this.#go(room.id);
  }

  async #makeGroup() {
    const { openGroupDialog } = await parts.dialogs();
    openGroupDialog({
      search: (q) => this.#search(q),
      onmake: async (ids, group) => this.#open(await startRoom(ids, group)),
    });
  }

  async #openMembers(id) {
    const { openMembersDialog } = await parts.dialogs();
    if (this.#talk?.id !== id) return;
    this.#members = openMembersDialog({
      members: () => this.#rooms.get(id)?.members ?? [],
      myId: this.#me.id,
      search: (q) => this.#search(q),
      onadd: async (user) => {
        await this.#client(id).add(user);
        await this.#learn(id);
      },
      onremove: async (user) => {
        await this.#client(id).expel(user);
        await this.#learn(id);
      },
      onleave: async () => {
        await this.#client(id).leave();
        this.#close();
        this.#rooms.drop(id);
        this.#go(null);
      },
    });
  }

  #go(id) {
    const path = id ? `/chat/${id}` : "/chat/";
    if (location.pathname !== path) history.pushState(null, "", path);
    this.#show(id);
  }

  /** Links to conversations stay on this page. */
  #follow(event) {
    const link = event.target.closest("a[href^='/chat/']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.#go(roomOf(link.pathname));
  }

  async #show(id) {
    if (this.#talk && this.#talk.id === id) return;
    const left = this.#talk?.id;
    this.#close();
    document.documentElement.dataset.pane = id ? "talk" : "list";
    this.#list.open = id;
    if (id === null) {
      this.#pane(asideOf("pick"));
      this.#update();
      return this.#list.focus(left);
    }
    let Talk;
    try {
      ({ Talk } = await parts.talk());
      const isThere = this.#rooms.get(id) || (await this.#learn(id));
      if (roomOf(location.pathname) !== id || this.#talk?.id === id) return;
      if (!isThere) return this.#pane(asideOf("noRoom", null, true));
    } catch {
      return this.#pane(asideOf("unreachable", null, true));
    }
    this.#talk = new Talk(this.#find(".pane"), {
      id,
      rooms: this.#rooms,
      room: this.#client(id),
      me: this.#me,
      onmembers: () => this.#openMembers(id),
      onread: (seq) => this.#read({ room: id, user: this.#me.id, seq }),
    });
    this.#talk.focus();
    this.#update();
  }

  #close() {
    this.#members?.close();
    this.#members = null;
    this.#talk?.close();
    this.#talk = null;
  }

  /** What was open is not mine to see any more. */
  #end() {
    this.#close();
    this.#list.open = null;
    this.#pane(asideOf("outOfRoom", null, true));
  }

  #pane(content) {
    this.#find(".pane").replaceChildren(content);
    if (document.documentElement.dataset.pane === "talk") this.#find(".pane h1").focus();
  }

  /** One for each room, so that what is said in it goes out in order. */
  #client(id) {
    if (!this.#clients.has(id)) this.#clients.set(id, this.#inbox.room(id));
    return this.#clients.get(id);
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }
}

/** A sentence where a conversation would be. */
function asideOf(what, text, withWayBack) {
  const content = fromTemplate("aside").firstElementChild;
  content.className = `aside ${what}`;
  content.querySelector("h1").textContent = words(what);
  content.querySelector("p").textContent = text ?? words(`${what}Text`);
  if (withWayBack) content.append(make("a", { class: "primary", href: "/chat/", text: words("back") }));
  return content;
}

/** The room that an address is about, or null. */
function roomOf(path) {
  return /^\/chat\/([0-9a-f-]{36})\/?$/i.exec(path)?.[1].toLowerCase() ?? null;
}

await begin();
openChat();
