//! Reads the configuration again, in a separate thread, because reading a file can take any time.

use std::{io, sync::Arc, thread};

use tokio::sync::oneshot;

use crate::{
    commands::{
        cli::DaemonArgs,
        config::{Config, ConfigError},
    },
    serve::web_config::{Change, WebConfig},
};

/// The result: the configuration, and the web configuration if there is one.
pub type Read = Box<(Config, Option<Change>)>;

/// A configuration that is being read.
#[derive(Default)]
pub struct Reload {
    outcome: Option<oneshot::Receiver<Result<Read, ConfigError>>>,
    /// Whether another reload was requested meanwhile, so that the result may be outdated.
    again: bool,
}

fn read(args: &DaemonArgs, web: Option<Arc<dyn WebConfig>>) -> Result<Read, ConfigError> {
    let config = Config::load(args)?;
    Ok(Box::new((config, web.map(WebConfig::read_again).transpose()?)))
}

/// The outcome of a reload.
pub enum Reloaded {
    /// The file was read, or is invalid.
    Read(Result<Read, ConfigError>),
    /// The file could not be read.
    Failed(io::Error),
}

impl Reload {
    /// Starts to read. Returns `false` if another read is running. The file is then read again
    /// afterwards.
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
            // If the daemon ends, nothing waits for the result.
            let _ = sender.send(read(&args, web));
        })?;
        self.outcome = Some(outcome);
        Ok(true)
    }

    /// Waits for the outcome. Never returns if nothing is being read. The future can be dropped and
    /// created again.
    pub async fn finished(&mut self) -> Reloaded {
        let Some(outcome) = &mut self.outcome else { return std::future::pending().await };
        let outcome = outcome.await;
        self.outcome = None;
        match outcome {
            Ok(read) => Reloaded::Read(read),
            Err(_) => Reloaded::Failed(io::Error::other("reading it panicked")),
        }
    }

    /// Whether another reload was requested during the last one.
    pub fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }
}
