"""``skyeye review`` as a program of its own, asked by plain requests: no client mends a hostile one."""

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyogrio

from skyeye_det.scene.outputs import GEOPACKAGE

ROOT = Path(__file__).parents[1]


class Server(NamedTuple):
    running: "subprocess.Popen[str]"
    port: int
    token: str

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = "", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers; the token goes along unless it is None."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent.setdefault("X-SkyEye-Token", token or self.token)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            link.request(method, path, content, sent)
            answer = link.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            link.close()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        status, content, _ = self.ask(method, path, body)
        return status, json.loads(content)


def command(folder: Path, *options: str) -> list[str]:
    code = "from skyeye_det.commands.launch import main; main()"
    return [sys.executable, "-c", code, "review", str(folder), "--port", "0", *options]


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Server]:
    running = subprocess.Popen(
        command(folder, *options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout
        if "--sample" in options:
            assert re.fullmatch(r"\d+ buildings are drawn to be checked\n", running.stdout.readline())
        if "--suggest" in options:
            assert re.fullmatch(r"\d+ buildings are suggested for a label\n", running.stdout.readline())
        line = running.stdout.readline()
        found = re.fullmatch(r"open http://127\.0\.0\.1:(\d+)/\?token=(\S+) .*\n", line)
        assert found, line + running.communicate()[1]
        yield Server(running, int(found[1]), found[2])
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)


def column(folder: Path, name: str, layer: str = "buildings") -> list:
    return pyogrio.raw.read(folder / GEOPACKAGE, layer=layer, columns=[name])[3][0].tolist()


def review(building: str, verdict: str = "grade", **other: Any) -> dict[str, Any]:
    damage = {"damage": 2} if verdict == "grade" else {}
    return (
        {"id": building, "layer": 0, "verdict": verdict, "by": "Ann", "note": "", "lock": None}
        | damage
        | other
    )
