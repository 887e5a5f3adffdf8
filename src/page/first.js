/** What was chosen on this browser, put on the root element before anything is painted; modules would come too late. */

{
  const { pathname, hash } = location;
  /** In a frame, what the page around it wants, which is stronger: `#theme=dark&lang=ko`. */
  const wanted = new URLSearchParams(pathname.startsWith("/embed/") ? hash.slice(1) : "");
  /** Storage may be forbidden; then nothing is remembered. */
  const kept = (name) => {
    try {
      return localStorage.getItem(`maru:${name}`);
    } catch {
      return null;
    }
  };
  const root = document.documentElement.dataset;
  for (const name of ["theme", "lang", "named"]) root[name] = wanted.get(name) ?? kept(name) ?? "";
  root.pane = /^\/chat\/./.test(pathname) ? "talk" : "list";
}
