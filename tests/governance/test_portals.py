"""A statement that waits for its client to ask for more rows: what it may see is asked again before it goes on."""

import asyncio

import asyncpg
import pytest
from one_org import OneOrg

SUSPENDED = '\nstatus = "suspended"\n'


@pytest.fixture(scope="module")
def weir():
    with OneOrg() as weir:
        with weir.connect() as boss:
            boss.execute("CREATE TABLE t (a int PRIMARY KEY)")
            boss.execute("INSERT INTO t SELECT * FROM generate_series(1, 50000)")
        yield weir


def half_read(weir, meanwhile, agent="ana"):
    """What a client is told that reads ten rows, and more after `meanwhile(key's id)`."""
    url = weir.issue_key("acme", agent)
    key = url.split(":")[2].split("_")[2]

    async def read():
        connection = await asyncpg.connect(url, timeout=20, ssl=False)
        try:
            async with connection.transaction():
                cursor = await connection.cursor("SELECT a FROM t")
                assert len(await cursor.fetch(10)) == 10
                await asyncio.to_thread(meanwhile, key)
                return len(await cursor.fetch(20_000))
        except asyncpg.PostgresError as refusal:
            return refusal.sqlstate, str(refusal), refusal.detail
        finally:
            await connection.close(timeout=10)

    return asyncio.run(read())


def test_undisturbed_it_goes_on(weir):
    assert half_read(weir, lambda key: None) == 20_000


def test_a_revoked_key_reads_no_more(weir):
    def revoke(key):
        weir.run("keys", "revoke", "--data", str(weir.data), key)
        asyncio.run(asyncio.sleep(1.5))

    sqlstate, said, detail = half_read(weir, revoke)
    assert sqlstate == "28000" and "code=credential_expired" in detail, (sqlstate, said, detail)


def test_a_changed_policy_ends_it(weir):
    hidden = "CREATE POLICY none ON t TO reader USING (a < 0);\n"
    try:
        sqlstate, said, _ = half_read(weir, lambda key: weir.change("row_filters.sql", hidden))
        assert sqlstate == "42501" and "earlier policy" in said
    finally:
        weir.change("row_filters.sql", "")


def test_a_suspended_org_reads_no_more(weir):
    policy = weir.policies / "policy.toml"
    before = policy.read_text()
    try:
        def suspend(_key):
            version = weir.version()
            policy.write_text(before.replace('org = "acme"\n', 'org = "acme"' + SUSPENDED, 1))
            deadline = 60
            while weir.version() == version and deadline:
                asyncio.run(asyncio.sleep(0.05))
                deadline -= 1

        _, said, detail = half_read(weir, suspend)
        assert "suspended" in said and "code=org_access_denied" in detail
    finally:
        policy.write_text(before)
