# SPDX-License-Identifier: Apache-2.0
"""Holds the charts of deploy/helm against the names of kubenetmon's values; where helm is present, lints and renders them."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import kubernetes_validate
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
HELM = os.path.join(ROOT, "deploy", "helm")
KUBERNETES = "1.31"

# What users of kubenetmon's charts have in their files.
IMAGE = ["image.repository", "image.pullPolicy", "image.tag"]
ACCOUNT = ["serviceAccount.create", "serviceAccount.annotations", "serviceAccount.name"]
COMMON = IMAGE + ACCOUNT + [
    "metrics.enabled", "metrics.port", "podAnnotations", "resources", "nodeSelector", "tolerations", "environment"]
VALUES = {
    "kubenetmon-agent": COMMON + [
        "updateStrategy", "priorityClass.name", "priorityClass.enabled", "priorityClass.preemptionPolicy",
        "priorityClass.value", "securityContext", "configuration.collectionInterval",
        "configuration.skipConntrackSanityCheck", "configuration.kubenetmonServerServiceHost",
        "configuration.kubenetmonServerServicePort", "configuration.uptimeWaitDuration"],
    "kubenetmon-server": COMMON + [
        "service.type", "service.port", "podSecurityContext", "cloud", "region", "cluster", "maxGRPCConnectionAge",
        "deployment.replicaCount", "deployment.strategy", "deployment.affinity"] + ["inserter." + name for name in (
            "enabled", "database", "endpoint", "username", "password", "dialTimeout", "maxIdleConnections",
            "batchSize", "batchSendTimeout", "waitForAsyncInsert", "numInserterWorkers", "ignoreUDP", "skipPing",
            "disableTLS", "insecureSkipVerify")],
}
# Taken and without meaning here.
UNUSED = {("kubenetmon-agent", "environment")}


def values(chart):
    with open(os.path.join(HELM, chart, "values.yaml")) as file:
        return yaml.safe_load(file)


def templates(chart):
    folder = os.path.join(HELM, chart, "templates")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name)) as file:
            yield name, file.read()


def has(tree, path):
    for key in path.split("."):
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def reference():
    """The names of docs/configuration.md: the agent's variables and the server's keys."""
    with open(os.path.join(ROOT, "docs", "configuration.md")) as file:
        return [set(re.findall(r"`([\w.]+)`", table)) for table in file.read().split("<!-- server -->")]


class ChartTests(unittest.TestCase):
    def test_kubenetmons_values_are_taken(self):
        for chart, names in VALUES.items():
            used = set(re.findall(r"\.Values\.([\w.]+)", "".join(text for _, text in templates(chart))))
            for name in names:
                with self.subTest(chart, value=name):
                    self.assertTrue(has(values(chart), name), "has no default")
                    if (chart, name) not in UNUSED:
                        self.assertIn(name, used)

    def test_templates_use_values_that_there_are(self):
        for chart in VALUES:
            for template, text in templates(chart):
                for name in re.findall(r"\.Values\.([\w.]+)", text):
                    with self.subTest(chart, template=template, value=name):
                        self.assertTrue(has(values(chart), name))

    def test_actions_are_balanced(self):
        for chart in VALUES:
            for template, text in templates(chart):
                with self.subTest(chart, template=template):
                    actions = re.findall(r"\{\{-?\s*(\w+)?", text)
                    begun = sum(action in ("if", "with", "range", "define", "block") for action in actions)
                    self.assertEqual(begun, actions.count("end"))
                    self.assertNotIn("{{", re.sub(r"\{\{[^{}]*\}\}", "", text))

    def test_the_daemons_know_what_the_charts_tell_them(self):
        variables, keys = reference()
        for _, text in templates("kubenetmon-agent"):
            for name in re.findall(r"- name: ([A-Z_]+)$", text, re.M):
                self.assertIn(name, variables)
        for key in re.findall(r"^    (\w+):", dict(templates("kubenetmon-server"))["config-map.yaml"], re.M):
            self.assertIn(key, {name.split(".")[0] for name in keys})

    def test_the_step_before_the_agent_is_its_own_image(self):
        text = dict(templates("kubenetmon-agent"))["daemon-set.yaml"]
        images = re.findall(r"^ +image: (.*)$", text, re.M)
        self.assertEqual(len(images), 2)
        self.assertEqual(images[0], images[1])
        self.assertIn("args: [enable-accounting]", text)

    def test_versions_are_the_release(self):
        with open(os.path.join(ROOT, "Sources", "Operations", "Daemon.swift")) as file:
            version = re.search(r'release = "([^"]+)"', file.read())[1]
        for chart in VALUES:
            with open(os.path.join(HELM, chart, "Chart.yaml")) as file:
                self.assertEqual(str(yaml.safe_load(file)["appVersion"]), version)


class RenderedChartTests(unittest.TestCase):
    """Only where helm is present."""

    OTHERS = {
        "podAnnotations": {"a": "b"}, "nodeSelector": {"c": "d"}, "tolerations": [{"operator": "Exists"}],
        "serviceAccount": {"name": "account", "annotations": {"e": "f"}},
        "inserter": {"existingSecret": "mine", "batchSize": 1000000},
        "environmentVariables": {"SPOOL_BYTES": 33554432, "LOG_LEVEL": "debug"},
        "extraConfiguration": {"private_networks": ["100.64.0.0/10"], "clickhouse_max_queued_bytes": 536870912},
    }

    def helm(self, *arguments):
        run = subprocess.run(["helm", *arguments], cwd=HELM, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return run.stdout

    def test_charts_are_clean(self):
        for chart in VALUES:
            self.helm("lint", "--strict", chart)

    def test_charts_render_what_kubernetes_expects(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as others:
            yaml.safe_dump(self.OTHERS, others)
            others.flush()
            for chart in VALUES:
                for more in ([], ["--values", others.name]):
                    text = self.helm("template", chart, chart, "--namespace", chart, *more)
                    self.assertNotIn("e+0", text)
                    for item in filter(None, yaml.safe_load_all(text)):
                        kubernetes_validate.validate(item, KUBERNETES, strict=True)


if __name__ == "__main__":
    if not shutil.which("helm"):
        print("helm-test: there is no helm here: values and templates are compared, nothing is rendered")
        sys.argv.append("ChartTests")
    unittest.main()
