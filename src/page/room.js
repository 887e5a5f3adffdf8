/** `/r/{slug}`: an open room. */

import { avatar } from "./avatar.js";
import { Conversation } from "./conversation.js";
import { commandLine, fromTemplate, make } from "./dom.js";
import { connect, rename, startRoom } from "./maru.js";
import { People } from "./people.js";
import { keep } from "./settings.js";
import { showState } from "./state.js";
import { putSwitches } from "./switches.js";
import { words } from "./words.js";

/** @param {import("./maru.js").Options} [options]  with `tokens` whoever comes is not who they are elsewhere on maru */
export function openRoom(slug, options = {}) {
  document.title = `${slug} · maru`;
  document.body.append(fromTemplate("room"));
  const root = document.querySelector(".room");
  root.querySelector(".name").textContent = slug;
  showState(root, "connecting");

  let me = null;
  const become = (user) => {
    me = user;
    conversation.become(user);
    people.setMe(user);
  };
  const connection = connect(slug, {
    onhello({ user, cursor, online }) {
      conversation.start(cursor);
      become(user);
      people.greet(online);
    },
    onlive: () => conversation.begin(),
    onevent(event) {
      conversation.event(event, connection.state === "live");
      if (event.user) people.heard(event.user);
    },
    ongap: ({ to }) => conversation.gap(to),
    onpresence(presence) {
      people.change(presence);
      const others = [presence.joined, presence.left].flat().some((user) => user && user.id !== me.id);
      if (others) conversation.notice(presence.text);
    },
    onstate: (state) => showState(root, state),
  }, options);
  const conversation = new Conversation(root, {
    room: connection,
    key: options.tokens ? `token:${slug}` : slug,
    beginning: words("beginning", { room: slug }),
    hint: ({ name }) => words("composeAs", { name }),
    invitation: () => invitation(me),
  });
  const people = new People(root, {
    onlist: () => connection.members(),
    onrename: async (name) => {
      become(await rename(name, options));
      keep("named", me.id);
    },
    onmessage: options.tokens ? null : async ({ id }) => location.assign(`/chat/${(await startRoom([id])).id}`),
  });
  putSwitches(root);
  return root;
}

/** An empty room's: how to bring somebody in. */
function invitation(me) {
  const address = location.origin + location.pathname;
  return [
    avatar(me.id),
    make("h2", { text: words("emptyTitle") }),
    make("p", { text: words("emptyText") }),
    commandLine(address),
    commandLine(`curl -d hello ${address}`),
  ];
}
