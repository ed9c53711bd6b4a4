# SPDX-License-Identifier: Apache-2.0
"""Runs every query of deploy/clickhouse/queries on the rows of flows.py; its result must be that in expected/.

    python3 queries_test.py --record    writes the current results to expected/; review them before you commit them
"""
import os
import re
import sys
import unittest

import flows
from engine import ROOT, SCHEMA, ZONES, chain, engine, plain_moments, schema, without_opener

# Queries whose order does not determine the order of rows with equal rank.
WITH_EQUAL_RANKS = {"top_talkers"}
QUERIES = os.path.join(SCHEMA, "queries")
EXPECTED = os.path.join(os.path.dirname(os.path.realpath(__file__)), "expected")


def names():
    return sorted(name[:-4] for name in os.listdir(QUERIES) if name.endswith(".sql"))


def text(name):
    with open(os.path.join(QUERIES, name + ".sql")) as file:
        return file.read()


def expected_file(name):
    return os.path.join(EXPECTED, name + ".tsv")


def apply(clickhouse, files):
    for name in files:
        for statement in schema(name):
            clickhouse.query(statement)
            created = re.match(r"CREATE TABLE (?:IF NOT EXISTS )?(?:default\.)?(\w+)", statement)
            if created:  # rows of a past day must not expire during the test
                clickhouse.query("SYSTEM STOP TTL MERGES " + created[1])


def insert(clickhouse, rows=None):
    clickhouse.query(
        "INSERT INTO network_flows_0 FORMAT JSONEachRow\n" + (rows or flows.day()).json_lines(), async_insert=0,
        optimize_on_insert=0, input_format_skip_unknown_fields=1)


def ask(clickhouse, name, **names):
    """Returns a query's result at NOW; `names` replace the values at its top."""
    question = text(name).replace("now()", "toDateTime(%d)" % flows.seconds(flows.NOW))
    for name, value in names.items():
        question, count = re.subn(r"'[^']*' AS %s\b" % name, "'%s' AS %s" % (value, name), question)
        assert count == 1, name
    return plain_moments(clickhouse.query(question + "\nFORMAT TabSeparatedWithNames", date_time_output_format="iso"))


def named(name):
    case, = [case for case in flows.CASES if case.name == name]
    return case


def rows(answer):
    lines = [line.split("\t") for line in answer.splitlines()]
    return [dict(zip(lines[0], line)) for line in lines[1:]]


class QueryTests(unittest.TestCase):
    def check(self, clickhouse):
        for name in names():
            with self.subTest(name), open(expected_file(name)) as file:
                answer, expected = ask(clickhouse, name).splitlines(), file.read().splitlines()
                if name in WITH_EQUAL_RANKS:
                    answer, expected = sorted(answer), sorted(expected)
                self.assertEqual(answer, expected)

    def check_days_and_months(self, clickhouse):
        for table in ("network_flows_0", "network_flows_hourly"):
            clickhouse.query("TRUNCATE TABLE " + table)
        insert(clickhouse, flows.nights())
        days = {row["day"]: row["moved"] for row in rows(ask(clickhouse, "daily_trend"))}
        self.assertEqual(days, {day: "30" for day in ("2026-02-26", "2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02")})
        months = {row["month"]: row["once"] for row in rows(ask(clickhouse, "metering")) if row["sent"] != "0"}
        self.assertEqual(months, {"2026-02-01": "90", "2026-03-01": "60"})

    def test_every_query_has_its_result_in_every_time_zone(self):
        for zone in ZONES:
            at_end = unittest.TestCase()
            try:
                clickhouse = engine(until=at_end.addCleanup, zone=zone)
                self.assertEqual(clickhouse.query("SELECT timezone()"), zone + "\n")
                apply(clickhouse, chain())
                insert(clickhouse)
                with self.subTest(zone=zone):
                    self.check(clickhouse)
                    self.check_days_and_months(clickhouse)
            finally:
                at_end.doCleanups()

    def test_every_result_has_its_query(self):
        self.assertEqual(sorted(os.listdir(EXPECTED)), [name + ".tsv" for name in names()])

    def test_every_query_is_in_the_documents(self):
        with open(os.path.join(ROOT, "docs", "queries.md")) as file:
            named = re.findall(r"\.\./deploy/clickhouse/queries/(\w+)\.sql", file.read())
        self.assertEqual(sorted(named), names())

    def test_every_query_begins_with_a_sentence(self):
        for name in names():
            with self.subTest(name):
                self.assertRegex(text(name), r"\A-- [A-Z].*[a-z]")


