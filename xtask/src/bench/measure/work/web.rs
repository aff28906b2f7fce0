//! nginx, under wrk.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use anyhow::Result;

use super::{PATIENCE, Running, Traced, number};
use crate::bench::measure::{attached::Attached, child::Tied};

pub(super) const NEEDS: [(&str, &str); 2] = [("nginx", "nginx-light"), ("wrk", "wrk")];

struct Web {
    server: Tied,
    port: u16,
}

pub(super) fn start(directory: &Path) -> Result<Box<dyn Running>> {
    let directory = directory.join("nginx");
    fs::create_dir(&directory)?;
    fs::write(directory.join("file"), [b'x'; 1024])?;
    // A free port. If another process takes it meanwhile, nginx fails with an error.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let place = directory.display();
    let settings = directory.join("nginx.conf");
    fs::write(
        &settings,
        format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/errors;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log {place}/log; keepalive_requests 1000000;\n\
             server {{ listen 127.0.0.1:{port}; root {place}; }} }}\n"
        ),
    )?;
    let mut server = Command::new("nginx");
    server.arg("-p").arg(&directory).arg("-c").arg(&settings);
    let mut server = Tied::start(server)?;
    let listens = |_: &Tied| TcpStream::connect(("127.0.0.1", port)).is_ok();
    server.until(PATIENCE, "listening", listens)?;
    Ok(Box::new(Web { server, port }))
}

impl Running for Web {
    fn once(&mut self, attached: &Attached, _fewer: u64) -> Result<f64> {
        let traced = Traced::by(attached, self.server.id())?;
        let mut client = Command::new("wrk");
        client.args(["-t", "1", "-c", "8", "-d", "1s"]);
        client.arg(format!("http://127.0.0.1:{}/file", self.port));
        let said = Tied::start(client)?.ended()?;
        drop(traced);
        anyhow::ensure!(!said.contains("Non-2xx"), "nginx did not serve the file: {said}");
        Ok(1.0 / number(&said, "Requests/sec:")?)
    }
}
