"""Chromium without a window, driven over a pair of pipes by the DevTools protocol (`--remote-debugging-pipe`).

Messages are JSON with a NUL behind each; file descriptor 3 of the browser is where it reads, 4 where it writes.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DEADLINE: Final = 60.0
"""seconds for anything that a page is waited for."""
OPTIONS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)


def find_browser() -> str | None:
    """The program, where this machine has one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Refused(Exception):
    """The browser does not do what it was asked, such as to run a script in a page that is being left."""


class Page:
    """One page: what it does, what it asks the network for, and what it complains about."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Ask, and take the answer; events that come before it are noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                if "error" in found:
                    raise Refused(found["error"]["message"])
                return found["result"]
            self._note(found)

    def _next(self) -> Any:
        deadline = time.monotonic() + DEADLINE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._reads], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._reads, 1 << 16)
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: Any) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        asked = {"expression": script, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        deadline = time.monotonic() + DEADLINE
        while True:
            with suppress(Refused):
                if value := self.run(script):
                    return value
            assert time.monotonic() < deadline, f"{script} never came true: {self.complaints}"
            time.sleep(0.05)

    def show(self, url: str, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Open an address at a size, and wait until it has been drawn."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait_for("document.documentElement?.dataset.drawn > 0")

    def press(self, key: str, code: int) -> None:
        """A key, down and up."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            down = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **down)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of the page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Page]:
    """A browser with a page, ended afterwards."""
    to_browser, from_browser = os.pipe(), os.pipe()
    descriptors = (to_browser[0], from_browser[1])
    line = f'exec "$@" 3<&{descriptors[0]} 4>&{descriptors[1]}'
    command = ["bash", "-c", line, "bash", program, *OPTIONS, f"--user-data-dir={profile}"]
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, pass_fds=descriptors, stdin=silent, stdout=silent, stderr=silent) as process:
        for descriptor in descriptors:
            os.close(descriptor)
        try:
            yield Page(from_browser[0], to_browser[1])
        finally:
            process.terminate()
            process.wait(DEADLINE)
            os.close(from_browser[0])
            os.close(to_browser[1])
