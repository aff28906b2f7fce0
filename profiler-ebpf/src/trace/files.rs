//! Names open files: the path of a file, or the addresses of a socket.
//!
//! The running task's table of descriptors leads to the file. The programs run within
//! `rcu_read_lock` (`__bpf_trace_run`, kernel/trace/bpf_trace.c, Linux 6.18), so a file that another
//! thread closes meanwhile is not freed. All reads are copies, which fail rather than fault.
//!
//! The path is the one from the root of the mount namespace, even if the process has another root.
//! It is read anew for each call, so a rename or a reused descriptor never leaves a stale path.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::{
    bpf_get_current_task,
    generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str},
};
use profiler_common::trace::{
    COPIED, NAME_BYTES, NAMES_START_BELOW, NO_SPACE, OPEN_FILE, OpenFile, OpenSocket,
    PARTS_START_BELOW, PATH_STEPS, Part, Pending,
};

use super::{copy, maps::PENDING};
use profiler_ebpf::{
    settings::{
        D_HASH_OFFSET, D_NAME_OFFSET, D_PARENT_OFFSET, F_INODE_OFFSET, F_PATH_OFFSET,
        F_PRIVATE_OFFSET, FD_OFFSET, FDT_OFFSET, FILES_KNOWN, FILES_OFFSET, I_INO_OFFSET,
        I_MODE_OFFSET, I_SB_OFFSET, MAX_FDS_OFFSET, MNT_ROOT_OFFSET, MOUNT_MNT_OFFSET,
        MOUNT_PARENT_OFFSET, MOUNT_POINT_OFFSET, PATH_DENTRY_OFFSET, PATH_MNT_OFFSET,
        PROT_NAME_OFFSET, QSTR_NAME_OFFSET, S_MAGIC_OFFSET, SK_SOCKET_OFFSET, SKC_DADDR_OFFSET,
        SKC_DPORT_OFFSET, SKC_FAMILY_OFFSET, SKC_NUM_OFFSET, SKC_PROT_OFFSET, SKC_RCV_SADDR_OFFSET,
        SKC_V6_DADDR_OFFSET, SKC_V6_RCV_SADDR_OFFSET, SOCKET_FILE_OFFSET, SOCKET_SK_OFFSET,
        UNIX_PEER_OFFSET,
    },
    verifier::{masked, opaque},
};

/// Address families (include/linux/socket.h).
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `SOCKFS_MAGIC` (include/uapi/linux/magic.h).
const SOCKFS_MAGIC: u32 = 0x534f_434b;

/// `S_IFMT` and `S_IFSOCK` (include/uapi/linux/stat.h).
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// Offsets in the data of a call, in the form of a mask. A part starts below
/// [`PARTS_START_BELOW`], and its names below [`NAMES_START_BELOW`], so the mask changes nothing.
const OFFSET_MASK: u64 = 8191;

/// Reads memory of the kernel. Memory that cannot be read is 0.
///
/// There is no branch for failures: the verifier would walk the rest of the program twice.
#[inline(always)]
fn read<T: Copy>(mut value: T, address: u64) -> T {
    // SAFETY: the value has so many bytes, and the helper checks the address. If it fails, it
    // fills the value with zeros.
    unsafe {
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, address as *const _);
    }
    value
}

/// Reads a pointer or a number at an offset from an address.
#[inline(always)]
fn word(address: u64, offset: u32) -> u64 {
    read(0_u64, address + u64::from(offset))
}

/// The open file that a descriptor of the running task names; 0 if it is not open.
#[inline(always)]
fn find(descriptor: u32) -> u64 {
    // SAFETY: always safe to call.
    let task = unsafe { bpf_get_current_task() };
    let table = word(word(task, FILES_OFFSET.load()), FDT_OFFSET.load());
    let (most, files) = (MAX_FDS_OFFSET.load(), FD_OFFSET.load());
    // The verifier knows the offsets, and walks one branch.
    let [most, files] = if files == most + 8 {
        read([0_u64; 2], table + u64::from(most))
    } else {
        [word(table, most), word(table, files)]
    };
    // Negative descriptors are greater.
    if descriptor >= most as u32 {
        return 0;
    }
    word(files + 8 * u64::from(descriptor), 0)
}

