//! Styles of text outside the live view.
//!
//! Writers always add styles. `Stream::styled` removes the styles when the text is printed, unless
//! the stream supports them.

pub(crate) use anstyle::Style as Paint;
use anstyle::{AnsiColor, Effects};

/// No style at all.
pub(crate) const PLAIN: Paint = Paint::new();
/// A heading.
pub(crate) const HEADING: Paint = Paint::new().effects(Effects::BOLD);
/// Good news.
pub(crate) const GOOD: Paint = AnsiColor::Green.on_default();
/// A warning.
pub(crate) const WARNING: Paint = AnsiColor::Yellow.on_default();
/// A problem.
pub(crate) const BAD: Paint = AnsiColor::Red.on_default();
