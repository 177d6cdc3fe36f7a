"""`weir.audit`: the newest records, so many at most."""

from one_org import OneOrg

SHOWN = 200_000
#: An intent and an outcome each.
STATEMENTS = 110_000
BATCH = 1_000


def test_the_newest_records_are_shown_and_no_more():
    with OneOrg() as weir:
        boss = weir.connect()
        boss.execute("SELECT 'the first'")
        newest = "SELECT count(*), min(record), max(record) FROM weir.audit"
        assert boss.execute(newest).fetchone()[1] < 10
        for _ in range(STATEMENTS // BATCH):
            boss.execute("SELECT 1;" * BATCH)
        boss.execute("SELECT 'the last'")
        count, first, last = boss.execute(newest).fetchone()
        assert last - first + 1 == count == SHOWN
        of = "SELECT count(*) FROM weir.audit WHERE outcome IS NOT NULL AND sql = %s"
        assert boss.execute(of, ["SELECT 'the first'"]).fetchone() == (0,)
        assert boss.execute(of, ["SELECT 'the last'"]).fetchone() == (1,)
        boss.close()
        assert weir.stop() == 0
        exported = weir.run("audit", "export", "--format", "jsonl", str(weir.data)).stdout.splitlines()
        assert len(exported) > 2 * STATEMENTS
        assert any("SELECT 'the first'" in line for line in exported[:20]), exported[:3]
