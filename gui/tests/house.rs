//! Looks live in the theme, words in the texts: no other file of the window writes a colour or a sentence.

use std::{fs, path::Path};

/// Every source file of the window with its path below `src`, without its tests.
#[expect(clippy::expect_used, reason = "a test that cannot read the sources has failed")]
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, out: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("the sources").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                walk(&entry, root, out);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&entry).expect("a source file");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                let path = entry.strip_prefix(root).expect("below the root").display().to_string();
                out.push((path, code));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    walk(&root, &root, &mut out);
    assert!(out.len() > 50, "{} files", out.len());
    out
}

fn lines<'a>(code: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let is_code = |line: &&'a str| !line.trim_start().starts_with("//");
    code.lines().enumerate().filter(move |(_, line)| is_code(line)).map(|(i, line)| (i + 1, line))
}

/// Whether a line makes a colour of its own.
fn writes_a_colour(line: &str) -> bool {
    let named = line.split("Color32::").skip(1).any(|rest| {
        // The placeholder takes the colour that comes later; nothing else is without one.
        !rest.starts_with("PLACEHOLDER")
    });
    let hashed = line.split('#').skip(1).any(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        matches!(digits, 6 | 8)
    });
    named
        || hashed
        || ["Rgba::", "Hsva", "hex_color!", ".gamma_multiply(", ".linear_multiply("]
            .iter()
            .any(|w| line.contains(w))
}

#[test]
fn only_the_theme_writes_colours() {
    let mut found = Vec::new();
    for (path, code) in sources().iter().filter(|(path, _)| !path.starts_with("theme")) {
        found
            .extend(lines(code).filter(|(_, l)| writes_a_colour(l)).map(|(n, l)| format!("{path}:{n}: {l}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(writes_a_colour("let c = Color32::from_rgb(1, 2, 3);") && writes_a_colour("\"#1E1D1A\""));
    assert!(!writes_a_colour("job(text, Color32::PLACEHOLDER)"));
}

/// The literals of a line that a person could read: several words, or one that begins like a sentence. Names
/// of widgets, of fields of a record and log messages are none.
fn sentences(line: &str) -> Vec<&str> {
    const NAMES: [&str; 8] =
        [".with(", ".with((", "unique(", "id_salt(", "field(", "reason = ", "told(y, ", "show(strip, "];
    let log = ["tracing::", "#[", "write!(f", "eprintln", "expect("].iter().any(|w| line.contains(w));
    let mut out = Vec::new();
    let (mut rest, mut before) = (line, String::new());
    while let Some((code, quoted)) = rest.split_once('"').filter(|_| !log) {
        let Some((words, after)) = quoted.split_once('"') else { break };
        before.push_str(code);
        let two = words.split(' ').filter(|w| w.len() > 1 && w.chars().all(char::is_alphabetic)).count() > 1;
        let one = words.chars().next().is_some_and(char::is_uppercase) && words.contains(char::is_lowercase);
        if (two || one) && !NAMES.iter().any(|name| before.ends_with(name)) {
            out.push(words);
        }
        before.clear();
        rest = after;
    }
    out
}

#[test]
fn only_the_texts_write_sentences() {
    let mut found = Vec::new();
    for (path, code) in sources() {
        if path.ends_with("tests.rs") {
            continue;
        }
        if ["view", "widget", "model", "command", "app"].iter().any(|part| path.starts_with(part)) {
            for (n, line) in lines(&code) {
                found.extend(sentences(line).into_iter().map(|s| format!("{path}:{n}: {s}")));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(sentences("let a = (\"Made\", 1, \"by whom it was\");"), ["Made", "by whom it was"]);
    assert_eq!(sentences("let id = ui.scope_id().with(\"search box\");"), [""; 0]);
}