/// Adds a part that describes the open file which `descriptor` names. `what` is as in
/// [`copy::copy`]. Returns the state of the part.
#[inline(always)]
pub fn copy_file(slot: u32, what: u32, descriptor: u32) -> u32 {
    if FILES_KNOWN.load() == 0 {
        return COPIED.into();
    }
    let file = find(descriptor);
    if file == 0 {
        return COPIED.into();
    }
    let Some(pending) = PENDING.get_ptr_mut(slot.wrapping_sub(1)) else { return NO_SPACE.into() };
    // SAFETY: a live map value of the running task's own. The masks keep all within it.
    unsafe {
        let used = opaque((*pending).header.bytes);
        if used >= PARTS_START_BELOW as u32 {
            return NO_SPACE.into();
        }
        let at = masked::<{ PARTS_START_BELOW as u64 - 1 }>(used.into());
        let scratch = Scratch { pending, at };
        let file_block = scratch.read(0, file);
        let inode = file_block.word(F_INODE_OFFSET.load());
        let inode_block = scratch.read(1, inode);
        let described = copy::place(pending, at).add(size_of::<Part>()).cast::<OpenFile>();
        let mode = inode_block.word(I_MODE_OFFSET.load()) as u16;
        let super_block = inode_block.word(I_SB_OFFSET.load());
        let magic = word(super_block, S_MAGIC_OFFSET.load()) as u32;
        described.write(OpenFile {
            magic,
            mode,
            flags: 0,
            inode: inode_block.word(I_INO_OFFSET.load()),
        });
        let bytes = if magic == SOCKFS_MAGIC && mode & S_IFMT == S_IFSOCK {
            let socket = file_block.word(F_PRIVATE_OFFSET.load());
            describe_socket(socket, described.add(1).cast());
            size_of::<OpenSocket>() as u32
        } else {
            copy_names(&scratch, &file_block)
        };
        let bytes = bytes + size_of::<OpenFile>() as u32;
        let part = copy::place(pending, at).cast::<Part>();
        part.write(Part {
            capture: what as u8,
            index: 0,
            state: COPIED,
            content: OPEN_FILE,
            bytes: bytes as u16,
            reserved_too: 0,
            wanted: bytes.into(),
        });
        copy::add(pending, used, bytes);
    }
    COPIED.into()
}

/// Bytes of a [`Block`].
const BLOCK: u32 = 128;

/// Where blocks are, from the beginning of the part: behind all names.
const BLOCKS_AT: u64 =
    (size_of::<Part>() + size_of::<OpenFile>()) as u64 + (NAMES_START_BELOW + NAME_BYTES) as u64;

/// The space behind the part at `at`, where the beginnings of structures are copied. One copy of
/// many fields costs less than one copy for each field.
struct Scratch {
    pending: *mut Pending,
    at: u64,
}

/// The beginning of a structure.
struct Block {
    address: u64,
    copy: *const u8,
}

impl Scratch {
    /// Copies the structure at `address`.
    ///
    /// # Safety
    /// The map value is live, and `at` is below [`PARTS_START_BELOW`].
    #[inline(always)]
    unsafe fn read(&self, index: u64, address: u64) -> Block {
        // SAFETY: the caller's map value has space for some blocks, and the helper checks the
        // address.
        unsafe {
            let to = copy::place(self.pending, self.at + BLOCKS_AT + index * u64::from(BLOCK));
            bpf_probe_read_kernel(to.cast(), BLOCK, address as *const _);
            Block { address, copy: to }
        }
    }
}

impl Block {
    /// The word at an offset.
    ///
    /// # Safety
    /// The map value with the copy is live.
    #[inline(always)]
    unsafe fn word(&self, offset: u32) -> u64 {
        // The verifier knows the offsets, and walks one branch.
        if offset <= BLOCK - 8 {
            // SAFETY: within the block, by volatile reads, since a helper wrote it.
            unsafe { read_volatile(self.copy.add(offset as usize).cast()) }
        } else {
            word(self.address, offset)
        }
    }
}

/// A mount on the way to the root.
struct Mount {
    address: u64,
    parent: u64,
    point: u64,
    root: u64,
}

impl Mount {
    /// # Safety
    /// As of [`Scratch::read`].
    #[inline(always)]
    unsafe fn read(scratch: &Scratch, address: u64) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let block = scratch.read(0, address);
            Self {
                address,
                parent: block.word(MOUNT_PARENT_OFFSET.load()),
                point: block.word(MOUNT_POINT_OFFSET.load()),
                root: block.word(MOUNT_MNT_OFFSET.load() + MNT_ROOT_OFFSET.load()),
            }
        }
    }
}

