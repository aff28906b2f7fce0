//! Names of errnos.

use std::borrow::Cow;

use nix::errno::Errno;

/// The name that errno.h gives `errno`, as `EAGAIN`, or its number.
pub fn name(errno: u16) -> Cow<'static, str> {
    match Errno::from_raw(i32::from(errno)) {
        Errno::UnknownErrno => Cow::Owned(errno.to_string()),
        known => Cow::Owned(format!("{known:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names() {
        assert_eq!(name(2), "ENOENT");
        assert_eq!(name(11), "EAGAIN");
        assert_eq!(name(38), "ENOSYS");
        assert_eq!(name(158), "158");
    }
}
