//! What patterns mean, against a plain definition of it.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text.as_bytes()).unwrap()
}

fn error(text: &str) -> (usize, &'static str) {
    let error = Pattern::parse_watched(text.as_bytes()).unwrap_err();
    (error.at, error.reason)
}

#[test]
fn patterns_name_what_they_say() {
    for (text, yes, no) in [
        ("/etc/shadow", &["/etc/shadow"][..], &["/etc/shadow-", "/etc", "/x/etc/shadow"][..]),
        (
            "/etc/ssl/private",
            &["/etc/ssl/private", "/etc/ssl/private/a/b.key"],
            &["/etc/ssl", "/etc/ssl/privateer"],
        ),
        (
            "/home/*/.ssh/id_*",
            &["/home/a/.ssh/id_rsa", "/home/a/.ssh/id_"],
            &["/home/a/b/.ssh/id_rsa", "/home/a/.ssh/id"],
        ),
        ("/etc/ssh/**", &["/etc/ssh/a", "/etc/ssh/a/b"], &["/etc/ssh", "/etc/sshd/a"]),
        ("**/.env", &["/.env", "/a/.env", "/a/b/c/.env"], &["/a/.env.x", "/a/.env/b"]),
        (
            "/home/*/.mozilla/**/logins.json",
            &["/home/a/.mozilla/logins.json", "/home/a/.mozilla/firefox/x.y/logins.json"],
            &["/home/a/.mozilla/logins.json/x", "/home/.mozilla/logins.json"],
        ),
        ("/a/**/b/**/c.x", &["/a/b/c.x", "/a/b/b/c/c.x", "/a/c.x/b/c.x"], &["/a/c.x", "/a/b/c.x/d"]),
        ("/k/**/b/**", &["/k/b/x", "/k/b/b", "/k/a/b/x/y"], &["/k/b", "/k/a/b"]),
        ("/k/[a-cX][!0-9].key", &["/k/ax.key", "/k/X-.key"], &["/k/dx.key", "/k/a1.key", "/k/a.key"]),
        ("/k/[]-]x[^]]", &["/k/]xa", "/k/-xa"], &["/k/]x]", "/k/axa"]),
        ("/k/[*]x", &["/k/*x"], &["/k/ax"]),
        ("/k/?.x", &["/k/ä.x", "/k/a.x", "/k/漢.x"], &["/k/.x", "/k/ab.x"]),
        ("/k/*a*b*", &["/k/ab", "/k/xaxbx", "/k/aab"], &["/k/ba", "/k/a"]),
        ("/k/{a,b}\\x", &["/k/{a,b}\\x"], &["/k/a\\x", "/k/{a,b}x"]),
    ] {
        let pattern = pattern(text);
        yes.iter().for_each(|path| assert!(pattern.matches(path.as_bytes(), None), "{text} names {path}"));
        no.iter()
            .for_each(|path| assert!(!pattern.matches(path.as_bytes(), None), "{text} does not name {path}"));
    }
}

#[test]
fn a_home_is_the_one_that_is_given() {
    let keys = pattern("~/.ssh/id_*");
    assert!(keys.is_below_home());
    let home: Option<&[u8]> = Some(b"/home/anna");
    assert!(keys.matches(b"/home/anna/.ssh/id_rsa", home));
    assert!(keys.matches(b"/home/anna/.ssh/id_rsa", Some(b"/home/anna/")));
    for path in [&b"/home/anna2/.ssh/id_rsa"[..], b"/home/bert/.ssh/id_rsa", b"/.ssh/id_rsa", b"/home/anna"] {
        assert!(!keys.matches(path, home));
    }
    assert!(!keys.matches(b"/home/anna/.ssh/id_rsa", None));
    assert!(!keys.matches(b"/.ssh/id_rsa", Some(b"/")), "nobody lives in the root of all files");
}

#[test]
fn foreign_bytes_are_compared_as_they_are() {
    let pattern = Pattern::parse(b"/k/\xff?\n*.key").unwrap();
    assert!(pattern.matches(b"/k/\xff\xfe\nrest.key", None));
    assert!(!pattern.matches("/k/\u{fffd}\u{fffd}\nrest.key".as_bytes(), None));
}

#[test]
fn errors_say_why_and_where() {
    assert_eq!(error("").0, 0);
    assert_eq!(error("etc/shadow").0, 0);
    assert_eq!(error("/etc//shadow").0, 5);
    assert_eq!(error("/etc/shadow/").0, 12);
    assert_eq!(error("/").0, 1);
    assert_eq!(error("~/../x").0, 2);
    assert_eq!(error("/a/./x").0, 3);
    assert_eq!(error("/a\0b").0, 2);
    assert_eq!(error("/a/b**/c").0, 4);
    assert_eq!(error("/a/**/**/c").0, 6);
    assert_eq!(error("/a/x[ab").0, 4);
    assert_eq!(error("/a/x[]").0, 4);
    assert_eq!(error("/a/x[b-a].k").0, 5);
    assert_eq!(error("/a/[ä].k").0, 4);
    assert_eq!(error("~anna/x").0, 1);
    assert_eq!(error("~").0, 0);
    assert_eq!(error(&format!("/{}", "a".repeat(256))).0, 256);
    assert_eq!(error(&format!("/{}", "a".repeat(1024))).0, 1024);
    assert_eq!(error(&format!("/x{}", "/a*b".repeat(33))).1, "a pattern has at most 32 wildcards");
    for everything in ["/**", "/*", "/**/*", "~/**", "~/*/*", "**/*", "/?*", "/*/**"] {
        assert_eq!(error(everything).1, "it names every file there is", "{everything}");
    }
    for vague in ["/*/id_*", "/**/key?", "~/a*", "/k*/**", "**/*.", "/*a/*.b*"] {
        assert!(error(vague).1.contains("no whole name"), "{vague}");
        assert!(Pattern::parse(vague.as_bytes()).is_ok(), "{vague}");
    }
    let shown = Pattern::parse(b"/etc//shadow").unwrap_err().to_string();
    assert_eq!(shown, "an empty part: a slash too many (at byte 5)");
}

