# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, controlled with the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""
import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time


class Browser:
    def __init__(self, *, until):
        """Starts a browser; `until` registers its cleanup functions."""
        program = shutil.which("chromium")
        if program is None:
            sys.exit("chromium is missing: run tools/install-packages browser")
        profile = tempfile.TemporaryDirectory(prefix="kubenetmon-browser.", ignore_cleanup_errors=True)
        until(profile.cleanup)
        (to_read, self.to_write), (self.to_listen, to_answer) = os.pipe(), os.pipe()
        # The browser reads from descriptor 3 and writes to 4; dup2 of one must not overwrite the other.
        shell = 'exec 8<&"$1" 9>&"$2"; exec 3<&8 4>&9 8<&- 9>&-; shift 2; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "browser", str(to_read), str(to_answer), program, "--headless=new", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-proxy-server", "--hide-scrollbars",
             "--user-data-dir=" + profile.name, "--remote-debugging-pipe", "about:blank"],
            pass_fds=(to_read, to_answer), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        until(self.end)
        os.close(to_read)
        os.close(to_answer)
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(domain + ".enable")

    def end(self):
        self.process.kill()
        self.process.wait()

    def receive(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.to_listen], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                sys.exit("the browser does not respond")
            piece = os.read(self.to_listen, 1 << 20)
            if not piece:
                sys.exit("the browser ended")
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 120
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit("%s: %s" % (method, answer["error"]))
                return answer["result"]
            self.events.append(answer)

    def load(self, url, width, height=900, scheme="light"):
        """Loads a page in a window of this size; returns the browser's events during the load."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events = []
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 120
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive(deadline))
        return self.events

    def evaluate(self, expression):
        """Evaluates a JavaScript expression on the page and returns its value."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            sys.exit("%s: %s" % (expression, result["exceptionDetails"]))
        return result["result"].get("value")

    def screenshot(self, path):
        """Saves a screenshot of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
