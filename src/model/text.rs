//! The text of a message: its extracted pieces in order, joined by line feeds, with the way back
//! from every character to the element that it came from.

use std::borrow::Cow;
use std::fmt;

/// Where a piece of text stood in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An element of `MsgBody`: its index, and the path within its content, such as `Text`,
    /// `Data.title` or `MsgList[1].MsgBody[0].Text`.
    Element { index: usize, path: Cow<'static, str> },
    /// `CloudCustomData`: the path within it where it is JSON, empty where it is plain text.
    CloudCustomData { path: Cow<'static, str> },
    /// Text given on its own: `scan`, `explain`, a rule's examples.
    Bare,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element { index, path } => write!(f, "MsgBody[{index}].{path}"),
            Self::CloudCustomData { path } if path.is_empty() => f.write_str("CloudCustomData"),
            Self::CloudCustomData { path } => write!(f, "CloudCustomData.{path}"),
            Self::Bare => f.write_str("text"),
        }
    }
}

/// One extracted string: where it came from and which bytes of the joined text it fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub origin: Origin,
    /// Byte offset of its first character in [`Text::as_str`].
    pub start: usize,
    /// Byte offset behind its last character.
    pub end: usize,
}

/// The beginning of a text, at most so many characters, in one line.
#[must_use]
pub fn excerpt(text: &str, most: usize) -> String {
    let mut shown: String =
        text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// A message's text. Offsets shown to people are Unicode scalar values into [`Text::as_str`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    joined: String,
    pieces: Vec<Piece>,
}

impl Text {
    /// Text that comes from no message.
    #[must_use]
    pub fn bare(text: &str) -> Self {
        let mut this = Self::default();
        this.push(Origin::Bare, text);
        this
    }
    /// Adds a piece behind the others. Empty strings leave no trace.
    pub fn push(&mut self, origin: Origin, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.pieces.is_empty() {
            self.joined.push('\n');
        }
        let start = self.joined.len();
        self.joined.push_str(text);
        self.pieces.push(Piece { origin, start, end: self.joined.len() });
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.joined
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
    /// The pieces that a span of bytes touches.
    pub fn pieces_in(&self, start: usize, end: usize) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(move |piece| piece.start < end && start < piece.end)
    }
}
