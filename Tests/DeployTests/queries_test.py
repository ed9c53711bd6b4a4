# SPDX-License-Identifier: Apache-2.0
"""Asks every question of deploy/clickhouse/queries on the rows of flows.py; its answer must be the one in expected/.

    python3 queries_test.py --record    writes the answers of now there, to be read before they are committed
"""
import os
import re
import sys
import unittest

import flows
from engine import ROOT, SCHEMA, ZONES, chain, engine, plain_moments, schema

# Whose order leaves rows of equal rank as they come.
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
            if created:  # rows of a past day must not expire
                clickhouse.query("SYSTEM STOP TTL MERGES " + created[1])


def insert(clickhouse, rows=None):
    clickhouse.query(
        "INSERT INTO network_flows_0 FORMAT JSONEachRow\n" + (rows or flows.day()).json_lines(), async_insert=0,
        optimize_on_insert=0, input_format_skip_unknown_fields=1)


def ask(clickhouse, name, **names):
    """A question's answer at NOW; `names` are put in place of those at its top."""
    question = text(name).replace("now()", "toDateTime(%d)" % flows.seconds(flows.NOW))
    for name, value in names.items():
        question, count = re.subn(r"'[^']*' AS %s\b" % name, "'%s' AS %s" % (value, name), question)
        assert count == 1, name
    return plain_moments(clickhouse.query(question + "\nFORMAT TabSeparatedWithNames", date_time_output_format="iso"))


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

    def test_every_question_has_its_answer_in_every_time_zone(self):
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

    def test_every_answer_has_its_question(self):
        self.assertEqual(sorted(os.listdir(EXPECTED)), [name + ".tsv" for name in names()])

    def test_every_question_is_in_the_documents(self):
        with open(os.path.join(ROOT, "docs", "queries.md")) as file:
            named = re.findall(r"\.\./deploy/clickhouse/queries/(\w+)\.sql", file.read())
        self.assertEqual(sorted(named), names())

    def test_every_question_begins_with_a_sentence(self):
        for name in names():
            with self.subTest(name):
                self.assertRegex(text(name), r"\A-- [A-Z].*[a-z]")


class OpenerTests(unittest.TestCase):
    """A server that listens on a port as high as clients' (gRPC's 50051): no call is missing."""

    @classmethod
    def setUpClass(cls):
        cls.engine = engine(until=cls.addClassCleanup)
        apply(cls.engine, chain())
        insert(cls.engine, flows.grpc())

    def test_every_call_of_a_service_is_counted(self):
        row, = rows(ask(self.engine, "called_services"))
        self.assertEqual((row["service"], row["caller"]), ("shop/grpc", "Deployment/caller"))
        self.assertEqual((row["connections"], row["moved"], row["across_zones"]), ("20", "200000", "200000"))

    def test_every_new_connection_is_its_opener_s(self):
        opened = {row["pod"]: int(row["opened"]) for row in rows(ask(self.engine, "new_connections"))}
        self.assertEqual(opened["caller-1"], 20 + 8 + 6)
        # Its service says that it was called; who called the other pod nobody knows, so that it counts at both ends.
        self.assertNotIn("grpc-1", opened)
        self.assertEqual(opened["grpc-2"], 8)

    def test_every_address_that_is_called_is_seen_and_no_visitor(self):
        row, = rows(ask(self.engine, "outside_addresses", of_namespace="shop"))
        self.assertEqual((row["address"], row["port"], row["sent"], row["received"]),
                         ("203.0.113.7", "50051", "60000", "120000"))


class PriceTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = engine(until=cls.addClassCleanup)
        apply(cls.engine, chain()[:1])
        for rows_of_cloud in flows.clouds():
            insert(cls.engine, rows_of_cloud)

    def test_each_cloud_has_its_own_prices_or_none(self):
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


class OriginalTableTests(unittest.TestCase):
    """The original's table alone answers all questions that do not say what else they need."""

    @classmethod
    def setUpClass(cls):
        cls.engine = engine(until=cls.addClassCleanup)
        apply(cls.engine, chain()[:1])
        insert(cls.engine)

    def test_questions_without_needs(self):
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
