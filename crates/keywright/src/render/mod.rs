//! Answers as people read them: tables, ages, differences. Text in, text out; nothing here prints.

pub(crate) mod age;
pub(crate) mod diff;
pub(crate) mod key;
pub(crate) mod noun;
pub(crate) mod table;
