//! Who is expected to open a watched file: a program by its path, or the programs of a package.

use crate::{
    display::Text,
    pattern::{Pattern, PatternError},
};

/// What an expected package begins with.
pub const PACKAGE: &[u8] = b"package:";

/// The longest name of a package, in bytes. The longest of Debian has 92.
const PACKAGE_MAX: usize = 128;

/// An expected reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Executables with these absolute paths.
    Program(Pattern),
    /// The executables of the package with this name, as this system's package manager has them; the name as Debian
    /// writes it (`openssh-client`, `libc6:i386`).
    Package(Text),
}

/// Takes an expected reader apart.
///
/// # Errors
/// [`PatternError`] if it names no executable by an absolute path, and no package.
pub fn reader(text: &Text) -> Result<Reader, PatternError> {
    let bytes = text.as_bytes();
    if let Some(name) = bytes.strip_prefix(PACKAGE) {
        return package(name).map(Reader::Package);
    }
    let pattern = Pattern::parse(bytes)?;
    if pattern.is_below_home() {
        let reason =
            "~ is nobody's home here; a program that its user can replace is expected by its whole path";
        return Err(PatternError { reason, at: 0 });
    }
    Ok(Reader::Program(pattern))
}

/// A package's name (Debian policy 5.6.1), perhaps with an architecture behind a colon (deb-control(5)). Nothing in it
/// can lead to another folder where it is looked up.
fn package(name: &[u8]) -> Result<Text, PatternError> {
    let wrong = |reason, at: usize| Err(PatternError { reason, at: PACKAGE.len() + at });
    if name.len() > PACKAGE_MAX {
        return wrong("the name of a package has at most 128 bytes", PACKAGE_MAX);
    }
    let (plain, arch) = match name.iter().position(|&b| b == b':') {
        Some(colon) => (name.get(..colon).unwrap_or_default(), name.get(colon + 1..)),
        None => (name, None),
    };
    let is_first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_more = |b: u8| is_first(b) || b"+-.".contains(&b);
    if plain.len() < 2 {
        return wrong("the name of a package has two letters or more", plain.len());
    }
    let reason = "the name of a package has small letters, digits, plus, minus and dot, and begins with one of \
                  the first two";
    let place =
        plain.iter().enumerate().position(|(at, &b)| if at == 0 { !is_first(b) } else { !is_more(b) });
    if let Some(at) = place {
        return wrong(reason, at);
    }
    let Some(arch) = arch else { return Ok(name.into()) };
    let place = arch.iter().position(|&b| !is_first(b) && b != b'-');
    if let Some(at) = place.or(arch.is_empty().then_some(0)) {
        let reason = "behind the colon stands an architecture, as dpkg writes it: amd64";
        return wrong(reason, plain.len() + 1 + at);
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_names_that_lead_nowhere_else() {
        for name in ["openssh-client", "libc6:i386", "g++", "python3.11", "7zip", "gcc-12:kfreebsd-amd64"] {
            let text = Text::from(format!("package:{name}"));
            assert_eq!(reader(&text), Ok(Reader::Package(name.into())));
        }
        for (name, at) in [
            ("", 0),
            ("x", 1),
            ("../etc", 0),
            ("vim/../x", 3),
            ("Vim", 0),
            ("vim\n", 3),
            ("vim*", 3),
            ("-vim", 0),
            ("vim:", 4),
            ("vim:AMD", 4),
            ("vim:amd64:x", 9),
            ("vim\u{e9}", 3),
        ] {
            let error = reader(&Text::from(format!("package:{name}"))).unwrap_err();
            assert_eq!(error.at, 8 + at, "{name:?}: {error}");
        }
        assert!(reader(&Text::from(format!("package:{}", "x".repeat(129)))).is_err());
    }

    #[test]
    fn programs_have_absolute_paths() {
        assert!(matches!(reader(&"/usr/bin/ssh*".into()), Ok(Reader::Program(_))));
        assert!(reader(&"~/bin/x".into()).is_err() && reader(&"/**".into()).is_err());
        assert!(reader(&"Package:vim".into()).is_err());
    }
}
