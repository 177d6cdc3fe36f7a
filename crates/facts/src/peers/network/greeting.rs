use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{GREETING_MAX, LinkError, Network};
use crate::peers::{
    certificate::NodeName,
    frame::{self, HELLO},
    membership::Identity,
};

const HELLO_BYTES_MAX: usize = 4 << 10;

/// What both say first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) plane: String,
    pub(super) identity: Identity,
    /// The one who called wants to know who is there, and no link.
    pub(super) introduces: bool,
}

/// Says who this is, and hears who the other is; that has to be what its certificate says.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    network: &Network,
    stream: &mut S,
    name: &NodeName,
    introduces: bool,
) -> Result<Hello, LinkError> {
    let own = rmp_serde::to_vec(&network.hello(introduces)).map_err(|_| LinkError::Garbage)?;
    let head = frame::head(HELLO, own.len()).ok_or(LinkError::Garbage)?;
    stream.write_all(&head).await?;
    stream.write_all(&own).await?;
    stream.flush().await?;
    let frame = frame::read(stream, HELLO_BYTES_MAX, GREETING_MAX).await?;
    if frame.kind != HELLO {
        return Err(LinkError::Garbage);
    }
    let hello: Hello = rmp_serde::from_slice(&frame.body).map_err(|_| LinkError::Garbage)?;
    let said = hello.identity.node();
    if *said != name.node || hello.plane != name.plane.as_str() {
        return Err(LinkError::OtherName { said: said.clone(), plane: hello.plane, node: name.node.clone() });
    }
    if network.allowed.as_ref().is_some_and(|allowed| !allowed.contains(said)) {
        return Err(LinkError::NotAllowed(said.clone()));
    }
    Ok(hello)
}
