//! Patterns of paths, as entries of the watchlist name files: taken apart once, matched in linear time, on bytes.
//!
//! * An absolute path, or one below `~` (a user's home). `**/` at the beginning stands for any place.
//! * Within a part: `*` any bytes, `?` one character, `[a-z]` and `[!a-z]` one ASCII character of, or not of, a class.
//!   To name one of these characters itself: `[*]`. Nothing else has a meaning: no braces, no backslash.
//! * `**` alone between slashes: any number of parts, also none; at the end at least one.
//! * A pattern without any of these names a file, or a folder and everything below it. One with these names what it
//!   matches and nothing else; what lies below is named by `/**`.

mod literal;
mod name;

use std::fmt;

pub use self::literal::Literal;
use self::name::{Name, Token};
use crate::watch::PATTERN_MAX;

/// The most wildcards in one pattern.
pub const WILDCARDS_MAX: usize = 32;

/// The longest name that a directory may hold, in bytes (`NAME_MAX` of `limits.h`).
const NAME_MAX: usize = 255;

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at byte {at})")]
pub struct PatternError {
    /// In words.
    pub reason: &'static str,
    /// Where: the number of bytes before it.
    pub at: usize,
}

/// A pattern that was taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Whether the parts begin in a user's home.
    below_home: bool,
    parts: Vec<Part>,
}

/// What stands between two slashes.
#[derive(Clone, PartialEq, Eq)]
enum Part {
    /// `**`.
    Any,
    /// Exactly this name.
    Exact(Box<[u8]>),
    /// A name with wildcards.
    Wild(Name),
}

impl Pattern {
    /// Takes a pattern apart.
    ///
    /// # Errors
    /// [`PatternError`] if it is malformed, too long, relative, or names everything.
    pub fn parse(text: &[u8]) -> Result<Self, PatternError> {
        if text.len() > PATTERN_MAX {
            return Err(PatternError { reason: "a pattern has at most 1024 bytes", at: PATTERN_MAX });
        }
        if let Some(at) = text.iter().position(|&b| b == 0) {
            return Err(PatternError { reason: "no path holds a NUL byte", at });
        }
        let (below_home, start) = beginning(text)?;
        let mut pattern = Self { below_home, parts: Vec::new() };
        let (mut at, mut wildcards) = (start, 0);
        for bytes in text.get(start..).unwrap_or_default().split(|&b| b == b'/') {
            let part = Part::parse(bytes, at)?;
            if part == Part::Any && pattern.parts.last() == Some(&Part::Any) {
                return Err(PatternError { reason: "** stands behind **, which says the same", at });
            }
            wildcards += part.wildcards();
            if wildcards > WILDCARDS_MAX {
                return Err(PatternError { reason: "a pattern has at most 32 wildcards", at });
            }
            pattern.parts.push(part);
            at += bytes.len() + 1;
        }
        if pattern.parts.iter().all(Part::is_everything) {
            return Err(PatternError { reason: "it names every file there is", at: start });
        }
        Ok(pattern)
    }

    /// Takes apart a pattern of files that are to be watched. The kernel looks for a name before anything else, so
    /// it must hold one: a whole part, or the end of one from a dot on (`*.kdbx`).
    ///
    /// # Errors
    /// [`PatternError`] as [`Pattern::parse`] has it, or if there is no such name.
    pub fn parse_watched(text: &[u8]) -> Result<Self, PatternError> {
        let pattern = Self::parse(text)?;
        if pattern.literal().is_none() {
            let at = text.iter().position(|b| b"*?[".contains(b)).unwrap_or(0);
            return Err(PatternError {
                reason: "it holds no whole name and no ending like .kdbx, by which opened files could be sorted",
                at,
            });
        }
        Ok(pattern)
    }

    /// Whether it begins with `~/`.
    pub fn is_below_home(&self) -> bool {
        self.below_home
    }

