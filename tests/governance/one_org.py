"""A server of one org, `acme`, whose policy the test writes."""

import shutil
import tempfile
import time
from pathlib import Path

import psycopg
from weir_server import WeirServer

POLICY = """\
org = "acme"
[roles.admin]
[roles.reader]
[agents.boss]
roles = ["admin"]
attributes = { region = "HQ" }
[agents.ana]
roles = ["reader"]
"""

ACCESS = """\
permit (principal in Role::"admin", action, resource);
permit (principal in Role::"reader", action in [Action::"select", Action::"insert", Action::"update", Action::"delete"], resource in Schema::"public");
"""

FILES = {"policy.toml": POLICY, "access.cedar": ACCESS, "row_filters.sql": "-- none\n"}


class OneOrg(WeirServer):
    def __init__(self, *, policy="", access="", filters="", settings=None):
        """`policy`, `access` and `filters` are added to what is there in any case."""
        folder = Path(tempfile.mkdtemp(prefix="weir-policy-"))
        self.added = {"policy.toml": policy, "access.cedar": access, "row_filters.sql": filters}
        for file, text in FILES.items():
            (folder / file).write_text(text + self.added[file])
        super().__init__(policies=folder, settings=settings)

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.policies, ignore_errors=True)

    def connect(self, agent="boss", **options):
        return psycopg.connect(self.issue_key("acme", agent), autocommit=True, **options)

    def version(self):
        return self.metric("weir_bundle_version", org="acme")

    def change(self, file, text, wait=3.0):
        """Adds another text than before to a policy file; returns once that is in force."""
        before = self.version()
        self.offer(file, text)
        eventually(lambda: self.version() > before, wait)

    def offer(self, file, text):
        """As `change`, for what will not be taken."""
        # Written beside and moved, so that no look sees half of it.
        beside = self.policies.parent / f"{self.policies.name}.{file}"
        beside.write_text(FILES[file] + text)
        beside.rename(self.policies / file)


def eventually(fits, wait=3.0):
    deadline = time.monotonic() + wait
    while not fits():
        assert time.monotonic() < deadline, f"not within {wait} s"
        time.sleep(0.02)
