//! Installs seccomp filters in the process of a command.

use std::io;

use seccompiler::BpfProgram;

/// Installs filters for the calling thread, in this order, and for what it starts. Also sets
/// `no_new_privs`, so that no privilege is needed.
///
/// Makes only system calls, so it can run between fork and exec.
///
/// # Errors
/// The kernel's.
pub(super) fn install(filters: &[BpfProgram]) -> io::Result<()> {
    if filters.is_empty() {
        return Ok(());
    }
    // The filters can deny prctl(2), so it is called once, before the first one.
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for filter in filters {
        let length = u16::try_from(filter.len());
        let program = libc::sock_fprog {
            len: length.map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
            filter: filter.as_ptr().cast_mut().cast(),
        };
        // SAFETY: the program has as many instructions, and the kernel only reads them.
        // seccompiler's `sock_filter` has the layout of the kernel's.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
