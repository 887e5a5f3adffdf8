//! Scripts as they are sent: without comments, and all that a page is opened with as one file. Each module keeps a scope of
//! its own there, a function that stands behind those it imports from:
//!
//! ```js
//! const words_js = (() => {
//! const { setting } = settings_js;
//! function words(key) { … }
//! return { words };
//! })();
//! ```

use std::{collections::HashSet, fmt::Write};

use super::{
    files::source,
    lines::{Line, asked_of_objects, lean, loaded, mentions, method},
};

/// A file of scripts, and the modules in it. The last one stands there as it is, with what it exports.
pub(super) struct Joined {
    pub(super) name: &'static str,
    pub(super) modules: Vec<&'static str>,
}

/// What a page is opened with, under the name of its own module, and a file for each module that it loads later.
pub(super) fn joined(page: &'static str) -> Vec<Joined> {
    let mut opening = Vec::new();
    collect(page, &[], &mut Vec::new(), &mut opening);
    let later: Vec<_> = opening.iter().flat_map(|name| loads(name)).collect();
    let elsewhere: Vec<_> = opening.iter().chain(&later).copied().collect();
    let mut files = vec![Joined { name: page, modules: opening }];
    for name in later {
        let mut modules = Vec::new();
        collect(name, &elsewhere, &mut Vec::new(), &mut modules);
        files.push(Joined { name, modules });
    }
    files
}

/// A module behind those that it imports from, unless they are in other files.
fn collect(
    name: &'static str,
    elsewhere: &[&str],
    way: &mut Vec<&'static str>,
    modules: &mut Vec<&'static str>,
) {
    assert!(!way.contains(&name), "{name} imports itself by way of {way:?}");
    way.push(name);
    for import in imports(name) {
        if !elsewhere.contains(&import) && !modules.contains(&import) {
            collect(import, elsewhere, way, modules);
        }
    }
    way.pop();
    modules.push(name);
}

impl Joined {
    /// The file, one of those of its page.
    pub(super) fn text(&self, page: &[Joined]) -> String {
        let (last, others) = self.modules.split_last().expect("a file has a module");
        let modules = page.iter().flat_map(|file| &file.modules);
        let methods = modules.flat_map(|name| lean(source(name))).flat_map(asked_of_objects).collect();
        let mut text = String::new();
        for file in page.iter().filter(|file| file.name != self.name) {
            match &scopes(&file.asked_by(self))[..] {
                "" => {}
                // One that is loaded later is known by what it exports.
                scope if file.name != page[0].name => {
                    let _ = writeln!(text, "import * as {scope} from \"./{}\";", file.name);
                }
                scopes => {
                    let _ = writeln!(text, "import {{ {scopes} }} from \"./{}\";", file.name);
                }
            }
        }
        for name in others {
            let (body, exports) = self.body(name, page, &methods);
            let exports = exports.join(", ");
            let _ =
                writeln!(text, "const {} = (() => {{\n{body}return {{ {exports} }};\n}})();", scope(name));
        }
        text.push_str(&self.body(last, page, &methods).0);
        if self.name == page[0].name {
            let asked: Vec<_> = page[1..].iter().flat_map(|file| self.asked_by(file)).collect();
            let asked: Vec<_> = self.modules.iter().copied().filter(|name| asked.contains(name)).collect();
            if !asked.is_empty() {
                let _ = writeln!(text, "export {{ {} }};", scopes(&asked));
            }
        }
        text
    }

    /// Modules of this file that those of another one import from.
    fn asked_by(&self, other: &Joined) -> Vec<&'static str> {
        let asked: Vec<_> = other.modules.iter().flat_map(|name| imports(name)).collect();
        self.modules.iter().copied().filter(|name| asked.contains(name)).collect()
    }

    /// What a page needs of a module, with scopes for what it imports; and the names that others ask for.
    fn body(
        &self,
        name: &'static str,
        page: &[Joined],
        methods: &HashSet<&str>,
    ) -> (String, Vec<&'static str>) {
        let mut body = String::new();
        let mut exports = Vec::new();
        let asked = asked(name, page);
        for line in without_unasked(needed(name, &asked), methods) {
            match Line::read(line) {
                Line::Import { names, module } => {
                    let _ = writeln!(body, "const {{ {names} }} = {};", scope(module));
                }
                Line::Export { name: export, item } => {
                    exports.extend(asked.contains(&export).then_some(export));
                    let _ =
                        writeln!(body, "{}", if self.modules.last() == Some(&name) { line } else { item });
                }
                Line::Item(_) | Line::Other => {
                    let _ = writeln!(body, "{}", line.trim());
                }
            }
        }
        (body, exports)
    }
}

