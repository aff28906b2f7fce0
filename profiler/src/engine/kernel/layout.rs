//! The offsets of fields in the running kernel's types, and the settings that pass them to the
//! programs.
//!
//! [`FIELDS`] lists the fields for both sides.

use profiler_common::settings::{self, FIELDS, Field, FieldGroup, Measure, Presence};

use super::{arch, btf::Types};

/// The offsets of fields in the running kernel's types, for the settings in [`FIELDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// In the order of [`FIELDS`]. `None` for a field of an incomplete group, and for a missing
    /// optional field.
    values: [Option<u32>; FIELDS.len()],
}

impl Default for Layout {
    /// Nothing is known, as on a kernel without BTF.
    fn default() -> Self {
        Self { values: [None; FIELDS.len()] }
    }
}

impl Layout {
    /// Reads the layout from the kernel's types.
    pub(super) fn from_types(types: &Types<'_>) -> Self {
        let mut layout = Self::default();
        for (field, value) in FIELDS.iter().zip(&mut layout.values) {
            *value = types.structure(field.structure).and_then(|structure| match field.measure {
                Measure::Offset => types.offset_of(structure, field.member),
                Measure::Size => types.size_of(structure, field.member),
            });
        }
        for group in FieldGroup::ALL {
            if !layout.is_complete(group) {
                layout.of(group).for_each(|(_, value)| *value = None);
            }
        }
        layout
    }

    /// Whether the kernel has the fields that this group requires.
    pub fn has(&self, group: FieldGroup) -> bool {
        // All values of an incomplete group are cleared.
        FIELDS
            .iter()
            .zip(&self.values)
            .any(|(field, value)| field.group == group && value.is_some())
    }

    /// The fields that are known, and the values of their settings. All other settings stay 0.
    pub(super) fn known(&self, kernel: (u32, u32)) -> Vec<(&'static Field, u32)> {
        let fields = FIELDS.iter().zip(&self.values);
        let status = |field: &Field| {
            let is_status = field.setting == settings::STATUS_OFFSET;
            is_status.then(|| arch::status_offset_without_btf(kernel))
        };
        fields
            .filter_map(|(field, value)| Some((field, value.or_else(|| status(field))?)))
            .collect()
    }

    /// The offset of `thread_info.status` in a task, bytes.
    pub(super) fn status_offset(&self, kernel: (u32, u32)) -> u32 {
        let known = self.known(kernel);
        let status = known.iter().find(|(field, _)| field.setting == settings::STATUS_OFFSET);
        status.map_or(0, |&(_, offset)| offset)
    }

    fn of(
        &mut self,
        group: FieldGroup,
    ) -> impl Iterator<Item = (&'static Field, &mut Option<u32>)> {
        FIELDS.iter().zip(&mut self.values).filter(move |(field, _)| field.group == group)
    }

    /// Whether the values found suffice for the group.
    fn is_complete(&mut self, group: FieldGroup) -> bool {
        let (mut alternatives, mut found) = (0, 0);
        for (field, value) in self.of(group) {
            match field.presence {
                Presence::Required if value.is_none() => return false,
                Presence::Alternative => {
                    alternatives += 1;
                    found += u32::from(value.is_some());
                }
                Presence::Required | Presence::Optional => {}
            }
        }
        alternatives == 0 || found > 0
    }
}

#[cfg(test)]
impl Layout {
    /// A kernel that has these groups only.
    pub(crate) fn with(groups: &[FieldGroup]) -> Self {
        let values =
            std::array::from_fn(|i| groups.contains(&FIELDS[i].group).then_some(8 * i as u32));
        Self { values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernel::{
        btf::tests::{Member, blob},
        features::Features,
    };

    #[test]
    fn the_running_kernel_has_a_layout() {
        let btf = std::fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with BTF");
        let types = Types::parse(&btf).expect("a type section");
        let layout = Layout::from_types(&types);
        let of = |setting| {
            let place = FIELDS.iter().position(|field| field.setting == setting);
            place.and_then(|place| layout.values[place])
        };
        let after = |later, earlier, by| of(later) == of(earlier).map(|at| at + by);
        // thread_info is the first member, and status behind flags and syscall_work.
        let kernel = Features::probe().version;
        assert_eq!(of(settings::STATUS_OFFSET), Some(arch::status_offset_without_btf(kernel)));
        assert!(after(settings::TGID_OFFSET, settings::PID_OFFSET, 4));
        assert!(after(settings::NIVCSW_OFFSET, settings::NVCSW_OFFSET, 8));
        assert!(of(settings::COMM_OFFSET) > of(settings::START_OFFSET));
        // A bit for each call, in words.
        let native = of(settings::ALLOWED_NATIVE_BYTES).expect("seccomp");
        assert!((400 / 8..1_000 / 8).contains(&native) && native.is_multiple_of(8), "{native}");
        assert!(FieldGroup::ALL.into_iter().all(|group| layout.has(group)));
    }

    /// The table is right about which kernels have a field.
    #[test]
    fn the_running_kernel_has_the_fields_that_the_table_says() {
        let btf = std::fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with BTF");
        let layout = Layout::from_types(&Types::parse(&btf).expect("a type section"));
        let kernel = Features::probe().version;
        for (field, value) in FIELDS.iter().zip(layout.values) {
            let in_range = |f: &Field| kernel >= f.from && f.to.is_none_or(|to| kernel < to);
            let complete = FIELDS
                .iter()
                .filter(|f| f.group == field.group && f.presence == Presence::Required)
                .all(in_range);
            assert_eq!(value.is_some(), complete && in_range(field), "{field:?}");
        }
    }

    #[test]
    fn a_group_has_all_that_it_needs_or_nothing() {
        // The required fields of the group exist, and one of the alternatives.
        let cgroups: [(&str, &[Member]); 6] = [
            ("task_struct", &[("cgroups", 1, 64)]),
            ("css_set", &[("dfl_cgrp", 1, 64), ("subsys", 1, 128)]),
            ("cgroup_subsys_state", &[("cgroup", 1, 64)]),
            ("cgroup_root", &[("hierarchy_id", 1, 64)]),
            ("kernfs_node", &[("id", 1, 64)]),
            (
                "cgroup",
                &[("level", 1, 64), ("ancestors", 1, 128), ("kn", 1, 192), ("root", 1, 256)],
            ),
        ];
        let has = |structs: &[(&str, &[Member])]| {
            let btf = blob(structs);
            let layout = Layout::from_types(&Types::parse(&btf).expect("valid"));
            let known = layout.known((5, 10));
            let status = known.iter().find(|(field, _)| field.setting == settings::STATUS_OFFSET);
            assert!(status.is_some_and(|&(_, offset)| offset == 8), "{known:?}");
            assert_eq!(layout.has(FieldGroup::Cgroup), known.len() > 1, "{known:?}");
            assert!(!layout.has(FieldGroup::Task));
            layout.has(FieldGroup::Cgroup)
        };
        assert!(has(&cgroups));
        assert!(!has(&cgroups[..5]));
        assert!(!has(&[
            &cgroups[..5],
            &[("cgroup", &[("level", 1, 64), ("kn", 1, 192), ("root", 1, 256)])]
        ]
        .concat()));
    }
}
