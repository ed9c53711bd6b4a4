# SPDX-License-Identifier: Apache-2.0
"""Runs the query of every panel and variable of deploy/grafana: SQL on the rows of flows.py, PromQL with promtool.

    python3 dashboards_test.py PROMTOOL
"""
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import flows
from alerts_test import exported
from engine import ROOT, chain, engine, grants, plain_moments
from queries_test import apply, ask, insert, named, rows, text

GRAFANA = os.path.join(ROOT, "deploy", "grafana")
EXPECTED = os.path.join(ROOT, "Tests", "DeployTests", "expected")
CLICKHOUSE, PROMETHEUS = "grafana-clickhouse-datasource", "prometheus"
PROMTOOL = ""
UTC = datetime.timezone.utc
TO = flows.NOW.replace(tzinfo=UTC)
ALL = "$__all"
# The default selection in each dashboard.
SELECTED = {
    "overview": {"namespace": ALL},
    "workload": {"namespace": "shop", "workload": "Deployment/web"},
    "cost": {"namespace": ALL},
    "forensics": {"namespace": ALL, "workload": ALL},
}
GIB = 2 ** 30


def dashboards():
    found = {}
    for name in sorted(os.listdir(GRAFANA)):
        if name.endswith(".json"):
            with open(os.path.join(GRAFANA, name)) as file:
                found[name[:-5]] = json.load(file)
    return found


DASHBOARDS = dashboards()


def panels(datasource):
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            if panel["datasource"]["type"] == datasource:
                yield name, panel


def panel(name, title):
    found, = [panel for panel in DASHBOARDS[name]["panels"] if panel["title"] == title]
    return found


def variables(dashboard):
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def columns_named(panel):
    """Returns the columns that a panel's settings name."""
    found = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
    found |= {order["displayName"] for order in panel["options"].get("sortBy", [])}
    text = json.dumps(panel["fieldConfig"]).replace('\\"', '"')
    return found | set(re.findall(r'__data\.fields\["([^"]+)"\]', text)) | set(re.findall(r"__field\.labels\.(\w+)", text))


# Expands a query like Grafana and its plugin, as documented: "Macros" and "Template variables" of the ClickHouse plugin,
# "Variable syntax" of Grafana.


def arguments(text, start):
    """Returns the arguments of the macro whose parenthesis opens at `start`, and the index where it closes."""
    depth, parts = 0, [""]
    for position in range(start, len(text)):
        character = text[position]
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return parts, position + 1
        if character == "," and depth == 1:
            parts.append("")
        elif position > start:
            parts[-1] += character
    raise ValueError("no end: " + text[start:])


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def expand(text, values, since, until, interval):
    """Returns a query as ClickHouse receives it; `values` are strings, or lists for variables with several values."""
    macro = "$__conditionalAll("
    while macro in text:
        start = text.rindex(macro)
        (condition, variable), end = arguments(text, start + len(macro) - 1)
        chosen = values[re.fullmatch(r"\$(\w+)", variable.strip())[1]]
        text = text[:start] + ("1=1" if chosen in ("", ALL, [ALL]) else condition) + text[end:]

    def value(found):
        chosen = values[found[1]]
        if chosen in (ALL, [ALL]):
            raise AssertionError("the value of a variable is used although All is selected: " + found[0])
        return ",".join(quoted(one) for one in (chosen if isinstance(chosen, list) else [chosen]))

    text = re.sub(r"\$\{(\w+):singlequote\}", value, text)
    since, until = ("toDateTime(%d)" % moment.timestamp() for moment in (since, until))
    text = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 >= %s AND \1 <= %s" % (since, until), text)
    text = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL %d second)" % interval, text)
    text = text.replace("$__fromTime", since).replace("$__toTime", until).replace("$__interval_s", str(interval))
    if "$" in text:
        raise AssertionError("not expanded: " + text[text.index("$"):][:40])
    return text


def urls(settings):
    """Returns all values with the key `url`, at any depth."""
    if isinstance(settings, list):
        return [url for item in settings for url in urls(item)]
    if isinstance(settings, dict):
        return [settings["url"]] if "url" in settings else urls(list(settings.values()))
    return []


def seconds(duration):
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]


class Panels(unittest.TestCase):
    """Runs panels with the rights of a reader."""

    zone = "UTC"
    flows = [flows.day()]

    @classmethod
    def setUpClass(cls):
        cls.engine = engine(grants("005_roles.sql"), until=cls.addClassCleanup, zone=cls.zone)
        apply(cls.engine, chain())
        for some in cls.flows:
            insert(cls.engine, some)

    def query(self, text, **settings):
        return self.engine.query(text, user="kubenetmon_reader_user", **settings)

    def ask(self, name, panel, since="1d", **chosen):
        """Returns the rows of a panel as dictionaries, for the time before NOW."""
        values = {
            variable["name"]: variable.get("current", {}).get("value", "")
            for variable in DASHBOARDS[name]["templating"]["list"]
        }
        values.update(SELECTED[name], **chosen)
        since = TO - datetime.timedelta(seconds=seconds(panel.get("timeFrom", since)))
        target, = panel["targets"]
        text = expand(target["rawSql"], values, since, TO, max(60, seconds(panel.get("interval", "1m"))))
        answer = self.query(
            text + "\nFORMAT JSON", output_format_json_quote_64bit_integers=0, date_time_output_format="iso")
        answer = json.loads(plain_moments(answer))
        self.types = {column["name"]: column["type"] for column in answer["meta"]}
        return answer["data"]

    def answer(self, name, title, **chosen):
        return self.ask(name, panel(name, title), **chosen)

    def total(self, rows, column):
        return sum(row[column] for row in rows)


