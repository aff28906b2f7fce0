//! Looks up types and their members in the kernel's own BTF.
//!
//! This walk over the type section takes a few milliseconds, and a general parser takes seventy.
//! The loader looks up what programs attach to in an [`excerpt`]. The format is in
//! include/uapi/linux/btf.h. The bytes come from the kernel, but every index is still checked.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER_LEN: usize = 24;
/// How many nested anonymous structures are followed.
const MAX_DEPTH: u32 = 16;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;
const KIND_MAX: u32 = KIND_ENUM64;

/// The type section, indexed.
pub(super) struct Types<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Offset in `types` of each type; type ids start at 1.
    offsets: Vec<u32>,
    /// Structures by name, which is an offset in `strings`.
    structs: HashMap<u32, u32>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_ne_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// A type by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Named {
    Typedef(String),
    Function(String),
}

impl Named {
    fn kind(&self) -> u32 {
        match self {
            Self::Typedef(_) => KIND_TYPEDEF,
            Self::Function(_) => KIND_FUNC,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Typedef(name) | Self::Function(name) => name,
        }
    }
}

/// Makes a BTF that has only these types, with their ids in the kernel's BTF. With the excerpt, the
/// loader requires a tenth of the time and memory.
pub(super) fn excerpt(types: &[(Named, u32)]) -> Vec<u8> {
    let mut strings = vec![0_u8];
    let count = types.iter().map(|&(_, id)| id).max().unwrap_or(0);
    // A type without a name or contents, which is as short as any.
    let mut words = [0, KIND_FWD << 24, 0].repeat(count as usize);
    for (named, id) in types {
        let at = 3 * (*id as usize - 1);
        words[at] = strings.len() as u32;
        words[at + 1] = named.kind() << 24;
        strings.extend(named.name().bytes().chain([0]));
    }
    let (types_len, strings_len) = (4 * words.len() as u32, strings.len() as u32);
    let mut btf = MAGIC.to_ne_bytes().to_vec();
    btf.extend([VERSION, 0]);
    let sections = [HEADER_LEN as u32, 0, types_len, types_len, strings_len];
    btf.extend(sections.into_iter().chain(words).flat_map(u32::to_ne_bytes));
    btf.extend(strings);
    btf
}

/// The fixed part of a type.
#[derive(Clone, Copy)]
pub(super) struct Type {
    name: u32,
    kind: u32,
    vlen: u32,
    kind_flag: bool,
    /// Its size in bytes, or the id of the type that it refers to.
    size_or_type: u32,
    /// The offset of its variable part.
    rest: usize,
}

impl Type {
    fn read(types: &[u8], at: usize) -> Option<Self> {
        let info = u32_at(types, at + 4)?;
        Some(Self {
            name: u32_at(types, at)?,
            kind: (info >> 24) & 0x1f,
            vlen: info & 0xffff,
            kind_flag: info >> 31 != 0,
            size_or_type: u32_at(types, at + 8)?,
            rest: at + 12,
        })
    }

    fn rest_len(self) -> Option<usize> {
        let vlen = self.vlen as usize;
        Some(match self.kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * vlen,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * vlen,
            1..=KIND_MAX => 0,
            // The length of an unknown kind is unknown.
            _ => return None,
        })
    }
}

impl<'a> Types<'a> {
    /// Indexes the bytes of `/sys/kernel/btf/vmlinux`. `None` if they are not valid BTF.
    pub(super) fn parse(btf: &'a [u8]) -> Option<Self> {
        if btf.len() < HEADER_LEN || u16::from_ne_bytes([btf[0], btf[1]]) != MAGIC {
            return None;
        }
        let header = u32_at(btf, 4)? as usize;
        let section = |offset: usize| {
            let start = header.checked_add(u32_at(btf, offset)? as usize)?;
            let end = start.checked_add(u32_at(btf, offset + 4)? as usize)?;
            btf.get(start..end)
        };
        let mut this = Self {
            types: section(8)?,
            strings: section(16)?,
            offsets: vec![0],
            structs: HashMap::new(),
        };
        let mut at = 0;
        while at < this.types.len() {
            let Some(ty) = Type::read(this.types, at) else { break };
            let Some(rest) = ty.rest_len() else { break };
            if ty.kind == KIND_STRUCT && ty.name != 0 && ty.vlen != 0 {
                this.structs.entry(ty.name).or_insert(this.offsets.len() as u32);
            }
            this.offsets.push(at as u32);
            at = ty.rest + rest;
        }
        Some(this)
    }

