//! `PUT`, `GET` and `DELETE /data/<key>`, which are `put`, `get` and `delete` by another name.
//!
//! The time to live is the header `TTL` (RFC 8030) or the query's `ttl`, in seconds. The query may have `if_version` and
//! `ack` as well; conditions of HTTP (`If-Match` and its like) are refused rather than overlooked.

use super::{Fields, RefusedHead, Target};
use crate::{
    key::{FactKey, Pattern},
    protocol::{
        encoding::Encoding,
        error::ProtocolError,
        method::{Method, Plane},
        request::{
            Ack, Cursor, Delete, IfVersion, Put, Request, Subscribe, checked_ack, checked_ttl, checked_version, value,
        },
    },
};

/// A request that is one with its HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shorthand {
    Get(FactKey),
    Put { key: FactKey, ttl: Option<u64>, if_version: Option<IfVersion>, ack: Ack },
    Delete { key: FactKey, if_version: Option<IfVersion>, ack: Ack },
}

impl Shorthand {
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            Shorthand::Get(_) => Method::Get,
            Shorthand::Put { .. } => Method::Put,
            Shorthand::Delete { .. } => Method::Delete,
        }
    }

    /// The request, with the body that came.
    ///
    /// # Errors
    /// [`ProtocolError`]: the body is no value.
    pub fn into_request(self, encoding: Encoding, body: &[u8]) -> Result<Request, ProtocolError> {
        Ok(match self {
            Shorthand::Get(key) => Request::Get { key },
            Shorthand::Delete { key, if_version, ack } => Request::Delete(Delete { key, if_version, ack }),
            Shorthand::Put { key, ttl, if_version, ack } => {
                let value = value(&encoding.to_json(body)?)?;
                Request::Put(Put { key, value, ttl, if_version, ack })
            }
        })
    }
}

pub(super) fn read(
    method: &str,
    key: &str,
    target: &Target<'_>,
    fields: &Fields<'_>,
) -> Result<Shorthand, RefusedHead> {
    for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] {
        if fields.one(name)?.is_some() {
            return Err(wrong(name, "is not understood here: use `?if_version=`"));
        }
    }
    let mut query = Parameters::new(target.query)?;
    let key = decoded(key).and_then(|key| FactKey::new(&key).map_err(|error| error.to_string()));
    let key = key.map_err(|detail| wrong("key", &detail))?;
    let shorthand = match method {
        "GET" => Shorthand::Get(key),
        "PUT" => {
            let header = fields.one("ttl")?.map(str::to_owned);
            let ttl = match (query.take("ttl"), header) {
                (Some(_), Some(_)) => return Err(wrong("ttl", "must be a header or in the query, not both")),
                (one, other) => one.or(other).map(|text| whole(&text, "ttl").and_then(checked_ttl)).transpose(),
            };
            let ttl = ttl.map_err(|detail| wrong("ttl", &detail))?;
            Shorthand::Put { key, ttl, if_version: query.if_version()?, ack: query.ack()? }
        }
        "DELETE" => Shorthand::Delete { key, if_version: query.if_version()?, ack: query.ack()? },
        _ => return Err(super::refused(405, "the methods of a key are GET, PUT and DELETE")),
    };
    query.end()?;
    Ok(shorthand)
}

/// `?pattern=approvals.*&include_existing=true&after=c:…`
pub(super) fn subscription(
    target: &Target<'_>,
    plane: Plane,
    last_event: Option<Cursor>,
) -> Result<Option<Subscribe>, RefusedHead> {
    if plane != Plane::Data {
        return Ok(None);
    }
    let mut query = Parameters::new(target.query)?;
    let Some(pattern) = query.take("pattern") else { return query.end().map(|()| None) };
    let pattern = Pattern::new(&pattern).map_err(|error| wrong("pattern", &error.to_string()))?;
    let include_existing = match query.take("include_existing").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(wrong("include_existing", "must be true or false")),
    };
    let after = query.take("after").map(|text| Cursor::new(&text)).transpose();
    let after = after.map_err(|error| wrong("after", &error.to_string()))?;
    query.end()?;
    // A browser that comes back asks for the same address; where it has got to is in the header.
    Ok(Some(Subscribe { pattern, include_existing, after: last_event.or(after) }))
}

fn wrong(field: &str, detail: &str) -> RefusedHead {
    RefusedHead { status: 400, error: ProtocolError::field(field, detail) }
}

fn whole(text: &str, name: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| match name {
        "ttl" => "must be a whole number of seconds greater than 0".to_owned(),
        _ => "must be a whole number, not negative".to_owned(),
    })
}

struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn new(query: &str) -> Result<Parameters, RefusedHead> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        });
        let pairs: Result<Vec<(String, String)>, String> = pairs.collect();
        pairs.map(Parameters).map_err(|detail| super::refused(400, format!("the query {detail}")))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn if_version(&mut self) -> Result<Option<IfVersion>, RefusedHead> {
        let version = self.take("if_version").map(|text| whole(&text, "if_version").and_then(checked_version));
        version.transpose().map_err(|detail| wrong("if_version", &detail))
    }

    fn ack(&mut self) -> Result<Ack, RefusedHead> {
        let ack = self.take("ack").map(|text| checked_ack(&text)).transpose();
        Ok(ack.map_err(|detail| wrong("ack", &detail))?.unwrap_or_default())
    }

    fn end(self) -> Result<(), RefusedHead> {
        match self.0.first() {
            Some((name, _)) => {
                let name: String = name.chars().take(80).collect();
                Err(wrong(&name, "is there twice, or is no parameter of this request"))
            }
            None => Ok(()),
        }
    }
}

/// Percent-encoding undone. A plus stays one, as keys may have it.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err("has a percent sign without two hexadecimal digits".to_owned());
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}
