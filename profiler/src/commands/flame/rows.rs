//! Makes the rows of the report of what the kernel side summed up, and of the stacks that were
//! unwound.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use profiler_common::{
    call::CallKey,
    stacks::{FIRST_STACK, SQUARE_SHIFT, StackKey, StackSums},
};

use crate::{
    model::stacks::{CallTotal, Frame, Method, Sampling, StackRow, Weight, split},
    symbols::{ImageId, Symbols, Unwound},
    text::Untrusted,
};

/// Different unwound stacks, at most.
const MOST_UNWOUND: usize = 100_000;

/// The functions in which threads begin. A stack that reaches one of them is complete.
const OUTERMOST: [&str; 12] = [
    "_start",
    "__clone",
    "__clone3",
    "clone",
    "clone3",
    "start_thread",
    "__libc_start_main",
    "__libc_start_call_main",
    "_dl_start_user",
    "runtime.goexit",
    "runtime.goexit.abi0",
    "runtime.rt0_go",
];

/// The stacks that were unwound, by the row that they belong to.
#[derive(Default)]
pub(super) struct Copies {
    rows: HashMap<StackKey, HashMap<Unwound, Copied>>,
    /// How many different stacks there are.
    different: usize,
    /// How many there was no space for.
    pub(super) without_space: u64,
}

/// How often a stack was unwound.
#[derive(Clone, Copy, Default)]
struct Copied {
    weight: u64,
    stacks: u64,
}

impl Copies {
    /// Adds a stack that was unwound.
    pub(super) fn add(&mut self, key: StackKey, weight: u64, unwound: Unwound) {
        let row = self.rows.entry(key).or_default();
        if !row.contains_key(&unwound) {
            if self.different >= MOST_UNWOUND {
                self.without_space += 1;
                return;
            }
            self.different += 1;
        }
        let copied = row.entry(unwound).or_default();
        copied.weight += weight;
        copied.stacks += 1;
    }
}

/// A row before its functions have names.
struct Unnamed {
    image: ImageId,
    comm: Untrusted,
    call: CallKey,
    /// Addresses in user space and in the kernel, the innermost first.
    user: Vec<u64>,
    kernel: Vec<u64>,
    weight: u64,
    stacks: u64,
    variance: f64,
    method: Method,
    may_be_truncated: bool,
}

/// What the kernel side summed up.
pub(super) struct Summed {
    /// The rows.
    pub(super) rows: Vec<(StackKey, StackSums)>,
    /// The frames of each stack, the innermost first, and whether there may be more.
    pub(super) frames: HashMap<u64, (Vec<u64>, bool)>,
    /// The exact sums.
    pub(super) totals: BTreeMap<CallKey, CallTotal>,
}

/// The rows of the report, the greatest first. Their weights add up to the exact sums.
pub(super) fn all(
    summed: &Summed,
    copies: &Copies,
    symbols: &mut Symbols,
    (weight, sampling): (Weight, Sampling),
) -> Vec<StackRow> {
    let mut unnamed = Vec::new();
    let mut given: BTreeMap<CallKey, u64> = BTreeMap::new();
    for (key, sums) in &summed.rows {
        *given.entry(CallKey(key.call)).or_default() += sums.weight;
        unnamed.extend(of_row(summed, copies, key, sums, weight, sampling));
    }
    let named = name(unnamed, symbols);
    let mut rows: Vec<StackRow> = named.into_iter().filter(|row| row.weight > 0).collect();
    for (&call, total) in &summed.totals {
        let rest = total.weight.saturating_sub(given.get(&call).copied().unwrap_or(0));
        if rest > 0 {
            rows.push(without_stack(call, rest));
        }
    }
    rows.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.user.cmp(&b.user)));
    rows
}

/// The calls since the last stack that was taken.
fn without_stack(call: CallKey, weight: u64) -> StackRow {
    StackRow {
        pid: 0,
        comm: Untrusted::default(),
        call,
        user: Vec::new(),
        kernel: Vec::new(),
        weight,
        stacks: 0,
        variance: 0.0,
        method: Method::Lost,
        is_truncated: false,
    }
}

