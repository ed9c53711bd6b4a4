# SPDX-License-Identifier: Apache-2.0
"""Builds the images from their Dockerfiles without a container engine or a registry, and unpacks their roots into FOLDER.

buildah runs the Dockerfiles on a Debian 12 created by mmdebstrap, with the Swift toolchain of this machine. If buildah cannot
run, a message says so, and the commands of the build stage run in a chroot.
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

from engine import ROOT

DAEMONS = ("agent", "server")
FOLDER = os.path.join(ROOT, ".tools", "images")
BASE = os.path.join(FOLDER, "base")
# Packages of the official Swift image besides the toolchain.
PACKAGES = (
    "binutils,ca-certificates,git,gcc,g++,libc6-dev,libcurl4,libedit2,libncurses6,libsqlite3-0,libstdc++-12-dev,libxml2,"
    "libz3-4,zlib1g-dev")


def say(text):
    print("images-test: " + text, flush=True)


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, **options)


def output(*command):
    return run(*command, stdout=subprocess.PIPE).stdout.strip()


def commit():
    return output("git", "-C", ROOT, "rev-parse", "HEAD")


BUILDAH = ["buildah", "--storage-driver", "vfs", "--root", FOLDER + "/storage", "--runroot", FOLDER + "/run"]


def buildah(*command):
    return output(*BUILDAH, *command)


# Base images


def toolchain():
    return re.sub("/usr/bin/[^/]*$", "", os.path.realpath(shutil.which("swift")))


def mirrors():
    """Returns folders of this machine that git uses as mirrors, with the URLs that they replace."""
    lines = subprocess.run(
        ["git", "config", "--get-regexp", r"^url\..*\.insteadof$"], stdout=subprocess.PIPE, text=True).stdout
    found = [re.fullmatch(r"url\.(.*)\.insteadof (.*)", line).groups() for line in lines.splitlines()]
    return [(folder, address) for folder, address in found if os.path.isdir(folder)]


def make_base():
    """Creates a Debian 12 in a folder, which later runs reuse."""
    if not os.path.exists(BASE + ".ready"):
        say("making a Debian 12 to build on (some minutes, once)")
        shutil.rmtree(BASE, ignore_errors=True)
        os.makedirs(FOLDER, exist_ok=True)
        run("mmdebstrap", "--quiet", "--variant=minbase", "--include=" + PACKAGES, "bookworm", BASE)
        open(BASE + ".ready", "w").close()
    # This machine's configuration for Debian's and Swift's package sources.
    shutil.copytree("/etc/apt/apt.conf.d", BASE + "/etc/apt/apt.conf.d", dirs_exist_ok=True)
    with open(BASE + "/etc/gitconfig", "w") as file:
        file.write("[safe]\n\tdirectory = *\n")
        for folder in dict(mirrors()):
            file.write(f'[url "{folder}"]\n')
            file.writelines(f"\tinsteadOf = {address}\n" for other, address in mirrors() if other == folder)


def volumes():
    return {toolchain(): "/opt/swift", **{folder.rstrip("/"): folder.rstrip("/") for folder, _ in mirrors()}}


# Building


def remove_all():
    buildah("rm", "--all")
    buildah("rmi", "--all", "--force")


def build_with_buildah():
    mounts = [f"--volume={folder}:{place}:ro" for folder, place in volumes().items()]
    base = buildah("from", "scratch")
    buildah("add", "--quiet", base, BASE, "/")
    buildah("config", "--env", "PATH=/opt/swift/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin", base)
    buildah("commit", "--quiet", "--rm", base, "localhost/kubenetmon-build")
    for daemon in DAEMONS:
        say(f"building the image of the {daemon}")
        run(
            *BUILDAH, "bud", "--isolation", "chroot", "--layers", *mounts, "--build-arg",
            "BUILD_IMAGE=localhost/kubenetmon-build", "--build-arg", "COMMIT=" + commit(), "--file",
            f"{ROOT}/Dockerfile.{daemon}", "--tag", "kubenetmon-" + daemon, ROOT)
        container = buildah("from", "kubenetmon-" + daemon)
        run("cp", "-a", buildah("mount", container), os.path.join(FOLDER, daemon))
        buildah("rm", container)


def build_in_chroot(stage):
    chroot = os.path.join(FOLDER, "chroot")
    shutil.rmtree(chroot, ignore_errors=True)
    run("cp", "-a", BASE, chroot)
    os.makedirs(chroot + "/source")
    for name in ["LICENSE", "Package.swift", "Sources", "Tests", "tools"]:
        run("cp", "-r", os.path.join(ROOT, name), chroot + "/source")
    shutil.copy("/etc/resolv.conf", chroot + "/etc/resolv.conf")
    places = [("/proc", "/proc"), ("/dev", "/dev"), *volumes().items()]
    lines = [f"mkdir -p {chroot}{place} && mount --rbind {folder} {chroot}{place}" for folder, place in places]
    for command in re.findall(r"^RUN (.*)$", stage.replace("\\\n", " "), re.M):
        script = f"cd /source && export COMMIT={commit()} PATH=/opt/swift/usr/bin:$PATH && {command}"
        lines.append(f"chroot {chroot} bash -c {shlex.quote(script)}")
    run("unshare", "--mount", "bash", "-euxc", "\n".join(lines))
    for daemon in DAEMONS:
        shutil.move(f"{chroot}/image/{daemon}", os.path.join(FOLDER, daemon))
    shutil.rmtree(chroot)


def build_stage():
    """Returns the common beginning of both Dockerfiles. If it differed, everything would be built twice."""
    stages = []
    for daemon in DAEMONS:
        with open(f"{ROOT}/Dockerfile.{daemon}") as file:
            stages.append(file.read().split("\nARG BUILD_IMAGE", 1)[1].split("\nFROM scratch\n")[0])
    if len(set(stages)) > 1:
        sys.exit("images-test: the build stages of Dockerfile.agent and Dockerfile.server differ")
    return stages[0]


def main():
    if os.geteuid():
        sys.exit("images-test: building images without a container engine needs root: sudo make images-test")
    start, stage = time.monotonic(), build_stage()
    make_base()
    for daemon in DAEMONS:
        shutil.rmtree(os.path.join(FOLDER, daemon), ignore_errors=True)
    try:
        remove_all()
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"buildah cannot run ({error}); running the Dockerfiles' commands in a chroot")
        build_in_chroot(stage)
    else:
        build_with_buildah()
        remove_all()
    say(f"both images are built, in {round(time.monotonic() - start)} s")


if __name__ == "__main__":
    main()
