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
      error.textContent = words("failed", { why: why.message });
    }
  });
  name.addEventListener("input", draw);
  draw();
  finder.focus();
}

/** @returns {{update: () => void, close: () => void}} */
export function openMembersDialog({ members, myId, search, onadd, onleave }) {
  const dialog = openDialog("members");
  const error = dialog.querySelector(".error");
  const attempt = async (act) => {
    error.textContent = "";
    try {
      await act();
    } catch (why) {
      error.textContent = words("failed", { why: why.message });
    }
  };
  const update = () => {
    const faces = members().map(({ id, name, role, online }) => {
      const who = make("span", { class: "who", text: name, dir: "auto" });
      const me = id === myId ? words("you") : "";
      const about = [me, role === "owner" ? words("owner") : "", online && !me ? words("online") : ""];
      return make("li", {}, avatar(id), who, make("span", { class: "note", text: about.filter(Boolean).join(" · ") }));
    });
    dialog.querySelector(".faces").replaceChildren(...faces);
    dialog.querySelector("h2").textContent = words("membersOf", { n: faces.length });
  };
  new Finder(dialog.querySelector(".finder"), {
    search: async (q) => (await search(q)).filter(({ id }) => !members().some((member) => member.id === id)),
    onpick: ({ id }) => attempt(() => onadd(id)),
  });
  const ask = (asking) => {
    dialog.querySelector(".leaving").hidden = !asking;
    dialog.querySelector(".ends").hidden = asking;
  };
  dialog.querySelector(".leave").addEventListener("click", () => {
    ask(true);
    dialog.querySelector(".stay").focus();
  });
  dialog.querySelector(".stay").addEventListener("click", () => {
    ask(false);
    dialog.querySelector(".leave").focus();
  });
  dialog.querySelector(".sure").addEventListener("click", () => {
    attempt(async () => {
      await onleave();
      dialog.close();
    });
  });
  update();
  return { update, close: () => dialog.close() };
}
