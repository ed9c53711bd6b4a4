#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the links, paths, make targets, metrics and alerts in documents, and the licence of source files."""
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

    def test_files_have_the_names_that_contributing_gives(self):
        """A name in the parentheses behind a file, such as `Label.swift` (a case, `Values`), is in that file."""
        missing = []
        for path, remark in re.findall(r"`((?:Sources|Tests|deploy|proto)/[\w./+-]+)` \(([^)]*)\)", read("CONTRIBUTING.md")):
            for name in re.findall(r"`(\w+)`", remark):
                if not re.search(r"\b%s\b" % name, read(path)):
                    missing.append("%s: %s" % (path, name))
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

    def test_bounds_are_of_lines_that_are_explained(self):
        """Benchmarks/README.md names each line of bounds.txt, or its family as `labels.blocking.*`, and each key."""
        document = read("Benchmarks/README.md")
        named = re.findall(r"`([\w.*]+)`", document)
        missing = []
        for line in read("Benchmarks/bounds.txt").splitlines():
            words = line.split("#")[0].split()
            if len(words) < 3:
                continue
            name, key = words[:2]
            last = "." + name.rpartition(".")[2]
            if not any(name == other or last == other or other.endswith(".*") and name.startswith(other[:-1]) for other in named):
                missing.append(name)
            if key not in named:
                missing.append(key)
        self.assertEqual(sorted(set(missing)), [])


def documented_metrics():
    """Returns the labels of each metric of docs/metrics.md, each with its values; None if any value is possible."""
    metrics = {}
    for name, labels in re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram) \| (.*?) \|", read("docs/metrics.md"), re.M):
        parts = [re.fullmatch(r"`(\w+)`: (.*)", part).groups() for part in labels.split("; ") if part]
        metrics[name] = {label: set(re.findall(r"`(\w+)`", values)) or None for label, values in parts}
    return metrics


class Metrics(unittest.TestCase):
    """metrics_test.py compares docs/metrics.md with the daemons; everything else is compared with docs/metrics.md."""

    METRICS = documented_metrics()
    # Labels that a scrape adds, and the name of the original's rows.
    SCRAPED = {"job", "node", "instance", "pod", "le"}
    ORIGINALS = {"kubenetmon_worker_rows_total{type=dropped}"}

    def texts(self):
        """Returns the documents, alerts and dashboards by path, without the names of the original's metrics."""
        for path in DOCUMENTS + [path for path in FILES if path.startswith(("deploy/prometheus/", "deploy/grafana/"))]:
            yield path, read(path).replace('\\"', '"').split("## Coming from kubenetmon")[0]

    def metric(self, name):
        """Returns a metric's labels by the name of the metric or of a histogram's series; None if there is none."""
        return self.METRICS.get(name, self.METRICS.get(re.sub(r"_(bucket|sum|count)$", "", name)))

    def test_metrics_exist(self):
        code = set()
        for path in FILES:
            if path.startswith("Sources/") and path.endswith(".swift"):
                code |= set(re.findall(r'"((?:kubenetmon|process)_[a-z0-9_]+[a-z0-9])"', read(path)))
        self.assertEqual(code, set(self.METRICS))
        unknown = []
        units = "total|bytes|seconds|ms|us|info|fds|count|bucket"
        for path, text in self.texts():
            for name in re.findall(r"\b((?:kubenetmon|process)_[a-z0-9_]+_(?:%s))\b" % units, text):
                if self.metric(name) is None:
                    unknown.append("%s: %s" % (path, name))
        self.assertEqual(unknown, [])

    def test_labels_of_metrics_exist(self):
        unknown = []
        for path, text in self.texts():
            for name, selectors in re.findall(r"\b((?:kubenetmon|process)_\w+)\{([^}]*)\}", text):
                labels = self.metric(name)
                for label, kind, pattern in re.findall(r'(\w+)\s*(=~|!~|!=|=)"([^"]*)"', selectors):
                    if labels is None or label in self.SCRAPED:
                        continue
                    for value in pattern.split("|") if "~" in kind else [pattern]:
                        values = labels.get(label, set())
                        known = values is None or value in values or re.search(r"[$.]", value)
                        if not known and "%s{%s=%s}" % (name, label, value) not in self.ORIGINALS:
                            unknown.append('%s: %s{%s="%s"}' % (path, name, label, value))
        self.assertEqual(unknown, [])

    def test_alerts_exist(self):
        alerts = set(re.findall(r"alert: (\w+)", read("deploy/prometheus/alerts.yaml")))
        modules = {path.split("/")[1] for path in FILES if path.startswith(("Sources/", "Tests/"))}
        named = {
            name for path in DOCUMENTS for name in re.findall(r"\bKubenetmon[A-Z]\w+", read(path)) if name not in modules}
        self.assertEqual(named - alerts, set())
        self.assertEqual({alert for alert in alerts if alert not in named}, set())


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
