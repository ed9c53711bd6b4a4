# SPDX-License-Identifier: Apache-2.0
"""Builds the images from their Dockerfiles and runs both programs with nothing else on the disk.

Neither an engine nor a registry is needed: buildah runs the Dockerfiles, on a Debian 12 that mmdebstrap makes and with the
Swift toolchain of this machine. Where buildah cannot run, the build stage's commands run in a chroot, which is said.
"""
import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from engine import ROOT, engine, schema

FOLDER = os.path.join(ROOT, ".tools", "images")
BASE = os.path.join(FOLDER, "base")
LARGEST = {"agent": 25, "server": 60}  # MiB
NET_ADMIN = 12
# What the official Swift image brings besides the toolchain.
PACKAGES = (
    "binutils,ca-certificates,git,gcc,g++,libc6-dev,libcurl4,libedit2,libncurses6,libsqlite3-0,libstdc++-12-dev,libxml2,"
    "libz3-4,zlib1g-dev")


def say(text):
    print("images-test: " + text, flush=True)


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, **options)


def output(*command):
    return run(*command, stdout=subprocess.PIPE).stdout.strip()


BUILDAH = ["buildah", "--storage-driver", "vfs", "--root", FOLDER + "/storage", "--runroot", FOLDER + "/run"]


def buildah(*command):
    return output(*BUILDAH, *command)


# What images are built on


def toolchain():
    return re.sub("/usr/bin/[^/]*$", "", os.path.realpath(shutil.which("swift")))


def mirrors():
    """Folders of this machine from which git takes packages, with the addresses that they stand for."""
    lines = subprocess.run(
        ["git", "config", "--get-regexp", r"^url\..*\.insteadof$"], stdout=subprocess.PIPE, text=True).stdout
    found = [re.fullmatch(r"url\.(.*)\.insteadof (.*)", line).groups() for line in lines.splitlines()]
    return [(folder, address) for folder, address in found if os.path.isdir(folder)]


def make_base():
    """A Debian 12 in a folder, kept for the next time."""
    if not os.path.exists(BASE + ".ready"):
        say("making a Debian 12 to build on (some minutes, once)")
        shutil.rmtree(BASE, ignore_errors=True)
        os.makedirs(FOLDER, exist_ok=True)
        run("mmdebstrap", "--quiet", "--variant=minbase", "--include=" + PACKAGES, "bookworm", BASE)
        open(BASE + ".ready", "w").close()
    # How this machine reaches Debian's packages, and those of Swift.
    shutil.copytree("/etc/apt/apt.conf.d", BASE + "/etc/apt/apt.conf.d", dirs_exist_ok=True)
    with open(BASE + "/etc/gitconfig", "w") as file:
        file.write("[safe]\n\tdirectory = *\n")
        for folder, address in mirrors():
            file.write(f'[url "{folder}"]\n\tinsteadOf = {address}\n')


def volumes():
    return {toolchain(): "/opt/swift", **{folder.rstrip("/"): folder.rstrip("/") for folder, _ in mirrors()}}


# Building


def build(kind, commit):
    """The root of an image, in a folder."""
    root = os.path.join(FOLDER, kind)
    shutil.rmtree(root, ignore_errors=True)
    try:
        buildah("version")
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"buildah does not run here ({error}); doing what Dockerfile.{kind} says in a chroot")
        return build_in_chroot(kind, commit, root)
    return build_with_buildah(kind, commit, root)


def build_with_buildah(kind, commit, root):
    mounts = [f"--volume={folder}:{place}:ro" for folder, place in volumes().items()]
    base = buildah("from", "scratch")
    buildah("add", "--quiet", base, BASE, "/")
    buildah("config", "--env", "PATH=/opt/swift/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin", base)
    buildah("commit", "--quiet", "--rm", base, "localhost/kubenetmon-build")
    run(
        *BUILDAH, "bud", "--isolation", "chroot", *mounts, "--build-arg", "BUILD_IMAGE=localhost/kubenetmon-build", "--build-arg",
        "COMMIT=" + commit, "--file", f"{ROOT}/Dockerfile.{kind}", "--tag", "kubenetmon-" + kind, ROOT)
    container = buildah("from", "kubenetmon-" + kind)
    run("cp", "-a", buildah("mount", container), root)
    buildah("rm", container)
    return root


def build_in_chroot(kind, commit, root):
    stage = open(f"{ROOT}/Dockerfile.{kind}").read().replace("\\\n", " ").split("FROM scratch")[0]
    chroot = os.path.join(FOLDER, "chroot")
    shutil.rmtree(chroot, ignore_errors=True)
    run("cp", "-a", BASE, chroot)
    os.makedirs(chroot + "/source")
    for name in ["Package.swift", "Sources", "Tests", "tools"]:
        run("cp", "-r", os.path.join(ROOT, name), chroot + "/source")
    shutil.copy("/etc/resolv.conf", chroot + "/etc/resolv.conf")
    mounts = [("/proc", "/proc"), ("/dev", "/dev"), *volumes().items()]
    lines = [f"mkdir -p {chroot}{place} && mount --rbind {folder} {chroot}{place}" for folder, place in mounts]
    for command in re.findall(r"^RUN (.*)$", stage, re.M):
        script = f"cd /source && export COMMIT={commit} PATH=/opt/swift/usr/bin:$PATH && {command}"
        lines.append(f"chroot {chroot} bash -c {shlex.quote(script)}")
    run("unshare", "--mount", "bash", "-euxc", "\n".join(lines))
    shutil.move(chroot + "/image", root)
    shutil.rmtree(chroot)
    return root


