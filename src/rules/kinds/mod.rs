//! The kinds of matchers, one file each.

pub(crate) mod contact;
pub(crate) mod element;
pub(crate) mod flood;
pub(crate) mod keyword;
pub(crate) mod length;
pub(crate) mod link;
pub(crate) mod mentions;
pub(crate) mod newcomer;
pub(crate) mod pattern;
pub(crate) mod platform;
pub(crate) mod repeat;
pub(crate) mod score;