/// Copies the names from a file up to the root, behind the [`OpenFile`] of the part. Returns their
/// bytes.
///
/// # Safety
/// As of [`Scratch::read`].
#[inline(always)]
unsafe fn copy_names(scratch: &Scratch, file: &Block) -> u32 {
    let Scratch { pending, at } = *scratch;
    // SAFETY: the masks keep all within the map value.
    unsafe {
        // A volatile write: flags in a register would double the paths that the verifier walks.
        let flags =
            &raw mut (*copy::place(pending, at).add(size_of::<Part>()).cast::<OpenFile>()).flags;
        let path = F_PATH_OFFSET.load();
        let mut dentry = file.word(path + PATH_DENTRY_OFFSET.load());
        let mount = file.word(path + PATH_MNT_OFFSET.load());
        // `mount` is the member `mnt` of a `struct mount`. The block of the file is not needed any
        // more.
        let mut mount = Mount::read(scratch, mount - u64::from(MOUNT_MNT_OFFSET.load()));
        let start = at + (size_of::<Part>() + size_of::<OpenFile>()) as u64;
        let mut end = masked::<OFFSET_MASK>(start);
        let mut flag = OpenFile::CUT;
        // `d_unlinked` (include/linux/dcache.h): the second pointer of the hash list is null, and
        // the file is not the root of its file system.
        let block = scratch.read(1, dentry);
        if block.word(D_HASH_OFFSET.load() + 8) == 0 && block.word(D_PARENT_OFFSET.load()) != dentry
        {
            write_volatile(flags, OpenFile::DELETED);
        }
        for _ in 0..PATH_STEPS {
            if dentry == mount.root {
                if mount.parent == mount.address || mount.parent == 0 {
                    flag = 0;
                    break;
                }
                dentry = mount.point;
                mount = Mount::read(scratch, mount.parent);
                continue;
            }
            if end - start >= NAMES_START_BELOW.into() {
                break;
            }
            let block = scratch.read(1, dentry);
            let parent = block.word(D_PARENT_OFFSET.load());
            let name = block.word(D_NAME_OFFSET.load() + QSTR_NAME_OFFSET.load());
            let to = copy::place(pending, end);
            let length = bpf_probe_read_kernel_str(to.cast(), NAME_BYTES, name as *const _);
            let length = masked::<{ 2 * NAME_BYTES as u64 - 1 }>(length as u64);
            end = masked::<OFFSET_MASK>(end + length);
            if parent == dentry || parent == 0 {
                flag = OpenFile::WITHOUT_DIRECTORY;
                break;
            }
            dentry = parent;
        }
        write_volatile(flags, read_volatile(flags) | flag);
        (end - start) as u32
    }
}

/// Describes a `struct socket` in a part.
///
/// # Safety
/// `to` is in a live map value.
#[inline(always)]
unsafe fn describe_socket(socket: u64, to: *mut OpenSocket) {
    let sock = word(socket, SOCKET_SK_OFFSET.load());
    let at = |offset: u32| sock + u64::from(offset);
    let family = read(0_u16, at(SKC_FAMILY_OFFSET.load()));
    let protocol = word(sock, SKC_PROT_OFFSET.load()) + u64::from(PROT_NAME_OFFSET.load());
    // SAFETY: the caller's place. The fields are read into the map value, since the stack is short.
    unsafe {
        to.cast::<[u64; size_of::<OpenSocket>() / 8]>().write([0; _]);
        (*to).family = family;
        read_to(&raw mut (*to).protocol, protocol);
        if family == AF_INET || family == AF_INET6 {
            read_to(&raw mut (*to).local_port, at(SKC_NUM_OFFSET.load()));
            read_to(&raw mut (*to).remote_port, at(SKC_DPORT_OFFSET.load()));
        }
        if family == AF_INET {
            read_to((&raw mut (*to).local).cast::<u32>(), at(SKC_RCV_SADDR_OFFSET.load()));
            read_to((&raw mut (*to).remote).cast::<u32>(), at(SKC_DADDR_OFFSET.load()));
        } else if family == AF_INET6 && SKC_V6_DADDR_OFFSET.load() != 0 {
            read_to(&raw mut (*to).local, at(SKC_V6_RCV_SADDR_OFFSET.load()));
            read_to(&raw mut (*to).remote, at(SKC_V6_DADDR_OFFSET.load()));
        } else if family == AF_UNIX && UNIX_PEER_OFFSET.load() != 0 {
            let peer = word(sock, UNIX_PEER_OFFSET.load());
            let file = word(word(peer, SK_SOCKET_OFFSET.load()), SOCKET_FILE_OFFSET.load());
            (*to).peer = word(word(file, F_INODE_OFFSET.load()), I_INO_OFFSET.load());
        }
    }
}

/// Copies memory of the kernel. Memory that cannot be read is 0.
///
/// # Safety
/// `to` is in a live map value.
#[inline(always)]
unsafe fn read_to<T>(to: *mut T, address: u64) {
    // SAFETY: the caller's place has so many bytes, and the helper checks the address.
    unsafe { bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, address as *const _) };
}
