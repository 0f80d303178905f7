//! A way to a server that can be cut, blocked and opened again, as a network does it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Database;

/// Listens on a port of its own and passes everything on to a database's server.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    port: u16,
    way: Arc<Way>,
}

#[derive(Debug)]
struct Way {
    server: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    sockets: Vec<TcpStream>,
}

/// What becomes of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything is passed on.
    Open,
    /// New connections are taken, nothing is passed on in either direction, and nobody is told.
    Stalled,
    /// Every new connection ends at once.
    Closed,
    /// A server answers every new connection with this SQLSTATE.
    Answering(&'static str),
    /// The way is no longer needed.
    Gone,
}

impl Proxy {
    pub fn to(database: &Database) -> Proxy {
        let url = database.url();
        let server: u16 = url.rsplit([':', '/']).nth(1).and_then(|port| port.parse().ok()).expect("a URL has a port");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Mutex::new(State { mode: Mode::Open, sockets: Vec::new() });
        let way = Arc::new(Way { server, state, changed: Condvar::new() });
        let listening = Arc::clone(&way);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mode = listening.state().mode.clone();
                match mode {
                    Mode::Gone => return,
                    Mode::Closed => drop(client),
                    Mode::Answering(code) => drop(std::thread::spawn(move || refuse(client, code))),
                    Mode::Open | Mode::Stalled => listening.join(client),
                }
            }
        });
        Proxy { url: url.replace(&format!(":{server}/"), &format!(":{port}/")), port, way }
    }

    /// The database's URL by this way.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on it is so. Connections that are open stay so.
    pub fn set(&self, mode: Mode) {
        self.way.state().mode = mode;
        self.way.changed.notify_all();
    }

    /// Ends all connections, as a broken cable does once somebody notices.
    pub fn cut(&self) {
        for socket in self.way.state().sockets.drain(..) {
            // The other side may have been faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::Gone);
        self.cut();
        // So that whoever listens looks up.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes everything between a client and the server, each direction on a thread of its own.
    fn join(self: &Arc<Way>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            let way = Arc::clone(self);
            std::thread::spawn(move || way.pass(from, to));
        }
        self.state().sockets.extend([client, server]);
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let stalled = |state: &mut State| state.mode == Mode::Stalled;
            drop(self.changed.wait_while(self.state(), stalled).unwrap_or_else(PoisonError::into_inner));
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        for socket in [from, to] {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Speaks as a server does that takes no connections.
fn refuse(mut client: TcpStream, code: &str) {
    let mut refuse = || -> std::io::Result<()> {
        loop {
            let mut length = [0; 4];
            client.read_exact(&mut length)?;
            let mut rest = vec![0; u32::from_be_bytes(length).saturating_sub(4) as usize];
            client.read_exact(&mut rest)?;
            // The first question may be whether to encrypt.
            if rest == 80_877_103_u32.to_be_bytes() {
                client.write_all(b"N")?;
                continue;
            }
            let body = format!("SFATAL\0VFATAL\0C{code}\0Mno connections are taken\0\0");
            let length = u32::try_from(body.len() + 4).expect("it is short");
            client.write_all(&[&b"E"[..], &length.to_be_bytes(), body.as_bytes()].concat())?;
            return Ok(());
        }
    };
    // Whoever asked may be gone.
    let _ = refuse();
}
