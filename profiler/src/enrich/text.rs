//! Untrusted bytes made fit to print.

/// A process name as the kernel keeps it, NUL-padded, made printable: a name is
/// whatever the process chose, escape sequences and newlines included.
pub fn comm(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::comm;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(comm(b"nginx\0\0\0"), "nginx");
        assert_eq!(comm(b"a\x1b[31m\nb\0x"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(comm(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(comm(b"sixteen-bytes-xx"), "sixteen-bytes-xx");
    }
}
