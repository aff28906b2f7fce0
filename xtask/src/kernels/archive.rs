//! Debian's kernels, of several releases, by Debian's own tools: from the mirror that
//! the host's apt uses, and into directories that are none of the host's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{output, succeed, target_dir};

/// Which of Debian's archives, by its label.
#[derive(Clone, Copy)]
enum Label {
    Debian,
    Security,
}

/// Suites that have kernels, from the oldest on.
const SUITES: [(Label, &str); 5] = [
    (Label::Security, "bullseye-security"),
    (Label::Debian, "bookworm"),
    (Label::Security, "bookworm-security"),
    (Label::Debian, "trixie-backports"),
    (Label::Debian, "sid"),
];

/// What Debian calls the smallest of its kernels: for virtual machines.
pub(super) const FLAVOUR: &str = "-cloud-amd64";

/// A kernel that is here.
pub(super) struct Kernel {
    /// As asked for: `5.10`, or `newest`.
    pub(super) series: String,
    pub(super) image: PathBuf,
}

/// The kernel of each series, downloaded if it is not here yet.
pub(super) fn kernels(series: &[String]) -> Result<Vec<Kernel>> {
    let mut apt = None;
    series.iter().map(|series| kernel(series, &mut apt)).collect()
}

fn kernel(series: &str, apt: &mut Option<Apt>) -> Result<Kernel> {
    let directory = cache().join(series);
    let image = directory.join("vmlinuz");
    if !image.exists() {
        let apt = match apt {
            Some(apt) => apt,
            None => apt.insert(Apt::updated()?),
        };
        let package = apt.newest(series)?;
        println!("downloading {package}");
        apt.unpack_image(&package, &directory).with_context(|| format!("package {package}"))?;
    }
    Ok(Kernel { series: series.to_owned(), image })
}

/// Where kernels are kept.
pub(super) fn cache() -> PathBuf {
    target_dir().join("kernels")
}

/// Apt, with lists and sources of its own.
struct Apt {
    directory: PathBuf,
    packages: Vec<String>,
}

impl Apt {
    fn updated() -> Result<Self> {
        let directory = cache().join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let mut apt = Self { directory, packages: Vec::new() };
        fs::write(apt.sources(), sources()?)?;
        // Apt takes a suite that it cannot get for a warning; what is missing then is
        // said when a kernel of it is asked for.
        succeed(apt.command("apt-get").args(["--quiet", "update"]))?;
        let names = output(apt.command("apt-cache").args(["pkgnames", "linux-"]))?;
        apt.packages = names.lines().map(str::to_owned).collect();
        Ok(apt)
    }

    fn sources(&self) -> PathBuf {
        self.directory.join("sources.list")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut set = |name: &str, value: &Path| {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        };
        set("Dir::Etc::sourcelist", &self.sources());
        set("Dir::Etc::sourceparts", Path::new("/dev/null"));
        set("Dir::State::lists", &self.directory.join("lists"));
        set("Dir::Cache", &self.directory.join("cache"));
        // Another user, whom it would otherwise become, may not enter the checkout.
        set("APT::Sandbox::User", Path::new("root"));
        // Nothing but the lists of packages.
        set("Acquire::Languages", Path::new("none"));
        set("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", Path::new("false"));
        command
    }

    /// The package that has the newest kernel of a series.
    fn newest(&self, series: &str) -> Result<String> {
        newest(&self.packages, series).with_context(|| {
            let suites: Vec<_> = SUITES.iter().map(|(_, suite)| *suite).collect();
            format!(
                "no kernel {series} is to be had from {}: leave it out by naming the others \
                 with --kernel",
                suites.join(", ")
            )
        })
    }

