//! systemd's filters: `SystemCallFilter=` and what belongs to it (systemd.exec(5)).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    notes::Note,
    profile::{Action, Arch, Profile, ProfileError, Rule},
};
use crate::names::{errnos::Errno, near, table::Table};

/// The group that every allow list includes.
const DEFAULT_GROUP: &str = "@default";

/// A drop-in with an allow list.
pub fn write(profile: &Profile, notes: &[Note]) -> String {
    let mut text = head(notes);
    let archs: Vec<_> = profile.architectures.iter().map(|arch| arch.systemd()).collect();
    let _ = writeln!(text, "SystemCallArchitectures={}", archs.join(" "));
    if let Action::Errno(number) = profile.default {
        let _ = writeln!(text, "SystemCallErrorNumber={}", name(number));
    }
    // An empty assignment forgets the filter of the unit itself, to which the lines would add.
    let key = if profile.default == Action::Log {
        text.push_str("# Calls that were not seen are logged, not denied.\n");
        text.push_str("SystemCallLog=\n");
        "SystemCallLog=~"
    } else {
        text.push_str("SystemCallFilter=\n");
        "SystemCallFilter="
    };
    for rule in &profile.rules {
        // systemd allows the default group in any case.
        let is_default = |name: &str| members(DEFAULT_GROUP).any(|member| member == name);
        let names: Vec<_> = rule
            .names
            .iter()
            .filter(|name| Table::get().named(name).is_some())
            .filter(|name| rule.action.makes_the_call() || !is_default(name))
            .collect();
        if names.is_empty() || rule.is_conditional_on_container() {
            continue;
        }
        // In an allow list, a name with `~` and an errno is denied with this errno.
        let (sign, suffix) = match rule.action {
            Action::Allow | Action::Log => ("", String::new()),
            Action::Errno(number) => ("~", format!(":{}", name(number))),
            _ => ("~", ":kill".to_owned()),
        };
        if !rule.comment.is_empty() {
            let _ = writeln!(text, "# {}", rule.comment);
        }
        for line in names.chunks(8) {
            let line: Vec<_> = line.iter().map(|name| format!("{name}{suffix}")).collect();
            let _ = writeln!(text, "{key}{sign}{}", line.join(" "));
        }
    }
    text
}

/// Groups whose calls an ordinary service does not make. A deny list names those of which no call
/// was seen.
const DENIABLE: [&str; 13] = [
    "@clock",
    "@cpu-emulation",
    "@debug",
    "@keyring",
    "@memlock",
    "@module",
    "@mount",
    "@obsolete",
    "@pkey",
    "@raw-io",
    "@reboot",
    "@resources",
    "@swap",
];

/// A drop-in with a deny list: the groups of which no call was seen. It denies less than an allow
/// list, and breaks less.
pub fn write_deny_list(seen: &BTreeSet<&str>, notes: &[Note]) -> String {
    let mut text = head(notes);
    text.push_str("SystemCallArchitectures=native\nSystemCallErrorNumber=EPERM\n");
    text.push_str("# Groups of which no call was seen.\n");
    for group in DENIABLE {
        let is_seen = members(group).any(|name| seen.contains(name));
        if !is_seen {
            let _ = writeln!(text, "SystemCallFilter=~{group}");
        }
    }
    text
}

fn head(notes: &[Note]) -> String {
    let mut text = String::from(
        "# A drop-in for systemd: /etc/systemd/system/UNIT.service.d/seccomp.conf\n#\n",
    );
    for note in notes {
        let _ = writeln!(text, "# {}{}", if note.is_warning { "WARNING: " } else { "" }, note.text);
    }
    text.push_str("\n[Service]\n");
    text
}

fn name(errno: u16) -> String {
    crate::names::errnos::name(errno).into_owned()
}

/// The calls of a group that x86 has.
fn members(group: &str) -> impl Iterator<Item = &'static str> {
    let calls = Table::get().calls().iter();
    calls.filter(move |call| call.systemd.contains(&group)).map(|call| call.name)
}

/// Reads a unit file or a drop-in.
///
/// # Errors
/// If it has no filter, or names a group, a syscall, an errno or an architecture that does not
/// exist. The error says where.
pub fn read(text: &str) -> Result<Profile, ProfileError> {
    let mut reader = Reader::default();
    let mut in_section = true;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let place = format!("line {}", number + 1);
        let mut line = line.trim().to_owned();
        if line.starts_with(['#', ';']) || line.is_empty() {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let name = section.trim_end_matches(']');
            in_section = ["Service", "Socket", "Mount", "Swap", "Exec"].contains(&name);
            continue;
        }
        // A backslash joins a line with the next one that is no comment.
        while line.ends_with('\\') {
            line.pop();
            line.push(' ');
            let next = lines.by_ref().map(|(_, next)| next.trim());
            match next.into_iter().find(|next| !next.starts_with(['#', ';'])) {
                Some(next) => line.push_str(next),
                None => break,
            }
        }
        if let Some((key, value)) = line.split_once('=')
            && in_section
        {
            reader.assign(&place, key.trim(), value.trim())?;
        }
    }
    reader.finish()
}

