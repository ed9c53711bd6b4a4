#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the links, paths and make targets in documents, and the licence of source files: documents_test.py."""
import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def tracked():
    """Returns the paths of all files of the project that git tracks or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
        check=True).stdout.splitlines()
    return sorted(path for path in listing if os.path.exists(os.path.join(ROOT, path)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def without_code(text):
    """Returns a document without its fenced code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """Returns the anchors of a document's headings, as GitHub generates them."""
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+)$", without_code(text), flags=re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        number, numbered = 0, anchor
        while numbered in found:
            number += 1
            numbered = "%s-%d" % (anchor, number)
        found.add(numbered)
    return found


FILES = tracked()
FOLDERS = {os.path.dirname(path) for path in FILES}
FOLDERS |= {"/".join(folder.split("/")[:depth]) for folder in FOLDERS for depth in range(1, folder.count("/") + 1)}
DOCUMENTS = [path for path in FILES if path.endswith(".md")]


class Documents(unittest.TestCase):
    def test_link_targets_exist(self):
        broken = []
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)\s]+)\)", without_code(read(document))):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = os.path.normpath(os.path.join(os.path.dirname(document), path)) if path else document
                if file not in FILES and file not in FOLDERS:
                    broken.append("%s: %s: there is no such file" % (document, target))
                elif anchor and anchor not in anchors(read(file)):
                    broken.append("%s: %s: there is no such heading" % (document, target))
        self.assertEqual(broken, [])

    def test_paths_exist(self):
        """Each text in back-quotes that begins with a folder of the project is a path of the project."""
        missing = []
        for document in DOCUMENTS:
            if document == "CHANGELOG.md":
                continue
            for path in re.findall(r"`((?:Sources|Tests|Benchmarks|deploy|docs|tools|proto)/[\w./+-]*)`", read(document)):
                places = {path.rstrip("/"), os.path.join(os.path.dirname(document), path.rstrip("/"))}
                if not places & (FOLDERS | set(FILES)):
                    missing.append("%s: %s" % (document, path))
        self.assertEqual(missing, [])

    def test_threads_are_made_in_one_place_and_documented(self):
        """The document names every thread; only Sources/Threads makes one, and pools are where the document says."""
        document = read("docs/threads.md")
        elsewhere, unnamed = [], []
        for path in FILES:
            if not (path.startswith("Sources/") and path.endswith(".swift")):
                continue
            code = re.sub(r"//.*", "", read(path))
            if re.search(r"pthread_create|DispatchQueue\(|\bThread\s*[({]", code) and path.split("/")[1] != "Threads":
                elsewhere.append(path)
            if "NIOThreadPool(" in code and os.path.basename(path)[:-len(".swift")] not in document:
                elsewhere.append(path)
            for name in re.findall(r'OwnedThread(?:\.start)?\(name: "([a-z-]+)', code):
                if "`%s" % name not in document:
                    unnamed.append("%s: %s" % (path, name))
        self.assertEqual((elsewhere, unnamed), ([], []))

    def test_make_targets_exist(self):
        targets = set(re.findall(r"^([\w./-]+):", read("Makefile"), flags=re.MULTILINE))
        missing = []
        for document in DOCUMENTS:
            for target in re.findall(r"(?:`|^\$ |^)make ([a-z][\w-]*)", read(document), flags=re.MULTILINE):
                if target not in targets:
                    missing.append("%s: make %s" % (document, target))
        self.assertEqual(missing, [])


class Licence(unittest.TestCase):
    def test_source_files_name_the_licence(self):
        unmarked = []
        for path in FILES:
            if not os.path.isfile(os.path.join(ROOT, path)) or ".pb-c." in path:
                continue
            name = os.path.basename(path)
            is_source = name.endswith((".swift", ".c", ".h", ".py", ".proto", ".yml")) or name.startswith("Dockerfile.")
            with open(os.path.join(ROOT, path), "rb") as file:
                beginning = file.read(600)
            if (is_source or name == "Makefile" or beginning.startswith(b"#!")) and b"SPDX-License-Identifier" not in beginning:
                unmarked.append(path)
        self.assertEqual(unmarked, [])


if __name__ == "__main__":
    unittest.main()
