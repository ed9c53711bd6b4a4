# SPDX-License-Identifier: Apache-2.0
"""Compares the alerts of deploy/prometheus with the metrics that the daemons export, and runs promtool's tests of them.

    python3 alerts_test.py PROMTOOL
"""
import os
import re
import subprocess
import sys
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
PROMETHEUS = os.path.join(ROOT, "deploy", "prometheus")
PROMTOOL = ""


def load(name):
    with open(os.path.join(PROMETHEUS, name)) as file:
        return yaml.safe_load(file)


def exported():
    """Returns the labels of each metric by docs/metrics.md, which metrics_test.py compares with the daemons."""
    found = {}
    with open(os.path.join(ROOT, "docs", "metrics.md")) as file:
        for name, labels in re.findall(r"^\| `(\w+)` \| \w+ \| (.*?) \|", file.read(), re.M):
            found[name] = "".join('label: "%s" ' % label for label in re.findall(r"`(\w+)`:", labels))
    return found


class AlertTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.alerts = [rule for group in load("alerts.yaml")["groups"] for rule in group["rules"]]

    def promtool(self, *arguments):
        run = subprocess.run([PROMTOOL, *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_rules_are_well_formed(self):
        self.promtool("check", "rules", "alerts.yaml")

    def test_alerts_fire_and_resolve(self):
        self.promtool("test", "rules", "alerts_test.yaml")

    def test_every_alert_has_a_test(self):
        loud, quiet = set(), set()
        for case in load("alerts_test.yaml")["tests"]:
            for expected in case["alert_rule_test"]:
                (loud if expected["exp_alerts"] else quiet).add(expected["alertname"])
        names = {alert["alert"] for alert in self.alerts}
        self.assertEqual(loud, names)
        self.assertEqual(quiet, names)

    def test_metrics_are_exported_with_their_labels(self):
        metrics = exported()
        for alert in self.alerts:
            for metric, labels in re.findall(r"\b(kubenetmon_\w+)(?:\{([^}]*)\})?", alert["expr"]):
                with self.subTest(alert["alert"], metric=metric):
                    self.assertIn(metric, metrics)
                    own = [label for label in re.findall(r'(\w+)!?="', labels) if label not in ("job", "node")]
                    for label in own:
                        self.assertIn('label: "%s"' % label, metrics[metric])

    def test_every_alert_has_a_cause_and_a_remedy(self):
        for alert in self.alerts:
            with self.subTest(alert["alert"]):
                self.assertIn(alert["labels"]["severity"], ("critical", "warning"))
                self.assertEqual(set(alert["annotations"]), {"summary", "description"})


if __name__ == "__main__":
    PROMTOOL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
