"""node-postgres; see node.js."""

import os
import subprocess
from pathlib import Path


def test_node_postgres(weir):
    script = Path(__file__).with_name("node.js")
    done = subprocess.run(["node", script], env=os.environ | {"TEST_URL": weir.urls["ADMIN"]}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