/// What was read so far of the settings of a unit.
#[derive(Default)]
struct Reader {
    /// Whether the first assignment is an allow list. `None` before it.
    is_allow_list: Option<bool>,
    /// The calls in the list, each with what happens instead of the default of its list.
    listed: BTreeMap<String, Option<Action>>,
    errno: Option<u16>,
    architectures: Vec<Arch>,
}

impl Reader {
    fn assign(&mut self, place: &str, key: &str, value: &str) -> Result<(), ProfileError> {
        match key {
            "SystemCallFilter" if value.is_empty() => {
                self.is_allow_list = None;
                self.listed.clear();
            }
            "SystemCallFilter" => return self.filter(place, value),
            "SystemCallErrorNumber" => {
                self.errno = match value {
                    "" | "kill" => None,
                    _ => Some(errno(place, value)?),
                };
            }
            "SystemCallArchitectures" if value.is_empty() => self.architectures.clear(),
            "SystemCallArchitectures" => {
                for word in value.split_whitespace() {
                    let arch = Arch::ALL.into_iter().find(|arch| arch.systemd() == word);
                    let arch = if word == "native" { Some(Arch::X86_64) } else { arch };
                    let arch = arch.ok_or_else(|| {
                        ProfileError::new(place, format!("unknown architecture {word:?}"))
                    })?;
                    self.architectures.push(arch);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn filter(&mut self, place: &str, value: &str) -> Result<(), ProfileError> {
        let (is_denying, words) = match value.strip_prefix('~') {
            Some(words) => (true, words),
            None => (false, value),
        };
        let is_allow_list = *self.is_allow_list.get_or_insert(!is_denying);
        for word in words.split_whitespace() {
            let (name, action) = match word.split_once(':') {
                Some((name, "kill")) => (name, Some(Action::KillProcess)),
                Some((name, number)) => (name, Some(Action::Errno(errno(place, number)?))),
                None => (word, None),
            };
            for name in self::names(place, name)? {
                // The first list decides what the others add to or remove from it
                // (seccomp_parse_syscall_filter, src/shared/seccomp-util.c).
                if is_denying != is_allow_list || action.is_some() {
                    self.listed.insert(name.to_owned(), action);
                } else {
                    self.listed.remove(name);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Profile, ProfileError> {
        let Some(is_allow_list) = self.is_allow_list else {
            return Err(ProfileError::new("the file", "it has no SystemCallFilter="));
        };
        let denied = self.errno.map_or(Action::KillProcess, Action::Errno);
        let mut rules: Vec<Rule> = Vec::new();
        let mut listed = self.listed;
        if is_allow_list {
            for name in members(DEFAULT_GROUP) {
                listed.entry(name.to_owned()).or_default();
            }
        }
        for (name, action) in listed {
            let action = match (action, is_allow_list) {
                (Some(action), _) => action,
                (None, true) => Action::Allow,
                (None, false) => denied,
            };
            match rules.iter_mut().find(|rule| rule.action == action) {
                Some(rule) => rule.names.push(name),
                None => rules.push(Rule::new(vec![name], action)),
            }
        }
        let default = if is_allow_list { denied } else { Action::Allow };
        // Without the setting, a filter applies to all ABIs of the host.
        let architectures = match self.architectures.is_empty() {
            true => vec![Arch::X86_64, Arch::X86, Arch::X32],
            false => self.architectures,
        };
        Ok(Profile { default, architectures, rules, unknown: serde_json::Map::new() })
    }
}

fn errno(place: &str, text: &str) -> Result<u16, ProfileError> {
    let number = text.parse::<u16>().ok().filter(|number| *number < 4096);
    let named = || text.parse::<Errno>().ok().map(Errno::number);
    number.or_else(named).ok_or_else(|| {
        ProfileError::new(place, format!("there is no errno {text:?}: expected EPERM, or a number"))
    })
}

/// The calls of a word: a syscall, or a group with `@`.
fn names<'a>(place: &str, word: &'a str) -> Result<Vec<&'a str>, ProfileError> {
    if !word.starts_with('@') {
        if Table::get().named(word).is_some() {
            return Ok(vec![word]);
        }
        let near = near::near(word, Table::get().calls().iter().map(|call| call.name));
        let problem = format!("there is no syscall {word:?} on x86{}", near::or_perhaps(&near));
        return Err(ProfileError::new(place, problem));
    }
    if word == "@known" {
        return Ok(Table::get().calls().iter().map(|call| call.name).collect());
    }
    let found: Vec<_> = Table::get()
        .calls()
        .iter()
        .filter(|call| call.systemd.contains(&word))
        .map(|call| call.name)
        .collect();
    match found.is_empty() {
        true => Err(ProfileError::new(
            place,
            format!("systemd has no group {word:?} with a syscall of x86"),
        )),
        false => Ok(found),
    }
}
