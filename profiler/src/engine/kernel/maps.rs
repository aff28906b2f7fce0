//! The maps of a loaded object: by name, by descriptor, by size.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::{
    Ebpf,
    maps::{Map, MapError},
};

use super::{error::KernelError, fd_info::FdInfo};

/// Takes a map out of an object.
pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, KernelError> {
    ebpf.take_map(name).ok_or_else(|| KernelError::Object(format!("it has no map {name}")))
}

/// Takes a map of this type out of an object.
pub(super) fn take_as<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<Map, Error = MapError>,
{
    T::try_from(take(ebpf, name)?).map_err(|e| failed(name, &e))
}

/// The error of a map that cannot be used.
pub(super) fn failed(name: &str, error: &MapError) -> KernelError {
    KernelError::from_any(format!("use the map {name}"), error)
}

/// The descriptor of a map of one of the kinds that the objects have.
pub(super) fn fd(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::Stack(data)
        | Map::Queue(data)
        | Map::RingBuf(data)
        | Map::Unsupported(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}

/// The kernel memory of the map behind `fd`, bytes, as the kernel accounts it.
pub(super) fn memory_bytes(fd: BorrowedFd<'_>) -> u64 {
    FdInfo::open(fd.as_raw_fd()).read_number("memlock").unwrap_or(0)
}
