/** `/`: what maru is, and the way into a room. */

import { copies } from "./dom.js";
import { wireSwitches } from "./switches.js";
import { words } from "./words.js";

const RESERVED = /^(search|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;

export function openLanding() {
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

/** A room's slug from what was typed, or what is wrong: spaces become hyphens, the rest is the server's rule. */
export function slugOf(typed) {
  const slug = typed.normalize("NFKC").toLowerCase().trim().replace(/^#/, "").replace(/\s+/g, "-");
  if (!/^[\p{L}\p{N}_-]{1,64}$/u.test(slug)) return { problem: "badSlug" };
  return RESERVED.test(slug) ? { problem: "reservedSlug" } : { slug };
}