/// The rows that a row of the kernel side becomes: one for each stack that was unwound.
fn of_row(
    summed: &Summed,
    copies: &Copies,
    key: &StackKey,
    sums: &StackSums,
    weight: Weight,
    sampling: Sampling,
) -> Vec<Unnamed> {
    let addresses = |id: u64| summed.frames.get(&id).cloned().unwrap_or_default();
    let (user, is_cut) = addresses(key.user);
    let by_frame_pointers = lookups(&user);
    let kernel = lookups(&addresses(key.kernel).0);
    let scale = if weight == Weight::Time { f64::from(1_u32 << SQUARE_SHIFT).powi(2) } else { 1.0 };
    let row = |user: Vec<u64>, method, may_be_truncated| Unnamed {
        image: ImageId { pid: key.tgid, image: key.image },
        comm: Untrusted::from_comm(&sums.comm),
        call: CallKey(key.call),
        user,
        kernel: kernel.clone(),
        weight: sums.weight,
        stacks: sums.stacks,
        variance: sums.squares as f64 * scale,
        method,
        may_be_truncated,
    };
    let method = match key.user {
        FIRST_STACK.. if !by_frame_pointers.is_empty() => Method::FramePointers,
        profiler_common::stacks::NO_STACK => Method::KernelOnly,
        _ => Method::Lost,
    };
    let Some(copies) = copies.rows.get(key) else {
        return vec![row(by_frame_pointers, method, true)];
    };
    let mut parts: Vec<_> = copies.iter().collect();
    parts.sort_by(|(a, _), (b, _)| a.addresses.cmp(&b.addresses));
    let weights: Vec<u64> = parts.iter().map(|(_, copied)| copied.weight).collect();
    let stacks: Vec<u64> = parts.iter().map(|(_, copied)| copied.stacks).collect();
    let total = weights.iter().sum::<u64>().max(1) as f64;
    let taken = stacks.iter().sum::<u64>().max(1) as f64;
    let pieces = split(sums.weight, &weights).into_iter().zip(split(sums.stacks, &stacks));
    let piece = |((unwound, copied), (weight, stacks)): ((&Unwound, &Copied), (u64, u64))| {
        let is_better = unwound.is_complete || unwound.addresses.len() > by_frame_pointers.len();
        let whole = match is_better || is_cut {
            true => row(unwound.addresses.clone(), Method::Unwound, !unwound.is_complete),
            false => row(by_frame_pointers.clone(), method, true),
        };
        let part = copied.weight as f64 / total;
        let variance = match sampling {
            // Only the parts are sampled.
            Sampling::Every => (whole.weight as f64).powi(2) * part * (1.0 - part) / taken,
            Sampling::Rate(_) => whole.variance * part,
        };
        Unnamed { weight, stacks, variance, ..whole }
    };
    parts.into_iter().zip(pieces).map(piece).collect()
}

/// The addresses by which functions are looked up. A return address can be that of the next function,
/// so the address before it is used.
fn lookups(addresses: &[u64]) -> Vec<u64> {
    let lookup = |(at, &address): (usize, &u64)| address.saturating_sub(u64::from(at > 0));
    addresses.iter().enumerate().map(lookup).collect()
}

