//! Frames on a connection: their length in four bytes, greatest first, then a byte that says what it is, then that. An
//! empty frame says that its sender is still there.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// The first frame of each side.
pub(super) const HELLO: u8 = 1;
/// A message of a node to another.
pub(super) const MESSAGE: u8 = 2;
/// A packet of the membership.
pub(super) const MEMBERSHIP: u8 = 3;

/// An empty frame.
pub(super) const HEARTBEAT: [u8; 4] = [0; 4];

/// Read at once, so that no more is kept for a frame than came of it.
const CHUNK: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

/// Why no more frames come.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("nothing came for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("a frame of {bytes} bytes; at most {max} are taken")]
    TooLarge { bytes: usize, max: usize },
}

/// Puts a frame's head before its body, whose length may have no more than four bytes.
pub(super) fn head(kind: u8, body: usize) -> Option<[u8; 5]> {
    let [a, b, c, d] = u32::try_from(body.checked_add(1)?).ok()?.to_be_bytes();
    Some([a, b, c, d, kind])
}

/// The next frame that is not empty. `silence`: how long nothing may come.
pub(super) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    body_max: usize,
    silence: Duration,
) -> Result<Frame, FrameError> {
    let silent = |_| FrameError::Silent(silence);
    loop {
        let length = timeout(silence, reader.read_u32()).await.map_err(silent)??;
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(bytes) = bytes.checked_sub(1) else { continue };
        if bytes > body_max {
            return Err(FrameError::TooLarge { bytes, max: body_max });
        }
        let kind = timeout(silence, reader.read_u8()).await.map_err(silent)??;
        let mut body = Vec::with_capacity(bytes.min(CHUNK));
        while body.len() < bytes {
            let mut part = (&mut *reader).take((bytes - body.len()).min(CHUNK) as u64);
            if timeout(silence, part.read_buf(&mut body)).await.map_err(silent)?? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        return Ok(Frame { kind, body });
    }
}