/// What a page asks of a module: what others import from it, or all that it exports if they load it.
fn asked(name: &str, page: &[Joined]) -> Vec<&'static str> {
    let mut asked = Vec::new();
    for other in page.iter().flat_map(|file| &file.modules) {
        for line in lean(source(other)) {
            match Line::read(line) {
                Line::Import { names, module } if module == name => asked.extend(names.split(", ")),
                _ if loaded(line).contains(&name) => {
                    let exports = lean(source(name)).map(Line::read);
                    asked.extend(exports.filter_map(|line| {
                        if let Line::Export { name, .. } = line { Some(name) } else { None }
                    }));
                }
                _ => {}
            }
        }
    }
    asked
}

/// The lines of a module without the functions and classes that are asked for by nobody, nor named by what is left.
fn needed(name: &str, asked: &[&str]) -> Vec<&'static str> {
    let mut items: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
    let mut is_open = false;
    for line in lean(source(name)) {
        if is_open {
            assert!(
                line == "}" || line.starts_with(' '),
                "{name}: something goes on without an indent: {line}"
            );
            items.last_mut().expect("an item is open").1.push(line);
        } else {
            let item = match Line::read(line) {
                Line::Export { name, item } if !item.starts_with("const ") => Some(name),
                Line::Item(name) => Some(name),
                _ => None,
            };
            is_open = item.is_some();
            items.push((item, vec![line]));
        }
        is_open &= line != "}";
    }
    let is_named = |lines: &[&str], name| lines.iter().any(|line| mentions(line, name));
    while let Some(at) = items.iter().position(|(item, _)| {
        let is_needed = |name| {
            asked.contains(&name)
                || items.iter().any(|(other, lines)| *other != Some(name) && is_named(lines, name))
        };
        item.is_some_and(|name| !is_needed(name))
    }) {
        items.remove(at);
    }
    items.into_iter().flat_map(|(_, lines)| lines).collect()
}

/// These lines without the methods of classes that nothing on the page asks an object for, as far as their names tell.
fn without_unasked<'a>(lines: Vec<&'a str>, asked: &HashSet<&str>) -> Vec<&'a str> {
    let (mut in_class, mut is_kept) = (false, true);
    let keep = |line: &&str| {
        match *line {
            line if line.starts_with("class ") || line.starts_with("export class ") => in_class = true,
            "}" => in_class = false,
            line if in_class => {
                if let Some(name) = method(line) {
                    is_kept = asked.contains(name);
                }
            }
            _ => {}
        }
        // Its last line goes with it.
        let was_kept = is_kept;
        is_kept |= *line == "  }";
        was_kept
    };
    lines.into_iter().filter(keep).collect()
}

/// A script that stands alone, as it is sent.
pub(super) fn alone(name: &str) -> String {
    lean(source(name)).flat_map(|line| [line.trim(), "\n"]).collect()
}

/// What a module imports from, and so cannot do without.
fn imports(name: &str) -> Vec<&'static str> {
    let import = |line| match line {
        Line::Import { module, .. } => Some(module),
        _ => None,
    };
    lean(source(name)).map(Line::read).filter_map(import).collect()
}

/// What a module loads when it needs it.
fn loads(name: &str) -> Vec<&'static str> {
    lean(source(name)).flat_map(loaded).collect()
}

/// Under what a module is known in a file.
fn scope(module: &str) -> String {
    module.replace('.', "_")
}

