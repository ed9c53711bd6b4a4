# SPDX-License-Identifier: Apache-2.0
"""Renders every overlay of deploy/kubernetes with kubectl, checks it against Kubernetes' schemas, and checks that its objects
agree with each other and with the daemons' settings."""
import functools
import os
import re
import subprocess
import sys
import tempfile
import unittest

import kubernetes_validate
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
KUSTOMIZE = os.path.join(ROOT, "deploy", "kubernetes")
GRAFANA = os.path.join(ROOT, "deploy", "grafana")
KUBECTL = os.path.join(os.path.dirname(sys.executable), "kubectl")
# The oldest release whose API server accepts all fields by default, and the newest with published schemas.
KUBERNETES = ("1.31", "1.37")
# Custom resources of the Prometheus operator and of cert-manager, for which no schemas are available.
WITHOUT_SCHEMA = {"PodMonitor", "ServiceMonitor", "Certificate", "Issuer"}
# Not used by any overlay; has a separate test.
OPTIONAL = "components/agent-spool"
# The right that components/agent-tokens adds.
TOKEN_REVIEW = "kubenetmon-server-token-review"

AGENT, SERVER = "kubenetmon-agent", "kubenetmon-server"


def render(overlay):
    command = [KUBECTL, "kustomize", os.path.join(KUSTOMIZE, overlay)]
    rendered = subprocess.run(command, capture_output=True, text=True)
    if rendered.returncode or rendered.stderr:
        raise AssertionError("%s: %s" % (overlay, rendered.stderr))
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


def reference():
    """Returns the names in docs/configuration.md: the agent's variables and the server's keys."""
    with open(os.path.join(ROOT, "docs", "configuration.md")) as file:
        agent, server = file.read().split("<!-- server -->")
    variables, keys = (
        {name for row in re.findall(r"^\| (`[^|]*) \|", table, re.M) for name in re.findall(r"`([^`]+)`", row)}
        for table in (agent, server))
    return variables, keys


def size(text):
    """Converts a Kubernetes quantity to bytes."""
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)?", str(text)).groups()
    return int(number) << {None: 0, "Ki": 10, "Mi": 20, "Gi": 30}[unit]


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def assert_surges(test, daemon_set):
    """An update can schedule a second pod on a node, and that pod becomes available by its own responses to probes only."""
    update = daemon_set["spec"]["updateStrategy"]
    test.assertEqual(update["type"], "RollingUpdate")
    test.assertEqual(update["rollingUpdate"]["maxUnavailable"], 0)
    test.assertRegex(str(update["rollingUpdate"]["maxSurge"]), r"^[1-9]\d*%?$")
    pod = daemon_set["spec"]["template"]["spec"]
    # In the host's network each declared port is a port of the node, which only one pod can use.
    test.assertTrue(pod["hostNetwork"])
    for container in pod["containers"] + pod.get("initContainers", []):
        test.assertNotIn("ports", container)
    for volume in pod.get("volumes", []):
        test.assertNotIn("persistentVolumeClaim", volume)
    test.assertNotIn("podAntiAffinity", pod.get("affinity", {}))
    probe = pod["containers"][0]["readinessProbe"]
    # Kubernetes' default.
    failures = probe.get("failureThreshold", 3)
    test.assertGreater(daemon_set["spec"]["minReadySeconds"], probe["periodSeconds"] * failures)