    /// Whether it names one file, or one folder with everything below it.
    pub fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Exact(_)))
    }

    /// Whether it names the file with this absolute path. One that begins with `~/` is compared with what follows
    /// `home`, and names nothing without one.
    pub fn matches(&self, path: &[u8], home: Option<&[u8]>) -> bool {
        let parts: Vec<&[u8]> = parts(path).collect();
        if !self.below_home {
            return self.matches_parts(&parts);
        }
        let home: Vec<&[u8]> = home.into_iter().flat_map(self::parts).collect();
        !home.is_empty() && parts.strip_prefix(home.as_slice()).is_some_and(|rest| self.matches_parts(rest))
    }

    /// Whether it names the file with these parts: all of its path, or what follows the home if it
    /// [begins there](Self::is_below_home).
    ///
    /// Takes at most (parts of the pattern × parts of the path) comparisons of names, each at most (bytes of the one
    /// × bytes of the other): of several `**`, or `*` in a name, only the last one ever has to be tried again.
    pub fn matches_parts(&self, path: &[&[u8]]) -> bool {
        if self.is_plain() {
            return self.parts.len() <= path.len()
                && self.parts.iter().zip(path).all(|(p, name)| p.fits(name));
        }
        let (mut part, mut name) = (0, 0);
        let mut again = None;
        loop {
            match (self.parts.get(part), path.get(name)) {
                (None, None) => return true,
                (Some(Part::Any), here) => {
                    if part + 1 == self.parts.len() {
                        return here.is_some();
                    }
                    part += 1;
                    again = Some((part, name));
                    continue;
                }
                (Some(wanted), Some(here)) if wanted.fits(here) => {
                    (part, name) = (part + 1, name + 1);
                    continue;
                }
                // What comes later needs at least as many names as are missing now.
                (Some(_), None) => return false,
                (_, Some(_)) => {}
            }
            let Some((after_any, from)) = again else { return false };
            (part, name) = (after_any, from + 1);
            again = Some((after_any, from + 1));
        }
    }

    /// The name that the kernel looks for: the last whole part that few paths have, else the last such ending from a
    /// dot on, else the longest part that many have. A folder's name is met with everything below it, so later names
    /// are rarer.
    pub fn literal(&self) -> Option<Literal<'_>> {
        literal::rarest(self.parts.iter().filter_map(Part::literal))
    }
}

/// The parts of a path.
pub fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty())
}

/// Where the parts begin, and whether that is in a home.
fn beginning(text: &[u8]) -> Result<(bool, usize), PatternError> {
    match text {
        [b'~', b'/', ..] => Ok((true, 2)),
        [b'/', ..] => Ok((false, 1)),
        [b'*', b'*', b'/', ..] => Ok((false, 0)),
        [b'~', b'*', ..] | [b'~'] => {
            Err(PatternError { reason: "~ is followed by a slash and a name", at: 0 })
        }
        [b'~', ..] => {
            Err(PatternError { reason: "~ stands for the own home; another one is named by its path", at: 1 })
        }
        [] => Err(PatternError { reason: "it is empty", at: 0 }),
        _ => Err(PatternError {
            reason: "it begins with /, ~/ or **/: nobody knows where a relative path lies",
            at: 0,
        }),
    }
}

impl Part {
    fn parse(bytes: &[u8], at: usize) -> Result<Self, PatternError> {
        match bytes {
            b"" => Err(PatternError { reason: "an empty part: a slash too many", at }),
            b"." | b".." => Err(PatternError { reason: "the kernel names files without . and ..", at }),
            b"**" => Ok(Self::Any),
            _ => {
                let name = Name::parse(bytes, at)?;
                if name.bytes_min() > NAME_MAX {
                    return Err(PatternError { reason: "a name has at most 255 bytes", at: at + NAME_MAX });
                }
                Ok(name.exact().map_or_else(|| Self::Wild(name), Self::Exact))
            }
        }
    }

    fn fits(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *name,
            Self::Wild(wild) => wild.fits(name),
        }
    }

    fn wildcards(&self) -> usize {
        match self {
            Self::Any => 1,
            Self::Exact(_) => 0,
            Self::Wild(name) => name.tokens().iter().filter(|t| !matches!(t, Token::Byte(_))).count(),
        }
    }

    fn is_everything(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(_) => false,
            Self::Wild(name) => name.tokens().iter().all(|t| matches!(t, Token::Bytes | Token::Character)),
        }
    }

    fn literal(&self) -> Option<Literal<'_>> {
        match self {
            Self::Any => None,
            Self::Exact(name) => Some(Literal { name, is_suffix: false }),
            Self::Wild(name) => name.ending().map(|name| Literal { name, is_suffix: true }),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.below_home { "~" } else { "" })?;
        for part in &self.parts {
            match part {
                Part::Any => f.write_str("/**")?,
                Part::Exact(name) => write!(f, "/{}", crate::display::escape(name))?,
                Part::Wild(name) => write!(f, "/{name:?}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
