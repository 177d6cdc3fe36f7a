//! Cursors on the wire: `c:` and base64 (RFC 4648, section 5) of MessagePack.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{protocol, replica};

/// `None`: it has more origins than a name on the wire has room for.
pub(super) fn encode(cursor: &replica::Cursor) -> Option<protocol::Cursor> {
    let bytes = rmp_serde::to_vec(cursor).ok()?;
    protocol::Cursor::new(&format!("c:{}", URL_SAFE_NO_PAD.encode(bytes))).ok()
}

/// `None`: no node gave it out.
pub(super) fn decode(cursor: &protocol::Cursor) -> Option<replica::Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor.as_str().strip_prefix("c:")?).ok()?;
    rmp_serde::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{Millis, NodeId, Origin};

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let origin = |node: &str| Origin { node: NodeId::new(node).unwrap(), incarnation: u64::MAX };
        let applied = (0..12).map(|number| (origin(&format!("node-{number}")), u64::MAX - number)).collect();
        let cursor = replica::Cursor { applied, swept: Millis(1_800_000_000_000) };
        assert_eq!(decode(&encode(&cursor).unwrap()), Some(cursor));
    }

    #[test]
    fn what_no_node_gave_out_is_no_cursor() {
        for text in ["c:x", "c:n1:7", "c:////", "c:AAAA", "c:3f____8"] {
            assert_eq!(decode(&protocol::Cursor::new(text).unwrap()), None, "{text}");
        }
    }
}
