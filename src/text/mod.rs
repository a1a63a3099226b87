//! A message's text: extracted from its elements, folded for matching, with the way back from every
//! folded character to the original.
//!
//! Nothing here fails on any message, reads a clock or does I/O. Folding never changes what is
//! stored or shown; it makes a second reading of the text that rules are matched against.

mod chars;
mod components;
mod drawn;
mod extract;
mod lookalike;
mod loosen;
mod pinyin;
mod reading;
mod steps;
mod symbols;

pub(crate) use chars::{CharFold, Kind, fold};
pub(crate) use drawn::undrawn;
pub use extract::{MAX_TEXT_BYTES, extract};
pub(crate) use loosen::loosen;
pub(crate) use pinyin::{Sound, readings, syllable};
pub(crate) use reading::Reading;
pub(crate) use steps::{loose_steps, steps};
pub(crate) use symbols::{Run, Squeezed, Symbol, Symbols};
