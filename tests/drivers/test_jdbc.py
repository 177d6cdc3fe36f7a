"""pgjdbc; see Jdbc.java."""

import os
import re
import subprocess
from pathlib import Path


def test_jdbc(weir):
    user, password, place = re.fullmatch(r"postgres://(\w+):([^@]+)@(.*)", weir.urls["ADMIN"]).groups()
    environment = os.environ | {"TEST_URL": f"jdbc:postgresql://{place}", "TEST_USER": user, "TEST_PASSWORD": password}
    command = ["java", "-cp", os.environ["TEST_JDBC_JAR"], str(Path(__file__).with_name("Jdbc.java"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout == "ok\n", done.stdout + done.stderr
