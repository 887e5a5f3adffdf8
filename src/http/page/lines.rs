//! Lines of scripts, and what they say to other modules. This is no JavaScript parser: it knows the forms that our modules
//! use, and no others (tested).

/// The lines of a script that are not for its readers alone, as comments and empty lines are. It does not look into
/// strings; those stay on one line (tested).
pub(super) fn lean(source: &str) -> impl Iterator<Item = &str> {
    let mut in_comment = false;
    source.lines().filter(move |line| {
        let line = line.trim();
        let is_comment = in_comment || line.starts_with("//") || line.starts_with("/*");
        in_comment = (in_comment || line.starts_with("/*")) && !line.contains("*/");
        !is_comment && !line.is_empty()
    })
}

/// A line of a module, by what it is to others.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// `import { make, copy } from "./dom.js";`
    Import {
        names: &'a str,
        module: &'a str,
    },
    /// `export function make() {`: what is exported, and the line without that word.
    Export {
        name: &'a str,
        item: &'a str,
    },
    /// `function make() {`, up to the next `}` that is not indented.
    Item(&'a str),
    Other,
}

impl<'a> Line<'a> {
    pub(super) fn read(line: &'a str) -> Self {
        Line::of(line).unwrap_or_else(|| panic!("modules that are joined do not say it like this: {line}"))
    }

    fn of(line: &'a str) -> Option<Self> {
        let (word, rest) = line.split_at(line.find(|c| !is_of_name(c)).unwrap_or(line.len()));
        if line.contains("import.meta") {
            return None;
        }
        match word {
            "import" if !rest.starts_with('(') => {
                let (names, module) = rest.strip_prefix(" { ")?.split_once(" } from \"./")?;
                let is_plain = names.split(", ").all(|name| name.chars().all(is_of_name));
                Some(Line::Import { names, module: module.strip_suffix("\";").filter(|_| is_plain)? })
            }
            "export" => {
                let item = rest.strip_prefix(' ')?;
                let name = named(item).or_else(|| name_behind("const ", item))?;
                Some(Line::Export { name, item })
            }
            _ => Some(named(line).map_or(Line::Other, Line::Item)),
        }
    }
}

/// The name of a function or class that begins with this line.
fn named(line: &str) -> Option<&str> {
    ["async function ", "function ", "class "].iter().find_map(|kind| name_behind(kind, line))
}

fn name_behind<'a>(kind: &str, line: &'a str) -> Option<&'a str> {
    line.strip_prefix(kind)?.split(|c| !is_of_name(c)).next().filter(|name| !name.is_empty())
}

/// The name of a method that begins with this line of a class and that others may ask for: `  async history(page = {}) {`,
/// or one of `get` or `set`.
pub(super) fn method(line: &str) -> Option<&str> {
    let line = line.strip_prefix("  ").filter(|line| line.ends_with('{'))?;
    let line = ["async ", "get ", "set "].iter().find_map(|kind| line.strip_prefix(kind)).unwrap_or(line);
    let (name, _) = line.split_once('(')?;
    let is_name = !name.is_empty() && name.chars().all(is_of_name);
    (is_name && !["constructor", "if", "for", "while", "switch"].contains(&name)).then_some(name)
}

/// The names that a line might ask an object for: `room.history(`, `const { cursor } = room`.
pub(super) fn asked_of_objects(line: &str) -> impl Iterator<Item = &str> {
    let own = method(line);
    let mut before = None;
    line.split_inclusive(|c| !is_of_name(c)).filter_map(move |part| {
        let name = part.trim_end_matches(|c| !is_of_name(c));
        let is_asked = matches!(before, Some('.' | ' ')) && !name.is_empty() && own != Some(name);
        before = part.chars().next_back();
        is_asked.then_some(name)
    })
}

