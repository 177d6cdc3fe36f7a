use std::fmt;

/// A five-character SQLSTATE (PostgreSQL, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub &'static str);

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $state:literal;)*) => {
        /// Why a statement was refused or failed, as clients, metrics and the journal name it (`code=…` in DETAIL).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The SQLSTATE a client reads for this code.
            #[must_use]
            pub fn sqlstate(self) -> SqlState {
                match self { $(Code::$variant => SqlState($state),)* }
            }
        }
    };
}

codes! {
    // The connection.
    AuthenticationFailed = "authentication_failed", "28P01";
    TlsRequired = "tls_required", "28000";
    UnknownDatabase = "unknown_database", "3D000";
    TooManyConnections = "too_many_connections", "53300";
    ProtocolViolation = "protocol_violation", "08P01";
    IdleTimeout = "idle_timeout", "57P05";
    IdleInTransactionTimeout = "idle_in_transaction_timeout", "25P03";
    ShuttingDown = "shutting_down", "57P01";
    CredentialExpired = "credential_expired", "28000";
    // The gates, in their order.
    ProxyNotReady = "proxy_not_ready", "57P03";
    EngineUnavailable = "engine_unavailable", "57P03";
    OrgAccessDenied = "org_access_denied", "28000";
    RateLimitExceeded = "rate_limit_exceeded", "53400";
    AdmissionTimeout = "admission_timeout", "57014";
    SyntaxError = "syntax_error", "42601";
    Unsupported = "unsupported", "0A000";
    LedgerViolation = "ledger_violation", "42501";
    TierRequired = "tier_required", "0A000";
    SchemaViolation = "schema_violation", "42501";
    PermissionDenied = "permission_denied", "42501";
    MaskedPredicate = "masked_predicate", "42501";
    /// A row that a statement would write fails WITH CHECK.
    RowCheckViolation = "row_check_violation", "42501";
    QuotaExceeded = "quota_exceeded", "53400";
    UngovernedPlan = "ungoverned_plan", "42501";
    AuditUnavailable = "audit_unavailable", "58030";
    // The statement itself.
    UndefinedTable = "undefined_table", "42P01";
    UndefinedColumn = "undefined_column", "42703";
    UndefinedFunction = "undefined_function", "42883";
    UndefinedObject = "undefined_object", "42704";
    UndefinedSchema = "undefined_schema", "3F000";
    AmbiguousColumn = "ambiguous_column", "42702";
    DuplicateTable = "duplicate_table", "42P07";
    DuplicateSchema = "duplicate_schema", "42P06";
    DuplicateColumn = "duplicate_column", "42701";
    DuplicateAlias = "duplicate_alias", "42712";
    InvalidColumnReference = "invalid_column_reference", "42P10";
    DuplicateCursor = "duplicate_cursor", "42P03";
    DuplicatePreparedStatement = "duplicate_prepared_statement", "42P05";
    InvalidCursorName = "invalid_cursor_name", "34000";
    InvalidStatementName = "invalid_statement_name", "26000";
    InvalidName = "invalid_name", "42602";
    WrongObjectType = "wrong_object_type", "42809";
    DependentObjects = "dependent_objects", "2BP01";
    DatatypeMismatch = "datatype_mismatch", "42804";
    IndeterminateType = "indeterminate_type", "42P18";
    GroupingError = "grouping_error", "42803";
    InvalidParameter = "invalid_parameter", "22023";
    InvalidTextRepresentation = "invalid_text_representation", "22P02";
    InvalidBinaryRepresentation = "invalid_binary_representation", "22P03";
    InvalidByteSequence = "invalid_byte_sequence", "22021";
    InvalidDatetime = "invalid_datetime", "22007";
    DatetimeOverflow = "datetime_field_overflow", "22008";
    InvalidLogarithm = "invalid_logarithm", "2201E";
    InvalidPower = "invalid_power", "2201F";
    InvalidLimit = "invalid_limit", "2201W";
    InvalidOffset = "invalid_offset", "2201X";
    InvalidEscape = "invalid_escape_sequence", "22025";
    IntervalOverflow = "interval_field_overflow", "22015";
    CannotCoerce = "cannot_coerce", "42846";
    NumericOutOfRange = "numeric_out_of_range", "22003";
    DivisionByZero = "division_by_zero", "22012";
    StringTooLong = "string_too_long", "22001";
    CardinalityViolation = "cardinality_violation", "21000";
    BadCopyFormat = "bad_copy_format", "22P04";
    DataException = "data_exception", "22000";
    // Commit.
    NotNullViolation = "not_null_violation", "23502";
    UniqueViolation = "unique_violation", "23505";
    SerializationFailure = "serialization_failure", "40001";
    FailedTransaction = "failed_transaction", "25P02";
    ActiveTransaction = "active_transaction", "25001";
    NoActiveTransaction = "no_active_transaction", "25P01";
    ReadOnlyTransaction = "read_only_transaction", "25006";
    // Resources.
    StatementTimeout = "statement_timeout", "57014";
    QueryCanceled = "query_canceled", "57014";
    MemoryExceeded = "memory_exceeded", "53200";
    DiskFull = "disk_full", "53100";
    StatementTooComplex = "statement_too_complex", "54001";
    ProgramLimitExceeded = "program_limit_exceeded", "54000";
    StorageFailed = "storage_failed", "58030";
    DataCorrupted = "data_corrupted", "XX001";
    /// A bug in Weir: the one code that a client should report.
    Internal = "internal", "XX000";
}

