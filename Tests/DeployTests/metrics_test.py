# SPDX-License-Identifier: Apache-2.0
"""Checks the metrics pages of both daemons with promtool and a parser of OpenMetrics, and compares them with docs/metrics.md.

    tools/sandbox python metrics_test.py PROMTOOL FOLDER-OF-THE-DAEMONS
"""
import collections
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from engine import ROOT, engine, schema

PROMTOOL, PROGRAMS = "", ""
DOCUMENT = os.path.join(ROOT, "docs", "metrics.md")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Names that promtool criticizes and that kubenetmon's dashboards use.
KUBENETMONS = {
    "kubenetmon_collector_last_collection_duration_us": "abbreviated units",
    "kubenetmon_worker_insert_batch_age_ms": "abbreviated units",
    "kubenetmon_worker_insert_wait_time_ms": "abbreviated units",
}

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: nobody
contexts: [{name: nobody, context: {cluster: nobody, user: nobody}}]
clusters: [{name: nobody, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
"""

SETTINGS = """
environment: test
cloud: aws
region: eu-central-1
cluster: lab
port: {port}
metrics_port: {metrics_port}
clickhouse_endpoint: {clickhouse}
clickhouse_batch_max_age: 200ms
"""


def get(port, path="/metrics", accept="*/*"):
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), headers={"Accept": accept})
    with OPENER.open(request, timeout=60) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def openmetrics(port):
    return get(port, accept="application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")


def documented():
    """Returns the rows of docs/metrics.md: type, labels and meaning by name."""
    rows = {}
    with open(DOCUMENT) as file:
        for line in file:
            row = re.fullmatch(r"\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \| .*? \|", line.strip())
            if row:
                assert row[1] not in rows, row[1]
                rows[row[1]] = row[2], row[3], row[4]
    return rows


def documented_labels(text):
    """Returns the labels of a row by name, each with its values; None if the values are described in words."""
    labels = {}
    for part in text.split("; ") if text else []:
        name, values = re.fullmatch(r"`(\w+)`: (.*)", part).groups()
        labels[name] = set(re.findall(r"`(\w+)`", values)) or None
    return labels


class MetricsTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="kubenetmon-metrics.")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.logs = []
        clickhouse = engine(until=cls.addClassCleanup)
        for statement in schema("001_network_flows_0.sql"):
            clickhouse.query(statement)
        inventory = ["--inventory", os.path.join(ROOT, "tools", "lab-inventory.yaml")]
        # A server that works, and one without ClickHouse that has a cluster to watch.
        cls.start_server("busy", 18884, 18880, clickhouse.url, inventory, {})
        kubeconfig = os.path.join(cls.folder.name, "kubeconfig")
        with open(kubeconfig, "w") as file:
            file.write(KUBECONFIG)
        cls.start_server("waiting", 18885, 18881, "http://127.0.0.1:1", [], {"KUBECONFIG": kubeconfig})
        cls.start("agent", "kubenetmon-agent", [], {
            "NODE_NAME": "node-a", "METRICS_PORT": "18883", "COLLECTION_INTERVAL": "200ms",
            "KUBENETMON_SERVER_SERVICE_HOST": "127.0.0.1", "KUBENETMON_SERVER_SERVICE_PORT": "18884",
            "ENABLE_CONNTRACK_ACCOUNTING": "true",
        })
        cls.wait("the agent is connected", lambda: "\nkubenetmon_server_connected_agents 1\n" in get(18880)[0])
        cls.wait("it collects", lambda: "\nkubenetmon_agent_collections_total 0\n" not in get(18883)[0])
        cls.wait("the other server answers", lambda: get(18881))
        cls.ports = {"agent": 18883, "busy": 18880, "waiting": 18881}
        cls.pages = {name: get(port)[0] for name, port in cls.ports.items()}

    @classmethod
    def start_server(cls, name, port, metrics_port, clickhouse, arguments, environment):
        config = os.path.join(cls.folder.name, name + ".yaml")
        with open(config, "w") as file:
            file.write(SETTINGS.format(port=port, metrics_port=metrics_port, clickhouse=clickhouse))
        cls.start(name, "kubenetmon-server", ["--config", config] + arguments, environment)

    @classmethod
    def start(cls, name, program, arguments, environment):
        log = open(os.path.join(cls.folder.name, name + ".log"), "w+")
        cls.addClassCleanup(log.close)
        cls.logs.append(log)
        process = subprocess.Popen(
            [os.path.join(PROGRAMS, program)] + arguments, env=dict(os.environ, **environment), stdout=log, stderr=log,
            stdin=subprocess.DEVNULL)
        cls.addClassCleanup(process.wait)
        cls.addClassCleanup(process.terminate)

    @classmethod
    def wait(cls, what, condition):
        for _ in range(3000):
            try:
                if condition():
                    return
            except urllib.error.URLError:
                pass
            time.sleep(0.02)
        for log in cls.logs:
            log.seek(0)
        raise AssertionError(what + " never; " + "\n".join(log.read() for log in cls.logs))

    def test_promtool_accepts_every_name_that_is_not_kubenetmons(self):
        complaints = collections.defaultdict(set)
        for name, page in self.pages.items():
            run = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True, text=True)
            # 3: promtool can parse the page and reports style problems.
            self.assertIn(run.returncode, (0, 3), name + run.stderr)
            for line in (run.stdout + run.stderr).splitlines():
                metric, complaint = line.split(" ", 1)
                complaints[metric].add(complaint)
        self.assertEqual(set(complaints), set(KUBENETMONS), complaints)
        for metric, found in complaints.items():
            self.assertTrue(all(KUBENETMONS[metric] in complaint for complaint in found), (metric, found))

    def test_openmetrics_has_the_same_samples(self):
        for name, port in self.ports.items():
            text, kind = openmetrics(port)
            self.assertEqual(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8")
            self.assertTrue(text.endswith("\n# EOF\n"))
            families = list(parse_openmetrics(text))
            self.assertEqual(
                {(family.name, family.type, family.documentation, tuple(sorted(sample.labels.items())))
                 for family in families for sample in family.samples},
                {(family.name, family.type, family.documentation,
                  tuple(sorted((key, str(float(value)) if key == "le" and "I" not in value else value)
                               for key, value in sample.labels.items())))
                 for family in parse_text(self.pages[name]) for sample in family.samples})
            for family in families:
                self.assertEqual(family.unit, next(
                    (unit for unit in ("seconds", "bytes") if family.name.endswith("_" + unit)), ""))

    def test_the_document_describes_exactly_the_metrics(self):
        types, labels = {}, collections.defaultdict(lambda: collections.defaultdict(set))
        for page in self.pages.values():
            for family in parse_text(page):
                name = family.name + ("_total" if family.type == "counter" else "")
                types[name] = family.type, family.documentation
                labels[name]
                for sample in family.samples:
                    for key, value in sample.labels.items():
                        if key != "le":
                            labels[name][key].add(value)
        rows = documented()
        self.assertEqual(sorted(rows), sorted(types))
        for name, (kind, label_text, meaning) in rows.items():
            with self.subTest(name):
                self.assertEqual((kind, meaning.replace("\\|", "|")), types[name])
                told = documented_labels(label_text)
                if labels[name]:
                    self.assertEqual(set(told), set(labels[name]))
                for key, values in told.items():
                    if values is not None:
                        self.assertEqual(values, labels[name][key], key)

    def test_the_number_of_series_is_limited(self):
        for name, page in self.pages.items():
            self.assertLess(sum(1 for line in page.splitlines() if not line.startswith("#")), 400, name)


if __name__ == "__main__":
    PROGRAMS = os.path.abspath(sys.argv.pop(2))
    PROMTOOL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
