//! Chooses the style of output on a stream.

use std::{env, io::IsTerminal as _, os::fd::AsFd as _};

use crate::{environment, present::table::Style, streams::Stream};

/// The style that the stream supports.
pub(super) fn of(stream: Stream) -> Style {
    let out = stream.as_fd();
    if !out.is_terminal() {
        return Style::PLAIN;
    }
    Style {
        width: terminal_size::terminal_size_of(out).map(|(width, _)| usize::from(width.0)),
        sparkline: true,
        unicode: environment::allows_unicode(|name| env::var_os(name)),
    }
}
