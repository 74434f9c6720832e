//! A stand-in for `tresor` between freeze and thaw, for the tests of this crate: freezes through
//! the library, says so, and waits to be killed. `tresor-freeze-and-wait SOCKET GUARD`.

use std::{error::Error, io::Write as _, time::Duration};

use tresor_link::{FreezeRequest, GuardCommand, QemuGuestAgent, Quiescer as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(socket), Some(guard)) = (args.next(), args.next()) else {
        return Err("SOCKET and GUARD are needed".into());
    };
    let mut agent = QemuGuestAgent::new(socket.as_ref(), GuardCommand::new(guard));
    let request = FreezeRequest {
        freeze_limit: Duration::from_secs(20),
        hold_limit: Duration::from_secs(3600),
    };
    let freeze = agent.freeze(request).await?;
    let mut out = std::io::stdout();
    writeln!(out, "frozen {}", freeze.file_systems)?;
    out.flush()?;
    std::future::pending::<()>().await;
    Ok(())
}