class ClickHousePanelTests(Panels):
    def expected(self, question):
        """Returns an expected result of queries_test.py."""
        with open(os.path.join(EXPECTED, question + ".tsv")) as file:
            lines = [line.split("\t") for line in file.read().splitlines()]
        return [dict(zip(lines[0], line)) for line in lines[1:]]

    def test_every_panel_has_rows_with_the_columns_that_it_names(self):
        for name, panel in panels(CLICKHOUSE):
            with self.subTest(name, panel=panel["title"]):
                rows = self.ask(name, panel)
                self.assertTrue(rows)
                self.assertLessEqual(columns_named(panel), set(rows[0]))

    def test_every_panel_accepts_a_value_of_every_variable(self):
        selection = {
            "cluster": ["main", "other's"], "namespace": ["shop", "batch"], "workload": "Deployment/web", "pod": "web-%",
            "peer": "StatefulSet/db", "port": "5432",
        }
        for name, panel in panels(CLICKHOUSE):
            known = variables(DASHBOARDS[name])
            chosen = {
                variable: value[0] if isinstance(value, list) and not known[variable]["multi"] else value
                for variable, value in selection.items() if variable in known
            }
            with self.subTest(name, panel=panel["title"]):
                self.ask(name, panel, **chosen)

    def test_time_series_have_the_format_of_the_plugin(self):
        for name, panel in panels(CLICKHOUSE):
            target, = panel["targets"]
            is_series = panel["type"] == "timeseries"
            self.assertEqual((target["format"], target["queryType"]), (0, "timeseries") if is_series else (1, "table"))
            if not is_series:
                continue
            with self.subTest(name, panel=panel["title"]):
                rows = self.ask(name, panel)
                self.assertEqual(next(iter(self.types)), "time")
                self.assertTrue(self.types["time"].startswith("DateTime"))
                times = [row["time"] for row in rows]
                self.assertEqual(times, sorted(times))
                labels = {column for column, kind in self.types.items() if "String" in kind}
                for column in set(self.types) - labels - {"time"}:
                    self.assertRegex(self.types[column], r"^(UInt|Int|Float)")
                self.assertEqual(len({tuple(row[key] for key in labels | {"time"}) for row in rows}), len(rows))

    def test_single_values_are_one_row(self):
        for name, panel in panels(CLICKHOUSE):
            if panel["type"] == "stat":
                with self.subTest(name, panel=panel["title"]):
                    self.assertEqual(len(self.ask(name, panel)), 1)

    def test_every_variable_lists_the_values_in_the_table(self):
        namespaces = ["batch", "kube-system", "load", "shop"]
        of_shop = ["Deployment/cart", "Deployment/web", "StatefulSet/db"]
        all_workloads = ["CronJob/etl", "Deployment/cart", "Deployment/client", "Deployment/coredns", "Deployment/web",
                         "StatefulSet/db"]
        expected = {"cluster": ["main"], "namespace": namespaces}
        for name, dashboard in DASHBOARDS.items():
            for variable in dashboard["templating"]["list"]:
                if variable.get("datasource", {}).get("type") != CLICKHOUSE:
                    continue
                with self.subTest(name, variable=variable["name"]):
                    values = dict(SELECTED[name], cluster=[ALL])
                    text = expand(variable["query"]["rawSql"], values, TO - datetime.timedelta(days=1), TO, 60)
                    wanted = dict(expected, workload=of_shop if name == "workload" else all_workloads)
                    self.assertEqual(self.query(text).split(), wanted[variable["name"]])

    # Overview

    def test_every_byte_is_counted_once(self):
        day = [row for row in flows.day().rows if row["date"] == str(TO.date())]
        earlier = sum(row["bytes"] for row in flows.day().rows if row["date"] != str(TO.date())) // 2
        carried = flows.day().carried - earlier
        figures, = self.answer("overview", "Total traffic")
        self.assertEqual(figures["carried"], carried)
        self.assertLess(carried, sum(row["bytes"] for row in day))
        self.assertEqual(figures["across zones"], sum(int(row["sent"]) for row in self.expected("cross_zone_talkers")))
        self.assertEqual(
            figures["sent to the Internet"], sum(int(row["sent"]) for row in self.expected("internet_egress")))
        unnamed = sum(int(row["moved"]) for row in self.expected("unlabelled"))
        self.assertAlmostEqual(figures["not named"] * carried, unnamed, places=3)

        rates = self.answer("overview", "Traffic by distance")
        self.assertAlmostEqual(60 * sum(value for row in rates for key, value in row.items() if key != "time"), carried, 3)
        visits = 300_004_000  # through another node's port; they count as Internet
        self.assertAlmostEqual(60 * self.total(rates, "other zone"), figures["across zones"] - visits, 3)
        self.assertEqual({row["time"] for row in rates if row["other zone"] > 1e7}, {"2026-03-02 11:40:00"})
        month = self.answer("overview", "Traffic by distance, last 30 days")
        self.assertEqual([row["time"][:10] for row in month], ["2026-02-28", "2026-03-02"])
        moved = 86400 * sum(value for row in month for key, value in row.items() if key != "time")
        self.assertAlmostEqual(moved, flows.day().carried, 0)

    def test_the_heaviest_flows_are_named_after_a_pod(self):
        rows = self.answer("overview", "Top talkers")
        figures, = self.answer("overview", "Total traffic")
        self.assertLess(figures["carried"] - self.total(rows, "moved"), rows[-1]["moved"] * 10)  # the table has the thirty largest
        self.assertAlmostEqual(rows[0]["share"], rows[0]["moved"] / figures["carried"])
        self.assertEqual(
            [(row["workload"], row["way"], row["peer"], row["kind"], row["moved"]) for row in rows[:5]], [
                ("StatefulSet/db", "sends to", "CronJob/etl", "other zone", 6_000_000_000),
                ("CronJob/etl", "sends to", "Internet", "Internet", 3_000_000_000),
                ("CronJob/etl", "sends to", "s3 us-east-1", "other region", 2_000_000_000),
                ("Deployment/web", "sends to", "Internet", "Internet", 800_000_000),
                ("Deployment/cart", "sends to", "Internet", "Internet", 200_000_000),
            ])
        received = {row["peer"]: row["moved"] for row in rows if row["way"] == "receives from"}
        self.assertEqual(received["s3 eu-central-1"], 80_000_000)
        self.assertEqual({row["namespace"] for row in rows}, {"batch", "kube-system", "load", "shop"})

    def test_packet_loss_and_silent_nodes_are_shown(self):
        lost, = self.answer("overview", "Packet loss between nodes")
        self.assertTrue(0 < lost["lost"] < 0.001)
        pair, = self.answer("overview", "Packet loss by pair of nodes")
        self.assertEqual((pair["from node"], pair["to node"], pair["missing"]), ("node-2", "node-1", 4))
        silent, = self.answer("overview", "Nodes that stopped reporting")
        self.assertEqual((silent["silent"], silent["of"]), (len(self.expected("silent_nodes")), 3))
        busiest = {row["node"]: row for row in self.answer("overview", "Busiest nodes")}
        for row in self.expected("node_headroom"):
            for ours, theirs in (("peak out", "peak_out"), ("peak in", "peak_in")):
                self.assertAlmostEqual(busiest[row["node"]][ours] / 1e9, float(row[theirs]), places=3)
            self.assertEqual(busiest[row["node"]]["busiest minute"], row["busiest_minute"])

    # Workload

    def test_a_workload_has_all_of_its_traffic(self):
        # Its ends of the connections of flows.day(): clients, the database, the machine, external clients, IPv6.
        sent = 8 * 3_000_000 + 7_500_000 + 3 * (50_000 + 30_000) + 700_000 + 500_000_000 + 300_000_000 + 11_000
        received = 8 * 2_000 + 1_000 + 3 * (400_000 + 200_000) + 30_000 + 9_000 + 4_000 + 1_000
        figures, = self.answer("workload", "Traffic of the workload")
        self.assertEqual((figures["sent"], figures["received"]), (sent, received))
        self.assertEqual(figures["sent to the Internet"], 800_000_000)
        rates = self.answer("workload", "Traffic rates")
        self.assertAlmostEqual(60 * self.total(rates, "sent"), sent, 3)
        self.assertAlmostEqual(60 * self.total(rates, "received"), received, 3)
        far = self.answer("workload", "Traffic by distance")
        self.assertAlmostEqual(
            60 * sum(value for row in far for key, value in row.items() if key != "time"), sent + received, 3)
        self.assertAlmostEqual(60 * self.total(far, "other zone"), figures["across zones"], 3)
        pods = self.answer("workload", "Load by pod")
        self.assertEqual(self.total(pods, "sent"), sent)
        self.assertEqual([(row["pod"], row["node"], row["zone"]) for row in pods],
                         [("web-2", "node-2", "eu-central-1b"), ("web-1", "node-1", "eu-central-1a")])
        peers = self.answer("workload", "Peers")
        self.assertEqual(self.total(peers, "moved"), sent + received)
        called = {row["peer"]: row for row in peers if row["role"] == "is called by"}
        self.assertEqual(called["Deployment/client"]["service port"], 80)
        connections, = self.answer("workload", "Connections of the workload")
        # Eight from clients, one over IPv6, two from external clients; six to the database, one to the machine.
        self.assertEqual((connections["opened to it"], connections["opened by it"]), (11, 7))
        in_use = self.answer("workload", "Connections in use")
        self.assertEqual(self.total(in_use, "opened by it"), 7)

    def test_one_end_reports_within_a_node(self):
        figures, = self.answer("workload", "Traffic of the workload", workload="StatefulSet/db")
        received = 3 * (50_000 + 30_000) + 10_000 + 1_000 + 96_000  # four packets of 1,000 bytes are lost
        self.assertEqual((figures["sent"], figures["received"]), (3 * 600_000 + 60_000 + 6_000_000_000 + 20_000, received))

    # Cost

    def test_prices_are_those_of_the_query(self):
        listed = variables(DASHBOARDS["cost"])["prices"]["query"].split(", ")
        in_question = re.findall(r"'(\w+/[^']*)', ([0-9.]+)", text("egress_cost"))
        self.assertEqual(
            [tuple(price.split("=")) for price in listed], [(key, "%g" % float(price)) for key, price in in_question])

    def test_costs_are_those_of_the_query(self):
        kinds = {"zone sent": "other zone", "zone received": "other zone", "region": "other region", "Internet": "Internet"}
        prices = {"other zone": 0.01, "other region": 0.02, "Internet": 0.09}
        costs = {}
        for row in self.expected("egress_cost"):
            kind = kinds[row["kind"]]
            cost = int(row["moved"]) / GIB * prices[kind]
            costs[row["app"], kind] = costs.get((row["app"], kind), 0) + cost
        figures, = self.answer("cost", "Cost in this range", since="7d")
        self.assertEqual(figures["bytes without a price"], 0)
        self.assertAlmostEqual(figures["in this range"], sum(costs.values()), 9)
        self.assertAlmostEqual(figures["a month at this rate"], sum(costs.values()) * 30 / 7, 9)
        apps = {"Deployment/coredns": "kube-dns"}
        rows = self.answer("cost", "Cost by workload", since="7d")
        for row in rows:
            app = apps.get(row["workload"]) or row["workload"].split("/")[1]
            for kind in prices:
                self.assertAlmostEqual(row[kind], costs.get((app, kind), 0), 9, (app, kind))
        self.assertAlmostEqual(self.total(rows, "share"), 1)
        hourly = self.answer("cost", "Cost per hour by kind", since="7d")
        self.assertAlmostEqual(sum(row[kind] for row in hourly for kind in prices), sum(costs.values()), 9)

    def test_a_namespace_pays_for_its_own_ends(self):
        rows = self.answer("cost", "Cost by workload", namespace=["batch"])
        self.assertEqual([row["workload"] for row in rows], ["CronJob/etl"])
        self.assertAlmostEqual(rows[0]["Internet"], 3_000_600_000 / GIB * 0.09)
        web = self.answer("cost", "Cost by workload", namespace=["shop"])
        visited, = [row for row in web if row["workload"] == "Deployment/web"]
        self.assertAlmostEqual(visited["Internet"], 800_000_000 / GIB * 0.09)  # one external client through another node

    def test_prices_can_be_edited(self):
        title = "Cost in this range"
        cheap, = self.answer(
            "cost", title, prices="aws/*/zone sent=0, aws/*/zone received=0,aws/*/region = 0 , aws/*/Internet=1")
        sent, = self.answer("cost", "Bytes sent beyond the zone")
        self.assertAlmostEqual(cheap["in this range"], sent["to the Internet"] / GIB)
        for prices in ("", "' OR 1", "aws/*/Internet=, =, aws/*/region=a, aws/*/zone sent"):
            nothing, = self.answer("cost", title, prices=prices)
            self.assertEqual(nothing["in this range"], 0)
            self.assertGreater(nothing["bytes without a price"], 10 ** 9)
        own, = self.answer("cost", title, prices="aws/*/Internet=1, aws/eu-central-1/Internet=2")
        self.assertAlmostEqual(own["in this range"], 2 * sent["to the Internet"] / GIB)

    def test_bytes_across_zones_count_once_for_the_sender(self):
        pairs = {}
        for row in self.expected("cross_zone_talkers"):
            key = row["from_zone"], row["to_zone"]
            pairs[key] = pairs.get(key, 0) + int(row["sent"])
        rows = self.answer("cost", "Traffic between zones")
        self.assertEqual({(row["from zone"], row["to zone"]): row["sent"] for row in rows}, pairs)
        senders = self.answer("cost", "Traffic across zones by workload and peer")
        self.assertEqual(
            sorted(row["sent"] for row in senders), sorted(int(row["sent"]) for row in self.expected("cross_zone_talkers")))
        self.assertAlmostEqual(senders[0]["price"], 2 * 6_000_000_000 / GIB * 0.01)
        figures, = self.answer("cost", "Bytes sent beyond the zone")
        self.assertEqual(figures["to other zones"], sum(pairs.values()))
        self.assertEqual(figures["to other regions"], 2_000_005_000)
        outside = self.answer("cost", "Traffic with cloud services and other regions")
        expected = self.expected("object_storage_and_other_regions")
        self.assertEqual(
            {(row["service"], row["region"], row["received"], row["sent"]) for row in outside},
            {(row["service"], row["region"], int(row["pulled"]), int(row["pushed"])) for row in expected})

    # Connections

    def test_a_connection_is_found_from_either_end(self):
        title = "Connections"
        row, = self.answer("forensics", title, pod="client-1", peer="10.0.1.11", port="41100")
        self.assertEqual((row["role"], row["peer"], row["service"]), ("calls", "web-1", "shop/web"))
        self.assertEqual((row["first seen"], row["last seen"]), ("2026-03-02 11:10:00", "2026-03-02 11:11:00"))
        self.assertEqual((row["sent"], row["received"]), (3_000, 10_500_000))
        other, = self.answer("forensics", title, pod="10.0.1.11", peer="client-1", port="41100")
        self.assertEqual((other["role"], other["sent"], other["received"]), ("is called by", 10_500_000, 3_000))
        # Within a node, and through another node's port, only one end reports.
        self.assertEqual(len(self.answer("forensics", title, pod="db-0", peer="web-1")), 3)
        visitor, = self.answer("forensics", title, peer="198.51.100.77", port="62000")
        self.assertEqual((visitor["our end"], visitor["sent"]), ("web-2", 300_000_000))
        self.assertEqual(len(self.answer("forensics", title, peer="10.0.1.%", workload="Deployment/cart")), 1)
        over_ipv6, = self.answer("forensics", title, pod="2001:db8::50")
        self.assertEqual(over_ipv6["peer address"], "2001:db8::11")

    def test_each_line_counts_its_bytes_once(self):
        selected = {"namespace": "shop", "workload": ALL}
        rates = self.answer("forensics", "Traffic rates", **selected)
        pods = self.answer("forensics", "Connections", **selected)
        for way in ("sent", "received"):
            self.assertAlmostEqual(60 * self.total(rates, way), self.total(pods, way), 3)
        lines = self.answer("forensics", "Ten busiest connections", pod="web-1", peer="db-0")
        self.assertEqual(len({row["connection_name"] for row in lines}), 3)
        self.assertAlmostEqual(60 * self.total(lines, "moved"), 3 * 450_000, 3)
        both = self.answer("forensics", "Ten busiest connections", pod="%", peer="%", port="41100")
        self.assertEqual({row["connection_name"] for row in both}, {"10.0.1.11 80 – 10.0.2.50 41100 tcp"})
        self.assertAlmostEqual(60 * self.total(both, "moved"), 10_503_000, 3)

    def test_connections_begin_once(self):
        begun = self.answer("forensics", "New connections", pod="client-1", port="80")
        self.assertEqual([(row["time"], row["opened by us"], row["opened to us"]) for row in begun], [
            ("2026-03-02 10:10:00", 4, 0), ("2026-03-02 11:10:00", 4, 0), ("2026-03-02 11:52:00", 1, 0)])

    def test_lost_packets_are_listed_by_pod(self):
        pair, = self.answer("forensics", "Packet loss by pair of pods", pod="db-0")
        self.assertEqual((pair["from pod"], pair["to pod"], pair["missing"], pair["share"]), ("etl-1", "db-0", 4, 0.04))
        self.assertEqual(self.answer("forensics", "Packet loss by pair of pods", pod="web-1"), [])