    /// Leaves nothing of the package but the kernel's image, in `directory`.
    fn unpack_image(&self, package: &str, directory: &Path) -> Result<()> {
        let temporary = tempfile::tempdir_in(&self.directory)?;
        let download = self
            .command("apt-get")
            .args(["--quiet", "download", package])
            .current_dir(temporary.path())
            .status()?;
        ensure!(download.success(), "apt-get download failed ({download})");
        let file = find(temporary.path(), |name| name.ends_with(".deb"))?
            .context("apt-get downloaded no package")?;
        let content = temporary.path().join("content");
        succeed(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&content))?;
        let image = find(&content, |name| name.starts_with("vmlinuz"))?.context("no vmlinuz")?;
        fs::create_dir_all(directory)?;
        fs::rename(image, directory.join("vmlinuz"))?;
        Ok(())
    }
}

/// A list of sources, with the addresses that the host's apt has for these archives.
fn sources() -> Result<String> {
    let debian = site("Debian")?;
    let security = site("Debian-Security")?;
    let line = |(label, suite)| {
        let site = match label {
            Label::Debian => &debian,
            Label::Security => &security,
        };
        format!("deb {site} {suite} main\n")
    };
    Ok(SUITES.into_iter().map(line).collect())
}

/// Where the host's apt gets an archive from.
fn site(label: &str) -> Result<String> {
    let sites = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(SITE)",
        "Created-By: Packages",
        "Origin: Debian",
        &format!("Label: {label}"),
    ]))?;
    let Some(site) = sites.lines().next() else {
        bail!(
            "apt has no lists of {label}: on Debian run `apt-get update` first, as root; these \
             kernels are Debian's, so elsewhere this does not work"
        );
    };
    Ok(site.to_owned())
}

/// The first file under a directory with such a name.
fn find(directory: &Path, has_name: impl Fn(&str) -> bool + Copy) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() && has_name(&entry.file_name().to_string_lossy()) {
            return Ok(Some(entry.path()));
        }
        if kind.is_dir()
            && let Some(found) = find(&entry.path(), has_name)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Among names of packages, that of the newest kernel of a series. Where the image is
/// in a package apart from the modules, that is called `linux-binary`.
fn newest(packages: &[String], series: &str) -> Option<String> {
    let version = |package: &str| {
        let version = package
            .strip_prefix("linux-image-")
            .or_else(|| package.strip_prefix("linux-binary-"))?
            .strip_suffix(FLAVOUR)?;
        let numbers = numbers(version);
        let is_asked_for = series == NEWEST || {
            let wanted = numbers_of_series(series);
            numbers.starts_with(&wanted)
        };
        // `unsigned` begins none; of two numbers and no more is a package of no content.
        (version.starts_with(|c: char| c.is_ascii_digit()) && numbers.len() > 2 && is_asked_for)
            .then_some((numbers, package.starts_with("linux-binary-")))
    };
    let candidates = packages.iter().filter_map(|package| Some((version(package)?, package)));
    candidates.max().map(|(_, package)| package.clone())
}

/// The series that stands for whichever kernel is the newest.
pub(super) const NEWEST: &str = "newest";

fn numbers(version: &str) -> Vec<u32> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn numbers_of_series(series: &str) -> Vec<u32> {
    series.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_by_number_and_has_an_image() {
        let packages = [
            "linux-image-cloud-amd64",
            "linux-image-5.10.0-9-cloud-amd64",
            "linux-image-5.10.0-46-cloud-amd64",
            "linux-image-5.10.0-50-rt-amd64",
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.12.115+deb12-cloud-amd64",
            "linux-image-7.2.13+deb14-cloud-amd64",
            "linux-binary-7.2.13+deb14-cloud-amd64",
            "linux-binary-unsigned-7.3.1+deb14-cloud-amd64",
        ]
        .map(str::to_owned);
        let newest = |series| newest(&packages, series);
        assert_eq!(newest("5.10").as_deref(), Some("linux-image-5.10.0-46-cloud-amd64"));
        assert_eq!(newest("6.1").as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest("6.12").as_deref(), Some("linux-image-6.12.115+deb12-cloud-amd64"));
        assert_eq!(newest("newest").as_deref(), Some("linux-binary-7.2.13+deb14-cloud-amd64"));
        assert_eq!(newest("5.15"), None);
    }
}
