# SPDX-License-Identifier: Apache-2.0
"""Compares the modules of Package.swift with docs/architecture.md and with the imports of their files.

Needs no build. The argument is the command `swift`."""
import fnmatch
import functools
import json
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
SWIFT = sys.argv.pop(1) if len(sys.argv) > 1 else "swift"
# Modules of the toolchain. Foundation is not allowed: it takes more memory than the rest of a daemon.
TOOLCHAIN = {"Dispatch", "FoundationEssentials", "Glibc", "Synchronization"}
IMPORT = re.compile(r"^(?:@\w+ )*(?:(?:public|package|internal|fileprivate|private) )?import (\w+)", re.M)


@functools.cache
def modules():
    """Returns the Swift modules of Sources by name: whether each is a library, and the names of its dependencies."""
    dump = subprocess.run(
        [SWIFT, "package", "--package-path", ROOT, "dump-package"], capture_output=True, text=True, check=True)
    modules = {}
    for target in json.loads(dump.stdout)["targets"]:
        name = target["name"]
        if target.get("path") or target["type"] not in ("regular", "executable") or not files(name):
            continue
        dependencies = {next(iter(dependency.values()))[0] for dependency in target["dependencies"]}
        modules[name] = (target["type"] == "regular", dependencies)
    return modules


def files(module):
    folder = os.path.join(ROOT, "Sources", module)
    return [os.path.join(path, name) for path, _, names in os.walk(folder) for name in names if name.endswith(".swift")]


def imports(module):
    found = set()
    for path in files(module):
        with open(path) as file:
            found.update(IMPORT.findall(file.read()))
    return found


class ModulesTest(unittest.TestCase):
    maxDiff = None

    def test_the_table_of_the_architecture_names_every_library(self):
        with open(os.path.join(ROOT, "docs", "architecture.md")) as file:
            table = file.read().split("| module |")[1].split("\n\n")[0]
        names = re.findall(r"^\| `(\w+)` \|", table, re.M)
        self.assertEqual(sorted(names), sorted(name for name, (is_library, _) in modules().items() if is_library))

    def test_images_get_the_folders_that_modules_link_to(self):
        with open(os.path.join(ROOT, ".dockerignore")) as file:
            rules = file.read().split()
        for path, folders, _ in os.walk(os.path.join(ROOT, "Sources")):
            for link in filter(os.path.islink, (os.path.join(path, folder) for folder in folders)):
                parts = os.path.relpath(os.path.realpath(link), os.path.realpath(ROOT)).split("/")
                ancestors = ["/".join(parts[:count + 1]) for count in range(len(parts))]
                is_ignored = False
                for rule in rules:
                    if any(fnmatch.fnmatchcase(ancestor, rule.lstrip("!")) for ancestor in ancestors):
                        is_ignored = not rule.startswith("!")
                self.assertFalse(is_ignored, os.path.relpath(link, ROOT))

    def test_a_module_imports_what_it_declares(self):
        # SwiftPM permits a module to import any module that happens to be built before it.
        for name, (_, dependencies) in modules().items():
            with self.subTest(name):
                self.assertEqual(imports(name) - TOOLCHAIN, dependencies)

    def test_labeling_depends_on_plain_values_only(self):
        # No HTTP, no YAML, no protobuf: sources of cluster objects create values of ClusterModel.
        dependencies = {name: modules()[name][1] for name in ("Labeling", "ClusterModel", "FlowModel")}
        self.assertEqual(
            dependencies,
            {"Labeling": {"ClusterModel", "DequeModule", "FlowModel"}, "ClusterModel": {"FlowModel"}, "FlowModel": set()})


if __name__ == "__main__":
    unittest.main()