#[test]
fn the_rarest_name_is_looked_for() {
    for (text, name, is_suffix) in [
        ("/etc/shadow", "shadow", false),
        ("~/.ssh/id_*", ".ssh", false),
        ("/home/*/.mozilla/**/logins.json", "logins.json", false),
        ("~/.kube/config", ".kube", false),
        ("~/.config/demo/**", "demo", false),
        ("**/*.kdbx", ".kdbx", true),
        ("/srv/**/*.tar.gz", ".gz", true),
        ("~/.config/*.json", ".config", false),
        ("~/Documents/*.kdbx", "Documents", false),
        ("/*/*.json", ".json", true),
        ("/etc/config", "config", false),
    ] {
        let pattern = pattern(text);
        let literal = pattern.literal().unwrap();
        assert_eq!((literal.name, literal.is_suffix), (name.as_bytes(), is_suffix), "{text}");
    }
}

/// Backtracking over all wildcards would take longer than the universe has left.
#[test]
fn hostile_patterns_are_answered_at_once() {
    let many = "*a".repeat(31) + "*b.x";
    let names = format!("/{}", "a".repeat(4000));
    assert!(!pattern(&format!("/k/{many}")).matches(format!("/k{names}").as_bytes(), None));
    let deep = format!("/k{}/b.x", "/**/a".repeat(31));
    let path = format!("/k{}", "/a".repeat(2000));
    assert!(!pattern(&deep).matches(path.as_bytes(), None));
    assert!(pattern(&deep).matches(format!("{path}/b.x").as_bytes(), None));
}

/// The slow and obvious way, as a definition.
fn names(parts: &[&str], path: &[&str]) -> bool {
    match (parts, path) {
        ([], []) => true,
        (["**"], []) => false,
        (["**"], _) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|n| names(rest, &path[n..])),
        ([part, rest @ ..], [name, more @ ..]) => fits(part.as_bytes(), name.as_bytes()) && names(rest, more),
        _ => false,
    }
}

fn fits(part: &[u8], name: &[u8]) -> bool {
    match (part, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|n| fits(rest, &name[n..])),
        ([b'?', rest @ ..], [_, more @ ..]) => fits(rest, more),
        ([byte, rest @ ..], [first, more @ ..]) => byte == first && fits(rest, more),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_is_what_its_definition_says(
        parts in proptest::collection::vec("\\*\\*|[ab*?]{1,4}|[ab]{1,2}", 1..6),
        path in proptest::collection::vec("[ab]{1,4}", 0..7),
    ) {
        let text = format!("/k/{}", parts.join("/"));
        prop_assume!(!text.contains("***") && !parts.iter().any(|p| p != "**" && p.contains("**")));
        let Ok(pattern) = Pattern::parse(text.as_bytes()) else { return Ok(()) };
        prop_assume!(!pattern.is_plain());
        let wanted: Vec<&str> = std::iter::once("k").chain(parts.iter().map(String::as_str)).collect();
        let names_of: Vec<&str> = std::iter::once("k").chain(path.iter().map(String::as_str)).collect();
        let joined = format!("/{}", names_of.join("/"));
        prop_assert_eq!(pattern.matches(joined.as_bytes(), None), names(&wanted, &names_of), "{} {}", text, joined);
    }

    /// The kernel tells of every path that a pattern names.
    #[test]
    fn every_named_path_holds_the_name_that_is_looked_for(
        text in "(/|~/|\\*\\*/)([ab.*?]{1,5}/){0,3}[ab.*?]{1,6}",
        path in "(/[ab.]{1,5}){1,6}",
    ) {
        let Ok(pattern) = Pattern::parse_watched(text.as_bytes()) else { return Ok(()) };
        let home: &[u8] = b"/home/x";
        let path = if pattern.is_below_home() { format!("/home/x{path}") } else { path };
        if pattern.matches(path.as_bytes(), Some(home)) {
            let literal = pattern.literal().unwrap();
            let found = parts(path.as_bytes()).any(|part| {
                if literal.is_suffix { part.ends_with(literal.name) } else { part == literal.name }
            });
            prop_assert!(found, "{} {}", text, path);
        }
    }

    #[test]
    fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..60), path in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(pattern) = Pattern::parse(&text) {
            let _named = pattern.matches(&path, Some(b"/home/x"));
            let _literal = pattern.literal();
        }
    }
}