class OpenerTests(unittest.TestCase):
    """A server that listens on a port in the range of clients' ports (gRPC's 50051): no call is missing."""

    # The connections that a pod seems to have opened although it was called.
    presumed = {}

    @classmethod
    def setUpClass(cls):
        cls.engine = engine(until=cls.addClassCleanup)
        cls.fill()

    @classmethod
    def fill(cls):
        apply(cls.engine, chain())
        insert(cls.engine, flows.grpc())

    def test_every_call_of_a_service_is_counted(self):
        row, = rows(ask(self.engine, "called_services"))
        self.assertEqual((row["service"], row["caller"]), ("shop/grpc", "Deployment/caller"))
        self.assertEqual((row["connections"], row["moved"], row["across_zones"]), ("20", "200000", "200000"))

    def test_every_new_connection_counts_for_its_opener(self):
        opened = {row["pod"]: int(row["opened"]) for row in rows(ask(self.engine, "new_connections"))}
        self.assertEqual(opened, {"caller-1": 20 + 8 + 6, **self.presumed})

    def test_called_addresses_are_listed_and_clients_are_not(self):
        row, = rows(ask(self.engine, "outside_addresses", of_namespace="shop"))
        self.assertEqual((row["address"], row["port"], row["sent"], row["received"]),
                         ("203.0.113.7", "50051", "60000", "120000"))


class OlderRowsTests(OpenerTests):
    """The same of rows that were written before the table had the column `opened`: the services tell who was called."""

    # The service identifies the first pod as called. The other pod has no service, so the connection counts for both ends.
    presumed = {"grpc-2": 8}

    @classmethod
    def fill(cls):
        apply(cls.engine, chain())
        older = flows.grpc()
        for row in older.rows:
            del row["opened"]
        insert(cls.engine, older)


class OlderTableTests(OlderRowsTests):
    """The same of a table without the column."""

    @classmethod
    def fill(cls):
        apply(cls.engine, chain()[:1])
        cls.engine.query(without_opener("002_extended_columns.sql"))
        insert(cls.engine, flows.grpc())


class PriceTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = engine(until=cls.addClassCleanup)
        apply(cls.engine, chain()[:1])
        for rows_of_cloud in flows.clouds():
            insert(cls.engine, rows_of_cloud)

    def test_each_cloud_has_its_own_prices_or_no_price(self):
        found = {}
        for row in rows(ask(self.engine, "egress_cost")):
            found.setdefault(row["region"], {})[row["app"], row["kind"]] = row["usd"]
        sent, received, region, internet = (
            ("etl", "zone sent"), ("db", "zone received"), ("etl", "region"), ("etl", "Internet"))
        self.maxDiff = None
        self.assertEqual(found, {
            "eu-central-1": {sent: "0.04", received: "0.04", region: "0.04", internet: "0.09"},
            "westeurope": {region: "0.04", internet: "0.087"},
            "europe-west3": {sent: "0.04", region: "0.04", internet: "0.12"},
            "sa-east-1": {sent: "0.04", received: "0.04", region: "no price", internet: "no price"},
            "fsn1": {sent: "no price", received: "no price", region: "no price", internet: "no price"},
        })