class ElsewherePanelTests(ClickHousePanelTests):
    zone = "Asia/Kolkata"


class CloudPanelTests(Panels):
    flows = list(flows.clouds())

    def test_each_cloud_has_its_own_prices_or_no_price(self):
        titles = ("Cost by workload", "Traffic across zones by workload and peer",
                  "Traffic with cloud services and other regions")
        # The costs by the three panels, and the place without a price.
        expected = {
            "eu-central-1": (0.21, 0.08, 0.04, ""), "westeurope": (0.127, 0, 0.04, ""),
            "europe-west3": (0.2, 0.04, 0.04, ""), "sa-east-1": (0.08, 0.08, 0, "aws/sa-east-1/"),
            "fsn1": (0, 0, 0, "hetzner/fsn1/"),
        }
        # 4 GiB sent and received across zones, 2 to another region and 1 to the Internet.
        unpriced = {"sa-east-1": 3 * GIB, "fsn1": 11 * GIB}
        for region, (*costs, place) in expected.items():
            with self.subTest(region):
                answers = [self.answer("cost", title, cluster=[region]) for title in titles]
                for rows, column, cost in zip(answers, ("total", "price", "price"), costs):
                    self.assertAlmostEqual(self.total(rows, column), cost)
                notes = {row["not in it"] for rows in answers for row in rows} - {""}
                for note in notes:
                    self.assertTrue(note.startswith("no price: " + place), note)
                self.assertEqual(bool(notes), bool(place))
                figures, = self.answer("cost", "Cost in this range", cluster=[region])
                self.assertAlmostEqual(figures["in this range"], costs[0])
                self.assertEqual(figures["bytes without a price"], unpriced.get(region, 0))


