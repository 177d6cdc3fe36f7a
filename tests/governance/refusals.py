"""What a refusal is checked for: what the client reads, what is counted, and what the journal keeps."""

import re

import psycopg
import pytest

CANCELLED = {"query_canceled", "statement_timeout", "shutting_down"}
#: Codes of the gates; any other code is a statement's own failure.
REFUSED = {
    "proxy_not_ready", "engine_unavailable", "org_access_denied", "rate_limit_exceeded", "admission_timeout", "syntax_error",
    "unsupported", "ledger_violation", "tier_required", "schema_violation", "permission_denied", "masked_predicate",
    "row_check_violation", "quota_exceeded", "ungoverned_plan", "credential_expired", "audit_unavailable",
}  # fmt: skip


def outcome(code):
    return "cancelled" if code in CANCELLED else "refused" if code in REFUSED else "failed"


def count(weir, code):
    return weir.metric("weir_gate_refusals_total", code=code)


def refused(connection, sql, sqlstate, code, detail="", hint=r"\w"):
    """Provokes it; `detail` and `hint` are patterns of what DETAIL says after the code and HINT at all."""
    with pytest.raises(psycopg.Error) as raised:
        sql(connection) if callable(sql) else connection.execute(sql)
    said = raised.value.diag
    assert said.sqlstate == sqlstate, (sql, said.sqlstate, said.message_primary)
    assert re.match(rf"code={code}(?:; |$)", said.message_detail), (sql, said.message_detail)
    assert re.search(detail, said.message_detail), (sql, said.message_detail)
    assert re.search(hint, said.message_hint or ""), (sql, said.message_primary, said.message_hint)
    assert said.message_primary
    return said


def refused_and_recorded(weir, journal, agent, connection, sql, sqlstate, code, detail="", hint=r"\w"):
    """As `refused`; also counted once, and the journal's newest record of the code is the agent's."""
    before = count(weir, code)
    said = refused(connection, sql, sqlstate, code, detail, hint)
    assert count(weir, code) == before + 1, code
    recorded(journal, agent, code)
    return said


def recorded(journal, agent, code):
    newest = journal.execute(
        "SELECT agent, outcome FROM weir.audit WHERE outcome IS NOT NULL AND code = %s ORDER BY record DESC LIMIT 1", [code]
    ).fetchone()
    assert newest == (agent, outcome(code)), (code, newest)
