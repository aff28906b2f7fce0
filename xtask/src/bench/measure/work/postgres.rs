//! PostgreSQL, under pgbench. It does not run as root.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::unistd::{User, chown};

use super::{PATIENCE, Running, Traced, number};
use crate::{
    bench::measure::{attached::Attached, child::Tied},
    workspace::find_program,
};

pub(super) const NEEDS: [(&str, &str); 3] =
    [("initdb", "postgresql"), ("postgres", "postgresql"), ("pgbench", "postgresql")];

const TRANSACTIONS: u64 = 4_000;

struct Postgres {
    server: Tied,
    directory: PathBuf,
    user: User,
}

/// A program of the newest PostgreSQL. Debian has most of them outside of PATH.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let installed = || {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
        let newest = versions.flatten().map(|version| version.path()).max_by_key(number)?;
        Some(newest.join("bin").join(name)).filter(|program| program.is_file())
    };
    installed().or_else(|| find_program(&[name])).with_context(|| format!("no {name}"))
}

pub(super) fn start(directory: &Path) -> Result<Box<dyn Running>> {
    let user = User::from_name("nobody")?.context("no user `nobody`")?;
    let directory = directory.join("postgres");
    fs::create_dir(&directory)?;
    chown(&directory, Some(user.uid), Some(user.gid))?;
    let data = directory.join("data");
    let as_user = |name: &str| -> Result<Command> {
        let mut command = Command::new(program(name)?);
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir(&directory);
        command.env("LC_ALL", "C");
        Ok(command)
    };
    let mut initdb = as_user("initdb")?;
    initdb.args(["--no-sync", "--auth=trust", "--username=bench", "--pgdata"]).arg(&data);
    Tied::start(initdb)?.ended()?;
    let mut server = as_user("postgres")?;
    server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "autovacuum=off"]);
    server.arg("-k").arg(&directory).arg("-D").arg(&data);
    let mut server = Tied::start(server)?;
    let socket = directory.join(".s.PGSQL.5432");
    server.until(PATIENCE, "listening", |_| socket.exists())?;
    let running = Postgres { server, directory, user };
    // The socket exists a moment before the server accepts connections.
    let initialise = || {
        let mut client = running.client()?;
        client.args(["--initialize", "--quiet"]);
        Tied::start(client)?.ended()
    };
    let mut initialised = initialise();
    for _ in 0..20 {
        if initialised.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        initialised = initialise();
    }
    initialised?;
    Ok(Box::new(running))
}

impl Postgres {
    fn client(&self) -> Result<Command> {
        let mut client = Command::new(program("pgbench")?);
        client.uid(self.user.uid.as_raw()).gid(self.user.gid.as_raw());
        client.current_dir(&self.directory).env("LC_ALL", "C");
        client.args(["--username=bench", "--host"]).arg(&self.directory).arg("postgres");
        Ok(client)
    }
}

impl Running for Postgres {
    fn once(&mut self, attached: &Attached, fewer: u64) -> Result<f64> {
        let traced = Traced::by(attached, self.server.id())?;
        let mut client = self.client()?;
        client.args(["--select-only", "--no-vacuum", "--client=2", "--jobs=1"]);
        client.arg(format!("--transactions={}", TRANSACTIONS / fewer));
        let said = Tied::start(client)?.ended()?;
        drop(traced);
        Ok(1.0 / number(&said, "tps =")?)
    }
}
