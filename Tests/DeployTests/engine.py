# SPDX-License-Identifier: Apache-2.0
"""A real ClickHouse for the tests of deploy/clickhouse: tools/clickhouse with the test's users and roles."""
import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from xml.sax.saxutils import escape

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
SCHEMA = os.path.join(ROOT, "deploy", "clickhouse")


class QueryError(Exception):
    def __init__(self, text):
        super().__init__(text.strip())
        found = re.search(r"Code: (\d+)", text)
        self.code = int(found[1]) if found else None


class Engine:
    def __init__(self, url):
        self.url = url
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def query(self, sql, user="default", **settings):
        """Runs one statement and returns its output."""
        settings["user"] = user
        request = urllib.request.Request(self.url + "/?" + urllib.parse.urlencode(settings), sql.encode())
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise QueryError(error.read().decode()) from None


def plain_moments(answer):
    """Rewrites times of date_time_output_format=iso, which are in UTC, in ClickHouse's default format."""
    return re.sub(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)Z", r"\1 \2", answer)


def statements(path):
    """Returns the statements of a file without comments."""
    with open(path) as file:
        return split(file.read())


def split(text):
    """Returns the statements of a text without comments. No literal in the files contains a semicolon."""
    text = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("--"))
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def schema(name):
    return statements(os.path.join(SCHEMA, name))


def chain():
    """Returns the files of a single server's schema, in order: all but the roles and the variants for clusters."""
    return [name for name in sorted(os.listdir(SCHEMA)) if re.match(r"(?!00[567])\d{3}_.*\.sql$", name)]


def without_opener(name):
    """Returns a file's statement as it was before 008_opened_and_zone.sql."""
    statement, = schema(name)
    for column in ("opened", "sourceTranslated", "conntrackZone"):
        statement, count = re.subn(r"\n *ADD COLUMN IF NOT EXISTS `%s`.*,$" % column, "", statement, flags=re.M)
        assert count == 1, column
    assert ", opened, conntrackZone)" in statement
    return statement.replace(", opened, conntrackZone)", ")")


def grants(name, database="default"):
    """Returns the GRANT statements of a file by role, with the database, which the engine's users file requires."""
    found = {}
    for statement in schema(name):
        grant = re.fullmatch(r"(GRANT .*) TO (\w+)", statement, re.S)
        if grant:
            named = re.sub(r" ON (?!system\.|CLUSTER)", " ON %s." % database, grant[1])
            found.setdefault(grant[2], []).append(named)
    return found


# Time zones on which results must not depend: UTC, east and west of it, with half hours, and near the date line.
ZONES = ["UTC", "Asia/Kolkata", "Pacific/Auckland", "America/St_Johns"]


def engine(roles=None, *, until, zone="UTC"):
    """Runs an engine in a time zone; `until` registers its cleanup functions. Every role has a user `…_user`."""
    folder = tempfile.TemporaryDirectory(prefix="kubenetmon-deploy.")
    until(folder.cleanup)
    ready, log_file = folder.name + "/ready.json", folder.name + "/log"
    command = [sys.executable, __file__, json.dumps(roles or {}), folder.name + "/data", "0", "--ready-file", ready]
    with open(log_file, "w") as log:
        process = subprocess.Popen(
            command, env=dict(os.environ, TZ=zone), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    until(process.wait)
    until(process.terminate)
    while not os.path.exists(ready):
        if process.poll() is not None:
            with open(log_file) as log:
                sys.exit("the engine ended:\n" + log.read())
        time.sleep(0.02)
    with open(ready) as file:
        return Engine(json.load(file)["http"])


def run(roles):
    """Runs tools/clickhouse with these roles. Its engine reads users and roles from a file only, not from SQL."""
    loader = importlib.machinery.SourceFileLoader("clickhouse", os.path.join(ROOT, "tools", "clickhouse"))
    sys.dont_write_bytecode = True
    tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("clickhouse", loader))
    loader.exec_module(tool)
    users, definitions = "", ""
    for role, queries in roles.items():
        users += (
            f"<{role}_user><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>"
            f"<quota>default</quota><grants><query>GRANT {role}</query></grants></{role}_user>")
        lines = "".join(f"<query>{escape(query)}</query>" for query in queries)
        definitions += f"<{role}><grants>{lines}</grants></{role}>"
    plain, config_xml = tool.users_xml(), tool.config_xml
    tool.users_xml = lambda: plain.replace("</users>", users + "</users><roles>" + definitions + "</roles>")
    # A cluster of one shard, which no test reads: creating a Distributed table does not connect.
    cluster = ("<macros><cluster>shards</cluster></macros><remote_servers><shards><shard><replica>"
               "<host>127.0.0.1</host><port>9</port></replica></shard></shards></remote_servers>")
    tool.config_xml = lambda *about: config_xml(*about).replace("</clickhouse>", cluster + "</clickhouse>")
    tool.main()


if __name__ == "__main__":
    roles = json.loads(sys.argv.pop(1))
    run(roles)
