"""Clients of the facts' sockets: curl, as anybody would, and frames both ways."""

from __future__ import annotations

import json
import re
import socket
import subprocess


def tokens(weir) -> dict[str, str]:
    """The demo's tokens: DEPLOYMENT_SERVICE, IDENTITY_SERVICE, GATEWAY_SERVICE, APP, FACTS_ADMIN."""
    return dict(re.findall(r"^(\w+)_TOKEN=(.*)$", (weir.data / "demo.env").read_text(), flags=re.MULTILINE))


def curl(weir, *arguments, plane="data", token=None, path="/", body: bytes | None = None):
    """Status and body, parsed where it is JSON."""
    command = ["curl", "-sS", "--max-time", "30", "--unix-socket", str(weir.data / f"sockets/{plane}.sock")]
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
    if body is not None:
        command += ["--data-binary", "@-"]
    command += [*arguments, "-w", "\n%{http_code}", f"http://weir{path}"]
    done = subprocess.run(command, input=body, capture_output=True, check=False)
    text, _, status = done.stdout.decode().rpartition("\n")
    try:
        return int(status), json.loads(text)
    except json.JSONDecodeError:
        return int(status), text


def rpc(weir, token, method, params=None, plane="data"):
    """The JSON-RPC answer to a POST."""
    body = json.dumps({"method": method, "params": params or {}}).encode()
    return curl(weir, plane=plane, token=token, body=body)[1]


def done(answer):
    assert "error" not in answer, answer
    return answer["result"]


def code(answer):
    assert "error" in answer, answer
    return answer["error"]["code"]


class Stream:
    """A connection after the handshake `Upgrade: ipe/1.0`: frames both ways."""

    def __init__(self, weir, token, plane="data"):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(weir.data / f"sockets/{plane}.sock"))
        self.socket.sendall(
            f"GET /{plane} HTTP/1.1\r\nHost: weir\r\nUpgrade: ipe/1.0\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        self.reader = self.socket.makefile("rb")
        self.status = int(self.reader.readline().split()[1])
        while self.reader.readline().strip():
            pass
        self.hello = self.next()["params"] if self.status == 200 else None

    def next(self):
        """The next message; None when the connection has ended. Its event is the member `event`."""
        event, data = None, []
        while line := self.line():
            line = line.rstrip("\n")
            if line.startswith("event:"):
                event = line[6:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line and data:
                return json.loads("\n".join(data)) | {"event": event}
        return None

    def line(self):
        try:
            return self.reader.readline().decode()
        except ConnectionResetError:
            return ""

    def send(self, id, method, params):
        data = json.dumps({"method": method, "params": params})
        self.socket.sendall(f"event: {method}\nid: {id}\ndata: {data}\n\n".encode())

    def ask(self, id, method, params):
        self.send(id, method, params)
        while (answer := self.next()) and answer.get("id") != id:
            pass
        return answer

    def close(self):
        self.reader.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
