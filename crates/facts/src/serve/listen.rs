//! The planes' Unix sockets.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, chown},
        net::UnixStream as Probe,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::{UnixListener, UnixStream};

use super::{Peer, Server, socket::Socket};
use crate::protocol::{Listener, Plane};

/// Where the planes' sockets are: `data.sock`, `eval.sock` and `control.sock`.
#[derive(Debug, Clone)]
pub struct Sockets {
    pub folder: PathBuf,
    /// The group whose members reach the data plane, if the machine has it.
    pub data_group: Option<String>,
    /// The same of the control plane. The evaluation plane is open to all.
    pub control_group: Option<String>,
}

impl Sockets {
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Sockets {
        Sockets { folder: folder.into(), data_group: None, control_group: None }
    }

    #[must_use]
    pub fn path(&self, plane: Plane) -> PathBuf {
        self.folder.join(format!("{}.sock", plane.path()))
    }
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    #[error("another process serves {}: stop it first", .0.display())]
    InUse(PathBuf),
    #[error("{} is there and is no socket: move it away", .0.display())]
    NoSocket(PathBuf),
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl ListenError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> ListenError + '_ {
        move |source| ListenError::Io { path: path.to_owned(), source }
    }
}

/// A socket's file, which goes with it.
struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Gone already, or replaced by hand: nothing is to be done about it.
        let _ = fs::remove_file(&self.path);
    }
}

pub(super) fn listen(server: &Server, sockets: &Sockets) -> Result<(), ListenError> {
    fs::create_dir_all(&sockets.folder).map_err(ListenError::io(&sockets.folder))?;
    let bind = |plane: Plane| {
        let (mode, group) = match plane {
            Plane::Data => (0o660, sockets.data_group.as_deref()),
            Plane::Evaluation => (0o666, None),
            Plane::Control => (0o660, sockets.control_group.as_deref()),
        };
        bind(&sockets.path(plane), mode, group).map(|bound| (plane, bound))
    };
    let bound: Vec<(Plane, Bound)> = Plane::ALL.into_iter().map(bind).collect::<Result<_, _>>()?;
    for (plane, bound) in bound {
        tokio::spawn(accept(server.clone(), plane, bound));
    }
    Ok(())
}

/// Makes the socket where nobody else can reach it, and gives it its place when its mode and group are right. So it
/// depends on no mask of the process, which is that of all threads, and takes a dead socket's place in one step.
fn bind(path: &Path, mode: u32, group: Option<&str>) -> Result<Bound, ListenError> {
    check_free(path)?;
    let apart = path.with_extension(format!("{}", std::process::id()));
    let _ = fs::remove_dir_all(&apart);
    fs::create_dir(&apart).map_err(ListenError::io(&apart))?;
    let made = make(path, &apart, mode, group);
    let _ = fs::remove_dir_all(&apart);
    made
}

fn make(path: &Path, apart: &Path, mode: u32, group: Option<&str>) -> Result<Bound, ListenError> {
    fs::set_permissions(apart, Permissions::from_mode(0o700)).map_err(ListenError::io(apart))?;
    let made = apart.join("s");
    let listener = UnixListener::bind(&made).map_err(ListenError::io(&made))?;
    if let Some(number) = group.and_then(group_number) {
        chown(&made, None, Some(number)).map_err(ListenError::io(path))?;
    }
    fs::set_permissions(&made, Permissions::from_mode(mode)).map_err(ListenError::io(path))?;
    fs::rename(&made, path).map_err(ListenError::io(path))?;
    Ok(Bound { listener, path: path.to_owned() })
}

/// Whether there is nothing, or a socket that nobody serves any longer.
fn check_free(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ListenError::Io { path: path.to_owned(), source }),
        Ok(there) if !there.file_type().is_socket() => return Err(ListenError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match Probe::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        // Its queue is full: somebody serves it.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ListenError::InUse(path.to_owned())),
        Err(source) => Err(ListenError::Io { path: path.to_owned(), source }),
    }
}

/// As the machine's own file says. Groups of directories elsewhere are not asked for.
fn group_number(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

async fn accept(server: Server, plane: Plane, bound: Bound) {
    let mut stopping = server.0.is_stopping.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = bound.listener.accept() => accepted,
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
        };
        match accepted {
            Ok((stream, _)) => hand_over(&server, plane, stream),
            // As when there are no more file descriptors: others will end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// To a lane, which serves it to its end.
fn hand_over(server: &Server, plane: Plane, stream: UnixStream) {
    let peer = peer_of(&stream);
    if peer.is_none() && server.0.config.users.is_some() {
        return;
    }
    let listener = Listener::Socket(plane);
    let (Ok(stream), Some(lane)) = (stream.into_std(), server.0.lanes.next(listener)) else { return };
    let (server, by) = (server.clone(), lane.clone());
    lane.runtime.spawn(async move {
        // It is of no use when the system does not let it be watched.
        if let Ok(stream) = Socket::new(stream) {
            server.serve_by(stream, listener, peer, by).await;
        }
    });
}

fn peer_of(stream: &UnixStream) -> Option<Peer> {
    let credentials = stream.peer_cred().ok()?;
    Some(Peer::Process { user: credentials.uid(), process: credentials.pid() })
}
