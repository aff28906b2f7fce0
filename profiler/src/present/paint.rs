//! Styles of text outside the live view.
//!
//! Text is written with all its styles. Whoever prints it takes them away where nobody wants
//! them: `Stream::styled` decides that for every command.

pub(crate) use anstyle::Style as Paint;
use anstyle::{AnsiColor, Effects};

/// No style at all.
pub(crate) const PLAIN: Paint = Paint::new();
/// A heading.
pub(crate) const HEADING: Paint = Paint::new().effects(Effects::BOLD);
/// Something is well.
pub(crate) const GOOD: Paint = AnsiColor::Green.on_default();
/// Something has a drawback.
pub(crate) const WARNING: Paint = AnsiColor::Yellow.on_default();
/// Something is wrong.
pub(crate) const BAD: Paint = AnsiColor::Red.on_default();
