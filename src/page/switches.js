/** Language and theme: by the browser and the system, until one chooses. */

import { keep, setting } from "./settings.js";
import { language } from "./words.js";

export function wireSwitches(root) {
  const [lang, theme] = root.querySelectorAll(".switches select");
  lang.value = language;
  theme.value = setting("theme");
  lang.addEventListener("change", () => {
    keep("lang", lang.value);
    location.reload();
  });
  theme.addEventListener("change", () => keep("theme", theme.value));
}
