//! The one way by which foreign bytes become text that is safe to show, and back.
//!
//! Names, command lines and paths are chosen by strangers. Every screen, log, table and JSON line shows
//! them through [`escape`]: printable text stays, everything that could move a cursor, hide, reorder or
//! break a line becomes visible.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

/// Foreign bytes as they came. Shown (`Display`, JSON) escaped; on the wire they stay bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<[u8]>);

impl Text {
    /// The bytes as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The escaped form, whole.
    pub fn shown(&self) -> String {
        escape(&self.0)
    }

    /// The escaped form, at most `graphemes` long, cut in the middle with `…`.
    pub fn shown_within(&self, graphemes: usize) -> String {
        cut_middle(&self.shown(), graphemes).into_owned()
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(Arc::from(&[] as &[u8]))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.shown())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.shown())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str(&self.shown()) } else { s.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl<'de> de::Visitor<'de> for BytesVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text::from(bytes))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Text, E> {
                Ok(Text::from(bytes))
            }
        }
        if d.is_human_readable() {
            let text = <Cow<'de, str>>::deserialize(d)?;
            unescape(&text).map(Text::from).map_err(de::Error::custom)
        } else {
            d.deserialize_byte_buf(BytesVisitor)
        }
    }
}

/// Turns foreign bytes into text that is safe on a screen, in a log and in a table cell.
///
/// Kept: printable characters of valid UTF-8, the plain space included. Escaped: control and format
/// characters, line and paragraph separators, private use and unassigned code points and other
/// invisible ones as `\u{…}` (below U+0080 as `\xNN`), each invalid byte as `\xNN`, and the backslash as
/// `\\`. [`unescape`] gives the same bytes back.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if is_shown(c) => out.push(c),
                c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Why a text is not the output of [`escape`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an escaped text: bad escape at byte {0}")]
pub struct BadEscape(pub usize);

/// Gives the bytes back that [`escape`] was called with.
///
/// # Errors
/// [`BadEscape`] where a backslash begins no known escape.
pub fn unescape(text: &str) -> Result<Vec<u8>, BadEscape> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let bad = BadEscape(text.len() - rest.len() + at);
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let tail = &rest[at + 1..];
        if let Some(after) = tail.strip_prefix('\\') {
            out.push(b'\\');
            rest = after;
        } else if let Some(after) = tail.strip_prefix("u{") {
            let (hex, after) = after.split_once('}').ok_or(bad)?;
            let code =
                u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).ok_or(bad_at(text, rest, at))?;
            out.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        } else if let Some(hex) = tail.strip_prefix('x').and_then(|t| t.get(..2)) {
            out.push(u8::from_str_radix(hex, 16).ok().ok_or(bad)?);
            rest = &tail[3..];
        } else {
            return Err(bad);
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

fn bad_at(text: &str, rest: &str, at: usize) -> BadEscape {
    BadEscape(text.len() - rest.len() + at)
}

/// Cuts a text that is already safe to at most `graphemes` user-perceived characters, in the middle.
pub fn cut_middle(text: &str, graphemes: usize) -> Cow<'_, str> {
    if text.len() <= graphemes {
        return Cow::Borrowed(text);
    }
    let parts: Vec<&str> = text.graphemes(true).collect();
    if parts.len() <= graphemes {
        return Cow::Borrowed(text);
    }
    let kept = graphemes.saturating_sub(1);
    let head = kept.div_ceil(2);
    let tail = parts.len() - (kept - head);
    Cow::Owned(format!("{}…{}", parts[..head].concat(), parts[tail..].concat()))
}

fn is_shown(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Default-ignorable letters and marks draw nothing; U+FE0F only asks for the colour form of an emoji.
    let invisible = matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0e}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}');
    !invisible
        && !matches!(
            c.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::PrivateUse
                | GeneralCategory::Surrogate
                | GeneralCategory::Unassigned
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_what_could_move_hide_or_reorder() {
        assert_eq!(escape(b"a\x1b[31m\nb\\"), "a\\x1b[31m\\x0ab\\\\");
        assert_eq!(escape("x\u{202e}y\u{200b}\u{feff}".as_bytes()), "x\\u{202e}y\\u{200b}\\u{feff}");
        assert_eq!(escape(b"\xff\xfe ok"), "\\xff\\xfe ok");
        assert_eq!(escape("żółć 漢字 é".as_bytes()), "żółć 漢字 é");
    }

    #[test]
    fn cuts_in_the_middle_by_graphemes() {
        assert_eq!(cut_middle("/usr/lib/firefox/firefox", 9), "/usr…efox");
        assert_eq!(cut_middle("short", 9), "short");
        assert_eq!(cut_middle("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
    }

    #[test]
    fn refuses_what_escape_never_writes() {
        for bad in ["\\", "\\q", "\\x1", "\\xzz", "\\u{110000}", "\\u{12", "\\u12"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_string_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let shown = escape(&bytes);
            prop_assert!(shown.chars().all(is_shown), "{shown:?}");
            prop_assert_eq!(unescape(&shown), Ok(bytes));
        }

        #[test]
        fn unescape_never_panics(text in "\\PC*") {
            let _decoded = unescape(&text);
        }
    }
}
