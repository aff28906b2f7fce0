//! Loads the objects of a session, and takes out the maps of their tables.

use super::support::best_counter;
use crate::{
    engine::kernel::{
        arena,
        error::KernelError,
        failures::FailureReader,
        filter,
        load::{Loaded, Setup},
        loader,
        memory_limit::MemoryLimit,
        object::{self, ObjectName, ObjectSpec},
        operations::OperationReader,
        tables::MapTables,
    },
    model::{Coverage, FailureCoverage},
};

/// Everything that exists before the attach.
pub(super) struct Prepared {
    /// The object that counts calls comes first.
    pub(super) objects: Vec<Loaded>,
    pub(super) tables: MapTables,
    /// Whether the kernel can list the calls in flight at the attach.
    pub(super) lists_calls: bool,
    /// Why arrays are loaded although the kernel has arenas, if they are.
    pub(super) refusal: Option<String>,
}

impl Prepared {
    /// Loads the best object that this kernel runs, and its companions. If the kernel refuses the
    /// arena, loads arrays instead.
    pub(super) fn new(
        setup: &Setup<'_>,
        loader: aya::EbpfLoader<'static>,
        companions: &[&'static ObjectSpec],
        limit: Option<&MemoryLimit>,
    ) -> Result<Self, KernelError> {
        let counter = best_counter(setup.features, setup.options);
        let prepared = Self::with(counter, setup, loader, companions, limit);
        match prepared {
            // This happens if the kernel has no JIT, or if its verifier is stricter than those of
            // the tested kernels.
            Err(error)
                if counter.name == ObjectName::Arena
                    && !matches!(error, KernelError::Privilege { .. }) =>
            {
                let arrays = object::find(ObjectName::Arrays);
                let prepared =
                    Self::with(arrays, setup, loader::without_types(), companions, limit)?;
                let refusal = format!(
                    "the kernel refuses the arena, so the profiler falls back to arrays: {error}"
                );
                Ok(Self { refusal: Some(refusal), ..prepared })
            }
            prepared => prepared,
        }
    }

    /// Loads `counter`, which counts calls, and its companions.
    fn with(
        counter: &'static ObjectSpec,
        setup: &Setup<'_>,
        loader: aya::EbpfLoader<'static>,
        companions: &[&'static ObjectSpec],
        limit: Option<&MemoryLimit>,
    ) -> Result<Self, KernelError> {
        let mut counter = Loaded::create(counter, setup, loader, &[])?;
        let region = match counter.spec.name {
            ObjectName::Arena => Some(arena::map(&counter.ebpf, setup.options)?),
            _ => None,
        };
        let lists_calls = counter.load_programs(setup)?;
        // Companions find the maps of the counter only until the tables take them out.
        let mut objects = vec![counter];
        for companion in companions {
            let mut companion = Loaded::create_beside(companion, setup, &objects)?;
            companion.load_programs(setup)?;
            objects.push(companion);
        }
        let counter = &mut objects[0];
        // Load programs before taking out tables. A map that is taken out is closed once it is
        // mapped, and a loaded program keeps its maps open.
        filter::fill_maps(&mut counter.ebpf, &setup.options.scope, &setup.options.filter)?;
        if let Some(plans) = &setup.options.targets {
            filter::fill_plans(&mut counter.ebpf, plans)?;
        }
        let calls_before = counter.spec.call_lister.map(|_| setup.calls_before);
        let mut tables =
            MapTables::new(&mut counter.ebpf, setup.options, calls_before, region, limit)?;
        let status_offset = setup.features.layout.status_offset(setup.features.version);
        tables.take_owners(&mut counter.ebpf, status_offset);
        Ok(Self { objects, tables, lists_calls, refusal: None })
    }

    /// The object that counts calls.
    pub(super) fn counter_ebpf(&mut self) -> &mut aya::Ebpf {
        &mut self.objects[0].ebpf
    }

    /// Takes the maps of calls that fail, if their targets are noted.
    pub(super) fn failures(
        &mut self,
        setup: &Setup<'_>,
    ) -> Result<Option<FailureReader>, KernelError> {
        if setup.options.targets.is_none() {
            return Ok(None);
        }
        let coverage = if self.objects[0].sees_capabilities {
            FailureCoverage::Noted
        } else {
            FailureCoverage::WithoutCapabilities
        };
        FailureReader::take(self.counter_ebpf(), setup.failure_rows(), coverage).map(Some)
    }

    /// Takes the maps of io_uring. The inner result says why operations are not counted.
    pub(super) fn operations(
        &mut self,
        setup: &Setup<'_>,
    ) -> Result<Result<(OperationReader, Coverage), Coverage>, KernelError> {
        let rings = match &setup.features.rings {
            Ok(rings) => rings,
            Err(missing) => return Ok(Err(Coverage::Missing(missing.clone()))),
        };
        if let Some(error) = &self.objects[0].without_rings {
            return Ok(Err(Coverage::Missing(error.to_string().into())));
        }
        let reader = OperationReader::take(self.counter_ebpf(), setup.operation_rows())?;
        let by_request = rings.names_requests();
        let coverage = if by_request { Coverage::ByRequest } else { Coverage::ByUserData };
        Ok(Ok((reader, coverage)))
    }
}
