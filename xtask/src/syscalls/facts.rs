//! Reads the committed facts about syscalls.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use anyhow::{Context, Result, bail};

use crate::workspace::root;

/// Returns the path of the facts file `name`.
pub(super) fn path(name: &str) -> PathBuf {
    root().join(format!("xtask/src/syscalls/facts/{name}.txt"))
}

/// Returns the source that the first line of a facts file names.
pub(super) fn source(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches("# ")
}

pub(super) fn read(name: &str) -> Result<String> {
    let path = path(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Returns the lines that are neither empty nor a comment.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// Parses lines `key: value`.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let pair = |line: &str| -> Result<(String, String)> {
        let (key, value) = line.split_once(':').with_context(|| format!("{line:?}: no colon"))?;
        Ok((key.to_owned(), value.trim().to_owned()))
    };
    lines(text).map(pair).collect()
}

/// Parses lines `set: member member`, and returns the sets of each member.
fn sets(text: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (set, members) in pairs(text)? {
        for member in members.split_whitespace() {
            sets.entry(member.to_owned()).or_default().insert(set.clone());
        }
    }
    Ok(sets)
}

/// The ABIs on which a number has this meaning. A row of the kernel's tables names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abis {
    /// x86_64 and x32.
    Common,
    X86_64,
    X32,
    I386,
}

/// A row of the kernel's tables.
#[derive(Clone, Debug)]
pub(super) struct Number {
    pub(super) abis: Abis,
    pub(super) number: u32,
    pub(super) name: String,
    /// The function that a 64-bit kernel runs. `None` if the kernel no longer has the call.
    pub(super) entry: Option<String>,
}

impl Number {
    /// Returns the `AUDIT_ARCH_*` of the number (linux/audit.h).
    pub(super) fn audit_arch(&self) -> u32 {
        if self.abis == Abis::I386 { 0x4000_0003 } else { 0xc000_003e }
    }

    /// Returns the number that a seccomp filter gets.
    pub(super) fn with_x32_bit(&self) -> u32 {
        if self.abis == Abis::X32 { self.number | 0x4000_0000 } else { self.number }
    }
}

/// Whether the call is newer than strace and than the kernel whose source was read.
pub(super) fn is_later_than_the_source(number: &Number) -> bool {
    let is_x32 = number.abis == Abis::X32;
    let fills_a_gap = number.abis == Abis::Common && [335, 336].contains(&number.number);
    fills_a_gap || !is_x32 && number.number > 450
}

/// Returns all rows of the kernel's tables.
pub(super) fn numbers() -> Result<Vec<Number>> {
    let mut numbers = Vec::new();
    for line in lines(&read("numbers")?) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [table, number, abi, name, entries @ ..] = &words[..] else {
            bail!("{line:?}: a row requires a table, a number, an ABI and a name");
        };
        let abis = match (*table, *abi) {
            ("64", "common") => Abis::Common,
            ("64", "64") => Abis::X86_64,
            ("64", "x32") => Abis::X32,
            ("32", "i386") => Abis::I386,
            _ => bail!("{line:?}: unknown ABI"),
        };
        // If there are two entries, a 64-bit kernel runs the second one for a 32-bit process.
        let entry = entries.last().filter(|entry| **entry != "sys_ni_syscall");
        numbers.push(Number {
            abis,
            number: number.parse()?,
            name: (*name).to_owned(),
            entry: entry.map(|entry| (*entry).to_owned()),
        });
    }
    for later in later()? {
        for abis in later.abis {
            let (number, name) = (later.number, later.name.clone());
            numbers.push(Number { abis, number, entry: Some(format!("sys_{name}")), name });
        }
    }
    Ok(numbers)
}

/// A call that is newer than the kernel whose tables were read.
struct Later {
    number: u32,
    name: String,
    abis: Vec<Abis>,
    since: Option<String>,
    classes: BTreeSet<String>,
}

fn later() -> Result<Vec<Later>> {
    let text = read("later")?;
    let parsed = lines(&text).map(|line| {
        let words: Vec<_> = line.split_whitespace().filter(|word| *word != "-").collect();
        let mut words = words.into_iter().peekable();
        let mut word = || words.next().with_context(|| line.to_owned());
        Ok(Later {
            number: word()?.parse()?,
            name: word()?.to_owned(),
            abis: match word()? {
                "all" => vec![Abis::Common, Abis::I386],
                "common" => vec![Abis::Common],
                _ => bail!("{line:?}: unknown ABIs"),
            },
            since: words.next_if(|word| word.contains('.')).map(str::to_owned),
            classes: words.map(str::to_owned).collect(),
        })
    });
    parsed.collect()
}

