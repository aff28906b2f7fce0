//! Reads the configuration again, on a thread of its own: a file can take any time.

use std::{io, sync::Arc, thread};

use tokio::sync::oneshot;

use crate::{
    commands::{
        cli::DaemonArgs,
        config::{Config, ConfigError},
    },
    serve::web_config::{Change, WebConfig},
};

/// What was read: the configuration, and the web configuration if there is one.
pub type Read = Box<(Config, Option<Change>)>;

/// A configuration that is being read.
#[derive(Default)]
pub struct Reload {
    outcome: Option<oneshot::Receiver<Result<Read, ConfigError>>>,
    /// It was asked for again meanwhile, so what is read may be old.
    again: bool,
}

fn read(args: &DaemonArgs, web: Option<Arc<dyn WebConfig>>) -> Result<Read, ConfigError> {
    let config = Config::load(args)?;
    Ok(Box::new((config, web.map(WebConfig::read_again).transpose()?)))
}

/// What came of it.
pub enum Reloaded {
    /// The file was read, or found to be wrong.
    Read(Result<Read, ConfigError>),
    /// It was not read.
    Failed(io::Error),
}

impl Reload {
    /// Begins to read. Returns `false` if reading is under way: then the file is read once
    /// more after that.
    pub fn begin(
        &mut self,
        args: &DaemonArgs,
        web: Option<&Arc<dyn WebConfig>>,
    ) -> io::Result<bool> {
        if self.outcome.is_some() {
            self.again = true;
            return Ok(false);
        }
        let (sender, outcome) = oneshot::channel();
        let (args, web) = (args.clone(), web.cloned());
        thread::Builder::new().name("reload".into()).spawn(move || {
            // Nobody waits for it any more if the daemon ends.
            let _ = sender.send(read(&args, web));
        })?;
        self.outcome = Some(outcome);
        Ok(true)
    }

    /// Waits for the outcome, for ever if nothing is being read. Keeps its place if it is
    /// dropped meanwhile.
    pub async fn finished(&mut self) -> Reloaded {
        let Some(outcome) = &mut self.outcome else { return std::future::pending().await };
        let outcome = outcome.await;
        self.outcome = None;
        match outcome {
            Ok(read) => Reloaded::Read(read),
            Err(_) => Reloaded::Failed(io::Error::other("reading it panicked")),
        }
    }

    /// Whether it was asked for again while the last was being read.
    pub fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }
}
