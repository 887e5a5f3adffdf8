/** Language and theme: by the browser and the system, until one chooses. */

import { make } from "./dom.js";
import { keep, setting } from "./settings.js";
import { language, words } from "./words.js";

/** As chosen before; called before anything is shown. */
export function applyTheme() {
  const theme = setting("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** Puts both switches where there is a place for them. */
export function putSwitches(root) {
  const themes = { "": words("system"), light: words("light"), dark: words("dark") };
  root.querySelector(".switches").append(
    choice(words("language"), { en: "English", ko: "한국어" }, language, (chosen) => {
      keep("lang", chosen);
      location.reload();
    }),
    choice(words("theme"), themes, setting("theme") ?? "", (chosen) => {
      keep("theme", chosen);
      applyTheme();
    }),
  );
}

function choice(label, options, now, onchoose) {
  const select = make("select");
  for (const [value, text] of Object.entries(options)) select.append(make("option", { value, text }));
  select.value = now;
  select.addEventListener("change", () => onchoose(select.value));
  return make("label", {}, make("span", { text: label }), select);
}
