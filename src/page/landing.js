/** `/`: what maru is, and the way into a room. */

import { commandLine, fromTemplate, make } from "./dom.js";
import { putSwitches } from "./switches.js";
import { words } from "./words.js";

const RESERVED = /^(search|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;

export function openLanding() {
  const page = fromTemplate("landing");
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

  const lobby = `${location.origin.replace("http://", "")}/r/lobby`;
  const lines = { listen: `-N ${lobby}`, speak: `-d hello ${lobby}`, byName: `-d hello '${lobby}?name=Ann'` };
  for (const [what, line] of Object.entries(lines)) {
    page.querySelector(".terminal").append(commandLine(`curl ${line}`, make("span", { class: "what", text: words(what) })));
  }
  putSwitches(page);
  document.body.append(page);
  if (matchMedia("(hover: hover)").matches) input.focus();
}

/** A room's slug from what was typed, or what is wrong: spaces become hyphens, the rest is the server's rule. */
export function slugOf(typed) {
  const slug = typed.normalize("NFKC").toLowerCase().trim().replace(/^#/, "").replace(/\s+/g, "-");
  if (!/^[\p{L}\p{N}_-]{1,64}$/u.test(slug)) return { problem: "badSlug" };
  return RESERVED.test(slug) ? { problem: "reservedSlug" } : { slug };
}