class OwnerPanelTests(Panels):
    """Connections of every kind, with and without ignore_node_flows: each byte counts once, for its workload."""

    flows = []

    def fill(self, flows):
        for table in ("network_flows_0", "network_flows_hourly"):
            self.engine.query("TRUNCATE TABLE " + table)
        if flows.rows:
            insert(self.engine, flows)

    def test_every_byte_counts_once_for_its_workload(self):
        for case in flows.CASES:
            for node_flows in (False, True):
                with self.subTest(case.name, ignore_node_flows=not node_flows):
                    self.fill(flows.case(case, node_flows))
                    figures, = self.answer("overview", "Total traffic")
                    self.assertEqual(figures["carried"], 10_000 if case.recorded[node_flows] else 0)
                    if not case.recorded[node_flows]:
                        continue
                    for workload, moved in flows.moved(case, within_node=True).items():
                        figures, = self.answer("workload", "Traffic of the workload", namespace="shop", workload=workload)
                        self.assertEqual((figures["sent"], figures["received"]), moved, workload)

    def test_costs_and_amounts_are_those_of_the_queries(self):
        for case in flows.CASES:
            for node_flows in (False, True):
                with self.subTest(case.name, ignore_node_flows=not node_flows):
                    self.fill(flows.case(case, node_flows))
                    costs = {}
                    for row in rows(ask(self.engine, "egress_cost")):
                        cost = int(row["moved"]) / GIB * float(row["price"])
                        costs[row["app"]] = costs.get(row["app"], 0) + cost
                    answer = self.answer("cost", "Cost by workload")
                    found = {row["workload"].split("/")[-1].replace("node", ""): row["total"] for row in answer}
                    self.assertEqual(set(found), set(costs))
                    for app, cost in costs.items():
                        self.assertAlmostEqual(found[app], cost, 12)
                    sent = sum(int(row["sent"]) for row in rows(ask(self.engine, "cross_zone_talkers")))
                    self.assertEqual(self.total(self.answer("cost", "Traffic between zones"), "sent"), sent)
                    self.assertEqual(
                        self.total(self.answer("cost", "Traffic across zones by workload and peer"), "sent"), sent)

    def test_an_external_client_appears_as_internet(self):
        self.fill(flows.case(named("visitor to a pod elsewhere, masqueraded"), False))
        moves = self.answer("overview", "Top talkers")
        self.assertEqual(
            [(row["workload"], row["way"], row["peer"], row["moved"]) for row in moves],
            [("StatefulSet/db", "sends to", "Internet", 9_000), ("StatefulSet/db", "receives from", "Internet", 1_000)])
        between = self.answer("cost", "Traffic across zones by workload and peer")
        self.assertEqual(
            [(row["workload"], row["from zone"], row["peer"], row["to zone"], row["sent"]) for row in between], [
                ("StatefulSet/db", "eu-central-1a", "Internet", "eu-central-1b", 9_000),
                ("Internet", "eu-central-1b", "StatefulSet/db", "eu-central-1a", 1_000)])
        for row in between:
            self.assertAlmostEqual(row["price"], row["sent"] / GIB * 0.02, 12)

    def test_rows_without_a_remote_cluster_cost_the_same(self):
        sent = flows.Flows()
        sent.observe("node-1", flows.DB, flows.STRANGER)
        sent.observe("node-2", flows.VISITOR, flows.DB, flows.NODE_2, flows.NODE_2)
        for row in sent.rows:
            row["remoteCluster"] = ""
        self.fill(sent)
        row, = self.answer("cost", "Cost by workload")
        self.assertAlmostEqual(row["Internet"], (1_000 + 9_000) / GIB * 0.09, 12)

    def test_a_namespace_pays_for_its_end_of_a_masqueraded_connection(self):
        called = flows.Flows()
        called.observe("node-2", flows.ETL, flows.DB, flows.NODE_2, flows.NODE_2)
        self.fill(called)
        for namespace, workload in (("batch", "CronJob/etl"), ("shop", "StatefulSet/db")):
            row, = self.answer("cost", "Cost by workload", namespace=[namespace])
            self.assertEqual(row["workload"], workload)
            self.assertAlmostEqual(row["total"], 10_000 / GIB * 0.01, 12)

    def test_a_database_with_a_zone_costs_both_ways(self):
        database = flows.Flows()
        database.observe("node-1", flows.DB, flows.WAREHOUSE)
        self.fill(database)
        row, = self.answer("cost", "Cost by workload")
        self.assertAlmostEqual(row["other zone"], 10_000 / GIB * 0.01, 12)
        used, = self.answer("cost", "Traffic with cloud services and other regions")
        self.assertEqual(
            (used["service"], used["kind"], used["sent"], used["received"]), ("warehouse", "other zone", 1_000, 9_000))


