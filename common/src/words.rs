//! Values that have one word each: the same on the bus, in files, in JSON and on the command line.

/// A word that means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub &'static str);

macro_rules! words {
    ($type:ident, $expected:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// The word used on the bus, in files and on the command line.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::words::Unknown;

            fn from_str(word: &str) -> Result<Self, $crate::words::Unknown> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err($crate::words::Unknown($expected)) }
            }
        }
    };
}

pub(crate) use words;