/// The modules that a line loads: `import("./talk.js")`.
pub(super) fn loaded(line: &str) -> Vec<&str> {
    let known = |rest: &str| Some(3 + rest.strip_prefix("\"./")?.find("\")")?);
    let modules = line.split("import(").skip(1).map(|rest| known(rest).map(|end| &rest[3..end]));
    modules
        .collect::<Option<_>>()
        .unwrap_or_else(|| panic!("modules that are joined do not load like this: {line}"))
}

/// Does a name stand in a line, whole?
pub(super) fn mentions(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(is_of_name) && !line[at + name.len()..].starts_with(is_of_name))
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::page::files::{scripts, source};

    #[test]
    fn scripts_lose_comments_and_nothing_else() {
        let script = "/** Why.\n * Because. */\nlet a = 1; // kept: not alone\n\n  // gone\n  /* gone */\n  b(\"//\");\n";
        assert_eq!(lean(script).collect::<Vec<_>>(), ["let a = 1; // kept: not alone", "  b(\"//\");"]);
        for name in scripts() {
            for line in source(name).lines() {
                assert!(line.matches('`').count() % 2 == 0, "{name}: a string goes over lines: {line}");
                let code_after_comment = line.trim_start().starts_with("/*")
                    && line.split_once("*/").is_some_and(|(_, rest)| !rest.trim().is_empty());
                assert!(!code_after_comment, "{name}: code behind a comment: {line}");
            }
        }
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let import = Line::Import { names: "make, copy", module: "dom.js" };
        assert_eq!(Line::read("import { make, copy } from \"./dom.js\";"), import);
        for (line, name) in [
            ("export const $PAGE_2 = 5;", "$PAGE_2"),
            ("export class Room extends Base {", "Room"),
            ("export async function copy(text) {", "copy"),
            ("export function make() {", "make"),
        ] {
            let item = line.strip_prefix("export ").unwrap();
            assert_eq!(Line::read(line), Line::Export { name, item });
            assert_eq!(Line::read(item) == Line::Item(name), !item.starts_with("const"));
        }
        for line in ["important = exported;", "  function inside() {", "import(\"./talk.js\").then(open);"] {
            assert_eq!(Line::read(line), Line::Other);
        }
        assert_eq!(loaded("[import(\"./a.js\"), import(\"./b.js\")]"), ["a.js", "b.js"]);
    }

    #[test]
    fn other_forms_are_refused() {
        for line in [
            "import words from \"./words.js\";",
            "import * as words from \"./words.js\";",
            "import { words as said } from \"./words.js\";",
            "import { words } from \"words\";",
            "import \"./words.js\";",
            "import {",
            "export default class {",
            "export { words };",
            "export * from \"./words.js\";",
            "export let now = 0;",
            "export const { a, b } = c;",
            "const here = import.meta.url;",
        ] {
            assert_eq!(Line::of(line), None);
        }
    }

    #[test]
    fn methods_are_known_by_their_first_line() {
        for (line, name) in [
            ("  history(page = {}) {", Some("history")),
            ("  async rooms() {", Some("rooms")),
            ("  get cursor() {", Some("cursor")),
            ("  constructor(name) {", None),
            ("  async #send(text) {", None),
            ("  if (a) {", None),
            ("    history(page) {", None),
            ("  label: (word) => {", None),
            ("  return wait(() => {", None),
        ] {
            assert_eq!(method(line), name, "{line}");
        }
        let asked = |line| asked_of_objects(line).collect::<Vec<_>>();
        assert_eq!(
            asked("if (me) room.history({ before, limit: PAGE });"),
            ["room", "history", "before", "limit", "PAGE"]
        );
        assert_eq!(asked("  const { cursor } = room"), ["const", "cursor", "room"]);
        assert_eq!(asked("this.#leave(\"read\", [name]);"), [""; 0]);
        assert_eq!(asked("  async history(page) {"), ["async"]);
    }

    #[test]
    fn names_are_found_whole() {
        assert!(mentions("new Room(name)", "Room"));
        assert!(!mentions("new Rooms($Room, aRoom)", "Room"));
    }
}
