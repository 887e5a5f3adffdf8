/** What names an open room. */

const RESERVED = /^(search|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** A room's slug from what was typed, or what is wrong: spaces become hyphens, the rest is the server's rule. */
export function slugOf(typed) {
  const slug = typed.normalize("NFKC").toLowerCase().trim().replace(/^#/, "").replace(/\s+/g, "-");
  if (!/^[\p{L}\p{N}_-]{1,64}$/u.test(slug)) return { problem: "badSlug" };
  return RESERVED.test(slug) ? { problem: "reservedSlug" } : { slug };
}