impl Code {
    /// What to do about it where the place that refuses knows no better.
    #[must_use]
    pub fn usual_hint(self) -> Option<&'static str> {
        Some(match self {
            Code::SyntaxError => "correct the statement where the position points; PostgreSQL's syntax is what is read",
            Code::Unsupported => "write the statement without it",
            Code::UniqueViolation => "a row has this key already: use another key, or UPDATE that row",
            Code::NotNullViolation => "give the column a value",
            Code::QueryCanceled => "send it again if the answer is still wanted",
            Code::DivisionByZero => "x / nullif(y, 0) is NULL where y is 0",
            Code::CardinalityViolation => "make the subquery return one row, by LIMIT 1 or an aggregate",
            Code::InvalidCursorName => "DECLARE the cursor in this transaction first",
            Code::InvalidStatementName => "PREPARE the statement in this session first",
            Code::NoActiveTransaction => "BEGIN a transaction first",
            Code::DuplicateTable => "use another name, or IF NOT EXISTS",
            Code::StorageFailed | Code::DataCorrupted | Code::AuditUnavailable => {
                "the operator finds the cause in the server's log"
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub type Result<T, E = Refusal> = std::result::Result<T, E>;

/// What a client reads when a statement does not succeed: a code, a message a person can act on, figures in DETAIL,
/// and what to do in HINT. It never holds a value of a row or the name of an object the reader may not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Box<Fields>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    code: Code,
    message: String,
    detail: String,
    hint: Option<String>,
    position: Option<u32>,
    context: Option<String>,
}

impl Refusal {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal(Box::new(Fields {
            code,
            message: message.into(),
            detail: String::new(),
            hint: None,
            position: None,
            context: None,
        }))
    }

    /// What is not built, said plainly.
    #[must_use]
    pub fn unsupported(what: impl fmt::Display) -> Refusal {
        Refusal::new(Code::Unsupported, format!("{what} is not supported"))
    }

    /// Adds to DETAIL, after `code=…`; items are joined by `; `.
    #[must_use]
    pub fn detail(mut self, item: impl fmt::Display) -> Refusal {
        if !self.0.detail.is_empty() {
            self.0.detail.push_str("; ");
        }
        self.0.detail.push_str(&item.to_string());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.0.hint = Some(hint.into());
        self
    }

    /// One-based character position in the text the client sent.
    #[must_use]
    pub fn at(mut self, position: u32) -> Refusal {
        self.0.position = Some(position);
        self
    }

    /// Where it happened (`COPY orders, line 7, column o_totalprice`).
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Refusal {
        self.0.context = Some(context.into());
        self
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    #[must_use]
    pub fn sqlstate(&self) -> SqlState {
        self.0.code.sqlstate()
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The DETAIL line: `code=<code>` and what was added.
    #[must_use]
    pub fn detail_line(&self) -> String {
        if self.0.detail.is_empty() {
            format!("code={}", self.0.code)
        } else {
            format!("code={}; {}", self.0.code, self.0.detail)
        }
    }

    /// What to do: as said where it was refused, else what helps with any refusal of its code.
    #[must_use]
    pub fn hint_line(&self) -> Option<&str> {
        self.0.hint.as_deref().or_else(|| self.0.code.usual_hint())
    }

    #[must_use]
    pub fn position(&self) -> Option<u32> {
        self.0.position
    }

    #[must_use]
    pub fn context_line(&self) -> Option<&str> {
        self.0.context.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.0.message, self.0.code, self.sqlstate().0)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_states_well_formed() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code}");
            let state = code.sqlstate().0;
            assert!(state.len() == 5 && state.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()), "{code}");
        }
    }

    #[test]
    fn detail_starts_with_the_code() {
        let refusal = Refusal::new(Code::QuotaExceeded, "no credits").detail("estimate=3.5").detail("balance=1.0");
        assert_eq!(refusal.detail_line(), "code=quota_exceeded; estimate=3.5; balance=1.0");
        assert_eq!(Refusal::new(Code::Internal, "x").detail_line(), "code=internal");
    }
}
