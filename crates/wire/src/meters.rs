use metrics::{Counter, counter, describe_counter, describe_gauge};

/// The wire's metrics, looked up once a connection.
#[derive(Clone)]
pub(crate) struct Meters {
    messages: Counter,
    received: Counter,
    sent: Counter,
}

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
        }
    }

    pub(crate) fn message(&self) {
        self.messages.increment(1);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.increment(bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.increment(bytes as u64);
    }
}
