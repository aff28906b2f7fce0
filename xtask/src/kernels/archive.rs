//! Downloads Debian's kernels, and programs, of several releases with apt: from the mirror that the
//! host's apt uses, and into separate directories.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{output, succeed, target_dir};

/// An archive of Debian, by its label.
#[derive(Clone, Copy)]
enum Label {
    Debian,
    Security,
}

/// Suites with kernels, the oldest first.
const SUITES: [(Label, &str); 5] = [
    (Label::Security, "bullseye-security"),
    (Label::Debian, "bookworm"),
    (Label::Security, "bookworm-security"),
    (Label::Debian, "trixie-backports"),
    (Label::Debian, "sid"),
];

/// The suffix of Debian's smallest kernels, which are for virtual machines.
pub(super) const FLAVOUR: &str = "-cloud-amd64";

/// A downloaded kernel.
pub(super) struct Kernel {
    /// The requested series: `5.10`, or `newest`.
    pub(super) series: String,
    pub(super) image: PathBuf,
}

/// The kernel of each series. Downloads missing kernels.
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

/// The program of this name from Debian's unstable release, whose package has the same name.
/// Downloads it if it is missing.
pub(crate) fn unstable_program(name: &str) -> Result<PathBuf> {
    let directory = cache().join("programs").join(name);
    let program = directory.join(name);
    if !program.exists() {
        let apt = Apt::updated()?;
        println!("downloading {name} from Debian's unstable release");
        apt.unpack(&format!("{name}/sid"), &directory, |content| {
            Ok(content.join("usr/bin").join(name))
        })
        .with_context(|| format!("package {name}"))?;
    }
    Ok(program)
}

/// The unpacked source of a package of Debian 12, below `directory`.
pub(crate) fn source_package(name: &str, directory: &Path) -> Result<PathBuf> {
    let apt = Apt::with(|debian, _| format!("deb-src {debian} bookworm main\n"), "apt-sources")?;
    let mut download = apt.command("apt-get");
    download.args(["--quiet", "source", "--download-only", name]).current_dir(directory);
    succeed(&mut download)?;
    let archive = find(directory, |file| file.contains(".orig.tar") && !file.ends_with(".asc"))?
        .context("the package has no original source")?;
    succeed(Command::new("tar").arg("xf").arg(archive).arg("-C").arg(directory))?;
    let source = fs::read_dir(directory)?.filter_map(Result::ok).find(|entry| {
        entry.path().is_dir() && entry.file_name().to_string_lossy().starts_with(name)
    });
    Ok(source.context("the archive has no directory")?.path())
}

/// The directory of downloaded kernels.
pub(super) fn cache() -> PathBuf {
    target_dir().join("kernels")
}

/// Apt with separate lists and sources.
struct Apt {
    directory: PathBuf,
    packages: Vec<String>,
}

impl Apt {
    fn updated() -> Result<Self> {
        Self::with(sources, "apt")
    }

    /// Apt with the sources that `sources` lists, from the addresses of Debian's archive and of its
    /// security updates, in a directory of this name.
    fn with(sources: impl Fn(&str, &str) -> String, name: &str) -> Result<Self> {
        let directory = cache().join(name);
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let mut apt = Self { directory, packages: Vec::new() };
        fs::write(apt.sources(), sources(&site("Debian")?, &site("Debian-Security")?))?;
        // If apt cannot get a suite, it only warns. The lookup of a kernel of that suite then
        // fails.
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
        // Apt would otherwise change to a user who may not enter the checkout.
        set("APT::Sandbox::User", Path::new("root"));
        // Download only the lists of packages.
        set("Acquire::Languages", Path::new("none"));
        set("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", Path::new("false"));
        command
    }

    /// The package of the newest kernel of a series.
    fn newest(&self, series: &str) -> Result<String> {
        newest(&self.packages, series).with_context(|| {
            let suites: Vec<_> = SUITES.iter().map(|(_, suite)| *suite).collect();
            format!(
                "{} have no kernel {series}: to leave it out, name the others with --kernel",
                suites.join(", ")
            )
        })
    }

    /// Extracts only the kernel's image of the package, into `directory`.
    fn unpack_image(&self, package: &str, directory: &Path) -> Result<()> {
        self.unpack(package, directory, |content| {
            let image = find(content, |name| name.starts_with("vmlinuz"))?.context("no vmlinuz")?;
            let plain = content.join("vmlinuz");
            fs::rename(image, &plain)?;
            Ok(plain)
        })
    }

    /// Downloads a package, and moves the file that `choose` finds in its content into `directory`.
    fn unpack(
        &self,
        package: &str,
        directory: &Path,
        choose: impl Fn(&Path) -> Result<PathBuf>,
    ) -> Result<()> {
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
        let chosen = choose(&content)?;
        let name = chosen.file_name().context("a file")?;
        fs::create_dir_all(directory)?;
        fs::rename(&chosen, directory.join(name))?;
        Ok(())
    }
}

/// The list of sources of kernels, with the addresses of these archives.
fn sources(debian: &str, security: &str) -> String {
    let line = |(label, suite)| {
        let site = match label {
            Label::Debian => debian,
            Label::Security => security,
        };
        format!("deb {site} {suite} main\n")
    };
    SUITES.into_iter().map(line).collect()
}

/// The address of an archive in the host's apt.
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

/// The first file below a directory for whose name `has_name` returns true.
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

/// The package of the newest kernel of a series among names of packages. If the image is in a
/// package of its own, that package is called `linux-binary`.
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
        // Excludes `unsigned`, and metapackages, whose version has only two numbers.
        (version.starts_with(|c: char| c.is_ascii_digit()) && numbers.len() > 2 && is_asked_for)
            .then_some((numbers, package.starts_with("linux-binary-")))
    };
    let candidates = packages.iter().filter_map(|package| Some((version(package)?, package)));
    candidates.max().map(|(_, package)| package.clone())
}

/// The series that means the newest kernel.
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
