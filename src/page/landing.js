/** `/`: what maru is, and the way into a room. */

import { begin } from "./begin.js";
import { copies } from "./dom.js";
import { slugOf } from "./slug.js";
import { wireSwitches } from "./switches.js";
import { words } from "./words.js";

await begin();
openLanding();

function openLanding() {
  const page = document.querySelector(".landing");
  const form = page.querySelector("form");
  const input = page.querySelector("input");
  const error = page.querySelector(".error");

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { slug, problem } = slugOf(input.value);
    if (slug) return location.assign(`/r/${encodeURIComponent(slug)}`);
    error.textContent = words(problem);
    input.focus();
  });
  input.addEventListener("input", () => (error.textContent = ""));

  for (const line of page.querySelectorAll(".command")) {
    const code = line.querySelector("code");
    code.textContent = code.textContent.replace("localhost:8080", location.origin.replace("http://", ""));
    copies(line.querySelector("button"), code.textContent);
  }
  wireSwitches(page);
  page.inert = false;
  if (matchMedia("(hover: hover)").matches) input.focus();
}
