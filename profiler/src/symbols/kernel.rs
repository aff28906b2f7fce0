//! Names functions of the kernel, by `/proc/kallsyms`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
};

/// Bytes of the file that are read, at most.
const MOST_BYTES: u64 = 256 << 20;

/// The names at these addresses, which ascend. `None` if the kernel hides its addresses.
pub(super) fn functions(addresses: &[u64]) -> Option<Vec<Option<String>>> {
    let file = BufReader::new(File::open("/proc/kallsyms").ok()?.take(MOST_BYTES));
    let lines = file.split(b'\n').map_while(Result::ok);
    search(lines.filter_map(|line| String::from_utf8(line).ok()), addresses)
}

/// The names by the lines of the file: an address, a type, a name, and perhaps a module.
fn search(lines: impl Iterator<Item = String>, addresses: &[u64]) -> Option<Vec<Option<String>>> {
    // The last function at or before each address.
    let mut best: Vec<(u64, Option<String>)> = vec![(0, None); addresses.len()];
    let mut has_addresses = false;
    for line in lines {
        let mut fields = line.split_ascii_whitespace();
        let (Some(start), Some(kind), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Ok(start) = u64::from_str_radix(start, 16) else { continue };
        if start == 0 || !matches!(kind, "t" | "T" | "w" | "W") {
            continue;
        }
        has_addresses = true;
        let first = addresses.partition_point(|&address| address < start);
        for (at, known) in best[first..].iter_mut() {
            // Those behind it have a later function already, or none.
            if *at >= start {
                break;
            }
            *at = start;
            *known = Some(name.to_owned());
        }
    }
    has_addresses.then(|| best.into_iter().map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static str) -> impl Iterator<Item = String> {
        text.lines().map(str::to_owned)
    }

    #[test]
    fn the_function_before_an_address_has_it() {
        let text = "1000 T a\n2000 t b\n1800 d data\n1500 T c [module]\n";
        let names = search(lines(text), &[0x10, 0x1000, 0x14ff, 0x1500, 0x1fff, 0x9000]);
        let names: Vec<_> =
            names.expect("addresses").into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(names, ["", "a", "a", "c", "c", "b"]);
    }

    #[test]
    fn hidden_addresses_are_noticed() {
        assert_eq!(search(lines("0000 T a\n0000 T b\n"), &[1]), None);
    }
}
