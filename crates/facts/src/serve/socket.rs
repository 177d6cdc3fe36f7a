//! A client's Unix socket. The system tells a socket that watches for room to write whenever its client has read, which
//! with each answer would wake its thread for nothing: so this one watches for requests only, and for room while there is
//! none.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

#[derive(Debug)]
pub(super) struct Socket {
    stream: AsyncFd<UnixStream>,
    /// While the client does not take what it is sent.
    room: Option<AsyncFd<UnixStream>>,
}

impl Socket {
    /// On this task's runtime, where all its reads and writes are to be. The stream is one that does not block.
    ///
    /// # Errors
    /// The system does not watch it.
    pub(super) fn new(stream: UnixStream) -> io::Result<Socket> {
        Ok(Socket { stream: AsyncFd::with_interest(stream, Interest::READABLE)?, room: None })
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = match &mut self.room {
            Some(room) => room,
            none => none.insert(AsyncFd::with_interest(self.stream.get_ref().try_clone()?, Interest::WRITABLE)?),
        };
        let mut is_room = ready!(room.poll_write_ready(context))?;
        // Until it is told again.
        is_room.clear_ready();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut is_ready = ready!(self.stream.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            let size = room.len();
            match is_ready.try_io(|stream| stream.get_ref().read(room)) {
                Ok(Ok(count)) => {
                    if (1..size).contains(&count) {
                        // It was all; of more the system tells.
                        is_ready.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                // Not any longer: it is told when it is.
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_room(context))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => {
                    self.room = None;
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_the_client_does_not_take_at_once_is_written_when_it_does() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut socket = Socket::new(ours).unwrap();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();
        let expected = sent.clone();
        let client = tokio::task::spawn_blocking(move || {
            let mut theirs = theirs;
            let (mut received, mut first) = (Vec::new(), [0; 5]);
            theirs.write_all(b"begin").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
            theirs.read_exact(&mut first).unwrap();
            received.extend_from_slice(&first);
            theirs.read_to_end(&mut received).unwrap();
            received
        });
        let mut asked = [0; 16];
        assert_eq!(socket.read(&mut asked).await.unwrap(), 5);
        socket.write_all(&sent).await.unwrap();
        assert!(socket.room.is_none(), "nobody waits for room any longer");
        socket.shutdown().await.unwrap();
        assert!(client.await.unwrap() == expected);
        assert_eq!(socket.read(&mut asked).await.unwrap(), 0, "the client is gone");
    }

    #[tokio::test]
    async fn requests_are_read_whole_however_they_come() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut socket = Socket::new(ours).unwrap();
        let client = tokio::task::spawn_blocking(move || {
            for piece in 0..200_u8 {
                theirs.write_all(&[piece; 7]).unwrap();
            }
        });
        let mut all = Vec::new();
        while socket.read_buf(&mut all).await.unwrap() > 0 {}
        client.await.unwrap();
        assert!(all.iter().copied().eq((0..200).flat_map(|piece| [piece; 7])));
    }
}