    /// Finds the ids of these names, in the same order. `None` for a name that no type has.
    pub(super) fn find(&self, wanted: &[Named]) -> Vec<Option<u32>> {
        let mut found = vec![None; wanted.len()];
        for id in 1..self.offsets.len() as u32 {
            let Some(ty) = self.get(id) else { break };
            if !matches!(ty.kind, KIND_TYPEDEF | KIND_FUNC) {
                continue;
            }
            for (named, found) in wanted.iter().zip(&mut found) {
                if ty.kind == named.kind() && found.is_none() && self.is_named(ty, named.name()) {
                    *found = Some(id);
                }
            }
        }
        found
    }

    fn is_named(&self, ty: Type, name: &str) -> bool {
        let tail = self.strings.get(ty.name as usize..);
        let rest = tail.and_then(|tail| tail.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The id of the structure of this name.
    pub(super) fn structure_id(&self, name: &str) -> Option<u32> {
        let is_named = |offset: u32| self.string(offset) == Some(name.as_bytes());
        self.structs.iter().find(|&(&offset, _)| is_named(offset)).map(|(_, &id)| id)
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let tail = self.strings.get(offset as usize..)?;
        tail.split(|&b| b == 0).next()
    }

    fn get(&self, id: u32) -> Option<Type> {
        if id == 0 {
            return None;
        }
        Type::read(self.types, *self.offsets.get(id as usize)? as usize)
    }

    /// The structure of this name.
    pub(super) fn structure(&self, name: &str) -> Option<Type> {
        self.get(self.structure_id(name)?)
    }

    /// The value of the first enumerator of this name.
    pub(super) fn enumerator(&self, name: &str) -> Option<u32> {
        let enums = self.offsets.iter().skip(1).filter_map(|&at| {
            Type::read(self.types, at as usize).filter(|ty| ty.kind == KIND_ENUM)
        });
        enums.flat_map(|ty| (0..ty.vlen as usize).map(move |i| ty.rest + 8 * i)).find_map(|at| {
            let label = u32_at(self.types, at)?;
            let found = self.string(label) == Some(name.as_bytes());
            found.then(|| u32_at(self.types, at + 4)).flatten()
        })
    }

    /// The offset in bytes of a member, its name given as a path: `a.b` is member
    /// `b` of the structure that is member `a`.
    pub(super) fn offset_of(&self, structure: Type, path: &str) -> Option<u32> {
        let mut ty = structure;
        let mut bits = 0_u32;
        for part in path.split('.') {
            let (member, offset) = self.member(ty, part, MAX_DEPTH)?;
            bits = bits.checked_add(offset)?;
            ty = self.resolve(member)?;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// The size in bytes of a member, its name given as a path.
    pub(super) fn size_of(&self, structure: Type, path: &str) -> Option<u32> {
        let mut id = None;
        let mut ty = structure;
        for part in path.split('.') {
            let (member, _) = self.member(ty, part, MAX_DEPTH)?;
            id = Some(member);
            ty = self.resolve(member)?;
        }
        self.size_of_type(id?, MAX_DEPTH)
    }

    fn size_of_type(&self, id: u32, depth: u32) -> Option<u32> {
        let ty = self.resolve(id)?;
        match ty.kind {
            KIND_INT | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64 => Some(ty.size_or_type),
            KIND_PTR => Some(8),
            KIND_ARRAY if depth > 0 => {
                let (element, count) =
                    (u32_at(self.types, ty.rest)?, u32_at(self.types, ty.rest + 8)?);
                self.size_of_type(element, depth - 1)?.checked_mul(count)
            }
            _ => None,
        }
    }

    /// Finds the type and the offset in bits of a member, also in anonymous members.
    fn member(&self, of: Type, name: &str, depth: u32) -> Option<(u32, u32)> {
        if depth == 0 || !matches!(of.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for i in 0..of.vlen as usize {
            let at = of.rest + 12 * i;
            let (label, id, offset) =
                (u32_at(self.types, at)?, u32_at(self.types, at + 4)?, u32_at(self.types, at + 8)?);
            // With the kind flag the upper byte is the width of a bit field.
            let offset = if of.kind_flag { offset & 0x00ff_ffff } else { offset };
            if label != 0 {
                if self.string(label) == Some(name.as_bytes()) {
                    return Some((id, offset));
                }
            } else if let Some(inner) = self.resolve(id)
                && let Some((found, within)) = self.member(inner, name, depth - 1)
            {
                return Some((found, offset.checked_add(within)?));
            }
        }
        None
    }

    /// For a typed tracepoint whose typedef has this id (`btf_trace_*`, include/trace/bpf_probe.h):
    /// whether each parameter is a pointer. Omits the first parameter, which is not an argument of
    /// the tracepoint.
    pub(super) fn tracepoint_parameters(&self, typedef: u32) -> Option<Vec<bool>> {
        let pointer = self.resolve(typedef).filter(|ty| ty.kind == KIND_PTR)?;
        let function = self.get(pointer.size_or_type).filter(|ty| ty.kind == KIND_FUNC_PROTO)?;
        let is_pointer = |i: u32| {
            let ty = u32_at(self.types, function.rest + 8 * i as usize + 4)?;
            Some(self.resolve(ty)?.kind == KIND_PTR)
        };
        (1..function.vlen).map(is_pointer).collect()
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<Type> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_DEPTH {
            match ty.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    ty = self.get(ty.size_or_type)?;
                }
                _ => return Some(ty),
            }
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Name, type id, offset in bits.
    pub(in crate::engine::kernel) type Member = (&'static str, u32, u32);

    /// A BTF blob with an int, and structures of these names and members.
    pub(in crate::engine::kernel) fn blob(structs: &[(&str, &[Member])]) -> Vec<u8> {
        let mut strings = vec![0_u8];
        let mut string = |s: &str| {
            if s.is_empty() {
                return 0;
            }
            let at = strings.len() as u32;
            strings.extend(s.bytes().chain([0]));
            at
        };
        let mut types = Vec::new();
        let mut put = |words: &[u32]| types.extend(words.iter().flat_map(|w| w.to_ne_bytes()));
        put(&[string("int"), KIND_INT << 24, 4, 32]);
        for (name, members) in structs {
            put(&[string(name), KIND_STRUCT << 24 | members.len() as u32, 64]);
            for (name, id, bits) in *members {
                put(&[string(name), *id, *bits]);
            }
        }
        let (t, s) = (types.len() as u32, strings.len() as u32);
        let mut btf = MAGIC.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        btf.extend([24, 0, t, t, s].iter().flat_map(|w: &u32| w.to_ne_bytes()));
        btf.extend(types);
        btf.extend(strings);
        btf
    }

    #[test]
    fn members_are_found_by_path_and_in_anonymous_structures() {
        let btf = blob(&[
            ("thread_info", &[("flags", 1, 0), ("status", 1, 128)]),
            ("", &[("hidden", 1, 32)]),
            ("task_struct", &[("thread_info", 2, 64), ("", 3, 256), ("pid", 1, 320)]),
        ]);
        let types = Types::parse(&btf).expect("valid");
        let task = types.structure("task_struct").expect("it is there");
        let at = |path| types.offset_of(task, path);
        assert_eq!(at("thread_info.status"), Some(8 + 16));
        assert_eq!(at("hidden"), Some(32 + 4));
        assert_eq!(at("pid"), Some(40));
        assert_eq!(at("nothing"), None);
        assert!(types.structure("no_such").is_none());
    }

    #[test]
    fn parameters_of_a_tracepoint_are_told_apart() {
        let btf = std::fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with BTF");
        let types = Types::parse(&btf).expect("a type section");
        let ids = types.find(&[
            Named::Typedef("btf_trace_sys_enter".into()),
            Named::Typedef("btf_trace_sched_process_fork".into()),
            Named::Typedef("u64".into()),
        ]);
        let of = |index: usize| ids[index].and_then(|id| types.tracepoint_parameters(id));
        assert_eq!(of(0), Some(vec![true, false]));
        assert_eq!(of(1), Some(vec![true, true]));
        assert_eq!(of(2), None);
    }

    /// The loader finds the same types in the excerpt as in the kernel's BTF.
    #[test]
    fn an_excerpt_keeps_ids() {
        let wanted = [
            Named::Typedef("btf_trace_sys_enter".into()),
            Named::Function("bpf_iter_task".into()),
            // Another kind of type has the name, or the name is longer.
            Named::Function("btf_trace_sys_enter".into()),
            Named::Typedef("btf_trace_sys".into()),
        ];
        let btf = std::fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with BTF");
        let ids = Types::parse(&btf).expect("a type section").find(&wanted);
        assert!(matches!(ids[..], [Some(_), Some(_), None, None]), "{ids:?}");
        let found = wanted.iter().cloned().zip(&ids).filter_map(|(n, id)| Some((n, (*id)?)));
        let excerpt = excerpt(&found.collect::<Vec<_>>());
        assert!(excerpt.len() < btf.len() / 2);
        assert_eq!(Types::parse(&excerpt).expect("valid").find(&wanted), ids);
        assert!(aya::Btf::parse(&excerpt, aya::Endianness::default()).is_ok());
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_refused_or_searched_in_vain(
            at in 0_usize..150, byte in any::<u8>(), cut in 0_usize..200,
        ) {
            let mut btf = blob(&[("task_struct", &[("pid", 1, 320), ("comm", 1, 352)])]);
            if let Some(b) = btf.get_mut(at) {
                *b = byte;
            }
            btf.truncate(cut.max(24));
            // Reading out of bounds would panic.
            let found = Types::parse(&btf)
                .and_then(|types| types.offset_of(types.structure("task_struct")?, "pid"));
            prop_assert!(found.is_none_or(|offset| offset <= u32::MAX / 8));
        }
    }
}
