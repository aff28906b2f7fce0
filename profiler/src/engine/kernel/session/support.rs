//! Chooses the object that this kernel runs best, and checks that the kernel supports a query.

use profiler_common::settings::FieldGroup;

use crate::{
    engine::kernel::{
        error::KernelError,
        features::Features,
        filter,
        identity::Identity,
        object::{self, ObjectName, ObjectSpec},
        options::Options,
    },
    model::Scope,
};

/// Checks that this kernel can run the objects of a query, and that it has what the scope and the
/// filters require.
pub(super) fn check(
    options: &Options,
    companions: &[&ObjectSpec],
    features: &Features,
) -> Result<(), KernelError> {
    check_scope(options, features)?;
    check_companions(companions, features)?;
    filter::check_support(&options.filter, features)?;
    if options.knows_cgroups() {
        filter::check_cgroups(features)?;
    }
    Ok(())
}

/// The best object that counts calls and that this kernel is expected to run.
pub(super) fn best_counter(features: &Features, options: &Options) -> &'static ObjectSpec {
    let is_allowed = |name| match name {
        ObjectName::Arena => !options.force_arrays && !options.force_fallback,
        ObjectName::Arrays => !options.force_fallback,
        _ => true,
    };
    object::best_counter(is_allowed, |requirement| features.meets(requirement))
}

/// Checks that this kernel can run the objects beside the one that counts calls.
fn check_companions(companions: &[&ObjectSpec], features: &Features) -> Result<(), KernelError> {
    let unmet = |spec: &&ObjectSpec| spec.unmet(|requirement| features.meets(requirement));
    companions.iter().find_map(unmet).map_or(Ok(()), |requirement| {
        let (feature, needs) = requirement.describe();
        Err(KernelError::Missing { feature, needs })
    })
}

/// Checks that the programs can follow the children of processes in scope.
fn check_scope(options: &Options, features: &Features) -> Result<(), KernelError> {
    let counter = best_counter(features, options);
    if counter.name == ObjectName::Fallback
        && !features.layout.has(FieldGroup::Task)
        && options.scope != Scope::Host
    {
        return Err(KernelError::Missing {
            feature: "type information (BTF), without which the profiler cannot follow children",
            needs: "CONFIG_DEBUG_INFO_BTF=y; `profiler stat -a` works without it",
        });
    }
    Ok(())
}

/// Checks that the process ids of a scope are those of the host.
pub(in crate::engine::kernel) fn check_namespace(
    options: &Options,
    features: &Features,
    identity: &Identity,
) -> Result<(), KernelError> {
    if options.scope != Scope::Host && !identity.is_in_host_namespace(features.host_pid_namespace) {
        return Err(KernelError::Missing {
            feature: "view of the host's process ids from within this pid namespace",
            needs: "the host's pid namespace (docker run --pid=host, hostPID: true); `-a` works without",
        });
    }
    Ok(())
}
