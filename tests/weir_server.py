"""A Weir of one's own for a suite: the real program on free ports in a temporary folder.

    with WeirServer(demo=True, scale=0.01) as weir:
        connection = psycopg.connect(weir.urls["ANALYST_EU"])

The program is the one that TEST_WEIR names. Settings of the shell (WEIR_*) never reach it; `settings` does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def program() -> Path:
    """The program under test."""
    named = os.environ.get("TEST_WEIR")
    if not named:
        raise RuntimeError("TEST_WEIR names no program; run the suite by `make test-<suite>`")
    return Path(named)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class WeirServer:
    """One server. Survives being killed: `start` again serves the same folder on the same ports."""

    def __init__(
        self,
        *,
        demo: bool = False,
        scale: float = 0.001,
        policies: Path | None = None,
        settings: dict[str, str] | None = None,
        data: Path | None = None,
        detached: bool = False,
    ) -> None:
        """`detached`: in a session of its own, as a service runs; Linux shares processors out between sessions."""
        self._own_folder = None if data else tempfile.mkdtemp(prefix="weir-")
        self.data = data or Path(self._own_folder) / "data"
        self.sql_port, self.http_port = free_port(), free_port()
        self.demo, self.scale, self.policies = demo, scale, policies
        self.settings = settings or {}
        self.detached = detached
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.data.parent / "weir.log"

    # Its life

    def start(self, wait: float = 300.0, until: str = "/readyz") -> "WeirServer":
        """Returns once it is ready, or once it answers `until`."""
        command = [str(program()), "up", "--data", str(self.data)]
        command += ["--listen", f"127.0.0.1:{self.sql_port}", "--http", f"127.0.0.1:{self.http_port}"]
        if self.policies:
            command += ["--policies", str(self.policies)]
        if self.demo:
            command += ["--demo", "--scale", str(self.scale)]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            # Python ignores SIGXFSZ; so does the program then, and a file-size limit that a test sets is an error to it.
            environment = self.environment()
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, restore_signals=False, start_new_session=self.detached
            )
        deadline = time.monotonic() + wait
        while not self.answers(until):
            if self.process.poll() is not None:
                raise RuntimeError(f"weir ended with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"weir is not ready after {wait} s:\n{self.log_tail()}")
            time.sleep(0.02)
        return self

    def environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("WEIR_")}
        return kept | self.settings

    def stop(self, wait: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(wait)

    def kill(self) -> None:
        """kill -9."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "WeirServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._own_folder:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    # What one asks it

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP GET."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def answers(self, path: str) -> bool:
        try:
            return self.get(path)[0] == 200
        except OSError:
            return False

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value, over all series that have the labels; 0 while nobody counted."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name and wanted <= set((found[2] or "").split(",")):
                total += float(found[3])
        return total

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Another command of the program."""
        command = [str(program()), *arguments]
        return subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=check)

    @property
    def urls(self) -> dict[str, str]:
        """The demo's connection strings by agent: ANALYST_EU, ANALYST_US, SUPPORT, AUDITOR, ADMIN, BROKE, GLOBEX."""
        text = (self.data / "demo.env").read_text()
        return dict(re.findall(r"^(\w+)_URL=(.*)$", text, flags=re.MULTILINE))

    @property
    def tokens(self) -> dict[str, str]:
        """The demo's tokens for facts by name: DEPLOYMENT_SERVICE_TOKEN, IDENTITY_SERVICE_TOKEN, GATEWAY_SERVICE_TOKEN, …"""
        text = (self.data / "demo.env").read_text()
        return dict(re.findall(r"^(\w+_TOKEN)=(.*)$", text, flags=re.MULTILINE))

    def issue_key(self, org: str, agent: str, *more: str) -> str:
        """A connection string with a key made for it; `more` are flags such as "--role", "admin"."""
        issued = self.run("keys", "issue", "--data", str(self.data), "--org", org, "--agent", agent, *more)
        return f"postgres://{agent}:{issued.stdout.strip()}@127.0.0.1:{self.sql_port}/{org}"

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def resident_bytes(self) -> int:
        assert self.process
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024