class OpenerPanelTests(Panels):
    """A server that listens on a port in the range of clients' ports (gRPC's 50051)."""

    flows = [flows.grpc()]

    def test_a_service_is_the_called_end_with_any_ports(self):
        chosen = {"namespace": "shop", "workload": "Deployment/caller"}
        peers = self.answer("workload", "Peers", **chosen)
        row, = [row for row in peers if row["peer"] == "Deployment/grpc" and row["service port"] == 50_051 and row["connections"] >= 20]
        self.assertEqual((row["role"], row["sent"] >= 20_000, row["received"] >= 180_000), ("calls", True, True))
        called = self.answer("workload", "Connections of the workload", namespace="shop", workload="Deployment/grpc")
        self.assertGreaterEqual(called[0]["opened to it"], 23)
        role = {row["role"] for row in self.answer("forensics", "Connections", pod="grpc-1", peer="caller-1")}
        self.assertEqual(role, {"is called by"})
        role = {row["role"] for row in self.answer("forensics", "Connections", pod="caller-1", peer="grpc-1")}
        self.assertEqual(role, {"calls"})


class PrometheusPanelTests(unittest.TestCase):
    def expressions(self):
        for _, panel in panels(PROMETHEUS):
            for target in panel["targets"]:
                yield "%s: %s" % (panel["title"], target["refId"]), self.expand(target["expr"])

    @staticmethod
    def expand(text):
        for name, value in (("$__rate_interval", "5m"), ("$__range", "1h"), ("$node", ".*")):
            text = text.replace(name, value)
        assert "$" not in text, text
        return text

    def promtool(self, command, content, *more):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "file.json")
            with open(path, "w") as file:
                json.dump(content, file)
            run = subprocess.run([PROMTOOL, command, "rules", path], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_every_expression_is_valid(self):
        rules = [
            {"record": "panel:%d" % number, "expr": expression}
            for number, (_, expression) in enumerate(self.expressions())
        ]
        self.promtool("check", {"groups": [{"name": "panels", "rules": rules}]})

    def test_metrics_are_exported_with_their_labels(self):
        metrics = exported()
        for title, expression in self.expressions():
            for metric, labels in re.findall(r"\b((?:kubenetmon|up|kube_node)\w*)(?:\{([^}]*)\})?", expression):
                if metric in ("up", "kube_node_info"):
                    continue
                with self.subTest(title, metric=metric):
                    metric = re.sub("_bucket$", "", metric)
                    self.assertIn(metric, metrics)
                    for label in re.findall(r'(\w+)(?:!?=~?)"', labels):
                        if label not in ("job", "node"):
                            self.assertIn('label: "%s"' % label, metrics[metric])
                    of_sum = re.match(r"\w+ by \((\w+)\)", expression)
                    if of_sum and of_sum[1] not in ("node", "instance"):
                        self.assertIn('label: "%s"' % of_sum[1], metrics[metric])

    def test_tables_name_the_columns_that_they_have(self):
        for _, panel in panels(PROMETHEUS):
            if panel["type"] != "table":
                continue
            organize, = [step["options"] for step in panel["transformations"] if step["id"] == "organize"]
            self.assertEqual(
                set(organize["renameByName"]), {"Value #" + target["refId"] for target in panel["targets"]})
            self.assertLessEqual(columns_named(panel), set(organize["renameByName"].values()))
            for target in panel["targets"]:
                self.assertEqual((target["format"], target["instant"]), ("table", True))
                self.assertIn("by (node)", target["expr"])

    def test_figures(self):
        def expression(title, ref="A"):
            target, = [target for target in panel("health", title)["targets"] if target["refId"] == ref]
            return self.expand(target["expr"])

        agent, server = 'job="kubenetmon-agent"', 'job="kubenetmon-server"'
        series = {
            'up{%s, node="a"}' % agent: "1x120",
            'up{%s, node="b"}' % agent: "0x120",
            'kube_node_info{node="a"}': "1x120",
            'kube_node_info{node="b"}': "1x120",
            'kube_node_info{node="c"}': "1x120",
            'up{%s, instance="s1"}' % server: "1x120",
            'up{%s, instance="s2"}' % server: "0x120",
            'kubenetmon_agent_lost_bytes_total{%s, node="a", reason="spool_full"}' % agent: "0+100x120",
            'kubenetmon_agent_self_check{%s, node="a", check="accounting"}' % agent: "0x120",
            'kubenetmon_agent_self_check{%s, node="a", check="table_room"}' % agent: "0x120",
            'kubenetmon_agent_conntrack_entries{%s, node="a"}' % agent: "50x120",
            'kubenetmon_agent_conntrack_max{%s, node="a"}' % agent: "200x120",
            'kubenetmon_worker_oldest_batch_age_seconds{%s, instance="s1"}' % server: "7x120",
            'kubenetmon_server_ignored_bytes_total{%s, reason="unknown_direction"}' % server: "0+60x120",
            'kubenetmon_server_labeled_bytes_total{%s}' % server: "0+600x120",
            'kubenetmon_worker_insert_batch_age_ms_bucket{%s, le="1000"}' % server: "0+10x120",
            'kubenetmon_worker_insert_batch_age_ms_bucket{%s, le="+Inf"}' % server: "0+10x120",
        }
        figures = [
            (expression("Agents down"), "{}", 2),
            (expression("Servers up"), "{}", 1),
            (expression("Bytes lost in this range"), "{}", 6000),
            (expression("Failing self-checks"), "{}", 1),
            (expression("Oldest batch waiting for ClickHouse"), "{}", 7),
            (expression("Bytes of unknown direction"), "{}", 0.1),
            (expression("Agents", "B"), '{node="a"}', 0.25),
            (expression("Insert delay"), "{}", 500),
        ]
        self.promtool("test", {"rule_files": [], "evaluation_interval": "1m", "tests": [{
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {"expr": text, "eval_time": "2h", "exp_samples": [{"labels": labels, "value": value}]}
                for text, labels, value in figures
            ],
        }]})


