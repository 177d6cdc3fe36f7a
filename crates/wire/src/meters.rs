use metrics::{Counter, counter, describe_counter, describe_gauge};

/// One connection's traffic. All connections count in the same place, where their processors meet, so it goes there with
/// each answer and not with each message.
pub(crate) struct Meters {
    messages: Counter,
    received: Counter,
    sent: Counter,
    unpublished: Traffic,
}

#[derive(Default)]
struct Traffic {
    messages: u64,
    received: u64,
    sent: u64,
}

/// Of what was received without an answer, as in COPY, so many bytes at most are not counted yet.
const UNPUBLISHED_BYTES_MAX: u64 = 1 << 20;

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

pub(crate) const CONNECTIONS: &str = "weir_wire_connections";
pub(crate) const CONNECTIONS_TOTAL: &str = "weir_wire_connections_total";
pub(crate) const REFUSED_TOTAL: &str = "weir_wire_connections_refused_total";
pub(crate) const AUTH_FAILURES_TOTAL: &str = "weir_wire_auth_failures_total";
pub(crate) const CANCEL_REQUESTS_TOTAL: &str = "weir_wire_cancel_requests_total";
const MESSAGES_TOTAL: &str = "weir_wire_messages_total";
const RECEIVED_BYTES_TOTAL: &str = "weir_wire_received_bytes_total";
const SENT_BYTES_TOTAL: &str = "weir_wire_sent_bytes_total";

pub(crate) fn describe() {
    describe_gauge!(CONNECTIONS, "Connections open now, authenticated or not");
    describe_counter!(CONNECTIONS_TOTAL, "Connections accepted");
    describe_counter!(REFUSED_TOTAL, "Connections refused because the limit was reached");
    describe_counter!(AUTH_FAILURES_TOTAL, "Start-ups that failed authentication");
    describe_counter!(CANCEL_REQUESTS_TOTAL, "Cancel requests, by whether their key was right");
    describe_counter!(MESSAGES_TOTAL, "Protocol messages received");
    describe_counter!(RECEIVED_BYTES_TOTAL, "Bytes received from clients, inside TLS");
    describe_counter!(SENT_BYTES_TOTAL, "Bytes sent to clients, inside TLS");
}

impl Meters {
    pub(crate) fn new() -> Meters {
        Meters {
            messages: counter!(MESSAGES_TOTAL),
            received: counter!(RECEIVED_BYTES_TOTAL),
            sent: counter!(SENT_BYTES_TOTAL),
            unpublished: Traffic::default(),
        }
    }

    pub(crate) fn message(&mut self) {
        self.unpublished.messages += 1;
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.unpublished.received += bytes as u64;
        if self.unpublished.received >= UNPUBLISHED_BYTES_MAX {
            self.publish();
        }
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.unpublished.sent += bytes as u64;
        self.publish();
    }

    fn publish(&mut self) {
        let Traffic { messages, received, sent } = std::mem::take(&mut self.unpublished);
        self.messages.increment(messages);
        self.received.increment(received);
        self.sent.increment(sent);
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        self.publish();
    }
}