# Running


def confine(root, user, capabilities):
    """For a child process: its root is read-only and holds the image alone; it keeps these capabilities at most."""
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


class ImageTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        make_base()
        cls.commit = output("git", "-C", ROOT, "rev-parse", "HEAD")
        cls.roots = {}
        for kind in ["agent", "server"]:
            say(f"building the image of the {kind}")
            cls.roots[kind] = build(kind, cls.commit)

    def start(self, kind, *arguments, user, capabilities=(), **environment):
        root = self.read_only(self.roots[kind])
        process = subprocess.Popen(
            [f"/usr/bin/kubenetmon-{kind}", *arguments], env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, preexec_fn=confine(root, user, capabilities))
        self.addCleanup(process.kill)
        return process

    def read_only(self, root):
        """What a container with a read-only root sees of it."""
        view = tempfile.mkdtemp(prefix="kubenetmon-image.")
        self.addCleanup(os.rmdir, view)
        os.makedirs(root + "/proc", exist_ok=True)
        run("mount", "--bind", root, view)
        self.addCleanup(run, "umount", "--recursive", view)
        run("mount", "-t", "proc", "proc", view + "/proc")
        run("mount", "-o", "remount,bind,ro", view)
        return view

    def test_an_image_holds_its_program_and_no_shell(self):
        for kind, root in self.roots.items():
            with self.subTest(kind):
                programs = [
                    os.path.relpath(os.path.join(folder, name), root)
                    for folder, _, names in os.walk(root) for name in names
                    if os.access(os.path.join(folder, name), os.X_OK) and ".so" not in name
                ]
                self.assertEqual(programs, [f"usr/bin/kubenetmon-{kind}"])
                size = int(output("du", "-sm", "--apparent-size", root).split()[0])
                say(f"the root of the {kind}'s image has {size} MiB (at most {LARGEST[kind]})")
                self.assertLessEqual(size, LARGEST[kind])

    def test_a_program_tells_its_commit(self):
        for kind in self.roots:
            with self.subTest(kind):
                text, _ = self.start(kind, "--version", user=65532).communicate(timeout=30)
                self.assertRegex(text, r"^\d+\.\d+\.\d+ \(%s\)$" % self.commit[:12])

    def test_agent_and_server_find_each_other(self):
        database = engine(until=self.addCleanup)
        database.query(schema("001_network_flows_0.sql")[0])
        files = os.path.join(self.roots["server"], "etc/kubenetmon-server")
        os.makedirs(files, exist_ok=True)
        with open(files + "/config.yaml", "w") as file:
            file.write(
                "environment: test\ncloud: aws\nregion: eu-central-1\ncluster: images\nport: 18884\n"
                f"metrics_port: 18882\ninventory_file: /etc/kubenetmon-server/inventory.yaml\n"
                f"cloud_ranges: {{}}\nclickhouse_endpoint: {database.url}\n")
        with open(files + "/inventory.yaml", "w") as file:
            file.write("nodes:\n  - name: node-a\n    addresses: [192.0.2.1]\n    zone: eu-central-1a\n")
        server = self.start("server", user=65532)
        agent = self.start(
            "agent", user=0, capabilities=[NET_ADMIN], NODE_NAME="node-a", COLLECTION_INTERVAL="1s",
            KUBENETMON_SERVER_SERVICE_HOST="127.0.0.1", KUBENETMON_SERVER_SERVICE_PORT="18884", METRICS_PORT="18883",
            SKIP_CONNTRACK_SANITY_CHECK="true")
        self.wait_for("http://127.0.0.1:18882/metrics", r"^kubenetmon_server_connected_agents 1$", server, agent)
        self.wait_for("http://127.0.0.1:18883/live", "", server, agent)
        for process in [agent, server]:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=60), 0, process.stdout.read())

    def wait_for(self, url, pattern, *processes):
        page = ""
        for _ in range(300):
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    page = answer.read().decode()
                if re.search(pattern, page, re.M):
                    return
            except OSError as error:
                page = str(error)
            for process in processes:
                if process.poll() is not None:
                    self.fail(f"{process.args} ended: {process.stdout.read()}")
            time.sleep(0.1)
        self.fail(f"{url} does not say {pattern}: {page}")


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("images-test: without an engine, building images takes root: sudo make images-test")
    unittest.main(verbosity=2)
