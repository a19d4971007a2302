//! A pattern of the watchlist, part by part, as a walk needs it.

use sekhmet_common::watch::PATTERN_MAX;

use crate::text::watchlist as words;

/// The parts of a pattern between its slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub(super) parts: Vec<Part>,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This name.
    Name(Vec<u8>),
    /// Every name that matches.
    Glob(Vec<Token>),
    /// Any parts, or none: `**`.
    Any,
}

/// What one part is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// This byte.
    Byte(u8),
    /// Any one character.
    One,
    /// Any bytes, or none.
    Many,
    /// One byte of these ranges, or of none of them.
    Set(Vec<(u8, u8)>, bool),
}

impl Pattern {
    /// Reads a pattern. `home` is what `~` stands for.
    ///
    /// # Errors
    /// Why it is none, as a sentence.
    pub fn parse(text: &str, home: Option<&str>) -> Result<Self, &'static str> {
        if text.len() > PATTERN_MAX {
            return Err(words::TOO_LONG);
        }
        let (base, rest) = if text == "~" || text.starts_with("~/") {
            (
                home.filter(|home| home.starts_with('/')).ok_or(words::NO_HOME)?,
                text.get(1..).unwrap_or_default(),
            )
        } else if text.starts_with('/') {
            ("", text)
        } else {
            return Err(words::NOT_ABSOLUTE);
        };
        let names = |path: &str| {
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut parts: Vec<Part> =
            names(base).into_iter().map(|name| Part::Name(name.into_bytes())).collect();
        for part in names(rest) {
            parts.push(match part.as_str() {
                "." | ".." => return Err(words::DOTS),
                "**" => Part::Any,
                name if name.contains(['*', '?', '[']) => Part::Glob(tokens(name.as_bytes())?),
                name => Part::Name(name.as_bytes().to_vec()),
            });
        }
        parts.dedup_by(|a, b| *a == Part::Any && *b == Part::Any);
        Ok(Self { parts })
    }

    /// Whether it names one place: a file, or a folder with everything below it.
    pub(super) fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Name(_)))
    }
}

fn tokens(part: &[u8]) -> Result<Vec<Token>, &'static str> {
    let mut out = Vec::new();
    let mut rest = part;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        out.push(match first {
            b'?' => Token::One,
            b'*' => {
                if out.last() == Some(&Token::Many) {
                    continue;
                }
                Token::Many
            }
            b'[' => {
                let (set, after) = set(rest)?;
                rest = after;
                set
            }
            byte => Token::Byte(*byte),
        });
    }
    Ok(out)
}

/// A set after its bracket: `abc]`, `a-z]`, `!0-9]`. A bracket that comes first is one of the set.
fn set(text: &[u8]) -> Result<(Token, &[u8]), &'static str> {
    let (negated, text) = match text.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, text),
    };
    let end = text.iter().skip(1).position(|b| *b == b']').ok_or(words::BRACKET)? + 1;
    let (inside, rest) = text.split_at(end);
    let mut ranges = Vec::new();
    let mut at = inside;
    while let Some((low, after)) = at.split_first() {
        at = match after {
            [b'-', high, more @ ..] => {
                ranges.push((*low, *high));
                more
            }
            more => {
                ranges.push((*low, *low));
                more
            }
        };
    }
    Ok((Token::Set(ranges, negated), rest.get(1..).unwrap_or_default()))
}

/// Whether a name matches. Linear in the name for each star: the last star alone is ever tried again.
pub(super) fn matches(tokens: &[Token], name: &[u8]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match (tokens.get(t), name.get(n)) {
            (None, None) => return true,
            (Some(Token::Many), _) => {
                retry = Some((t, n));
                t += 1;
                continue;
            }
            (Some(Token::Byte(byte)), Some(found)) if byte == found => 1,
            // A character is one, however many bytes it has.
            (Some(Token::One), Some(_)) => {
                1 + name.iter().skip(n + 1).take_while(|b| **b & 0b1100_0000 == 0b1000_0000).count()
            }
            (Some(Token::Set(ranges, negated)), Some(found))
                if ranges.iter().any(|(low, high)| (low..=high).contains(&found)) != *negated =>
            {
                1
            }
            _ => 0,
        };
        if step > 0 {
            (t, n) = (t + 1, n + step);
            continue;
        }
        match retry {
            Some((star, from)) if from < name.len() => {
                retry = Some((star, from + 1));
                (t, n) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, name: &str) -> bool {
        matches(&tokens(pattern.as_bytes()).unwrap(), name.as_bytes())
    }

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("id_*", "id_rsa", true),
            ("id_*", "known_hosts", false),
            ("*.key", "a.b.key", true),
            ("*.key", ".key", true),
            ("?.pem", "ä.pem", true),
            ("?.pem", "ab.pem", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]y", "]y", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_name_made_to_explode_does_not() {
        assert!(!glob(&"a*".repeat(200), &"a".repeat(255).replace("aaaa", "aaab")[..199]));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, why) in [
            ("id_*", words::NOT_ABSOLUTE),
            ("", words::NOT_ABSOLUTE),
            ("~root/x", words::NOT_ABSOLUTE),
            ("/a/../b", words::DOTS),
            ("/a/[b", words::BRACKET),
            (&"/x".repeat(PATTERN_MAX), words::TOO_LONG),
        ] {
            assert_eq!(Pattern::parse(text, Some("/home/ana")), Err(why), "{text}");
        }
        assert_eq!(Pattern::parse("~/x", None), Err(words::NO_HOME));
        assert!(Pattern::parse("~/.ssh", Some("/home/[ana]")).unwrap().is_plain(), "a home is no pattern");
    }
}
