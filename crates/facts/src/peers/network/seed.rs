//! Asking at a configured address who is there.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{GREETING_MAX, LinkError, Network, call::connect, greeting::greet};
use crate::{
    causality::NodeId,
    peers::{backoff::Backoff, membership::Identity},
};

/// Between looks whether the node that was there is still linked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Until the peers end: whoever is there may be gone tomorrow, and another one be there.
pub(in crate::peers) async fn keep_asking(network: Arc<Network>, address: Arc<str>) {
    let mut backoff = Backoff::default();
    let mut known: Option<NodeId> = None;
    loop {
        let is_linked = |node: &NodeId| network.roster.get(node).is_some_and(|peer| peer.queue.is_open());
        if known.as_ref().is_some_and(is_linked) {
            sleep(LOOK_EVERY).await;
            continue;
        }
        match ask(&network, &address).await {
            Ok(identity) => {
                // It may say that it listens elsewhere; it was found here.
                network.roster.learn(identity.node(), Some(&address));
                network.roster.learn(identity.node(), Some(identity.address()));
                known = Some(identity.node().clone());
            }
            // This node, or none of this plane.
            Err(LinkError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => sleep(LOOK_EVERY).await,
            Err(error) => tracing::debug!(%address, %error, "no node at the seed's address"),
        }
        sleep(backoff.next()).await;
    }
}

async fn ask(network: &Network, address: &str) -> Result<Identity, LinkError> {
    let stream = connect(address).await?;
    let tls = network.tls();
    let greeting = async {
        let (mut stream, name) = tls.connect(stream).await?;
        greet(network, &mut stream, &name, true).await
    };
    Ok(timeout(GREETING_MAX, greeting).await.map_err(|_| LinkError::TimedOut)??.identity)
}
