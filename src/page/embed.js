/**
 * embed.js: a room on any page, by one line, where the line stands.
 *
 *     <script type="module" src="https://chat.example/embed.js" data-room="lobby"></script>
 *
 * data-room    the room's name
 * data-height  a length of CSS, or a number of pixels; 28rem unless given
 * data-theme   light, dark or system, which it is unless given
 * data-lang    en or ko; as the reader's browser says unless given
 * title        what screen readers call it; the room's name unless given
 *
 * The server has to know the page's origin (`--origin https://blog.example`); elsewhere browsers refuse to show it.
 */

const HEIGHT = "28rem";
const LENGTH = /^\d{1,5}(\.\d+)?(px|em|rem|[sld]?vh|%)$/;
const CHOICES = { theme: ["light", "dark", "system"], lang: ["en", "ko"] };

/** Letters and digits of any script, as the server's rule is. */
const ROOM = /^[\p{L}\p{N}_-]{1,64}$/u;

function put(script) {
  if (script.src !== import.meta.url || !script.hasAttribute("data-room") || script.hasAttribute("data-framed")) return;
  script.dataset.framed = "";
  const room = script.dataset.room.normalize("NFKC").trim();
  if (!ROOM.test(room)) return warn(script, "data-room is no room's name: letters, digits, - and _, up to 64 of them");
  if (document.head.contains(script)) return warn(script, "it stands in the head, where nothing is shown; move it into the body");
  script.after(frame(script, room));
}

function frame(script, room) {
  const element = document.createElement("iframe");
  const address = new URL(`/embed/${encodeURIComponent(room)}`, import.meta.url);
  address.hash = new URLSearchParams(choices(script)).toString();
  element.src = address.href;
  element.title = script.title || room;
  element.loading = "lazy";
  Object.assign(element.style, { display: "block", boxSizing: "border-box", width: "100%", height: height(script), border: "0" });
  return element;
}

/** What the page in the frame is told. */
function choices(script) {
  const chosen = Object.keys(CHOICES).filter((name) => script.dataset[name]).map((name) => [name, script.dataset[name]]);
  return chosen.filter(([name, value]) => {
    const isChoice = CHOICES[name].includes(value);
    if (!isChoice) warn(script, `data-${name} is one of ${CHOICES[name].join(", ")}`);
    return isChoice;
  });
}

function height(script) {
  const given = script.dataset.height ?? HEIGHT;
  const length = /^\d+$/.test(given) ? `${given}px` : given;
  if (LENGTH.test(length)) return length;
  warn(script, `data-height is a length, such as ${HEIGHT} or 480px`);
  return HEIGHT;
}

function warn(script, why) {
  console.warn(`maru: ${why}`, script);
}

for (const script of document.querySelectorAll("script[data-room]")) put(script);
// A module runs once on a page; a line that comes later has only this.
document.addEventListener("load", ({ target }) => target instanceof HTMLScriptElement && put(target), true);