class Overlay:
    def __init__(self, name):
        self.name = name
        self.objects = render(name)
        self.agent = self.one("DaemonSet", AGENT)
        self.server = self.one("Deployment", SERVER)
        self.agent_pod = self.agent["spec"]["template"]["spec"]
        self.server_pod = self.server["spec"]["template"]["spec"]
        self.agent_container, = self.agent_pod["containers"]
        self.server_container, = self.server_pod["containers"]

    def all(self, kind):
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind, name=None):
        found = [item for item in self.all(kind) if name is None or item["metadata"]["name"] == name]
        assert len(found) == 1, "%s: %d of %s %s" % (self.name, len(found), kind, name)
        return found[0]

    @property
    def configuration_map(self):
        volume, = [volume for volume in self.server_pod["volumes"] if volume["name"] == "config"]
        return self.one("ConfigMap", volume["configMap"]["name"])

    @property
    def dashboards(self):
        """Returns the ConfigMaps that Grafana's sidecar collects."""
        return [
            item for item in self.all("ConfigMap") if item["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
        ]

    @property
    def configuration(self):
        return yaml.safe_load(self.configuration_map["data"]["config.yaml"])

    @property
    def agent_variables(self):
        return {variable["name"]: variable.get("value") for variable in self.agent_container["env"]}

    @property
    def reviews_tokens(self):
        return self.configuration.get("agent_authentication") == "kubernetes"

    def mounts(self):
        """Returns the server's mounted paths, each with whether it is writable."""
        return {
            mount["mountPath"]: not mount.get("readOnly", False) for mount in self.server_container["volumeMounts"]
        }


def for_each_overlay(test):
    @functools.wraps(test)
    def tests(self):
        for overlay in self.overlays:
            with self.subTest(overlay.name):
                test(self, overlay)
    return tests


class ManifestTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        names = ["base"] + ["overlays/" + name for name in sorted(os.listdir(os.path.join(KUSTOMIZE, "overlays")))]
        cls.overlays = [Overlay(name) for name in names]

    @for_each_overlay
    def test_every_object_is_valid(self, overlay):
        for item in overlay.objects:
            for version in KUBERNETES:
                try:
                    kubernetes_validate.validate(item, version, strict=True)
                except kubernetes_validate.SchemaNotFoundError:
                    self.assertIn(item["kind"], WITHOUT_SCHEMA)
                except kubernetes_validate.ValidationError as error:
                    self.fail("%s %s: %s" % (item["kind"], ".".join(map(str, error.path)), error.message))

    @for_each_overlay
    def test_every_object_is_present(self, overlay):
        expected = {
            "Namespace": 2, "DaemonSet": 1, "Deployment": 1, "Service": 1, "PodDisruptionBudget": 1,
            "ClusterRole": 1 + overlay.reviews_tokens, "ClusterRoleBinding": 1 + overlay.reviews_tokens, "ServiceAccount": 2, "PriorityClass": 1, "NetworkPolicy": 2,
        }
        for kind, count in expected.items():
            self.assertEqual(len(overlay.all(kind)), count, kind)
        self.assertEqual(overlay.all("Secret"), [])
        others = [item for item in overlay.all("ConfigMap") if item not in overlay.dashboards]
        self.assertEqual(others, [overlay.configuration_map])

    def test_an_agent_with_a_spool_can_write_to_that_directory_only(self):
        with tempfile.TemporaryDirectory() as folder:
            parts = [os.path.relpath(os.path.join(os.path.realpath(KUSTOMIZE), name), os.path.realpath(folder))
                     for name in ("overlays/mutual-tls", OPTIONAL)]
            with open(os.path.join(folder, "kustomization.yaml"), "w") as file:
                yaml.safe_dump({"resources": parts[:1], "components": parts[1:]}, file)
            overlay = Overlay(folder)
        kubernetes_validate.validate(overlay.agent, KUBERNETES[-1], strict=True)
        writable = [mount for mount in overlay.agent_container["volumeMounts"] if not mount.get("readOnly")]
        self.assertEqual([mount["mountPath"] for mount in writable], [overlay.agent_variables["SPOOL_DIRECTORY"]])
        volume, = [item for item in overlay.agent_pod["volumes"] if item["name"] == writable[0]["name"]]
        self.assertEqual(volume["hostPath"]["type"], "DirectoryOrCreate")
        self.assertIn("SPOOL_DIRECTORY", reference()[0])

    def test_every_component_is_used_by_an_overlay(self):
        used = set()
        for name in os.listdir(os.path.join(KUSTOMIZE, "overlays")):
            folder = os.path.join(KUSTOMIZE, "overlays", name)
            with open(os.path.join(folder, "kustomization.yaml")) as file:
                paths = yaml.safe_load(file).get("components", [])
            used |= {os.path.normpath(os.path.join(folder, path)) for path in paths}
        components = os.path.join(KUSTOMIZE, "components")
        used.add(os.path.join(KUSTOMIZE, OPTIONAL))
        self.assertEqual(used, {os.path.join(components, name) for name in os.listdir(components)} | {GRAFANA})

    def test_dashboards_are_those_of_the_folder(self):
        with_dashboards = [overlay for overlay in self.overlays if overlay.dashboards]
        self.assertTrue(with_dashboards)
        expected = {}
        for name in os.listdir(GRAFANA):
            if name.endswith(".json"):
                with open(os.path.join(GRAFANA, name)) as file:
                    expected["kubenetmon-dashboard-" + name[:-5]] = {name: file.read()}
        for overlay in with_dashboards:
            with self.subTest(overlay.name):
                self.assertEqual({item["metadata"]["name"]: item["data"] for item in overlay.dashboards}, expected)

    # The agent

    @for_each_overlay
    def test_the_agent_has_one_capability_and_no_writable_path(self, overlay):
        context = overlay.agent_container["securityContext"]
        self.assertEqual(context["capabilities"], {"drop": ["ALL"], "add": ["NET_ADMIN"]})
        self.assertEqual(context["runAsUser"], 0)
        self.assertTrue(context["readOnlyRootFilesystem"])
        self.assertFalse(context["allowPrivilegeEscalation"])
        self.assertNotIn("privileged", context)
        self.assertEqual(overlay.agent_pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertFalse(overlay.agent_pod["automountServiceAccountToken"])
        for volume in overlay.agent_pod.get("volumes", []):
            self.assertTrue("secret" in volume or "projected" in volume, volume)
        for mount in overlay.agent_container.get("volumeMounts", []):
            self.assertTrue(mount["readOnly"])

    @for_each_overlay
    def test_only_the_accounting_step_is_privileged(self, overlay):
        for step in overlay.agent_pod.get("initContainers", []):
            self.assertNotIn("command", step)
            self.assertEqual(step["args"], ["enable-accounting"])
            self.assertEqual(step["image"], overlay.agent_container["image"])
            self.assertNotIn("restartPolicy", step)
            self.assertTrue(step["securityContext"]["privileged"])
            self.assertTrue(step["securityContext"]["readOnlyRootFilesystem"])
            self.assertNotIn("env", step)

    @for_each_overlay
    def test_the_agent_runs_on_every_node_in_the_hosts_network(self, overlay):
        self.assertTrue(overlay.agent_pod["hostNetwork"])
        self.assertEqual(overlay.agent_pod["dnsPolicy"], "ClusterFirstWithHostNet")
        self.assertEqual(overlay.agent_pod["tolerations"], [{"operator": "Exists"}])
        self.assertEqual(
            overlay.agent_pod["priorityClassName"], overlay.one("PriorityClass")["metadata"]["name"])

    @for_each_overlay
    def test_the_agent_knows_its_variables(self, overlay):
        known, _ = reference()
        names = [variable["name"] for variable in overlay.agent_container["env"]]
        self.assertLessEqual(set(names), known)
        self.assertEqual(len(names), len(set(names)))

    @for_each_overlay
    def test_the_agent_dials_the_service(self, overlay):
        service = overlay.one("Service")
        host = "%s.%s.svc.cluster.local" % (service["metadata"]["name"], service["metadata"]["namespace"])
        self.assertEqual(overlay.agent_variables["KUBENETMON_SERVER_SERVICE_HOST"], host)
        ports = {str(port["port"]) for port in service["spec"]["ports"] if port["name"] == "agents"}
        self.assertEqual({overlay.agent_variables["KUBENETMON_SERVER_SERVICE_PORT"]}, ports)

    @for_each_overlay
    def test_an_update_can_surge_and_hand_over(self, overlay):
        assert_surges(self, overlay.agent)
        metadata = overlay.agent["metadata"]
        self.assertEqual(
            overlay.agent_variables["WORKLOAD_NAME"], "%s/%s" % (metadata["namespace"], metadata["name"]))

    @for_each_overlay
    def test_the_agents_memory_holds_its_spool(self, overlay):
        spool = int(overlay.agent_variables.get("SPOOL_BYTES", 16 << 20))
        # Unacknowledged batches are kept in their wire format, and merging needs their size again.
        limit = size(overlay.agent_container["resources"]["limits"]["memory"])
        self.assertGreaterEqual(limit, 3 * spool + (32 << 20))

    # The server

    @for_each_overlay
    def test_the_server_runs_without_privileges(self, overlay):
        pod, container = overlay.server_pod["securityContext"], overlay.server_container["securityContext"]
        self.assertTrue(pod["runAsNonRoot"])
        self.assertNotEqual(pod["runAsUser"], 0)
        self.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertEqual(container["capabilities"], {"drop": ["ALL"]})
        self.assertTrue(container["readOnlyRootFilesystem"])
        self.assertFalse(container["allowPrivilegeEscalation"])

    @for_each_overlay
    def test_the_server_may_list_and_watch_four_resources(self, overlay):
        allowed = {
            (group, resource): set(rule["verbs"])
            for rule in overlay.one("ClusterRole", SERVER)["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }
        resources = [("", "pods"), ("", "nodes"), ("", "services"), ("apps", "replicasets")]
        self.assertEqual(allowed, {resource: {"list", "watch"} for resource in resources})
        account = overlay.one("ServiceAccount", overlay.server_pod["serviceAccountName"])["metadata"]
        for binding in overlay.all("ClusterRoleBinding"):
            subject, = binding["subjects"]
            self.assertEqual((subject["namespace"], subject["name"]), (account["namespace"], account["name"]))
            self.assertEqual(binding["roleRef"]["name"], binding["metadata"]["name"])

    @for_each_overlay
    def test_only_servers_that_review_tokens_have_the_right(self, overlay):
        roles = [item for item in overlay.all("ClusterRole") if item["metadata"]["name"] == TOKEN_REVIEW]
        expected = [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]
        self.assertEqual([role["rules"] for role in roles], [expected] if overlay.reviews_tokens else [])

    @for_each_overlay
    def test_agents_have_the_token_that_servers_review(self, overlay):
        tokens = [
            (mount["mountPath"], source["serviceAccountToken"])
            for volume in overlay.agent_pod.get("volumes", [])
            for source in volume.get("projected", {}).get("sources", [])
            for mount in overlay.agent_container["volumeMounts"]
            if mount["name"] == volume["name"]
        ]
        self.assertEqual(len(tokens), overlay.reviews_tokens)
        for folder, token in tokens:
            audience = overlay.configuration.get("agent_token_audience", SERVER)
            self.assertEqual(token["audience"], audience)
            self.assertEqual(overlay.agent_variables["TOKEN_FILE"], folder + "/" + token["path"])
            account = overlay.one("ServiceAccount", overlay.agent_pod["serviceAccountName"])["metadata"]
            name = "%s/%s" % (account["namespace"], account["name"])
            accounts = overlay.configuration.get("agent_service_accounts", "kubenetmon-agent/kubenetmon-agent")
            self.assertIn(name, accounts.split(","))

    # TLS

    def folder(self, pod, container, secret):
        """Returns the path at which a Secret is mounted."""
        volume, = [item for item in pod["volumes"] if item.get("secret", {}).get("secretName") == secret]
        mount, = [item for item in container["volumeMounts"] if item["name"] == volume["name"]]
        self.assertTrue(mount["readOnly"])
        return mount["mountPath"]

    @for_each_overlay
    def test_tls_is_set_up_on_both_sides_or_neither(self, overlay):
        configuration, variables = overlay.configuration, overlay.agent_variables
        if "tls_certificate_file" not in configuration:
            self.assertNotIn("SERVER_TLS", variables)
            return
        # The names of the files in a Secret of cert-manager.
        secret = overlay.one("Certificate", SERVER)["spec"]["secretName"]
        folder = self.folder(overlay.server_pod, overlay.server_container, secret)
        self.assertEqual(configuration["tls_certificate_file"], folder + "/tls.crt")
        self.assertEqual(configuration["tls_key_file"], folder + "/tls.key")
        secret = overlay.one("Certificate", AGENT)["spec"]["secretName"]
        folder = self.folder(overlay.agent_pod, overlay.agent_container, secret)
        self.assertEqual(variables["SERVER_TLS"], "true")
        self.assertEqual(variables["CLIENT_CERTIFICATE_FILE"], folder + "/tls.crt")
        self.assertEqual(variables["CLIENT_KEY_FILE"], folder + "/tls.key")

    @for_each_overlay
    def test_each_side_has_the_others_authority(self, overlay):
        if "tls_certificate_file" not in overlay.configuration:
            return
        with open(os.path.join(KUSTOMIZE, overlay.name, "kustomization.yaml")) as file:
            copies = re.findall(r"^#   copy_authority (\S+) (\S+)$", file.read(), re.M)
        self.assertEqual(sorted(copies), [(AGENT, SERVER), (SERVER, AGENT)])
        folder = self.folder(overlay.server_pod, overlay.server_container, AGENT + "-ca")
        self.assertEqual(overlay.configuration["tls_client_ca_file"], folder + "/ca.crt")
        folder = self.folder(overlay.agent_pod, overlay.agent_container, SERVER + "-ca")
        self.assertEqual(overlay.agent_variables["SERVER_CA_FILE"], folder + "/ca.crt")

    @for_each_overlay
    def test_certificates_have_their_names_and_their_namespaces_authority(self, overlay):
        if not overlay.all("Certificate"):
            return
        host = overlay.agent_variables.get("SERVER_NAME", overlay.agent_variables["KUBENETMON_SERVER_SERVICE_HOST"])
        self.assertIn(host, overlay.one("Certificate", SERVER)["spec"]["dnsNames"])
        by_name = {
            (item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]): item["spec"]
            for kind in ("Issuer", "Certificate")
            for item in overlay.all(kind)
        }
        for name, namespace, usage in ((SERVER, SERVER, "server auth"), (AGENT, AGENT, "client auth")):
            certificate = overlay.one("Certificate", name)
            self.assertEqual(certificate["metadata"]["namespace"], namespace)
            self.assertEqual(certificate["spec"]["usages"], [usage])
            named = certificate["spec"]["issuerRef"]
            issuer = by_name[named["kind"], namespace, named["name"]]
            authority = by_name["Certificate", namespace, "kubenetmon-authority"]
            self.assertEqual(issuer["ca"]["secretName"], authority["secretName"])
            self.assertTrue(authority["isCA"])
            named = authority["issuerRef"]
            self.assertIn("selfSigned", by_name[named["kind"], namespace, named["name"]])
        names = {item["commonName"] for item in by_name.values() if item.get("isCA")}
        self.assertEqual(len(names), 2)

    @for_each_overlay
    def test_the_server_knows_its_keys(self, overlay):
        _, known = reference()
        configuration = overlay.configuration
        keys = set(configuration) - {"cloud_ranges"}
        self.assertLessEqual(keys | {"cloud_ranges." + key for key in configuration["cloud_ranges"]}, known)
        for key in ("environment", "cloud", "region", "cluster"):
            self.assertTrue(configuration[key])

    @for_each_overlay
    def test_udp_is_recorded_and_nodes_are_not(self, overlay):
        self.assertIs(overlay.configuration["ignore_udp"], False)
        self.assertIs(overlay.configuration.get("ignore_node_flows", True), True)

    @for_each_overlay
    def test_no_secret_is_in_the_configuration(self, overlay):
        for item in overlay.all("ConfigMap"):
            for text in item["data"].values():
                self.assertNotRegex(text, r"(?i)password|token(?!_audience)|secret|://[^/\s]*@")

    @for_each_overlay
    def test_paths_in_the_configuration_are_mounted(self, overlay):
        mounts = overlay.mounts()
        ranges = overlay.configuration["cloud_ranges"]
        if "cache_directory" in ranges:
            self.assertTrue(mounts[ranges["cache_directory"]])
        for path in (value for value in ranges.values() if str(value).startswith("/")):
            self.assertTrue(any(path == mount or path.startswith(mount + "/") for mount in mounts), path)
        self.assertFalse(mounts["/etc/clickhouse"])
        self.assertFalse(mounts["/etc/kubenetmon-server"])

    @for_each_overlay
    def test_the_servers_memory_holds_its_queued_bytes(self, overlay):
        queued = overlay.configuration.get("clickhouse_max_queued_bytes", 256 << 20)
        limit = size(overlay.server_container["resources"]["limits"]["memory"])
        self.assertGreaterEqual(limit, queued + (256 << 20))

    @for_each_overlay
    def test_three_servers_are_spread_out(self, overlay):
        replicas = [item["spec"]["minReplicas"] for item in overlay.all("HorizontalPodAutoscaler")]
        self.assertEqual(replicas or [overlay.server["spec"]["replicas"]], [3])
        self.assertEqual("replicas" in overlay.server["spec"], not replicas)
        constraint, = overlay.server_pod["topologySpreadConstraints"]
        self.assertEqual(constraint["topologyKey"], "topology.kubernetes.io/zone")
        self.assertEqual(overlay.one("Service")["spec"]["trafficDistribution"], "PreferClose")

    # Both

    @for_each_overlay
    def test_there_is_time_to_stop(self, overlay):
        timeout = seconds(overlay.configuration.get("shutdown_timeout", "25s"))
        self.assertGreater(overlay.server_pod["terminationGracePeriodSeconds"], timeout + 5)
        timeout = seconds(overlay.agent_variables["SHUTDOWN_TIMEOUT"])
        self.assertGreater(overlay.agent_pod["terminationGracePeriodSeconds"], timeout + 5)

    @for_each_overlay
    def test_ports_are_those_that_are_listened_on(self, overlay):
        configuration = overlay.configuration
        server = {"agents": configuration.get("port", 8884), "metrics": configuration.get("metrics_port", 8883)}
        self.assertEqual({port["name"]: port["containerPort"] for port in overlay.server_container["ports"]}, server)
        agent = {int(overlay.agent_variables["METRICS_PORT"])}
        for container, ports in ((overlay.server_container, server), (overlay.agent_container, agent)):
            for probe, path in (("livenessProbe", "/live"), ("readinessProbe", "/ready")):
                self.assertEqual(container[probe]["httpGet"]["path"], path)
                self.assertIn(container[probe]["httpGet"]["port"], ports)
        for monitor in overlay.all("PodMonitor"):
            endpoint, = monitor["spec"]["podMetricsEndpoints"]
            self.assertFalse({"port", "portNumber", "targetPort"} & set(endpoint))
            addresses = [
                item["replacement"] for item in endpoint["relabelings"] if item.get("targetLabel") == "__address__"]
            self.assertEqual(addresses, [form % tuple(agent) for form in ("$1:%d", "[$1]:%d")])
            containers = [
                item["regex"] for item in endpoint["relabelings"]
                if item.get("sourceLabels") == ["__meta_kubernetes_pod_container_name"] and item["action"] == "keep"]
            self.assertEqual(containers, [overlay.agent_container["name"]])
        for port in overlay.one("Service")["spec"]["ports"]:
            self.assertEqual(port["port"], server[port["targetPort"]])
        policy = overlay.one("NetworkPolicy", SERVER)
        self.assertEqual({port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}, set(server))

    @for_each_overlay
    def test_agents_serve_probes_on_the_nodes_own_address(self, overlay):
        address = [item for item in overlay.agent_container["env"] if item["name"] == "METRICS_ADDRESS"]
        self.assertEqual(address, [{
            "name": "METRICS_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}])
        # The pod has the node's address, and probes without a host use the pod's address.
        self.assertTrue(overlay.agent_pod["hostNetwork"])
        for probe in ("livenessProbe", "readinessProbe"):
            self.assertNotIn("host", overlay.agent_container[probe]["httpGet"])

    @for_each_overlay
    def test_selectors_select(self, overlay):
        for workload in (overlay.agent, overlay.server):
            labels = workload["spec"]["template"]["metadata"]["labels"]
            self.assertEqual(workload["spec"]["selector"]["matchLabels"], labels)
        labels = overlay.server["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(overlay.one("Service")["spec"]["selector"], labels)
        self.assertEqual(overlay.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(overlay.one("NetworkPolicy", SERVER)["spec"]["podSelector"]["matchLabels"], labels)
        for monitor in overlay.all("ServiceMonitor"):
            self.assertEqual(
                monitor["spec"]["selector"]["matchLabels"], overlay.one("Service")["metadata"]["labels"])
        for monitor in overlay.all("PodMonitor"):
            self.assertEqual(
                monitor["spec"]["selector"]["matchLabels"],
                overlay.agent["spec"]["template"]["metadata"]["labels"])
        for scaler in overlay.all("HorizontalPodAutoscaler"):
            self.assertEqual(scaler["spec"]["scaleTargetRef"]["name"], SERVER)

    @for_each_overlay
    def test_every_object_is_in_its_namespace(self, overlay):
        for item in overlay.objects:
            if item["kind"] in ("Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"):
                self.assertNotIn("namespace", item["metadata"])
            else:
                self.assertIn(item["metadata"]["namespace"], (AGENT, SERVER))

    @for_each_overlay
    def test_images_have_a_registry_and_a_version(self, overlay):
        if overlay.name == "base":
            return
        for container in (overlay.agent_container, overlay.server_container):
            self.assertRegex(container["image"], r"^[\w.]+/kubenetmon-(agent|server):\d+\.\d+\.\d+$")

    @for_each_overlay
    def test_every_container_has_requests_and_limits(self, overlay):
        steps = overlay.agent_pod.get("initContainers", [])
        for container in [overlay.agent_container, overlay.server_container] + steps:
            for kind in ("requests", "limits"):
                self.assertEqual(set(container["resources"][kind]), {"cpu", "memory"})


if __name__ == "__main__":
    unittest.main()