class OwnerTests(unittest.TestCase):
    """Connections of every kind, with and without ignore_node_flows: each byte counts once, for its workload."""

    @classmethod
    def setUpClass(cls):
        cls.engine = engine(until=cls.addClassCleanup)
        apply(cls.engine, chain())

    def fill(self, flows):
        for table in ("network_flows_0", "network_flows_hourly"):
            self.engine.query("TRUNCATE TABLE " + table)
        if flows.rows:
            insert(self.engine, flows)

    def cases(self):
        for case in flows.CASES:
            for node_flows in (False, True):
                with self.subTest(case.name, ignore_node_flows=not node_flows):
                    self.fill(flows.case(case, node_flows))
                    yield case, case.recorded[node_flows]

    def test_every_byte_is_in_one_row(self):
        for _, is_recorded in self.cases():
            carried = 10_000 if is_recorded else 0
            self.assertEqual(int(self.engine.query("SELECT sum(bytesOnce) FROM network_flows_hourly")), carried)
            self.assertEqual(sum(int(row["moved"]) for row in rows(ask(self.engine, "namespace_matrix"))), carried)
            self.assertEqual(sum(int(row["once"]) for row in rows(ask(self.engine, "metering"))), carried)

    def test_every_workload_has_its_traffic(self):
        for case, is_recorded in self.cases():
            if not is_recorded:
                continue
            found = {}
            for row in rows(ask(self.engine, "metering")):
                if row["workload"]:
                    sent, received = found.get(row["workload"], (0, 0))
                    found[row["workload"]] = (sent + int(row["sent"]), received + int(row["received"]))
            self.assertEqual(found, flows.moved(case, within_node=False))

    def test_rows_of_older_servers_count_as_before(self):
        visits = flows.case(named("visitor to a pod elsewhere, masqueraded"), False)
        for row in visits.rows:
            self.assertEqual((row["localNode"], row["localCluster"]), ("node-2", "main"))
            row.update(localNode="", localCluster="UNKNOWN", localAvailabilityZone="", connectionFlags={})
        self.fill(visits)
        metered, = rows(ask(self.engine, "metering"))
        self.assertEqual(
            (metered["cluster"], metered["workload"], metered["sent"], metered["received"], metered["once"]),
            ("main", "StatefulSet/db", "9000", "1000", "10000"))
        self.assertEqual([row["sent"] for row in rows(ask(self.engine, "internet_egress"))], ["9000"])
        self.assertEqual([row["kind"] for row in rows(ask(self.engine, "egress_cost"))], ["Internet"])
        self.assertEqual(ask(self.engine, "cross_zone_talkers").count("\n"), 1)

    def costs(self, name, node_flows=False):
        self.fill(flows.case(named(name), node_flows))
        return {(row["app"], row["kind"]): int(row["moved"]) for row in rows(ask(self.engine, "egress_cost"))}

    def test_an_external_client_costs_the_way_from_the_entry_node(self):
        for node_flows in (False, True):
            self.assertEqual(
                self.costs("visitor to a pod elsewhere, masqueraded", node_flows),
                {("db", "Internet"): 9_000, ("db", "zone sent"): 10_000, ("db", "zone received"): 10_000})
            self.assertEqual(
                [(row["from_zone"][-1], row["to_zone"][-1], row["sent"]) for row in rows(ask(self.engine, "cross_zone_talkers"))],
                [("a", "b", "9000"), ("b", "a", "1000")])
            self.assertEqual(self.costs("visitor to a pod of the entry node", node_flows), {("db", "Internet"): 9_000})

    def test_both_ends_pay_across_zones_if_one_is_masqueraded(self):
        for name in ("pod to a pod of another node", "pod to a pod elsewhere, masqueraded"):
            for node_flows in (False, True):
                self.assertEqual(self.costs(name, node_flows), {
                    ("web", "zone sent"): 1_000, ("web", "zone received"): 9_000,
                    ("db", "zone sent"): 9_000, ("db", "zone received"): 1_000}, name)

    def test_a_process_of_a_node_costs_the_pods_workload_both_ends(self):
        for name, app in (("process to a pod elsewhere", "db"), ("pod to a process of another node", "web")):
            self.assertEqual(
                self.costs(name, True), {(app, "zone sent"): 10_000, (app, "zone received"): 10_000}, name)

    def test_a_database_in_another_zone_costs_both_ways(self):
        database = flows.Flows()
        database.observe("node-1", flows.DB, flows.WAREHOUSE)
        self.fill(database)
        self.assertEqual(
            {row["kind"]: row["moved"] for row in rows(ask(self.engine, "egress_cost"))},
            {"zone sent": "1000", "zone received": "9000"})
        self.assertEqual(
            [(row["app"], row["peer_app"], row["from_zone"], row["sent"])
             for row in rows(ask(self.engine, "cross_zone_talkers"))],
            [("warehouse", "db", "eu-central-1b", "9000"), ("db", "warehouse", "eu-central-1a", "1000")])
        self.assertEqual([row["kind"] for row in rows(ask(self.engine, "metering"))], ["OTHER_ZONE"])

    def test_packets_of_masqueraded_pods_are_not_reported_as_lost(self):
        self.fill(flows.case(named("pod to a pod elsewhere, masqueraded"), True))
        self.assertEqual(ask(self.engine, "lost_on_the_way").count("\n"), 1)


class OriginalTableTests(unittest.TestCase):
    """The original table is enough for all queries without a line "Needs"."""

    @classmethod
    def setUpClass(cls):
        cls.engine = engine(until=cls.addClassCleanup)
        apply(cls.engine, chain()[:1])
        insert(cls.engine)

    def test_queries_without_requirements(self):
        for name in names():
            if "-- Needs 00" in text(name):
                continue
            with self.subTest(name):
                self.assertNotEqual(ask(self.engine, name).count("\n"), 1, "has no rows")


if __name__ == "__main__":
    if sys.argv[1:] == ["--record"]:
        at_end = unittest.TestCase()
        try:
            clickhouse = engine(until=at_end.addCleanup)
            apply(clickhouse, chain())
            insert(clickhouse)
            for name in names():
                with open(expected_file(name), "w") as file:
                    file.write(ask(clickhouse, name))
        finally:
            at_end.doCleanups()
    else:
        unittest.main()
