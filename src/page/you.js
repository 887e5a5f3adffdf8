/** Who I am: choosing a name at first, and later with everything else that is mine to choose. */

import { avatar } from "./avatar.js";
import { canNotify, mayNotify, offerToNotify } from "./attention.js";
import { openDialog } from "./dialogs.js";
import { make } from "./dom.js";
import { rename, signIn } from "./maru.js";
import { keep } from "./settings.js";
import { wireSwitches } from "./switches.js";
import { words } from "./words.js";

/**
 * Asks for a name before anything else is shown.
 * @param {object|null} me  a guest who has a random name, or nobody yet
 * @returns {Promise<object>} who one is then
 */
export function askForName(me) {
  const page = document.querySelector(".gate");
  const input = page.querySelector("input");
  const skip = page.querySelector(".skip");
  if (me) page.querySelector(".face").replaceChildren(avatar(me.id));
  input.value = me?.name ?? "";
  skip.hidden = !me;
  wireSwitches(page);
  page.inert = false;
  input.focus();
  input.select();
  return new Promise((resolve) => {
    skip.addEventListener("click", () => resolve(me));
    onName(page.querySelector("form"), async (name) => resolve(await choose(name, me)));
  });
}

/** @param {(me: object) => void} onbecome */
export function openYou({ me, onbecome }) {
  const dialog = openDialog("you");
  dialog.querySelector(".face").append(avatar(me.id));
  dialog.querySelector("input").value = me.name;
  onName(dialog.querySelector("form"), async (name) => {
    onbecome(await choose(name, me));
    dialog.close();
  });
  wireSwitches(dialog);
  const place = dialog.querySelector(".notify");
  const draw = () => {
    if (!canNotify()) return (place.textContent = "");
    if (mayNotify()) return (place.textContent = words("notifies"));
    if (Notification.permission === "denied") return (place.textContent = words("notifyDenied"));
    const button = make("button", { class: "quiet", type: "button", text: words("notify") });
    button.addEventListener("click", async () => {
      await offerToNotify();
      draw();
    });
    place.replaceChildren(button);
  };
  draw();
}

async function choose(name, me) {
  const user = me ? await rename(name) : await signIn(name);
  keep("named", user.id);
  return user;
}

function onName(form, act) {
  const error = form.querySelector(".error");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector(".primary");
    button.disabled = true;
    error.textContent = "";
    try {
      await act(form.querySelector("input").value.trim());
    } catch (why) {
      error.textContent = why.message;
      form.querySelector("input").focus();
    }
    button.disabled = false;
  });
}
