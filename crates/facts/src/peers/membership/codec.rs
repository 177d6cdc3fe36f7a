use std::io::Cursor;

use bytes::{Buf, BufMut};
use foca::{Header, Member};
use serde::{Serialize, de::DeserializeOwned};

use super::Identity;

/// MessagePack, as all that goes over links.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codec;

#[derive(Debug, thiserror::Error)]
pub(super) enum CodecError {
    #[error("no room in the packet")]
    Full,
    #[error(transparent)]
    Encode(#[from] rmp_serde::encode::Error),
    #[error(transparent)]
    Decode(#[from] rmp_serde::decode::Error),
}

fn encode<T: Serialize>(item: &T, mut out: impl BufMut) -> Result<(), CodecError> {
    let bytes = rmp_serde::to_vec(item)?;
    if bytes.len() > out.remaining_mut() {
        return Err(CodecError::Full);
    }
    out.put_slice(&bytes);
    Ok(())
}

fn decode<T: DeserializeOwned>(mut from: impl Buf) -> Result<T, CodecError> {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(from.chunk()));
    let item = T::deserialize(&mut reader)?;
    let read = usize::try_from(reader.position()).unwrap_or(usize::MAX).min(from.remaining());
    from.advance(read);
    Ok(item)
}

/// Who a packet says that it is from.
pub(super) fn sender_of(packet: &[u8]) -> Option<Identity> {
    decode::<Header<Identity>>(packet).ok().map(|header| header.src)
}

impl foca::Codec<Identity> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, out: impl BufMut) -> Result<(), CodecError> {
        encode(header, out)
    }

    fn decode_header(&mut self, from: impl Buf) -> Result<Header<Identity>, CodecError> {
        decode(from)
    }

    fn encode_member(&mut self, member: &Member<Identity>, out: impl BufMut) -> Result<(), CodecError> {
        encode(member, out)
    }

    fn decode_member(&mut self, from: impl Buf) -> Result<Member<Identity>, CodecError> {
        decode(from)
    }
}
