//! Keys of rows: the value in each dimension that all calls of a row share.

use std::{
    fmt,
    hash::{Hash, Hasher},
    mem,
    sync::Arc,
};

use profiler_common::call::{Abi, CallKey};

use super::place::Place;
use crate::{
    model::{CallRow, Dimension, Process, Snapshot, Thread},
    names::{
        classes::{self, Category, Classes},
        syscalls,
    },
    text::Untrusted,
};

/// The value of a row in one dimension.
#[derive(Clone, Debug)]
pub enum Value {
    /// The syscall.
    Syscall(CallKey),
    /// The ABI. `None` if it is unknown.
    Abi(Option<Abi>),
    /// The category of the syscall. `None` for a number without a name.
    Category(Option<Category>),
    /// All classes of the syscall, except those that only distinguish variants of stat and statfs.
    Class(Classes),
    /// The process.
    Process(Arc<Process>),
    /// The name of the processes.
    Comm(Untrusted),
    /// The user of the processes. `None` for calls that are of no single process.
    User(Option<User>),
    /// The cgroup, or what follows from it: the dimension says which.
    Place(Dimension, Place),
    /// The thread. `None` for calls that are of no single thread.
    Thread(Option<Arc<Thread>>),
}

/// A user, with its name if it has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// The name.
    pub name: Option<Untrusted>,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => name.fmt(f),
            None => self.uid.fmt(f),
        }
    }
}

/// Who makes calls.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) process: &'a Arc<Process>,
    /// The cgroup in which the calls entered.
    pub(super) cgroup: u64,
    pub(super) thread: Option<&'a Arc<Thread>>,
}

impl Value {
    /// The value of a call in a dimension. Without an owner, the calls are those of all
    /// processes.
    pub(super) fn of(
        dimension: Dimension,
        owner: Option<Owner<'_>>,
        call: &CallRow,
        snapshot: &Snapshot,
    ) -> Option<Self> {
        Some(match dimension {
            Dimension::Syscall => Self::Syscall(call.key),
            Dimension::Abi => Self::Abi(call.key.abi()),
            Dimension::Category => Self::Category(classes::category(call.key)),
            Dimension::Class => Self::Class(classes::classes(call.key).wide()),
            Dimension::Process => Self::Process(Arc::clone(owner?.process)),
            Dimension::Comm => Self::Comm(owner?.process.comm.clone()),
            Dimension::User => {
                let uid = owner?.process.uid;
                let name = |uid| snapshot.users.get(&uid).cloned();
                Self::User(uid.map(|uid| User { uid, name: name(uid) }))
            }
            Dimension::Cgroup | Dimension::Unit | Dimension::Container | Dimension::Pod => {
                let id = owner?.cgroup;
                Self::Place(dimension, Place { id, cgroup: snapshot.cgroups.get(&id).cloned() })
            }
            Dimension::Thread => Self::Thread(owner?.thread.cloned()),
        })
    }

    /// Distinguishes values of different dimensions.
    fn kind(&self) -> (mem::Discriminant<Self>, Option<Dimension>) {
        let dimension = match self {
            Self::Place(dimension, _) => Some(*dimension),
            _ => None,
        };
        (mem::discriminant(self), dimension)
    }

    /// Identifies a value within its dimension.
    fn id(&self) -> (u64, u64, &str) {
        match self {
            Self::Syscall(key) => (key.0.into(), 0, ""),
            Self::Abi(abi) => (0, 0, abi.map_or("", Abi::name)),
            Self::Category(category) => (0, 0, category.map_or("", Category::name)),
            Self::Class(classes) => (classes.bits().into(), 0, ""),
            Self::Process(process) => match process.tgid {
                Some(tgid) => (u64::from(tgid) + 1, process.start_ns, ""),
                None => (0, 0, process.comm.raw()),
            },
            Self::Comm(comm) => (0, 0, comm.raw()),
            Self::User(user) => (user.as_ref().map_or(0, |user| u64::from(user.uid) + 1), 0, ""),
            Self::Place(dimension, place) => place.id(*dimension),
            Self::Thread(thread) => (thread.as_ref().map_or(0, |thread| thread.serial + 1), 0, ""),
        }
    }

    /// The sort order of values.
    pub(super) fn order(&self) -> (String, u64) {
        match self {
            Self::Syscall(key) => (syscalls::name(*key).to_owned(), key.0.into()),
            Self::Abi(abi) => (abi.map_or("", Abi::name).to_owned(), 0),
            Self::Category(category) => (category.map_or("", Category::name).to_owned(), 0),
            Self::Class(classes) => (classes.to_string(), 0),
            Self::Process(process) => {
                let pid = process.tgid.map_or(0, |pid| u64::from(pid) + 1);
                (process.comm.raw().to_owned(), pid)
            }
            Self::Comm(comm) => (comm.raw().to_owned(), 0),
            Self::User(user) => match user {
                Some(User { uid, name: Some(name) }) => (name.raw().to_owned(), (*uid).into()),
                Some(User { uid, name: None }) => (String::new(), (*uid).into()),
                None => (String::new(), 0),
            },
            Self::Place(dimension, place) => (place.name(*dimension).unwrap_or_default(), 0),
            Self::Thread(thread) => match thread {
                Some(thread) => (thread.comm.raw().to_owned(), u64::from(thread.tid) + 1),
                None => (String::new(), 0),
            },
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.id() == other.id()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        self.id().hash(state);
    }
}
