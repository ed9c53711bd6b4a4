# SPDX-License-Identifier: Apache-2.0
"""Applies deploy/clickhouse twice to a real ClickHouse with rows, and compares sums before and after."""
import os
import re
import subprocess
import unittest
import uuid

import flows
from engine import ROOT, SCHEMA, ZONES, QueryError, chain, engine, grants, schema, split, without_opener

ROLLUP = "004_rollup_hourly.sql"
FOR_CLUSTERS = ["006_replicated_on_cluster.sql", "007_distributed.sql"]
CONSTRAINT_VIOLATED, ACCESS_DENIED = 469, 497
INSERT = "INSERT INTO network_flows_0 FORMAT JSONEachRow\n"
# The settings with which the server sends batches.
SETTINGS = {"async_insert": 0, "optimize_on_insert": 0}


class SchemaTests(unittest.TestCase):
    zone = "UTC"

    @classmethod
    def setUpClass(cls):
        cls.engine = engine(grants("005_roles.sql"), until=cls.addClassCleanup, zone=cls.zone)
        cls.flows = flows.day()

    def setUp(self):
        self.database = "test_" + uuid.uuid4().hex
        self.engine.query("CREATE DATABASE " + self.database)

    def query(self, sql, **settings):
        return self.engine.query(sql, **{"database": self.database, **settings})

    def rows(self, sql, **settings):
        return [tuple(line.split("\t")) for line in self.query(sql, **settings).splitlines()]

    def number(self, sql, **settings):
        return int(self.query(sql, **settings))

    def apply(self, name):
        for statement in schema(name):
            self.query(statement)
            # Rows of a past day must not expire during the test.
            created = re.match(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", statement)
            if created:
                self.query("SYSTEM STOP TTL MERGES " + created[1])

    def apply_all(self, but=None):
        for name in chain():
            if name != but:
                self.apply(name)

    def insert(self, **settings):
        settings.setdefault("insert_deduplication_token", uuid.uuid4().hex)
        self.query(INSERT + self.flows.json_lines(), **SETTINGS, **settings)

    def total(self, table="network_flows_0", column="bytes"):
        return self.number("SELECT sum(%s) FROM %s" % (column, table))

    @property
    def reported(self):
        return sum(row["bytes"] for row in self.flows.rows)

    def test_the_files_are_numbered_without_gaps(self):
        numbers = sorted(name[:3] for name in os.listdir(SCHEMA) if re.match(r"\d{3}_.*\.sql$", name))
        self.assertEqual(numbers, ["%03d" % (place + 1) for place in range(len(numbers))])

    def test_files_can_be_applied_to_a_table_with_rows_and_again(self):
        self.apply(chain()[0])
        self.insert(input_format_skip_unknown_fields=1)
        for name in chain()[1:]:
            self.apply(name)
        self.insert()
        definition = self.query("SHOW CREATE TABLE network_flows_0")

        for name in chain():
            self.apply(name)

        self.assertEqual(self.query("SHOW CREATE TABLE network_flows_0"), definition)
        self.assertEqual(self.total(), 2 * self.reported)
        self.assertEqual(self.total("network_flows_hourly"), self.reported)
        self.query("OPTIMIZE TABLE network_flows_0 FINAL")
        self.assertEqual(self.total(), 2 * self.reported)

    def test_the_second_file_adds_what_a_table_lacks(self):
        self.apply_all()
        self.insert()
        self.query(with_new_column("002_extended_columns.sql"))
        definition = self.query("SHOW CREATE TABLE network_flows_0")
        self.assertRegex(definition, r"ORDER BY \([^)]*, localNew\)")
        self.query(with_new_column("002_extended_columns.sql"))
        self.assertEqual(self.query("SHOW CREATE TABLE network_flows_0"), definition)
        self.insert()
        self.query("OPTIMIZE TABLE network_flows_0 FINAL")
        self.assertEqual(self.total(), 2 * self.reported)

    def test_the_eighth_file_adds_its_columns_to_a_table_of_the_second_of_an_earlier_release(self):
        self.apply_all()
        definition = self.definitions()["network_flows_0"]
        self.query("DROP TABLE network_flows_0")
        self.apply(chain()[0])
        self.query(without_opener("002_extended_columns.sql"))
        self.apply("003_deduplication_window.sql")
        self.assertNotIn("opened", self.definitions()["network_flows_0"])
        self.insert(input_format_skip_unknown_fields=1)
        for name in ("008_opened_and_zone.sql", "008_opened_and_zone.sql", "002_extended_columns.sql"):
            self.apply(name)
            self.assertEqual(self.definitions()["network_flows_0"], definition)
        self.assertEqual(self.rows("SELECT DISTINCT opened, conntrackZone FROM network_flows_0"), [("", "0")])
        self.insert()
        self.query("OPTIMIZE TABLE network_flows_0 FINAL")
        self.assertEqual(self.total(), 2 * self.reported)
        self.assertEqual(
            self.rows("SELECT opened != '', sum(bytes) FROM network_flows_0 GROUP BY ALL ORDER BY ALL"),
            [("0", str(self.reported)), ("1", str(self.reported))])

    def test_rows_that_differ_in_the_opener_or_the_zone_alone_are_not_merged(self):
        self.apply_all()
        self.flows = flows.Flows()
        self.flows.connection(flows.WEB_1, flows.STRANGER, 443, 10, 20, (11, 0), 40_000)
        row, = [row for row in self.flows.rows if row["direction"] == "out"]
        parts = [("local", 0), ("remote", 0), ("local", 5), ("local", 0)]
        for opened, zone in parts:
            self.flows.rows = [dict(row, opened=opened, conntrackZone=zone)]
            self.insert()
        self.query("OPTIMIZE TABLE network_flows_0 FINAL")
        self.assertEqual(
            self.rows("SELECT opened, conntrackZone, bytes FROM network_flows_0 ORDER BY ALL"),
            [("local", "0", "20"), ("local", "5", "10"), ("remote", "0", "10")])

    def test_the_translated_source_has_a_column(self):
        self.apply_all()
        self.insert()
        self.assertEqual(
            self.number("SELECT count() FROM network_flows_0 WHERE sourceTranslated != connectionFlags['translated']"), 0)
        self.assertGreater(self.number("SELECT count() FROM network_flows_0 WHERE sourceTranslated"), 0)

    def test_an_existing_view_gets_the_new_query(self):
        self.apply_all()
        definitions = self.definitions()
        self.query("DROP VIEW network_flows_hourly_view")
        made, = [statement for statement in schema(ROLLUP) if statement.startswith("CREATE MATERIALIZED VIEW")]
        before = re.sub(
            r"WITH multiIf\(.*?\) AS is_once\nSELECT", "WITH direction = 'out' OR localNode = '' OR remoteNode IN ('', localNode)"
            " AS is_once SELECT", made, flags=re.S)
        self.assertNotEqual(before, made)
        self.query(before)
        self.assertNotEqual(self.definitions(), definitions)
        self.apply(ROLLUP)
        self.assertEqual(self.definitions(), definitions)

    def test_the_rollup_agrees_with_the_table(self):
        self.apply_all()
        self.insert()
        sums = """
            SELECT toStartOfHour({}, 'UTC'), direction, proto, connectionClass, connectionFlags, localNamespace, localWorkload,
                localAvailabilityZone, remoteNamespace, remoteWorkload, remoteAvailabilityZone, remoteRegion,
                remoteCloudService, sum(bytes), sum(packets)
            FROM {} GROUP BY ALL ORDER BY ALL"""
        self.assertEqual(
            self.rows(sums.format("hour", "network_flows_hourly")),
            self.rows(sums.format("intervalStartTime", "network_flows_0")))
        self.assertLess(
            self.number("SELECT count() FROM network_flows_hourly"), self.number("SELECT count() FROM network_flows_0"))

    def test_the_rollup_counts_every_byte_once(self):
        self.apply_all()
        self.insert()
        self.assertEqual(self.total("network_flows_hourly", "bytesOnce"), self.flows.carried)
        self.assertGreater(self.total(), self.flows.carried)

    def test_merges_keep_the_sums_of_the_rollup(self):
        self.apply_all()
        self.insert()
        self.insert()
        self.query("OPTIMIZE TABLE network_flows_hourly FINAL")
        for column, one in (("bytes", self.reported), ("bytesOnce", self.flows.carried)):
            self.assertEqual(self.total("network_flows_hourly", column), 2 * one)

    def test_a_repeated_batch_is_stored_once_in_both_tables(self):
        self.apply_all()
        for _ in range(2):
            self.insert(insert_deduplication_token="batch-1", deduplicate_blocks_in_dependent_materialized_views=1)
        self.assertEqual(self.total(), self.reported)
        self.assertEqual(self.total("network_flows_hourly"), self.reported)

    def test_a_repeated_batch_reaches_a_rollup_that_had_failed(self):
        self.apply_all()
        again = dict(insert_deduplication_token="batch-1", deduplicate_blocks_in_dependent_materialized_views=1)
        self.query("ALTER TABLE network_flows_hourly ADD CONSTRAINT full CHECK localNamespace != 'batch'")
        with self.assertRaises(QueryError) as refused:
            self.insert(**again)
        self.assertEqual(refused.exception.code, CONSTRAINT_VIOLATED)
        self.query("ALTER TABLE network_flows_hourly DROP CONSTRAINT full")
        self.insert(**again)
        self.assertEqual(self.total(), self.reported)
        self.assertEqual(self.total("network_flows_hourly"), self.reported)

    def test_days_before_the_rollup_are_backfilled_once(self):
        self.apply_all(but=ROLLUP)
        self.insert()
        self.apply(ROLLUP)
        for _ in range(2):
            for day in sorted({row["date"] for row in self.flows.rows}):
                for statement in schema("backfill_hourly.sql"):
                    self.query(statement, param_day=day)
        filled = self.rows("SELECT * FROM network_flows_hourly FINAL ORDER BY ALL")
        self.query("TRUNCATE TABLE network_flows_hourly")
        self.query("TRUNCATE TABLE network_flows_0")
        self.insert()
        self.assertEqual(filled, self.rows("SELECT * FROM network_flows_hourly FINAL ORDER BY ALL"))

    def test_consecutive_days_are_backfilled(self):
        self.flows = flows.nights()
        self.apply_all(but=ROLLUP)
        self.insert()
        self.apply(ROLLUP)
        days = sorted({row["date"] for row in self.flows.rows})
        for day in days:
            for statement in schema("backfill_hourly.sql"):
                self.query(statement, param_day=day)
        by_day = "SELECT toDate({}, 'UTC') AS day, sum(bytes) FROM {} GROUP BY day ORDER BY day"
        filled = self.rows(by_day.format("hour", "network_flows_hourly"))
        self.assertEqual([day for day, _ in filled], days)
        self.assertEqual(filled, self.rows(by_day.format("intervalStartTime", "network_flows_0")))

    def test_roles_have_exactly_their_rights(self):
        self.database = "default"  # the database of the grants
        self.apply_all()
        writer, reader = dict(user="kubenetmon_writer_user"), dict(user="kubenetmon_reader_user")
        self.query(INSERT + self.flows.json_lines(), **SETTINGS, **writer)
        self.assertEqual(self.total("network_flows_hourly"), self.reported)
        # The server's queries at start.
        asked = (
            "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'network_flows_0'"
            " AND engine_full LIKE '%non_replicated_deduplication_window%'",
            "SELECT count() > 0 FROM system.merge_tree_settings",
            "SELECT count() > 0 FROM system.replicated_merge_tree_settings",
        )
        for question in asked:
            self.assertEqual(self.query(question, **writer), "1\n", question)
        columns = "date, intervalStartTime, direction, proto, localPod, packets, _part"
        for question in ("SELECT 1 FROM system.parts LIMIT 0", "SELECT 1 FROM system.metrics LIMIT 0",
                         "SELECT %s FROM network_flows_0 LIMIT 0" % columns):
            self.query(question, **writer)
        self.assertGreater(self.query("DESCRIBE TABLE network_flows_0", **writer).count("\n"), 30)
        for table in ("network_flows_0", "network_flows_hourly"):
            self.assertEqual(self.query("SELECT sum(bytes) FROM " + table, **reader), "%d\n" % self.reported)

        refused = (
            ("SELECT sum(bytes) FROM network_flows_0", writer),
            ("SELECT sum(bytes) FROM network_flows_hourly", writer),
            ("TRUNCATE TABLE network_flows_0", writer),
            (INSERT + self.flows.json_lines(), reader),
            ("DROP TABLE network_flows_hourly", reader),
        )
        for statement, user in refused:
            with self.assertRaises(QueryError) as error:
                self.query(statement, **user)
            self.assertEqual(error.exception.code, ACCESS_DENIED, statement)

    def test_statements_for_clusters_are_well_formed(self):
        for name in ["005_roles.sql"] + FOR_CLUSTERS:
            for statement in schema(name):
                self.assertTrue(self.query("SELECT formatQuery({sql:String})", param_sql=escaped(statement)), statement)
                if name in FOR_CLUSTERS:
                    self.assertIn("ON CLUSTER '{cluster}'", statement)

    def test_the_cluster_has_the_same_tables(self):
        self.apply_all()
        expected = self.definitions()
        self.database += "_cluster"
        self.engine.query("CREATE DATABASE " + self.database)
        for statement in schema(FOR_CLUSTERS[0]):
            if statement.startswith("CREATE ROLE") or statement.startswith("GRANT"):
                continue
            plain = without_cluster(re.sub(r"ReplicatedSummingMergeTree\('[^']*', '[^']*', ", "SummingMergeTree(", statement))
            self.query(plain.replace("replicated_deduplication_window", "non_replicated_deduplication_window"))
        self.assertEqual(self.definitions(), expected)

    def test_the_cluster_has_the_same_roles(self):
        for role, statements in grants("005_roles.sql").items():
            plain = [grant.replace("ON CLUSTER '{cluster}' ", "") for grant in cluster_grants(role)]
            self.assertEqual(plain, statements)

    def test_the_tables_of_all_shards_get_new_columns(self):
        self.apply_all()
        self.apply_distributed()
        self.query(with_new_column("002_extended_columns.sql"))
        self.assertNotIn("localNew", self.columns("network_flows_all"))
        self.apply_distributed()
        for table in ("network_flows_0", "network_flows_hourly"):
            self.assertEqual(self.columns(table.removesuffix("_0") + "_all"), self.columns(table))
        self.assertIn("localNew", self.columns("network_flows_all"))

    def test_the_documented_commands_for_clusters_change_the_same(self):
        """Runs the commands of docs/clickhouse.md with `cat` in place of the client."""
        with open(os.path.join(ROOT, "docs", "clickhouse.md")) as file:
            section = re.search(r"^## On a cluster .*?(?=^## )", file.read(), flags=re.S | re.M)[0]
        commands, = re.findall(r"^```sh\n(.*?)^```", section, flags=re.S | re.M)
        output = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "clickhouse-client() { cat; }\n" + commands], cwd=SCHEMA,
            capture_output=True, text=True, check=True).stdout
        found = [statement for statement in split(output) if not statement.startswith("GRANT")]
        for statement in found:
            self.assertIn(" ON CLUSTER '{cluster}'", statement)
            self.assertTrue(self.query("SELECT formatQuery({sql:String})", param_sql=escaped(statement)), statement)
        view, = [statement for statement in schema(ROLLUP) if statement.startswith("ALTER TABLE")]
        shards = [statement for statement in schema(FOR_CLUSTERS[1]) if not statement.startswith("GRANT")]
        expected = schema("002_extended_columns.sql") + [view] + [without_cluster(statement) for statement in shards]
        self.assertEqual([without_cluster(statement) for statement in found], expected)

    def test_every_column_is_in_the_documents(self):
        self.apply_all()
        with open(os.path.join(ROOT, "docs", "columns.md")) as file:
            sections = re.split(r"^## `(\w+)`.*$", file.read(), flags=re.M)
        for table, text in zip(sections[1::2], sections[2::2]):
            documented = set()
            for cell in re.findall(r"^\| ([^|]*) \|", text, re.M):
                for name in re.findall(r"`(\w+)`", cell):
                    sides = [name] if name[0].islower() else ["local" + name, "remote" + name]
                    documented.update(sides)
            with self.subTest(table):
                self.assertEqual(sorted(documented), sorted(self.columns(table)))

    def apply_distributed(self):
        for statement in schema(FOR_CLUSTERS[1]):
            if not statement.startswith("GRANT"):
                self.query(without_cluster(statement).replace("'default'", "'%s'" % self.database))

    def columns(self, table):
        return self.query(
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '%s' ORDER BY position"
            % table).split()

    def definitions(self):
        return {
            name: self.query("SHOW CREATE TABLE " + name).replace(self.database, "")
            for name in ("network_flows_0", "network_flows_hourly", "network_flows_hourly_view")
        }


def in_zone(name):
    """Returns a class with all tests, in which the engine has another time zone."""
    return type("SchemaTests_" + name.split("/")[-1], (SchemaTests,), {"zone": name})


for zone in ZONES[1:]:
    tests = in_zone(zone)
    globals()[tests.__name__] = tests
del tests


def without_cluster(statement):
    return statement.replace(" ON CLUSTER '{cluster}'", "")


def with_new_column(name):
    """Returns a file's statement as a later release has it, with one more column."""
    statement, = schema(name)
    statement = statement.replace(
        "MODIFY ORDER BY", "ADD COLUMN IF NOT EXISTS `localNew` LowCardinality(String), MODIFY ORDER BY")
    return re.sub(r"(ORDER BY \([^)]*)\)", r"\1, localNew)", statement)


def cluster_grants(role):
    return grants(FOR_CLUSTERS[0])[role]


def escaped(text):
    """Returns a parameter's value, which ClickHouse parses like a field of TabSeparated."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


if __name__ == "__main__":
    unittest.main()
