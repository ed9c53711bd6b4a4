# SPDX-License-Identifier: Apache-2.0
"""Checks that the charts of deploy/helm accept kubenetmon's values, lints and renders them with Helm's own library, and compares
the result with the overlays of deploy/kubernetes."""
import json
import os
import re
import shutil
import tempfile
import unittest

import helm_python
import kubernetes_validate
import yaml

from manifests_test import WITHOUT_SCHEMA, Overlay, assert_surges

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
HELM = os.path.join(ROOT, "deploy", "helm")
KUBERNETES = "1.31"

# Values that users of kubenetmon's charts may have in their files.
IMAGE = ["image.repository", "image.pullPolicy", "image.tag"]
ACCOUNT = ["serviceAccount.create", "serviceAccount.annotations", "serviceAccount.name"]
COMMON = IMAGE + ACCOUNT + [
    "imagePullSecrets", "nameOverride", "fullnameOverride", "serviceMonitors.enabled", "serviceMonitors.interval",
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
# Accepted without effect.
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
    """Returns the names in docs/configuration.md: the agent's variables and the server's keys."""
    with open(os.path.join(ROOT, "docs", "configuration.md")) as file:
        return [set(re.findall(r"`([\w.]+)`", table)) for table in file.read().split("<!-- server -->")]


class ChartTests(unittest.TestCase):
    def test_kubenetmons_values_are_accepted(self):
        for chart, names in VALUES.items():
            used = set(re.findall(r"\.Values\.([\w.]+)", "".join(text for _, text in templates(chart))))
            for name in names:
                with self.subTest(chart, value=name):
                    self.assertTrue(has(values(chart), name), "has no default")
                    if (chart, name) not in UNUSED:
                        self.assertIn(name, used)

    def test_templates_use_existing_values(self):
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

    def test_the_daemons_know_the_settings_of_the_charts(self):
        variables, keys = reference()
        for _, text in templates("kubenetmon-agent"):
            for name in re.findall(r"- name: ([A-Z_]+)$", text, re.M):
                self.assertIn(name, variables)
        for key in re.findall(r"^    (\w+):", dict(templates("kubenetmon-server"))["config-map.yaml"], re.M):
            self.assertIn(key, {name.split(".")[0] for name in keys})

    def test_the_init_step_uses_the_agents_image(self):
        text = dict(templates("kubenetmon-agent"))["daemon-set.yaml"]
        images = re.findall(r"^ +image: (.*)$", text, re.M)
        self.assertEqual(len(images), 2)
        self.assertEqual(images[0], images[1])
        self.assertIn("args: [enable-accounting]", text)

    def test_versions_are_those_of_the_release(self):
        with open(os.path.join(ROOT, "Sources", "Operations", "Daemon.swift")) as file:
            version = re.search(r'release = "([^"]+)"', file.read())[1]
        for chart in VALUES:
            with open(os.path.join(HELM, chart, "Chart.yaml")) as file:
                self.assertEqual(str(yaml.safe_load(file)["appVersion"]), version)


# The values without a default.
SITE = {"environment": "testing", "cloud": "aws", "region": "eu-central-1", "cluster": "main"}


def render(chart, folder=HELM, release=None, **values):
    """Renders the chart with these values in the namespace with the chart's name."""
    if chart == "kubenetmon-server":
        values = {**SITE, **values}
    with helm_python.Chart.load(os.path.join(folder, chart)) as loaded:
        rendered = loaded.render(values, name=release or chart, namespace=chart)
    texts = [text for name, text in rendered.items() if name.endswith(".yaml")]
    for text in texts:
        if "e+0" in text:
            raise AssertionError("a number is not written as one: " + text)
    items = [item for text in texts for item in yaml.safe_load_all(text) if item]
    for item in items:
        if item["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(item, KUBERNETES, strict=True)
    return items


def the(items, kind):
    item, = [item for item in items if item["kind"] == kind]
    return item


def notes(chart, release, namespace, **values):
    """Returns what Helm prints after an installation."""
    if chart == "kubenetmon-server":
        values = {**SITE, **values}
    with helm_python.Chart.load(os.path.join(HELM, chart)) as loaded:
        rendered = loaded.render(values, name=release, namespace=namespace)
    text, = [text for name, text in rendered.items() if name.endswith("NOTES.txt")]
    return text


class Workload:
    """A pod of an agent or a server, and the sources of the files that its settings name."""

    def __init__(self, workload, settings=None):
        self.pod = workload["spec"]["template"]["spec"]
        self.container, = self.pod["containers"]
        self.settings = settings or {item["name"]: item.get("value") for item in self.container["env"]}

    def origin(self, setting):
        """Returns a Secret's name, key and mode, or a service account's token."""
        path = self.settings[setting]
        mount, = [item for item in self.container["volumeMounts"] if path.startswith(item["mountPath"] + "/")]
        if not mount["readOnly"]:
            raise AssertionError(mount)
        volume, = [item for item in self.pod["volumes"] if item["name"] == mount["name"]]
        name = path[len(mount["mountPath"]) + 1:]
        if "projected" in volume:
            source, = volume["projected"]["sources"]
            return source if source["serviceAccountToken"]["path"] == name else None
        secret = volume["secret"]
        keys = {item["path"]: item["key"] for item in secret.get("items", [{"path": name, "key": name}])}
        return secret["secretName"], keys[name], secret["defaultMode"]


def agent(**values):
    return Workload(the(render("kubenetmon-agent", **values), "DaemonSet"))


def server(**values):
    items = render("kubenetmon-server", **values)
    text = the(items, "ConfigMap")["data"]["config.yaml"]
    keys = re.findall(r"^(\w+):", text, re.M)
    known = {name.split(".")[0] for name in reference()[1]}
    if len(keys) > len(set(keys)) or not known.issuperset(keys):
        raise AssertionError(text)
    return Workload(the(items, "Deployment"), yaml.safe_load(text))


def token_reviews(items):
    """Returns the rules and subjects of roles that permit token reviews."""
    roles = {item["metadata"]["name"]: item["rules"] for item in items if item["kind"] == "ClusterRole"}
    return [
        (roles[item["roleRef"]["name"]], item["subjects"]) for item in items
        if item["kind"] == "ClusterRoleBinding" and "tokenreviews" in str(roles[item["roleRef"]["name"]])]


class RenderedChartTests(unittest.TestCase):
    OTHERS = {
        "podAnnotations": {"a": "b"}, "nodeSelector": {"c": "d"}, "tolerations": [{"operator": "Exists"}],
        "serviceAccount": {"name": "account", "annotations": {"e": "f"}},
    }
    OTHERS_OF = {
        "kubenetmon-agent": {"environmentVariables": {"SPOOL_BYTES": 33554432, "LOG_LEVEL": "debug"}},
        "kubenetmon-server": {
            "inserter": {"existingSecret": "mine", "batchSize": 1000000},
            "extraConfiguration": {"private_networks": ["100.64.0.0/10"], "clickhouse_max_queued_bytes": 536870912},
        },
    }
    AGENT_TLS = {"enabled": True, "caSecretName": "kubenetmon-server-ca", "clientSecretName": "kubenetmon-agent-tls"}
    SERVER_TLS = {"enabled": True, "secretName": "kubenetmon-server-tls", "clientCASecretName": "kubenetmon-agent-ca"}

    def test_charts_pass_lint(self):
        for chart in VALUES:
            report = helm_python.lint(os.path.join(HELM, chart), strict=True)
            self.assertEqual(report["errors"], [])
            # A missing icon is reported as information only.
            self.assertLessEqual({message["severity"] for message in report["messages"]}, {1})

    def test_charts_render_valid_objects(self):
        for chart in VALUES:
            for more in ({}, {**self.OTHERS, **self.OTHERS_OF[chart]}):
                self.assertTrue(render(chart, **more))

    def test_names_are_those_of_kubenetmons_charts(self):
        for chart in VALUES:
            short = chart.split("-")[1]
            for release, values, name in (
                    (chart, {}, chart), ("kubenetmon", {}, "kubenetmon-" + chart), ("x-%s-y" % chart, {}, "x-%s-y" % chart),
                    ("kubenetmon", {"nameOverride": short}, "kubenetmon-" + short),
                    ("flows-" + short, {"nameOverride": short}, "flows-" + short),
                    ("kubenetmon", {"fullnameOverride": chart}, chart), ("r" * 53, {}, ("r" * 53 + "-" + chart)[:63])):
                items = render(chart, release=release, **values)
                workload = the(items, "DaemonSet" if chart == "kubenetmon-agent" else "Deployment")
                name = name.rstrip("-")
                self.assertEqual(workload["metadata"]["name"], name)
                self.assertEqual(workload["spec"]["template"]["spec"]["serviceAccountName"], name)
                labels = {
                    "app.kubernetes.io/name": values.get("nameOverride", chart), "app.kubernetes.io/instance": release}
                self.assertEqual(workload["spec"]["selector"]["matchLabels"], labels)
                self.assertEqual(workload["spec"]["template"]["metadata"]["labels"], labels)
                for item in items:
                    self.assertTrue(item["metadata"]["name"].startswith(name), item["metadata"]["name"])
                    if item["kind"] == "Service":
                        self.assertEqual((item["metadata"]["name"], item["spec"]["selector"]), (name, labels))
                    for other in ("configMap", "secret"):
                        for volume in workload["spec"]["template"]["spec"].get("volumes", []):
                            if other in volume:
                                self.assertTrue(str(volume[other]).count(name), volume)

    def test_images_are_pulled_with_the_secrets_and_pods_run_on_linux(self):
        for chart, kind in (("kubenetmon-agent", "DaemonSet"), ("kubenetmon-server", "Deployment")):
            pod = the(render(chart, imagePullSecrets=[{"name": "registry"}], nodeSelector={"c": "d"}), kind)
            pod = pod["spec"]["template"]["spec"]
            self.assertEqual(pod["imagePullSecrets"], [{"name": "registry"}])
            self.assertEqual(pod["nodeSelector"], {"c": "d", "kubernetes.io/os": "linux"})
            pod = the(render(chart), kind)["spec"]["template"]["spec"]
            self.assertNotIn("imagePullSecrets", pod)
            self.assertEqual(pod["nodeSelector"], {"kubernetes.io/os": "linux"})

    def test_agents_prefer_servers_of_their_zone_as_the_release_of_kubernetes_calls_it(self):
        for version, expected in (("v1.27.16", None), ("v1.30.0", "PreferClose"), ("v1.35.2-eks-1", "PreferClose"),
                                  ("v1.36.0", "PreferSameZone"), ("v1.36.1-gke.100", "PreferSameZone")):
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(os.path.join(HELM, "kubenetmon-server"), os.path.join(folder, "kubenetmon-server"))
                for name, text in templates("kubenetmon-server"):
                    # The library simulates one release of Kubernetes.
                    with open(os.path.join(folder, "kubenetmon-server", "templates", name), "w") as file:
                        file.write(text.replace(".Capabilities.KubeVersion.Version", '"%s"' % version))
                spec = the(render("kubenetmon-server", folder), "Service")["spec"]
                self.assertEqual(spec.get("trafficDistribution"), expected, version)
                spec = the(render("kubenetmon-server", folder, service={"trafficDistribution": ""}), "Service")["spec"]
                self.assertNotIn("trafficDistribution", spec)

    def test_unknown_and_wrong_values_are_rejected_by_name(self):
        for chart, values, named in (
                ("kubenetmon-server", {"inserter": {"batchsize": 1}}, "batchsize"),
                ("kubenetmon-server", {"replicas": 3}, "replicas"),
                ("kubenetmon-server", {"inserter": {"batchSize": "many"}}, "batchSize"),
                ("kubenetmon-server", {"inserter": {"dialTimeout": 30}}, "dialTimeout"),
                ("kubenetmon-server", {"service": {"port": 70000}}, "port"),
                ("kubenetmon-server", {"agentAuthentication": {"mode": "kerberos"}}, "mode"),
                ("kubenetmon-agent", {"configuration": {"collectionIntervall": "5s"}}, "collectionIntervall"),
                ("kubenetmon-agent", {"configuration": {"collectionInterval": "five"}}, "collectionInterval"),
                ("kubenetmon-agent", {"environmentVariables": {"log level": "debug"}}, "log level"),
                ("kubenetmon-agent", {"spool": {"hostPath": "var/spool"}}, "hostPath")):
            with self.subTest(chart, values=values):
                with self.assertRaisesRegex(Exception, named):
                    render(chart, **values)

    def test_the_schema_names_every_value(self):
        def compare(values, schema, path):
            self.assertIs(schema["additionalProperties"], False, path)
            for name, value in values.items():
                self.assertIn(name, schema["properties"], path)
                inner = schema["properties"][name]
                if isinstance(value, dict) and "properties" in inner:
                    compare(value, inner, path + name + ".")
        for chart in VALUES:
            with open(os.path.join(HELM, chart, "values.schema.json")) as file:
                schema = json.load(file)
            compare(values(chart), schema, "")
            for name in VALUES[chart]:
                for part in name.split("."):
                    self.assertTrue(part in str(schema), name)

    def test_values_may_be_null_or_quoted(self):
        pod = the(render("kubenetmon-server", nodeSelector=None, deployment={"affinity": None}), "Deployment")
        self.assertEqual(pod["spec"]["template"]["spec"]["nodeSelector"], {"kubernetes.io/os": "linux"})
        self.assertTrue(render("kubenetmon-agent", nodeSelector=None, podSecurityContext=None, secrets=None, enabled=True,
                               configuration={"kubenetmonServerServicePort": "8884", "uptimeWaitDuration": 0,
                                              "skipConntrackSanityCheck": "true", "collectionInterval": ".5s"}))
        self.assertTrue(render("kubenetmon-server", cluster=42, secrets=None, maxGRPCConnectionAge=0, enabled=True,
                               inserter={"password": 123456, "numInserterWorkers": "20"},
                               serviceMonitors={"interval": "1d"}, deployment={"replicaCount": "3"}))

    def test_servers_prefer_different_nodes_under_any_name(self):
        pod = the(render("kubenetmon-server", nameOverride="flows"), "Deployment")["spec"]["template"]
        rule, = pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        self.assertEqual(rule["podAffinityTerm"]["labelSelector"]["matchLabels"], pod["metadata"]["labels"])
        mine = {"nodeAffinity": {}}
        pod = the(render("kubenetmon-server", deployment={"affinity": mine}), "Deployment")["spec"]["template"]
        self.assertEqual(pod["spec"]["affinity"], mine)

    def test_values_without_effect_of_kubenetmons_charts_are_accepted(self):
        more = {"secrets": {}, "metrics": {"primaryAlerter": False}, "global": {"x": 1}}
        self.assertTrue(render("kubenetmon-agent", podSecurityContext={}, **more))
        self.assertTrue(render("kubenetmon-server", automountServiceAccountToken=True, configuration={}, **more))

    def test_commands_of_the_notes_name_what_is_there(self):
        for chart, kind in (("kubenetmon-agent", "DaemonSet"), ("kubenetmon-server", "Deployment")):
            for release, namespace in ((chart, chart), ("kubenetmon", "default"), ("flows", "monitoring")):
                items = render(chart, release=release)
                name = the(items, kind)["metadata"]["name"]
                text = notes(chart, release, namespace)
                commands = re.findall(r"^  (kubectl .*)$", text, re.M)
                self.assertGreaterEqual(len(commands), 2)
                for command in commands:
                    self.assertIn("--namespace %s " % namespace, command)
                    self.assertEqual(re.findall(r"(\w+)/(\S+)", command), [(kind.lower(), name)])
                if kind == "Deployment":
                    service = the(items, "Service")
                    self.assertIn("%s.%s.svc.cluster.local, port %d" % (
                        service["metadata"]["name"], namespace, service["spec"]["ports"][0]["port"]), text)
                    port = service["spec"]["ports"][1]["port"]
                    self.assertIn("deployment/%s %d &" % (name, port), text)
                    self.assertIn("localhost:%d/ready" % port, text)
        text = notes("kubenetmon-server", "a", "b")
        self.assertIn("not encrypted", text)
        self.assertIn("any client", text)
        self.assertIn("not created by the servers", text)
        text = notes("kubenetmon-server", "a", "b", tls={"enabled": True, "secretName": "c"},
                     extraConfiguration={"clickhouse_migrate": "auto"})
        self.assertNotIn("not encrypted", text)
        self.assertNotIn("not created by the servers", text)

    def test_a_site_must_be_named(self):
        for name in SITE:
            with self.assertRaisesRegex(helm_python.HelmRenderError, "set %s: every row has it" % name):
                render("kubenetmon-server", **{name: ""})

    def test_the_disruption_budget_is_that_of_the_overlay(self):
        budget = the(render("kubenetmon-server"), "PodDisruptionBudget")["spec"]
        other = Overlay("overlays/plain").one("PodDisruptionBudget")["spec"]
        self.assertEqual({**budget, "selector": None}, {**other, "selector": None})

    def test_an_update_can_surge_and_hand_over(self):
        daemon_set = the(render("kubenetmon-agent"), "DaemonSet")
        assert_surges(self, daemon_set)
        metadata = daemon_set["metadata"]
        self.assertEqual(
            Workload(daemon_set).settings["WORKLOAD_NAME"], "%s/%s" % (metadata["namespace"], metadata["name"]))

    def test_kubenetmons_update_strategy_is_valid(self):
        for value in ("50%", 1):
            update = {"rollingUpdate": {"maxUnavailable": value}}
            spec = the(render("kubenetmon-agent", updateStrategy=update), "DaemonSet")["spec"]
            self.assertEqual(spec["updateStrategy"]["rollingUpdate"], {"maxUnavailable": value})
        spec = the(render("kubenetmon-agent", updateStrategy={"rollingUpdate": {"maxSurge": 1}}), "DaemonSet")["spec"]
        self.assertEqual(spec["updateStrategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})

    def test_the_agents_port_is_that_of_its_probes(self):
        daemon_set = the(render("kubenetmon-agent", metrics={"port": 9100}), "DaemonSet")
        container, = daemon_set["spec"]["template"]["spec"]["containers"]
        for probe in ("livenessProbe", "readinessProbe"):
            self.assertEqual(container[probe]["httpGet"]["port"], 9100)

    def test_clickhouse_uses_tls_by_default(self):
        names = {"disableTLS": "clickhouse_disable_tls",
                 "allowPlaintextOnTLSPort": "clickhouse_allow_plaintext_on_tls_port"}
        for value, key in names.items():
            self.assertIs(server().settings[key], False)
            self.assertIs(server(inserter={value: True}).settings[key], True)

    def test_agents_use_plaintext_without_authentication_by_default(self):
        workload = agent()
        self.assertFalse({"SERVER_TLS", "TOKEN_FILE"} & set(workload.settings))
        self.assertNotIn("volumes", workload.pod)
        workload = server()
        self.assertFalse([key for key in workload.settings if key.startswith(("tls_", "agent_"))])
        self.assertEqual([item["name"] for item in workload.pod["volumes"]], ["config", "clickhouse", "cache"])
        self.assertEqual(token_reviews(render("kubenetmon-server")), [])

    def test_tls_and_tokens_are_those_of_the_overlay(self):
        overlay = Overlay("overlays/mutual-tls")
        authentication = {"mode": "kubernetes"}
        here = agent(tls=self.AGENT_TLS, agentAuthentication=authentication)
        there = Workload(overlay.agent)
        self.assertEqual(here.settings["SERVER_TLS"], there.settings["SERVER_TLS"])
        for name in ("SERVER_CA_FILE", "CLIENT_CERTIFICATE_FILE", "CLIENT_KEY_FILE", "TOKEN_FILE"):
            self.assertEqual(here.origin(name), there.origin(name), name)

        here = server(tls=self.SERVER_TLS, agentAuthentication=authentication)
        there = Workload(overlay.server, overlay.configuration)
        for name in ("tls_certificate_file", "tls_key_file", "tls_client_ca_file"):
            self.assertEqual(here.origin(name), there.origin(name), name)
        self.assertEqual(here.settings["agent_authentication"], there.settings["agent_authentication"])
        rights = token_reviews(render("kubenetmon-server", agentAuthentication=authentication))
        self.assertEqual(rights, token_reviews(overlay.objects))
        self.assertEqual(len(rights), 1)

    def test_both_charts_have_the_accounts_and_audiences(self):
        authentication = {"mode": "kubernetes", "audience": "flows", "serviceAccounts": "monitoring/agents"}
        source = agent(agentAuthentication=authentication).origin("TOKEN_FILE")
        self.assertEqual(source["serviceAccountToken"]["audience"], "flows")
        settings = server(agentAuthentication=authentication).settings
        self.assertEqual(settings["agent_token_audience"], "flows")
        self.assertEqual(settings["agent_service_accounts"], "monitoring/agents")

    def test_udp_is_recorded_by_default(self):
        self.assertIs(server().settings["ignore_udp"], False)
        self.assertIs(server(inserter={"ignoreUDP": True}).settings["ignore_udp"], True)
        self.assertIs(server().settings.get("ignore_node_flows", True), True)

    def test_a_spool_is_on_the_node_or_in_the_pod(self):
        path = "/var/spool/kubenetmon"
        for values, volume in (({"hostPath": path}, {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}),
                               ({"emptyDir": True}, {"emptyDir": {}})):
            workload = agent(spool=values, agentAuthentication={"mode": "token", "secretName": "shared"})
            self.assertEqual(workload.settings["SPOOL_DIRECTORY"], path)
            self.assertIn({"name": "spool", "mountPath": path}, workload.container["volumeMounts"])
            self.assertIn({"name": "spool", **volume}, workload.pod["volumes"])
            self.assertEqual(workload.origin("TOKEN_FILE"), ("shared", "token", 0o400))
        self.assertEqual([item["name"] for item in agent(spool={"emptyDir": True}).pod["volumes"]], ["spool"])
        self.assertNotIn("SPOOL_DIRECTORY", agent().settings)
        with self.assertRaisesRegex(helm_python.HelmRenderError, "spool"):
            agent(spool={"hostPath": path, "emptyDir": True})

    def test_a_shared_secret_needs_no_right(self):
        authentication = {"mode": "token", "secretName": "shared"}
        self.assertEqual(agent(agentAuthentication=authentication).origin("TOKEN_FILE"), ("shared", "token", 0o400))
        workload = server(agentAuthentication=authentication)
        self.assertEqual(workload.settings["agent_authentication"], "token")
        self.assertEqual(workload.origin("agent_token_file"), ("shared", "token", 0o440))
        self.assertEqual(token_reviews(render("kubenetmon-server", agentAuthentication=authentication)), [])

    def test_parts_of_tls_are_optional(self):
        workload = agent(tls={"enabled": True, "serverName": "flows.example"})
        self.assertEqual(workload.settings["SERVER_TLS"], "true")
        self.assertEqual(workload.settings["SERVER_NAME"], "flows.example")
        self.assertNotIn("volumes", workload.pod)
        workload = server(tls={"enabled": True, "secretName": "mine"})
        self.assertEqual(workload.origin("tls_certificate_file"), ("mine", "tls.crt", 0o440))
        self.assertEqual(workload.origin("tls_key_file"), ("mine", "tls.key", 0o440))
        self.assertNotIn("tls_client_ca_file", workload.settings)

    def test_agents_serve_probes_on_the_nodes_address_by_default(self):
        def address(**values):
            item, = [item for item in agent(**values).container["env"] if item["name"] == "METRICS_ADDRESS"]
            return item
        self.assertEqual(address(), {
            "name": "METRICS_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}})
        self.assertEqual(address(metrics={"address": "::"}), {"name": "METRICS_ADDRESS", "value": "::"})

    def test_monitors_are_those_of_the_component(self):
        overlay = Overlay("overlays/large-cluster")
        for chart, kind, workload, endpoints in (
            ("kubenetmon-agent", "PodMonitor", "DaemonSet", "podMetricsEndpoints"),
            ("kubenetmon-server", "ServiceMonitor", "Service", "endpoints"),
        ):
            self.assertNotIn(kind, [item["kind"] for item in render(chart)])
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(os.path.join(HELM, chart), os.path.join(folder, chart))
                for name, text in templates(chart):
                    # The library cannot simulate a cluster with the Prometheus operator.
                    with open(os.path.join(folder, chart, "templates", name), "w") as file:
                        file.write(text.replace('Has "monitoring.coreos.com/v1"', 'Has "apps/v1"'))
                items = render(chart, folder)
                for without in ("metrics", "serviceMonitors"):
                    self.assertNotIn(kind, [item["kind"] for item in render(chart, folder, **{without: {"enabled": False}})])
            monitor = the(items, kind)
            self.assertEqual(monitor["spec"][endpoints], overlay.one(kind)["spec"][endpoints])
            labels = monitor["spec"]["selector"]["matchLabels"]
            self.assertEqual(labels, the(items, workload)["metadata"]["labels"])

    def test_missing_values_are_errors(self):
        for chart in VALUES:
            with self.assertRaisesRegex(helm_python.HelmRenderError, "agentAuthentication"):
                render(chart, agentAuthentication={"mode": "token"})
        with self.assertRaisesRegex(helm_python.HelmRenderError, "tls.secretName"):
            render("kubenetmon-server", tls={"enabled": True})
        # Certificates without TLS are rejected instead of ignored.
        for chart, name in (("kubenetmon-server", "clientCASecretName"), ("kubenetmon-agent", "caSecretName"),
                            ("kubenetmon-agent", "clientSecretName"), ("kubenetmon-agent", "serverName")):
            with self.assertRaisesRegex(helm_python.HelmRenderError, "tls.enabled"):
                render(chart, tls={name: "something"})


if __name__ == "__main__":
    unittest.main()