class FormTests(unittest.TestCase):
    """What Grafana needs to import a dashboard, and what its users need to read it."""

    def test_there_are_five_dashboards(self):
        self.assertEqual(set(DASHBOARDS), {"overview", "workload", "cost", "forensics", "health"})

    def test_every_dashboard_has_a_uid(self):
        for name, dashboard in DASHBOARDS.items():
            with self.subTest(name):
                self.assertEqual(dashboard["uid"], "kubenetmon-" + name)
                self.assertLessEqual(len(dashboard["uid"]), 40)
                self.assertNotIn("id", dashboard)
                self.assertEqual(dashboard["schemaVersion"], 39)  # Grafana 11; later versions migrate it
                self.assertEqual(dashboard["tags"], ["kubenetmon"])
                self.assertEqual(dashboard["time"]["to"], "now")
                self.assertRegex(dashboard["refresh"], r"^\d+[smh]$")
                self.assertTrue(dashboard["description"])
                link, = dashboard["links"]
                self.assertEqual((link["tags"], link["includeVars"], link["keepTime"]), (["kubenetmon"], True, True))

    def test_panels_do_not_overlap(self):
        for name, dashboard in DASHBOARDS.items():
            with self.subTest(name):
                ids = [panel["id"] for panel in dashboard["panels"]]
                self.assertEqual(len(ids), len(set(ids)))
                taken = set()
                for panel in dashboard["panels"]:
                    place = panel["gridPos"]
                    self.assertLessEqual(place["x"] + place["w"], 24)
                    cells = {
                        (x, y) for x in range(place["x"], place["x"] + place["w"])
                        for y in range(place["y"], place["y"] + place["h"])
                    }
                    self.assertFalse(cells & taken, panel["title"])
                    taken |= cells

    def test_datasources_are_variables(self):
        for name, dashboard in DASHBOARDS.items():
            with self.subTest(name):
                chosen = {
                    variable["query"]: "${%s}" % variable["name"] for variable in dashboard["templating"]["list"]
                    if variable["type"] == "datasource"
                }
                sources = [variable["datasource"] for variable in dashboard["templating"]["list"] if "datasource" in variable]
                for panel in dashboard["panels"]:
                    sources += [panel["datasource"]] + [target["datasource"] for target in panel["targets"]]
                for source in sources:
                    self.assertEqual(source["uid"], chosen[source["type"]])

    def test_panels_have_titles_and_descriptions(self):
        for name, dashboard in DASHBOARDS.items():
            with self.subTest(name):
                titles = [panel["title"] for panel in dashboard["panels"]]
                self.assertEqual(len(titles), len(set(titles)))
                for panel in dashboard["panels"]:
                    self.assertGreater(len(panel["description"]), 60, panel["title"])
                    defaults = panel["fieldConfig"]["defaults"]
                    if panel["type"] != "table":
                        self.assertTrue(defaults["unit"], panel["title"])
                    if panel["type"] == "timeseries":
                        self.assertTrue(panel["options"]["legend"]["showLegend"])
                    self.assertIsNone(defaults["thresholds"]["steps"][0]["value"])

    def test_variables_are_known(self):
        for name, dashboard in DASHBOARDS.items():
            with self.subTest(name):
                known = set(variables(dashboard))
                for panel in dashboard["panels"]:
                    text = json.dumps(panel["targets"]) + json.dumps(panel["fieldConfig"])
                    used = set(re.findall(r"\$\{(?!__)(\w+)", text)) | set(re.findall(r"\$(?!__)([a-z]\w*)", text))
                    self.assertLessEqual(used, known, panel["title"])

    def test_links_name_dashboards_and_their_variables(self):
        uids = {dashboard["uid"]: set(variables(dashboard)) for dashboard in DASHBOARDS.values()}
        found = set()
        for name, dashboard in DASHBOARDS.items():
            for panel in dashboard["panels"]:
                for url in urls(panel["fieldConfig"]):
                    with self.subTest(name, panel=panel["title"], url=url):
                        uid, query = re.fullmatch(r"/d/([\w-]+)\?(.*)", url).groups()
                        found.add((name, uid))
                        passed = re.findall(r"var-(\w+)=", query) + re.findall(r"\$\{(\w+):queryparam\}", query)
                        self.assertLessEqual(set(passed), uids[uid])
                        self.assertIn("${__url_time_range}", query)
                        for value in re.findall(r"var-\w+=([^&]*)", query):
                            self.assertTrue(value == ALL or value.endswith(":percentencode}"), value)
        for name in ("overview", "cost", "workload"):
            self.assertIn((name, "kubenetmon-forensics"), found)
            self.assertIn((name, "kubenetmon-workload"), found)


if __name__ == "__main__":
    PROMTOOL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
