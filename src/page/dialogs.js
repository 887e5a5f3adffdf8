/** A new group, and who is in one. */

import { avatar } from "./avatar.js";
import { fromTemplate, make } from "./dom.js";
import { Finder } from "./finder.js";
import { newId } from "./maru.js";
import { words } from "./words.js";

/** A dialog from its template, shown until it is closed. */
export function openDialog(template) {
  document.body.append(fromTemplate(template));
  const dialog = document.body.lastElementChild;
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.showModal();
  return dialog;
}

/** @param {(q: string) => Promise<object[]>} search @param {(ids: string[], group: object) => Promise} onmake */
export function openGroupDialog({ search, onmake }) {
  const dialog = openDialog("group");
  const picked = new Map();
  const clientId = newId();
  const error = dialog.querySelector(".error");
  const finder = new Finder(dialog.querySelector(".finder"), {
    search: async (q) => (await search(q)).filter(({ id }) => !picked.has(id)),
    onpick: (person) => {
      picked.set(person.id, person);
      draw();
    },
  });
  const name = dialog.querySelector("#group-name");
  /** Two people without a name for it are no group. */
  const isGroup = () => picked.size >= (name.value.trim() ? 1 : 2);
  const draw = () => {
    const chips = [...picked.values()].map(({ id, label }) => {
      const chip = make("button", { type: "button", "aria-label": words("remove", { name: label }) });
      chip.append(avatar(id), make("span", { text: label, dir: "auto" }), make("span", { class: "x", text: "×", "aria-hidden": true }));
      chip.addEventListener("click", () => {
        picked.delete(id);
        draw();
        finder.focus();
      });
      return make("li", {}, chip);
    });
    dialog.querySelector(".picked").replaceChildren(...chips);
    dialog.querySelector(".primary").disabled = !isGroup();
    error.className = isGroup() ? "error" : "error hint";
    error.textContent = isGroup() ? "" : words("pickTwo");
  };
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!isGroup()) return;
    try {
      await onmake([...picked.keys()], { name: name.value.trim(), clientId });
      dialog.close();
    } catch (why) {
      error.className = "error";
      error.textContent = words("notDone", { why: why.message });
    }
  });
  name.addEventListener("input", draw);
  draw();
  finder.focus();
}

/**
 * @param {object} group
 * @param {((id: string) => Promise)} group.onremove  an owner's
 * @returns {{update: () => void, close: () => void}}
 */
export function openMembersDialog({ members, myId, search, onadd, onremove, onleave }) {
  const dialog = openDialog("members");
  const find = (selector) => dialog.querySelector(selector);
  const attempt = async (act) => {
    find(".error").textContent = "";
    try {
      await act();
    } catch (why) {
      find(".error").textContent = words("notDone", { why: why.message });
    }
  };
  /** What takes something away is asked about first. */
  const ask = (question, no, yes, act) => {
    const end = () => {
      find(".asking").hidden = true;
      find(".ends").hidden = false;
      find(".ends .close").focus();
    };
    find(".asking p").textContent = question;
    find(".stay").textContent = no;
    find(".sure").textContent = yes;
    find(".stay").onclick = end;
    find(".sure").onclick = () => {
      end();
      attempt(act);
    };
    find(".asking").hidden = false;
    find(".ends").hidden = true;
    find(".stay").focus();
  };
  const removal = ({ id, name }) => {
    const remove = () => ask(words("reallyRemove", { name }), words("cancel"), words("removeNow"), () => onremove(id));
    return make("button", { class: "quiet grave", type: "button", text: words("removeNow"), "aria-label": words("removeMember", { name }), onclick: remove });
  };
  const face = (member, isMine) => {
    const { id, name, role, online } = member;
    const me = id === myId ? words("you") : "";
    const about = [me, role === "owner" ? words("owner") : "", online && !me ? words("online") : ""];
    const who = make("span", { class: "who", text: name, dir: "auto" });
    const note = make("span", { class: "note", text: about.filter(Boolean).join(" · ") });
    return make("li", {}, avatar(id), who, note, isMine && !me ? removal(member) : "");
  };
  let drawn = "";
  const update = () => {
    const all = members();
    const look = JSON.stringify(all.map(({ id, name, role, online }) => [id, name, role, online]));
    // A button that one is at stays where it is.
    if (look === drawn) return;
    drawn = look;
    const isMine = all.some(({ id, role }) => id === myId && role === "owner");
    find(".faces").replaceChildren(...all.map((member) => face(member, isMine)));
    find("h2").textContent = words("membersOf", { n: all.length });
  };
  new Finder(find(".finder"), {
    search: async (q) => (await search(q)).filter(({ id }) => !members().some((member) => member.id === id)),
    onpick: ({ id }) => attempt(() => onadd(id)),
  });
  find(".leave").addEventListener("click", () => {
    ask(words("reallyLeave"), words("stay"), words("leaveNow"), async () => {
      await onleave();
      dialog.close();
    });
  });
  update();
  return { update, close: () => dialog.close() };
}
