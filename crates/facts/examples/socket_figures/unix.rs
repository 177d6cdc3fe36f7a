//! A client's socket that costs the machine no more than it must: it is watched for answers only, as what can be sent is
//! sent at once.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

pub struct Unix {
    stream: AsyncFd<UnixStream>,
    /// While the server takes no more.
    room: Option<AsyncFd<UnixStream>>,
}

impl Unix {
    pub fn connect(path: &str) -> Unix {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_nonblocking(true).unwrap();
        Unix { stream: AsyncFd::with_interest(stream, Interest::READABLE).unwrap(), room: None }
    }
}

impl AsyncRead for Unix {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut is_ready = ready!(self.stream.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            let size = room.len();
            if let Ok(read) = is_ready.try_io(|stream| stream.get_ref().read(room)) {
                let count = read?;
                if (1..size).contains(&count) {
                    is_ready.clear_ready();
                }
                buffer.advance(count);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Unix {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.room = None;
                    return Poll::Ready(written);
                }
            }
            if self.room.is_none() {
                let stream = self.stream.get_ref().try_clone()?;
                self.room = Some(AsyncFd::with_interest(stream, Interest::WRITABLE)?);
            }
            if let Some(room) = &mut self.room {
                ready!(room.poll_write_ready(context))?.clear_ready();
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
