# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of both images from the folders of images_build.py, without other files on the disk.

    tools/sandbox python3 images_test.py
"""
import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from engine import engine, schema
from images_build import DAEMONS, FOLDER, commit, output, run, say

LARGEST = {"agent": 25, "server": 60}  # MiB
NET_ADMIN = 12
NOBODY = 65532
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

SETTINGS = """
environment: test
cloud: aws
region: eu-central-1
cluster: images
port: 8884
metrics_port: 8883
inventory_file: /etc/kubenetmon-server/inventory.yaml
cloud_ranges: {{}}
clickhouse_endpoint: {clickhouse}
"""

INVENTORY = "nodes:\n  - name: node-a\n    addresses: [192.0.2.1]\n    zone: eu-central-1a\n"


def server_files(clickhouse):
    return {
        "etc/kubenetmon-server/config.yaml": SETTINGS.format(clickhouse=clickhouse),
        "etc/kubenetmon-server/inventory.yaml": INVENTORY,
    }


def confine(root, user, capabilities):
    """For a child process: sets the image as its root and limits it to these capabilities."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter():
        os.chroot(root)
        os.chdir("/")
        for capability in range(41):
            if capability not in capabilities:
                libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS

    return enter


def page(url):
    try:
        with OPENER.open(url, timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return str(error)


class ImageTests(unittest.TestCase):
    def folder(self):
        folder = tempfile.mkdtemp(prefix="kubenetmon-images.")
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def disk(self, daemon, files):
        """Mounts the files of a container with a read-only root: its image, these files and /proc."""
        root = os.path.join(self.folder(), "root")
        run("cp", "-a", os.path.join(FOLDER, daemon), root)
        os.makedirs(root + "/proc", exist_ok=True)
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as file:
                file.write(text)
        run("mount", "--bind", root, root)
        self.addCleanup(run, "umount", "--recursive", root)
        run("mount", "-t", "proc", "proc", root + "/proc")
        run("mount", "-o", "remount,bind,ro", root)
        return root

    def start(self, daemon, *arguments, user=NOBODY, capabilities=(), files=None, **environment):
        root = self.disk(daemon, files or {})
        log = open(os.path.join(self.folder(), "log"), "w+")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [f"/usr/bin/kubenetmon-{daemon}", *arguments], env=environment, stdout=log, stderr=log,
            preexec_fn=confine(root, user, capabilities))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.said = lambda: os.pread(log.fileno(), 1 << 20, 0).decode()
        return process

    def output(self, *command, status=0, **options):
        process = self.start(*command, **options)
        self.assertEqual(process.wait(timeout=60), status, process.said())
        return process.said()

    def wait_for(self, pattern, look, *processes):
        for _ in range(600):
            seen = look()
            if re.search(pattern, seen, re.M):
                return
            for process in processes:
                if process.poll() is not None:
                    self.fail(f"{process.args} ended: {process.said()}")
            time.sleep(0.1)
        self.fail(f"found no {pattern} in {seen}\n" + "\n".join(process.said() for process in processes))

    def test_an_image_contains_its_program_and_no_shell(self):
        for daemon in DAEMONS:
            with self.subTest(daemon):
                root = os.path.join(FOLDER, daemon)
                programs = [
                    os.path.relpath(os.path.join(folder, name), root)
                    for folder, _, names in os.walk(root) for name in names
                    if os.access(os.path.join(folder, name), os.X_OK) and ".so" not in name
                ]
                self.assertEqual(programs, [f"usr/bin/kubenetmon-{daemon}"])
                size = int(output("du", "-sk", "--apparent-size", root).split()[0]) / 1024
                say(f"the root of the {daemon}'s image has {size:.1f} MiB (at most {LARGEST[daemon]})")
                self.assertLessEqual(size, LARGEST[daemon])

    def test_a_program_prints_its_commit(self):
        for daemon in DAEMONS:
            with self.subTest(daemon):
                self.assertRegex(self.output(daemon, "--version"), r"^\d+\.\d+\.\d+ \(%s\)$" % commit()[:12])

    def test_a_program_prints_help_and_checks_its_configuration(self):
        for daemon in DAEMONS:
            with self.subTest(daemon):
                self.assertIn(f"USAGE: kubenetmon-{daemon}", self.output(daemon, "--help"))
        said = self.output("agent", "--check-config", NODE_NAME="node-a", KUBENETMON_SERVER_SERVICE_HOST="server.example")
        self.assertIn("server.example", said)
        files = server_files("https://clickhouse.example:8443")
        self.assertIn("https://clickhouse.example:8443", self.output("server", "--check-config", files=files))

    def test_an_agent_names_a_missing_capability(self):
        said = self.output(
            "agent", user=0, status=1, NODE_NAME="node-a", KUBENETMON_SERVER_SERVICE_HOST="127.0.0.1",
            SKIP_CONNTRACK_SANITY_CHECK="true")
        self.assertIn("CAP_NET_ADMIN", said)

    def test_the_agent_connects_to_the_server(self):
        database = engine(until=self.addCleanup)
        database.query(schema("001_network_flows_0.sql")[0])
        server = self.start("server", files=server_files(database.url))
        agent = self.start(
            "agent", user=0, capabilities=[NET_ADMIN], NODE_NAME="node-a", COLLECTION_INTERVAL="1s",
            KUBENETMON_SERVER_SERVICE_HOST="127.0.0.1", KUBENETMON_SERVER_SERVICE_PORT="8884", METRICS_PORT="8882",
            SKIP_CONNTRACK_SANITY_CHECK="true")
        connected = r"^kubenetmon_server_connected_agents 1$"
        self.wait_for(connected, lambda: page("http://127.0.0.1:8883/metrics"), server, agent)
        for port in [8882, 8883]:
            for path in ["live", "ready"]:
                self.wait_for(f'"status":"{path}"', lambda: page(f"http://127.0.0.1:{port}/{path}"), server, agent)
        for process in [agent, server]:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=60), 0, process.said())

    def test_the_server_trusts_the_authorities_of_its_image_only(self):
        database = engine(until=self.addCleanup)
        database.query(schema("001_network_flows_0.sql")[0])
        folder = self.folder()
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
            "-subj", "/CN=clickhouse", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem",
            "-out", "certificate.pem", cwd=folder, stderr=subprocess.DEVNULL)
        relay = subprocess.Popen([
            "socat", "OPENSSL-LISTEN:8443,bind=127.0.0.1,reuseaddr,fork,verify=0,cert=certificate.pem,key=key.pem",
            "TCP:" + database.url.removeprefix("http://")], cwd=folder)
        self.addCleanup(relay.wait)
        self.addCleanup(relay.terminate)
        files = server_files("https://127.0.0.1:8443")

        stranger = self.start("server", files=files)
        self.wait_for("certificate problem", stranger.said, stranger)
        stranger.terminate()
        stranger.wait()

        with open(os.path.join(FOLDER, "server", AUTHORITIES)) as file:
            authorities = file.read()
        self.assertGreater(authorities.count("BEGIN CERTIFICATE"), 100)
        with open(os.path.join(folder, "certificate.pem")) as file:
            files[AUTHORITIES] = authorities + file.read()
        server = self.start("server", files=files)
        self.wait_for('"status":"ready"', lambda: page("http://127.0.0.1:8883/ready"), server)


if __name__ == "__main__":
    unittest.main(verbosity=2)
