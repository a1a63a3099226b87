//! The kinds of matchers, one file each.

pub(crate) mod keyword;
pub(crate) mod pattern;