/// All facts about syscalls. Unless a field says otherwise, its key is the name of the syscall.
pub(super) struct Facts {
    /// The kinds of facts, and the source of each kind.
    pub(super) sources: Vec<(&'static str, String)>,
    pub(super) numbers: Vec<Number>,
    /// Arguments in the form `int fd, char * buf`, by entry.
    pub(super) signatures: BTreeMap<String, String>,
    pub(super) categories: BTreeMap<String, String>,
    pub(super) classes: BTreeMap<String, BTreeSet<String>>,
    pub(super) since: BTreeMap<String, String>,
    pub(super) pages: BTreeMap<String, String>,
    /// The documented errnos, by manual page.
    pub(super) errnos: BTreeMap<String, String>,
    pub(super) docker: BTreeMap<String, String>,
    /// The groups that include a member, by member. A member may be a group.
    pub(super) systemd: BTreeMap<String, BTreeSet<String>>,
    /// ABIs whose vDSO has a function for the call.
    pub(super) vdso: BTreeMap<String, String>,
}

impl Facts {
    /// Reads the facts under `facts/`.
    pub(super) fn committed() -> Result<Self> {
        let mut facts = Self {
            sources: Vec::new(),
            numbers: numbers()?,
            signatures: BTreeMap::new(),
            categories: BTreeMap::new(),
            classes: sets(&read("strace")?)?,
            since: pairs(&read("since")?)?.into_iter().collect(),
            pages: pairs(&read("man")?)?.into_iter().collect(),
            errnos: pairs(&read("errnos")?)?.into_iter().collect(),
            docker: pairs(&read("docker")?)?.into_iter().collect(),
            systemd: sets(&read("systemd")?)?,
            vdso: BTreeMap::new(),
        };
        // If both have a signature, the one of the running kernel counts, because the source may be
        // older.
        for name in ["signatures", "tracefs"] {
            facts.signatures.extend(pairs(&read(name)?)?);
        }
        for (category, members) in pairs(&read("categories")?)? {
            for member in members.split_whitespace() {
                if facts.categories.insert(member.to_owned(), category.clone()).is_some() {
                    bail!("categories.txt lists {member} twice");
                }
            }
        }
        for Later { name, since, classes, .. } in later()? {
            facts.since.extend(since.map(|since| (name.clone(), since)));
            facts.classes.entry(name).or_default().extend(classes);
        }
        facts.add_by_hand()?;
        for (kind, file) in [
            ("numbers", "numbers"),
            ("arguments", "tracefs"),
            ("other_arguments", "signatures"),
            ("classes", "strace"),
            ("since", "since"),
            ("man", "man"),
            ("docker", "docker"),
            ("systemd", "systemd"),
            ("later", "later"),
        ] {
            facts.sources.push((kind, source(&read(file)?).to_owned()));
        }
        Ok(facts)
    }

    fn add_by_hand(&mut self) -> Result<()> {
        for line in lines(&read("by-hand")?) {
            let (kind, fact) = line.split_once(' ').with_context(|| line.to_owned())?;
            let (name, value) = fact.split_once(' ').unwrap_or((fact, ""));
            match kind {
                "class" => {
                    let classes = value.split(' ').map(str::to_owned);
                    self.classes.entry(name.to_owned()).or_default().extend(classes);
                }
                "signature" => {
                    let entry = name.trim_end_matches(':').to_owned();
                    self.signatures.insert(entry, value.to_owned());
                }
                "dead" => {
                    let dead = self.numbers.iter_mut().filter(|number| number.name == name);
                    dead.for_each(|number| number.entry = None);
                }
                "since" => {
                    self.since.insert(name.to_owned(), value.to_owned());
                }
                "vdso" => {
                    self.vdso.insert(name.to_owned(), value.to_owned());
                }
                _ => bail!("by-hand.txt: unknown kind of fact: {line:?}"),
            }
        }
        Ok(())
    }
}