fn scopes(modules: &[&str]) -> String {
    modules.iter().map(|module| scope(module)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::page::Page;

    /// What is in two files would be there twice, each with a memory of its own.
    #[test]
    fn each_module_of_a_page_is_in_one_file() {
        for page in Page::ALL {
            let files = joined(page.script());
            let mut modules: Vec<_> = files.iter().flat_map(|file| &file.modules).collect();
            let all = modules.len();
            modules.sort_unstable();
            modules.dedup();
            assert_eq!(modules.len(), all, "{page:?}");
            assert_eq!(files[0].modules.last(), Some(&page.script()));
        }
    }

    #[test]
    fn modules_of_a_file_stand_behind_what_they_import() {
        for page in Page::ALL {
            let files = joined(page.script());
            let opening = &files[0].modules;
            for file in &files {
                let later = file.modules.iter().enumerate();
                for (at, name) in later {
                    for import in imports(name) {
                        let is_before = file.modules[..at].contains(&import);
                        let is_elsewhere =
                            files.iter().any(|other| other.name == import) || opening.contains(&import);
                        assert!(
                            is_before || (file.name != page.script() && is_elsewhere),
                            "{name}: {import}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn only_the_last_module_of_a_file_exports_and_none_imports() {
        for page in Page::ALL {
            let files = joined(page.script());
            for file in &files {
                let text = file.text(&files);
                let (_, behind) = text.rsplit_once("\n})();\n").unwrap_or(("", &text));
                let is_mine = |line: &&str| line.starts_with("import ") || line.starts_with("export ");
                let heads = text.lines().take_while(|line| line.starts_with("import ")).count();
                let tails = behind.lines().filter(|line| line.starts_with("export ")).count();
                assert_eq!(text.lines().filter(is_mine).count(), heads + tails, "{}", file.name);
                assert_eq!(heads > 0, file.name != page.script(), "{}", file.name);
            }
        }
    }

    /// `Room` and `history` are named by what stays; nobody on a page of one room opens the inbox.
    #[test]
    fn what_nobody_asks_for_is_left_out() {
        let client = |asked| needed("maru.js", asked).join("\n");
        let (some, all) = (client(&["connect"]), client(&["connect", "openInbox"]));
        assert!(
            some.contains("export class Connection extends Room {") && some.contains("export class Room {")
        );
        assert!(!some.contains("function openInbox(") && !some.contains("class Inbox {"));
        assert!(all.contains("\nexport function openInbox(") && all.contains("\nexport class Inbox {"));
    }

    /// Only the inbox has rooms whose members come and go.
    #[test]
    fn methods_that_nobody_asks_for_are_left_out() {
        let text = |page| {
            let files = joined(page);
            files.iter().map(|file| file.text(&files)).collect::<String>()
        };
        let (room, chat) = (text("room.js"), text("chat.js"));
        for method in ["expel(user) {", "leave() {", "reset(cursor) {"] {
            assert!(!room.contains(&format!("\n{method}")) && !room.contains(&format!("\nasync {method}")));
            assert!(chat.contains(&format!("\n{method}")) || chat.contains(&format!("\nasync {method}")));
        }
        for method in ["edit(seq, text) {", "remove(seq) {", "get cursor() {", "gap(element, "] {
            assert!(room.contains(&format!("\n{method}")), "{method}");
        }
    }

    #[test]
    fn what_is_loaded_later_shares_modules_with_the_page() {
        let files = joined("chat.js");
        let text = |name| files.iter().find(|file| file.name == name).unwrap().text(&files);
        let (chat, you) = (text("chat.js"), text("you.js"));
        assert!(chat.contains("\nconst words_js = (() => {\n"));
        assert!(chat.contains("import(\"./talk.js\")"));
        let exports = chat.lines().last().unwrap();
        assert!(exports.starts_with("export { ") && exports.contains(" words_js,"), "{exports}");
        assert!(
            you.starts_with("import { ") && you.contains("\nimport * as dialogs_js from \"./dialogs.js\";\n")
        );
        assert!(you.contains("\nconst { words } = words_js;\n") && !you.contains("const words_js"));
        assert!(you.contains("\nexport function askForName("));
    }
}
