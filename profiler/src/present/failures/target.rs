//! The target of a call as text: its paths, its socket address or its descriptor.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::{
    decode::constants,
    model::{Directory, FailureTarget, PathName},
    text::Untrusted,
};

/// What stands for memory that could not be read.
const UNREADABLE: &str = "<unreadable>";

/// The kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Path,
    Address,
    Descriptor,
    None,
}

impl Kind {
    /// The kind of the target of a call.
    pub(super) fn of(target: &FailureTarget) -> Self {
        match &*target.target {
            target if !target.paths.is_empty() => Self::Path,
            target if target.address.is_some() => Self::Address,
            target if target.fd.is_some() => Self::Descriptor,
            _ => Self::None,
        }
    }

    /// Its name in JSON.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Path => Some("path"),
            Self::Address => Some("address"),
            Self::Descriptor => Some("fd"),
            Self::None => None,
        }
    }
}

/// The target of a call; `None` if it has none.
pub(super) fn text(target: &FailureTarget) -> Option<Untrusted> {
    let FailureTarget { target, directories, .. } = target;
    if !target.paths.is_empty() {
        let paths = target.paths.iter().zip(directories);
        let paths: Vec<String> = paths.map(|(path, of)| path_text(path, of.as_deref())).collect();
        return Some(paths.join(" -> ").into());
    }
    if let Some(address) = &target.address {
        let bytes = address.bytes.as_deref();
        return Some(bytes.map_or_else(|| UNREADABLE.into(), address_text));
    }
    target.fd.map(|fd| format!("fd {fd}").into())
}

/// A path. A relative path begins with that of its directory, if that is known.
fn path_text(path: &PathName, directory: Option<&Untrusted>) -> String {
    let Some(bytes) = &path.bytes else { return UNREADABLE.to_owned() };
    let text = Untrusted::from_bytes(bytes);
    let text = text.raw();
    let rest = if path.is_cut { "..." } else { "" };
    let from: Cow<'_, str> = match (directory, path.directory) {
        (Some(directory), Some(_)) => directory.raw().into(),
        (None, Some(Directory { fd: Some(fd), .. })) => format!("[fd {fd}]").into(),
        _ if text.is_empty() => return "\"\"".to_owned(),
        _ => return format!("{text}{rest}"),
    };
    match from.strip_suffix('/').unwrap_or(&from) {
        from if text.is_empty() => from.to_owned(),
        from => format!("{from}/{text}{rest}"),
    }
}

const UNIX: u16 = 1;
const INET: u16 = 2;
const INET6: u16 = 10;
const NETLINK: u16 = 16;
const VSOCK: u16 = 40;

/// A socket address.
fn address_text(bytes: &[u8]) -> Untrusted {
    let Some((family, rest)) = bytes.split_first_chunk().map(|(f, r)| (u16::from_ne_bytes(*f), r))
    else {
        return format!("address of {} bytes", bytes.len()).into();
    };
    let word = |at: usize| Some(u32::from_ne_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    let port = || Some(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
    let known: Option<Untrusted> = match family {
        UNIX => Some(unix(rest)),
        INET => rest.get(2..6).zip(port()).and_then(|(host, port)| {
            let host: [u8; 4] = host.try_into().ok()?;
            Some(format!("{}:{port}", Ipv4Addr::from(host)).into())
        }),
        INET6 => rest.get(6..22).zip(port()).and_then(|(host, port)| {
            let host: [u8; 16] = host.try_into().ok()?;
            Some(format!("[{}]:{port}", Ipv6Addr::from(host)).into())
        }),
        NETLINK => word(2).map(|pid| format!("netlink:{pid}").into()),
        VSOCK => word(2).zip(word(6)).map(|(port, cid)| format!("vsock:{cid}:{port}").into()),
        _ => None,
    };
    known.unwrap_or_else(|| match constants::name("address_family", family.into()) {
        Some(name) => name.into(),
        None => format!("address family {family}").into(),
    })
}

/// The address of a Unix socket: a path, or `@` and an abstract name.
fn unix(name: &[u8]) -> Untrusted {
    let (mark, name) = match name.split_first() {
        Some((0, name)) => ("@", name),
        _ => ("", name.split(|&byte| byte == 0).next().unwrap_or_default()),
    };
    format!("unix:{mark}{}", Untrusted::from_bytes(name).raw()).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Address, Target};

    fn shown(target: Target, directories: [Option<&str>; 2]) -> Option<String> {
        let target = FailureTarget {
            target: Arc::new(target),
            directories: directories.map(|path| path.map(|path| Arc::new(path.into()))),
            capability: None,
            calls: 1,
            recent: 1,
            missed: 0,
        };
        text(&target).map(|text| text.raw().to_owned())
    }

    fn path(text: &str, fd: Option<Option<i32>>) -> PathName {
        let directory = fd.map(|fd| Directory { inode: 0, device: 0, fd });
        PathName { bytes: Some(text.as_bytes().to_vec()), is_cut: false, directory }
    }

    #[test]
    fn paths_are_shown_from_their_directory() {
        let one = |path: PathName, directory: Option<&str>| {
            let target = Target { paths: vec![path], ..Target::default() };
            shown(target, [directory, None]).expect("a path")
        };
        assert_eq!(one(path("/etc/x", None), None), "/etc/x");
        assert_eq!(one(path("", Some(None)), None), "\"\"");
        assert_eq!(one(path("a/b", Some(None)), None), "a/b");
        assert_eq!(one(path("a/b", Some(Some(5))), None), "[fd 5]/a/b");
        assert_eq!(one(path("a/b", Some(None)), Some("/")), "/a/b");
        assert_eq!(one(path("a/b", Some(Some(5))), Some("/home/x")), "/home/x/a/b");
        assert_eq!(one(path("", Some(Some(5))), Some("/home/x")), "/home/x");
        assert_eq!(one(PathName { is_cut: true, ..path("/long", None) }, None), "/long...");
        assert_eq!(one(PathName { bytes: None, ..path("", None) }, None), "<unreadable>");
        let both =
            Target { paths: vec![path("/a", None), path("b", Some(None))], ..Target::default() };
        assert_eq!(shown(both, [None, Some("/home")]).expect("paths"), "/a -> /home/b");
    }

    #[test]
    fn addresses_are_shown() {
        let one = |bytes: &[u8]| {
            let address = Some(Address { bytes: Some(bytes.to_vec()) });
            shown(Target { address, fd: Some(3), ..Target::default() }, [None; 2])
        };
        let of = |bytes: &[u8]| one(bytes).expect("an address");
        assert_eq!(of(&[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "127.0.0.1:80");
        let mut six = [0; 28];
        (six[0], six[3], six[23]) = (10, 22, 1);
        assert_eq!(of(&six), "[::1]:22");
        assert_eq!(of(b"\x01\0/run/x\0junk"), "unix:/run/x");
        assert_eq!(of(b"\x01\0\0name"), "unix:@name");
        assert_eq!(of(&[16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]), "netlink:7");
        assert_eq!(of(&[17, 0]), "AF_PACKET");
        assert_eq!(of(&[2, 0, 1]), "AF_INET");
        assert_eq!(of(&[255, 255]), "address family 65535");
        assert_eq!(of(&[]), "address of 0 bytes");
        let unread = Target { address: Some(Address { bytes: None }), ..Target::default() };
        assert_eq!(shown(unread, [None; 2]).expect("one"), "<unreadable>");
        let fd = Target { fd: Some(-1), ..Target::default() };
        assert_eq!(shown(fd, [None; 2]).expect("one"), "fd -1");
        assert_eq!(shown(Target::default(), [None; 2]), None);
    }
}
