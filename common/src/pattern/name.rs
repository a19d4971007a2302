//! One part of a pattern with wildcards, and how it is compared with a name.

use std::fmt;

use super::PatternError;

/// A name with wildcards.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Name {
    tokens: Vec<Token>,
    /// The bytes behind the last wildcard, from their last dot on; empty if there is none.
    ending: Box<[u8]>,
}

/// What stands for zero or more bytes of a name.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// This byte.
    Byte(u8),
    /// `?`: one character; one byte where it is not UTF-8.
    Character,
    /// `*`: any bytes, also none.
    Bytes,
    /// `[…]`: one byte of these.
    Class(Class),
}

/// A set of ASCII characters, or all other bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    ascii: u128,
    negated: bool,
}

impl Class {
    fn holds(self, byte: u8) -> bool {
        let listed = byte.is_ascii() && self.ascii & (1 << byte) != 0;
        listed != self.negated
    }
}

impl Name {
    /// Takes apart what stands between two slashes; `at` is where it begins in the whole pattern.
    pub(super) fn parse(bytes: &[u8], at: usize) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut next = 0;
        while let Some(&byte) = bytes.get(next) {
            let here = at + next;
            next += 1;
            tokens.push(match byte {
                b'*' if tokens.last() == Some(&Token::Bytes) => {
                    return Err(PatternError { reason: "** stands alone between slashes", at: here - 1 });
                }
                b'*' => Token::Bytes,
                b'?' => Token::Character,
                b'[' => {
                    let (class, length) = class(bytes.get(next..).unwrap_or_default(), here)?;
                    next += length;
                    Token::Class(class)
                }
                byte => Token::Byte(byte),
            });
        }
        let last: Vec<u8> =
            tokens.iter().rev().map_while(byte_of).collect::<Vec<_>>().into_iter().rev().collect();
        let dot = last.iter().rposition(|&b| b == b'.').filter(|&dot| dot + 1 < last.len());
        let ending = dot.and_then(|dot| last.get(dot..)).unwrap_or_default().into();
        Ok(Self { tokens, ending })
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The name itself, if nothing in it is a wildcard.
    pub(super) fn exact(&self) -> Option<Box<[u8]>> {
        self.tokens.iter().map(byte_of).collect()
    }

    /// What every name that fits ends with, from a dot on.
    pub(super) fn ending(&self) -> Option<&[u8]> {
        Some(&*self.ending).filter(|ending| !ending.is_empty())
    }

    /// The length of the shortest name that fits.
    pub(super) fn bytes_min(&self) -> usize {
        self.tokens.iter().filter(|t| !matches!(t, Token::Bytes)).count()
    }

    /// Whether a name fits. Of several `*` only the last has to be tried again: what the others took is enough for
    /// what stands before it, and less is left for nobody.
    pub(super) fn fits(&self, name: &[u8]) -> bool {
        let (mut token, mut byte) = (0, 0);
        let mut again = None;
        loop {
            let rest = name.get(byte..).unwrap_or_default();
            match self.tokens.get(token) {
                None if rest.is_empty() => return true,
                Some(Token::Bytes) => {
                    token += 1;
                    again = Some((token, byte));
                    continue;
                }
                Some(wanted) => {
                    if let Some(length) = wanted.takes(rest) {
                        (token, byte) = (token + 1, byte + length);
                        continue;
                    }
                }
                None => {}
            }
            match again {
                Some((after, from)) if from < name.len() => {
                    (token, byte) = (after, from + 1);
                    again = Some((after, from + 1));
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    /// How many bytes at the beginning of `rest` this stands for, if it fits there.
    fn takes(&self, rest: &[u8]) -> Option<usize> {
        let first = *rest.first()?;
        match self {
            Self::Byte(byte) => (first == *byte).then_some(1),
            Self::Class(class) => class.holds(first).then_some(1),
            Self::Character => Some(character(rest)),
            Self::Bytes => None,
        }
    }
}

/// The length of the first character; 1 if it is not UTF-8.
fn character(rest: &[u8]) -> usize {
    let head = rest.get(..rest.len().min(4)).unwrap_or_default();
    let valid = head.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    valid.chars().next().map_or(1, char::len_utf8)
}

fn byte_of(token: &Token) -> Option<u8> {
    if let Token::Byte(byte) = token { Some(*byte) } else { None }
}

/// Reads a class behind its bracket, which stands at `at`. Gives its length, the closing bracket included.
fn class(rest: &[u8], at: usize) -> Result<(Class, usize), PatternError> {
    let negated = matches!(rest, [b'!' | b'^', ..]);
    let first = usize::from(negated);
    let (mut ascii, mut next) = (0_u128, first);
    loop {
        let here = at + 1 + next;
        let Some(&from) = rest.get(next) else {
            return Err(PatternError { reason: "no ] closes this [", at });
        };
        if from == b']' && next > first {
            return Ok((Class { ascii, negated }, next + 1));
        }
        let to = match rest.get(next + 1..) {
            Some(&[b'-', to, ..]) if to != b']' => {
                next += 2;
                to
            }
            _ => from,
        };
        next += 1;
        if !from.is_ascii() || !to.is_ascii() {
            return Err(PatternError { reason: "a class holds ASCII characters only", at: here });
        }
        if from > to {
            return Err(PatternError { reason: "this range is empty", at: here });
        }
        (from..=to).for_each(|byte| ascii |= 1 << byte);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.tokens {
            match token {
                Token::Byte(byte) => write!(f, "{}", crate::display::escape(&[*byte]))?,
                Token::Character => f.write_str("?")?,
                Token::Bytes => f.write_str("*")?,
                Token::Class(class) => {
                    write!(f, "[{}{:x}]", if class.negated { "!" } else { "" }, class.ascii)?
                }
            }
        }
        Ok(())
    }
}
