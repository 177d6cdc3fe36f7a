//! A client that speaks raw messages, with pgwire's codec as the other implementation.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use pgwire::messages::{
    DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
    copy::{CopyData, CopyDone, CopyFail},
    data::DataRow,
    extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync},
    simplequery::Query,
    startup::{Password, PasswordMessageFamily, Startup},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub struct Client {
    pub stream: TcpStream,
    input: BytesMut,
    context: DecodeContext,
    pub process: i32,
    pub secret: Vec<u8>,
}

pub fn startup(minor: u16, pairs: &[(&str, &str)]) -> PgWireFrontendMessage {
    let mut startup = Startup::new();
    startup.protocol_number_minor = minor;
    startup.parameters = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    PgWireFrontendMessage::Startup(startup)
}

pub fn password(text: &str) -> PgWireFrontendMessage {
    PgWireFrontendMessage::PasswordMessageFamily(PasswordMessageFamily::Password(Password::new(text.into())))
}

fn name(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

pub fn query(text: &str) -> PgWireFrontendMessage {
    PgWireFrontendMessage::Query(Query::new(text.into()))
}

pub fn parse(statement: &str, text: &str, oids: &[u32]) -> PgWireFrontendMessage {
    PgWireFrontendMessage::Parse(Parse::new(name(statement), text.into(), oids.to_vec()))
}

pub fn bind(
    portal: &str,
    statement: &str,
    values: &[Option<&[u8]>],
    formats: &[i16],
    results: &[i16],
) -> PgWireFrontendMessage {
    let values = values.iter().map(|value| value.map(Bytes::copy_from_slice)).collect();
    PgWireFrontendMessage::Bind(Bind::new(name(portal), name(statement), formats.to_vec(), values, results.to_vec()))
}

pub fn describe(target: u8, what: &str) -> PgWireFrontendMessage {
    PgWireFrontendMessage::Describe(Describe::new(target, name(what)))
}

pub fn close(target: u8, what: &str) -> PgWireFrontendMessage {
    PgWireFrontendMessage::Close(Close::new(target, name(what)))
}

pub fn execute(portal: &str, limit: i32) -> PgWireFrontendMessage {
    PgWireFrontendMessage::Execute(Execute::new(name(portal), limit))
}

pub fn sync() -> PgWireFrontendMessage {
    PgWireFrontendMessage::Sync(Sync::new())
}

pub fn flush() -> PgWireFrontendMessage {
    PgWireFrontendMessage::Flush(Flush::new())
}

pub fn copy_data(data: &str) -> PgWireFrontendMessage {
    PgWireFrontendMessage::CopyData(CopyData::new(Bytes::copy_from_slice(data.as_bytes())))
}

pub fn copy_done() -> PgWireFrontendMessage {
    PgWireFrontendMessage::CopyDone(CopyDone::new())
}

pub fn copy_fail(reason: &str) -> PgWireFrontendMessage {
    PgWireFrontendMessage::CopyFail(CopyFail::new(reason.into()))
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Client { stream, input: BytesMut::new(), context, process: 0, secret: Vec::new() }
    }

    /// Connects and logs in.
    pub async fn open(address: SocketAddr) -> Client {
        let mut client = Client::connect(address).await;
        client.send(&[startup(0, &[("user", "ada"), ("database", "acme")])]).await;
        assert_eq!(client.answers(1).await, ["R CleartextPassword"]);
        client.send(&[password("right")]).await;
        client.until_ready().await;
        client
    }

    pub async fn send(&mut self, messages: &[PgWireFrontendMessage]) {
        let mut bytes = BytesMut::new();
        for message in messages {
            message.encode(&mut bytes).unwrap();
        }
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next message, shown; `None` when the server closed the connection.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(message) = PgWireBackendMessage::decode(&mut self.input, &self.context).unwrap() {
                return Some(self.show(message));
            }
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.input));
            match read.await.expect("the server answers") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn answers(&mut self, count: usize) -> Vec<String> {
        let mut answers = Vec::new();
        for _ in 0..count {
            answers.push(self.next().await.expect("an answer"));
        }
        answers
    }

    /// Messages up to ReadyForQuery, or to the end of the connection.
    pub async fn until_ready(&mut self) -> Vec<String> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            let last = answer.starts_with("Z ");
            answers.push(answer);
            if last {
                return answers;
            }
        }
        answers.push("closed".into());
        answers
    }

    pub async fn until_closed(&mut self) -> Vec<String> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            answers.push(answer);
        }
        answers
    }

    pub async fn ask(&mut self, messages: &[PgWireFrontendMessage]) -> Vec<String> {
        self.send(messages).await;
        self.until_ready().await
    }

    fn show(&mut self, message: PgWireBackendMessage) -> String {
        match message {
            PgWireBackendMessage::Authentication(message) => format!("R {message:?}"),
            PgWireBackendMessage::ParameterStatus(message) => format!("S {}={}", message.name, message.value),
            PgWireBackendMessage::BackendKeyData(message) => {
                self.process = message.pid;
                self.secret = message.secret_key.to_bytes().to_vec();
                format!("K {} bytes", self.secret.len())
            }
            PgWireBackendMessage::NegotiateProtocolVersion(message) => format!("v {message:?}"),
            PgWireBackendMessage::RowDescription(message) => {
                let field = |field: &pgwire::messages::data::FieldDescription| {
                    format!("{}:{}/{}", field.name, field.type_id, field.format_code)
                };
                format!("T {}", message.fields.iter().map(field).collect::<Vec<_>>().join(" "))
            }
            PgWireBackendMessage::ParameterDescription(message) => format!("t {:?}", message.types),
            PgWireBackendMessage::DataRow(row) => format!("D {}", show_row(&row)),
            PgWireBackendMessage::CommandComplete(message) => format!("C {}", message.tag),
            PgWireBackendMessage::ReadyForQuery(message) => format!("Z {:?}", message.status),
            PgWireBackendMessage::ErrorResponse(message) => {
                let field = |code: u8| {
                    let found = message.fields.iter().find(|(known, _)| *known == code);
                    found.map_or("", |(_, value)| value.as_str()).to_owned()
                };
                format!("E {} {} {}", field(b'S'), field(b'C'), field(b'M'))
            }
            PgWireBackendMessage::CopyData(message) => {
                format!("d {}", String::from_utf8_lossy(&message.data).escape_debug())
            }
            PgWireBackendMessage::CopyInResponse(message) => format!("G {}", message.columns),
            PgWireBackendMessage::CopyOutResponse(message) => format!("H {}", message.columns),
            other => format!("{other:?}").split('(').next().unwrap().to_owned(),
        }
    }
}

fn show_row(row: &DataRow) -> String {
    let mut data = &row.data[..];
    let mut fields = Vec::new();
    for _ in 0..row.field_count {
        let length = i32::from_be_bytes(data[..4].try_into().unwrap());
        data = &data[4..];
        if length < 0 {
            fields.push("∅".to_owned());
            continue;
        }
        fields.push(String::from_utf8_lossy(&data[..length as usize]).escape_debug().to_string());
        data = &data[length as usize..];
    }
    fields.join("|")
}
