/** A face for everyone, drawn from the id: the same for all who look, whatever the name. */

import { makeSvg } from "./dom.js";

const drawn = new Map();

/** Decoration only: the name stands beside it. */
export function avatar(id) {
  if (drawn.size > 500) drawn.clear();
  if (!drawn.has(id)) drawn.set(id, draw(traits(id)));
  return drawn.get(id).cloneNode(true);
}

/** What an id looks like. */
export function traits(id) {
  const next = numbers(id);
  return {
    hue: next(24) * 15,
    shade: next(3),
    turn: next(61) - 30,
    shift: [next(11) - 5, next(7) - 1],
    lean: next(31) - 15,
    gaze: [next(5) - 2, next(4) - 1],
    apart: 4 + next(3),
    mouth: next(4),
    round: next(2) ? 20 : 12,
  };
}

function draw({ hue, shade, turn, shift, lean, gaze, apart, mouth, round }) {
  const [x, y] = [20 + gaze[0], 24 + gaze[1]];
  const eye = (side) => makeSvg("ellipse", { cx: x + side * apart, cy: y - 6, rx: 1.7, ry: 2.3 });
  const lips = `M${x - 4} ${y}${["q4 4 8 0", "m1 1h6", "q4 6 8 0z", "m1 0q4 3 7-1"][mouth]}`;
  return makeSvg(
    "svg", { viewBox: "0 0 40 40", class: "avatar", "aria-hidden": "true", focusable: "false" },
    makeSvg("rect", { width: 40, height: 40, fill: `hsl(${hue} 42% ${28 + shade * 4}%)` }),
    makeSvg("rect", {
      x: 3, y: 4, width: 36, height: 38, rx: round, fill: `hsl(${hue + 20 - shade * 20} 58% ${80 - shade * 3}%)`,
      transform: `translate(${shift}) rotate(${turn} 20 22)`,
    }),
    makeSvg(
      "g", { transform: `translate(${shift[0] / 2} ${shift[1] / 2}) rotate(${lean} 20 20)` },
      eye(-1), eye(1),
      makeSvg("path", { d: lips, class: mouth === 2 ? "lips open" : "lips" }),
    ),
  );
}

/** Small numbers out of a text: FNV-1a, stirred anew for each. */
function numbers(text) {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  return (below) => {
    hash = (hash + 0x9e3779b9) | 0;
    let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below;
  };
}
