//! Reads the numbers of constants from the C headers of this machine, by its C compiler.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::sets::{self, Origin};

/// Headers that define what other headers use without including it.
const FIRST: &str = "#define _GNU_SOURCE\n#include <stddef.h>\n#include <stdint.h>\n\
                     #include <linux/types.h>\n#include <linux/ioctl.h>\n";

/// What to include before a header that lacks an include of its own: the first choice that compiles
/// is taken, because not all headers can be used together.
const CHOICES: [&str; 3] =
    ["", "#include <linux/fcntl.h>\n", "#include <sys/socket.h>\n#include <netinet/in.h>\n"];

/// What the C compiler makes of a header, and of the source behind it.
fn compile_with(header: &str, arguments: &[&str], source: &str) -> Result<String> {
    let mut last = None;
    for choice in CHOICES {
        match compile(arguments, &format!("{FIRST}{choice}#include <{header}>\n{source}")) {
            Ok(output) => return Ok(output),
            // The first error is about the header as it is.
            Err(error) => last = last.or(Some(error)),
        }
    }
    last.map_or_else(|| bail!("no choice"), Err)
}

/// The text of the file of facts.
pub(in super::super) fn read() -> Result<String> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for set in sets::committed()? {
        for member in set.members {
            if let Origin::Header(header) = member.origin {
                wanted.entry(header).or_default().insert(member.word);
            }
        }
    }
    let mut text = format!("# {}\n", versions()?);
    let mut errors = String::new();
    for (header, words) in wanted {
        let names = names(&header, words)?;
        let numbers = match numbers(&header, &names) {
            Ok(numbers) => numbers,
            Err(error) => {
                errors += &format!("\n{error:#}");
                continue;
            }
        };
        writeln!(text, "[{header}]")?;
        for (name, (number, number_32)) in names.iter().zip(numbers) {
            write!(text, "{name} {number:x}")?;
            if let Some(number_32) = number_32.filter(|of| *of != number) {
                write!(text, " {number_32:x}")?;
            }
            writeln!(text)?;
        }
    }
    ensure!(errors.is_empty(), "{errors}");
    Ok(text)
}

/// The packages that the headers come from.
fn versions() -> Result<String> {
    let mut versions = Vec::new();
    for package in ["linux-libc-dev", "libc6-dev"] {
        let output = Command::new("dpkg-query").args(["-W", "-f=${Version}", package]).output()?;
        ensure!(output.status.success(), "the package {package} is not installed");
        versions.push(format!("{package} {}", String::from_utf8(output.stdout)?));
    }
    Ok(versions.join(", "))
}

/// The names that words select, without `<<`.
fn names(header: &str, words: BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for word in words {
        if word.contains('*') {
            let macros = compile_with(header, &["-E", "-dM"], "")?;
            let defined = macros.lines().filter_map(|line| {
                let (name, value) = line.strip_prefix("#define ")?.split_once(' ')?;
                // A macro without a number, or for text.
                let is_number = !value.is_empty() && !value.contains('"') && !name.contains('(');
                is_number.then_some(name)
            });
            names.extend(defined.filter(|name| sets::matches(&word, name)).map(str::to_owned));
        } else {
            names.insert(word.trim_start_matches("<<").to_owned());
        }
    }
    Ok(names)
}

type Numbers = Vec<(u64, Option<u64>)>;

/// The numbers of names, and their numbers in a 32-bit program. The headers of libc may lack what
/// 32-bit programs need, and there the numbers do not differ.
fn numbers(header: &str, names: &BTreeSet<String>) -> Result<Numbers> {
    // The signs of negative numbers of 32 bits are not kept: arguments have 32 bits too.
    let mut source = "const unsigned long long numbers[] = {\n".to_owned();
    for name in names {
        writeln!(
            source,
            "sizeof({name}) == 4 ? (unsigned)({name}) : (unsigned long long)({name}), 1,"
        )?;
    }
    source += "};\n";
    let run = |word_size: &str| -> Result<Vec<u64>> {
        let assembly = compile_with(header, &[word_size, "-S", "-w", "-ffreestanding"], &source)
            .with_context(|| format!("cannot read the constants of <{header}>"))?;
        let numbers = data(&assembly)?;
        ensure!(numbers.len() == names.len(), "<{header}>: the compiler left out numbers");
        Ok(numbers)
    };
    let numbers = run("-m64")?;
    let numbers_32 = match run("-m32") {
        Ok(numbers) => numbers.into_iter().map(Some).collect(),
        Err(_) => vec![None; numbers.len()],
    };
    Ok(numbers.into_iter().zip(numbers_32).collect())
}

/// The numbers of an array in assembly. A 1 follows each of them.
fn data(assembly: &str) -> Result<Vec<u64>> {
    let mut bytes: Vec<u8> = Vec::new();
    let array = assembly.split_once("\nnumbers:").context("no array in the assembly")?.1;
    for line in array.lines() {
        let mut words = line.split_whitespace();
        let (Some(directive), Some(number)) = (words.next(), words.next()) else { continue };
        match directive {
            ".quad" => bytes.extend(number.parse::<i128>()?.to_le_bytes().iter().take(8)),
            ".long" => bytes.extend(number.parse::<i64>()?.to_le_bytes().iter().take(4)),
            ".zero" => bytes.resize(bytes.len() + number.parse::<usize>()?, 0),
            _ if directive.starts_with(".ident") || directive.starts_with(".section") => break,
            _ => {}
        }
    }
    let (numbers, _) = bytes.as_chunks::<8>();
    Ok(numbers.iter().step_by(2).map(|number| u64::from_le_bytes(*number)).collect())
}

/// What the C compiler makes of a source.
fn compile(arguments: &[&str], source: &str) -> Result<String> {
    let mut compiler = Command::new("cc")
        .args(arguments)
        .args(["-o", "-", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run cc")?;
    compiler.stdin.take().context("no input of cc")?.write_all(source.as_bytes())?;
    let output = compiler.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_assembly() {
        let assembly = "\t.file\t\"\"\nnumbers:\n\t.quad\t-1\n\t.quad\t1\n\t.zero\t8\n\t.quad\t1\n\
                        \t.long\t7\n\t.long\t0\n\t.long\t1\n\t.long\t0\n\t.ident\t\"GCC\"\n\
                        \t.section\t.note\n\t.long 1f\n";
        assert_eq!(data(assembly).expect("an array"), [u64::MAX, 0, 7]);
    }
}