/// Names the functions of rows. Rows with the same functions become one.
fn name(unnamed: Vec<Unnamed>, symbols: &mut Symbols) -> Vec<StackRow> {
    let mut wanted: BTreeMap<ImageId, BTreeSet<u64>> = BTreeMap::new();
    let mut of_kernel = BTreeSet::new();
    for row in &unnamed {
        wanted.entry(row.image).or_default().extend(&row.user);
        of_kernel.extend(&row.kernel);
    }
    let frames = symbols.name(&wanted);
    let kernel_frames = symbols.name_kernel(&of_kernel);
    let mut rows: HashMap<_, StackRow> = HashMap::new();
    for row in unnamed {
        let frame = |address: &u64| frames.get(&(row.image, *address)).cloned().unwrap_or_default();
        let mut user: Vec<Frame> = row.user.iter().map(frame).collect();
        // A frame pointer that was something else leads to an address that is not code.
        let is_no_code = |frame: &Frame| frame.function.is_none() && frame.module.is_none();
        let code = user.iter().position(is_no_code).filter(|_| symbols.is_known(row.image));
        let is_cut = code.is_some();
        user.truncate(code.unwrap_or(user.len()));
        user.reverse();
        let is_outermost = |frame: &Frame| {
            let name = frame.function.as_ref().map_or("", Untrusted::raw);
            OUTERMOST.contains(&name)
        };
        let reaches_start = user.iter().take(3).any(is_outermost);
        let has_stack = matches!(row.method, Method::Unwound | Method::FramePointers);
        let may_be_truncated = row.may_be_truncated || is_cut;
        let is_truncated = has_stack && may_be_truncated && !reaches_start;
        let of_kernel = |address: &u64| kernel_frames.get(address).cloned().unwrap_or_default();
        let mut kernel: Vec<Frame> = row.kernel.iter().rev().map(of_kernel).collect();
        cut_switch(&mut kernel);
        // Only the function counts, and not where it is called.
        for frame in user.iter_mut().chain(&mut kernel).filter(|frame| frame.function.is_some()) {
            frame.offset = 0;
        }
        let comm = symbols.comm(row.image).cloned().unwrap_or(row.comm);
        let key = (row.image, row.call, user.clone(), kernel.clone(), row.method, is_truncated);
        let sum = rows.entry(key).or_insert_with(|| StackRow {
            pid: row.image.pid,
            comm,
            call: row.call,
            user,
            kernel,
            weight: 0,
            stacks: 0,
            variance: 0.0,
            method: row.method,
            is_truncated,
        });
        sum.weight += row.weight;
        sum.stacks += row.stacks;
        sum.variance += row.variance;
    }
    rows.into_values().collect()
}

/// Removes the innermost functions, which run the profiler's program and switch to another thread.
fn cut_switch(kernel: &mut Vec<Frame>) {
    let name = |frame: &Frame| frame.function.as_ref().map_or("", Untrusted::raw).to_owned();
    if let Some(at) = kernel.iter().rposition(|frame| name(frame) == "__schedule") {
        kernel.truncate(at);
        while kernel.last().is_some_and(|frame| name(frame).contains("schedule")) {
            kernel.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: u64) -> StackKey {
        StackKey { tgid: 7, image: 0, call: 0, reserved: 0, user, kernel: 0 }
    }

    fn sums(weight: u64) -> StackSums {
        StackSums { weight, stacks: 10, squares: 100, ..StackSums::default() }
    }

    #[test]
    fn a_row_is_split_in_proportion_to_its_copies() {
        let summed = Summed {
            rows: vec![(key(5), sums(1000))],
            frames: HashMap::from([(5, (vec![0x10, 0x20], false))]),
            totals: BTreeMap::from([(CallKey(0), CallTotal { weight: 1003, calls: 1003 })]),
        };
        let mut copies = Copies::default();
        let unwound = |address| Unwound { addresses: vec![0x10, address], is_complete: true };
        copies.add(key(5), 3, unwound(0x30));
        copies.add(key(5), 1, unwound(0x40));
        let how = (Weight::Calls, Sampling::Rate(1));
        let rows = all(&summed, &copies, &mut Symbols::default(), how);
        let weights: Vec<_> = rows.iter().map(|row| (row.weight, row.method)).collect();
        let expected = [(750, Method::Unwound), (250, Method::Unwound), (3, Method::Lost)];
        assert_eq!(weights, expected);
        assert_eq!(rows[0].user[0].offset, 0x30, "the outermost function comes first");
        assert_eq!((rows[0].variance, rows[1].variance), (75.0, 25.0));
    }

    #[test]
    fn without_copies_frame_pointers_count() {
        let summed = Summed {
            rows: vec![(key(5), sums(1000)), (key(0), sums(5)), (key(1), sums(4))],
            frames: HashMap::from([(5, (vec![0x10, 0x20], false))]),
            totals: BTreeMap::new(),
        };
        let how = (Weight::Calls, Sampling::Every);
        let rows = all(&summed, &Copies::default(), &mut Symbols::default(), how);
        let found: Vec<_> =
            rows.iter().map(|row| (row.weight, row.method, row.is_truncated)).collect();
        let expected = [
            (1000, Method::FramePointers, true),
            (5, Method::KernelOnly, false),
            (4, Method::Lost, false),
        ];
        assert_eq!(found, expected);
        assert_eq!(rows[0].user[0].offset, 0x1f, "the call, and not what follows it");
    }
}
