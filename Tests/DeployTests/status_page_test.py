# SPDX-License-Identifier: Apache-2.0
"""Tests the server's status page with a browser: status_page_test.py SERVER_PROGRAM FOLDER_FOR_SCREENSHOTS

The real server writes to a real ClickHouse what agents of the test's own send. Some have names that would be markup.
"""
import contextlib
import ipaddress
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import engine
from browser import Browser

HOSTILE = "<img src=x onerror=document.title='owned'>"
ZONES = {"node-a": "eu-central-1a", "node-b": "eu-central-1b", HOSTILE: "eu-central-1c"}
PODS = [("shop", "web-6d4b75cb6d-x%d" % number) for number in range(6)] + [
    ("shop", "checkout-7c9f6bd5f4-tq2lm"), ("data", "orders-postgres-0"), ("data", "orders-postgres-1"),
    ("data", "events-kafka-broker-2"), ("ml", "feature-store-materialization-job-28934512-abcde"),
    ("kube-system", "coredns-5d78c9869d-8k2vw"), ("shop", HOSTILE)]
NODES = list(ZONES)
NODE_OF = {name: NODES[number % len(NODES)] for number, (_, name) in enumerate(PODS)}
ADDRESS = {name: "10.244.0.%d" % (10 + number) for number, (_, name) in enumerate(PODS)}
OUTSIDE = {"S3": "198.51.100.7", "anywhere": "203.0.113.9"}
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check(is_met, *what):
    if not is_met:
        sys.exit("status-page-test: " + " ".join(map(str, what)))


def quoted(text):
    return '"%s"' % text


def inventory():
    lines = ["nodes:"]
    for number, (name, zone) in enumerate(ZONES.items()):
        lines += ["  - {name: %s, addresses: [172.18.0.%d], zone: %s}" % (quoted(name), number + 2, zone)]
    lines += ["pods:"]
    for namespace, name in PODS:
        lines += ["  - {namespace: %s, name: %s, node: %s, addresses: [%s]}" % (
            namespace, quoted(name), quoted(NODE_OF[name]), ADDRESS[name])]
    return "\n".join(lines + [
        "ranges:", "  - {name: s3, cidrs: [198.51.100.0/24], cloud: aws, region: eu-central-1, service: s3}", ""])


# ---------------------------------------------------------------- the wire (proto/)

def varint(value):
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def frame(message):
    return struct.pack(">I", len(message)) + message


def hello(node):
    return frame(field(1, varint(1 << 3) + varint(1) + field(2, node.encode()) + field(3, os.urandom(16))
                       + field(4, b"0.1.0 (test)")))


def batch(sequence, flows):
    """Encodes a batch; flows are (source, destination, bytes sent, bytes received)."""
    numbers = lambda values: b"".join(map(varint, values))
    fixed = lambda values: struct.pack("<%dI" % len(flows), *(int(ipaddress.ip_address(value)) for value in values))
    packets = [1 + max(there, back) // 1000 for _, _, there, back in flows]
    return frame(field(2, b"".join([
        varint(1 << 3), varint(sequence), varint(2 << 3), varint(int(time.time() * 1000)),
        field(3, fixed([flow[0] for flow in flows])), field(4, fixed([flow[1] for flow in flows])),
        field(7, numbers([40000 + number for number in range(len(flows))])), field(8, numbers([443] * len(flows))),
        field(9, bytes([6] * len(flows))), field(10, numbers(packets)),
        field(11, numbers([flow[2] for flow in flows])), field(12, numbers(packets)),
        field(13, numbers([flow[3] for flow in flows]))])))


def traffic():
    """Returns each node's flows, and the expected lines of the page."""
    told, expected = {node: [] for node in NODES}, {}

    def talk(one, other, there, back):
        ends = [ADDRESS.get(end) or OUTSIDE[end] for end in (one, other)]
        nodes = {NODE_OF.get(end) for end in (one, other)} - {None}
        for node in nodes:
            told[node].append((*ends, there, back))
        for source, destination, amount in ((one, other, there), (other, one, back)):
            expected[source, destination] = expected.get((source, destination), 0) + amount

    names = [name for _, name in PODS]
    for number, web in enumerate(names[:6]):
        talk(web, "orders-postgres-0", 3_000_000 >> number, 90_000_000 >> number)
        talk(web, "anywhere", 40_000_000 >> number, 900_000)
    talk("checkout-7c9f6bd5f4-tq2lm", "orders-postgres-1", 7_000_000, 1_234_567)
    talk("events-kafka-broker-2", "S3", 55_000_000, 4_321)
    talk("feature-store-materialization-job-28934512-abcde", "S3", 1_000_000, 250_000_000)
    talk(HOSTILE, "anywhere", 123_456_789, 1_000)
    for name in names[:6]:
        talk(name, "coredns-5d78c9869d-8k2vw", 9_000, 20_000)
    return told, expected


# ---------------------------------------------------------------- the server

def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def get(url):
    with opener.open(url, timeout=20) as answer:
        return answer.read().decode(), answer.headers


def wait_for(what, condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        check(time.monotonic() < deadline, what, "did not come about")
        check(process.poll() is None, "the server ended")
        time.sleep(0.1)


def can(url):
    try:
        get(url)
        return True
    except (urllib.error.URLError, OSError):
        return False


def serve(program, clickhouse, until):
    folder = tempfile.TemporaryDirectory(prefix="kubenetmon-status.")
    until(folder.cleanup)
    port, metrics_port = free_ports(2)
    with open(folder.name + "/inventory.yaml", "w") as file:
        file.write(inventory())
    with open(folder.name + "/server.yaml", "w") as file:
        file.write("environment: test\ncloud: aws\nregion: eu-central-1\ncluster: main\nport: %d\nmetrics_port: %d\n"
                   "clickhouse_endpoint: %s\nclickhouse_batch_max_age: 200ms\ncloud_ranges: {enabled: false}\n"
                   % (port, metrics_port, clickhouse.url))
    log = open(folder.name + "/log", "w+")
    until(log.close)
    process = subprocess.Popen(
        [program, "--config", folder.name + "/server.yaml", "--credentials", folder.name,
         "--inventory", folder.name + "/inventory.yaml"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    until(process.wait)
    until(process.terminate)
    url = "http://127.0.0.1:%d/" % metrics_port
    wait_for("a ready server", lambda: can(url + "ready"), process)
    return process, port, url


class Agent:
    def __init__(self, port, node):
        self.connection, self.sequence = socket.create_connection(("127.0.0.1", port)), 0
        self.connection.sendall(hello(node))

    def send(self, flows):
        self.sequence += 1
        self.connection.sendall(batch(self.sequence, flows))


# ---------------------------------------------------------------- the page

LOOK = """(() => {
  return {
    title: document.title,
    width: document.documentElement.scrollWidth,
    window: window.innerWidth,
    images: document.images.length,
    scripts: document.scripts.length,
    text: document.body.innerText,
    sections: [...document.querySelectorAll('section')].map(section => section.id),
    readiness: document.getElementById('readiness').textContent,
    nodes: [...document.querySelectorAll('#agents tbody th')].map(cell => cell.firstChild.textContent),
    ink: getComputedStyle(document.body).color,
    ground: getComputedStyle(document.body).backgroundColor,
    wide: [...document.querySelectorAll('section > *')].filter(
      part => part.getBoundingClientRect().right > window.innerWidth + 0.5).map(part => part.outerHTML.slice(0, 80)),
    rows: [...document.querySelectorAll('.talkers tbody tr')].map(row => ({
      cells: [...row.cells].map(cell => cell.innerText.trim()),
      from: row.cells[0].firstChild.textContent, to: row.cells[1].firstChild.textContent,
      bar: row.querySelector('rect').getBoundingClientRect().width,
      room: row.querySelector('svg').getBoundingClientRect().width,
      right: row.cells[3].getBoundingClientRect().right })),
  };
})()"""


def bytes_of(text):
    number, unit = text.split()
    return float(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(unit)


def luminance(color):
    return sum(int(number) for number in re.findall(r"\d+", color)[:3])


def name_of(end):
    for namespace, name in PODS:
        if name == end:
            return "%s/%s" % (namespace, name)
    return {"S3": "aws eu-central-1 s3", "anywhere": "the internet"}[end]


def look(browser, url, width, scheme, expected):
    events = browser.load(url, width, scheme=scheme)
    requests = [event["params"]["request"]["url"] for event in events
                if event.get("method") == "Network.requestWillBeSent"]
    # The browser requests the icon of a site by itself.
    check(set(requests) - {url + "favicon.ico"} == {url}, "the page asks for", requests)
    complaints = [event["params"]["entry"]["text"] for event in events if event.get("method") == "Log.entryAdded"
                  and "favicon" not in event["params"]["entry"].get("url", "")]
    check(not complaints, "the browser complains:", complaints)
    page = browser.evaluate(LOOK)
    at = "at %d px:" % width
    check(page["title"] == "kubenetmon-server" and page["images"] == 0 and page["scripts"] == 0, "a name became markup")
    check(page["readiness"] == "ready", at, page["readiness"])
    check(not re.search(r"HTML\(|Optional\(", page["text"]), at, "what is no text:", page["text"])
    check(sorted(page["nodes"]) == sorted(NODES), at, page["nodes"])
    check(page["sections"] == ["talkers", "agents", "inserts", "watches", "ranges", "ignored", "losses"], at,
          page["sections"])
    check(page["width"] <= width and page["window"] == width, at, "the page is wider than the window:", page["width"])
    check(not page["wide"], at, "too wide:", page["wide"])
    is_dark = luminance(page["ink"]) > luminance(page["ground"])
    check(is_dark == (scheme == "dark"), at, scheme, page["ink"], page["ground"])

    heaviest = sorted(expected.items(), key=lambda pair: -pair[1])[:20]
    total = sum(expected.values())
    rows = page["rows"]
    check(len(rows) == 20, at, len(rows), "rows")
    # The number of rounds of batches, by the bytes of the first of the top talkers.
    times = round(bytes_of(rows[0]["cells"][3]) / heaviest[0][1])
    check(times > 0, at, "no bytes")
    for row, (_, amount) in zip(rows, heaviest):
        check(abs(bytes_of(row["cells"][3]) - times * amount) < 0.06 * 1024 ** 2, at, row, amount)
        check(row["cells"][4] == "%.1f %%" % (amount / total * 100)
              or abs(float(row["cells"][4].split()[0]) - amount / total * 100) < 0.11, at, row, amount / total)
        check(abs(row["bar"] - row["room"] * amount / heaviest[0][1]) < 1, at, "bar", row, amount)
        check(row["right"] == rows[0]["right"] or width < 640, at, "numbers that are not aligned", row)
    check({(row["from"], row["to"]) for row in rows[:12]}
          == {(name_of(source), name_of(destination)) for (source, destination), _ in heaviest[:12]}, at,
          [(row["from"], row["to"]) for row in rows[:12]])


def main():
    program, pictures = sys.argv[1:]
    os.makedirs(pictures, exist_ok=True)
    with contextlib.ExitStack() as stack:
        clickhouse = engine.engine(until=stack.callback)
        for statement in engine.schema("001_network_flows_0.sql"):
            clickhouse.query(statement)
        process, port, url = serve(program, clickhouse, stack.callback)
        body, headers = get(url)
        check("labelled no flows to store" in body, "the first page")
        check("default-src 'none'" in headers["Content-Security-Policy"], headers)
        agents = {node: Agent(port, node) for node in NODES}
        told, expected = traffic()
        browser = Browser(until=stack.callback)

        def send():
            # Sends all parts within one minute; otherwise some are in the next.
            if time.time() % 60 > 55:
                time.sleep(60.5 - time.time() % 60)
            rows = 'kubenetmon_worker_rows_total{type="inserted"} '
            count = lambda: int(re.search(re.escape(rows) + r"(\d+)", get(url + "metrics")[0])[1])
            before = count()
            for node, agent in agents.items():
                agent.send(told[node])
            wait_for("all rows", lambda: count() == before + 2 * sum(map(len, told.values())), process)

        for width, scheme in ((1280, "light"), (400, "light"), (1280, "dark")):
            send()
            look(browser, url, width, scheme, expected)
            browser.screenshot(os.path.join(pictures, "status-%d-%s.png" % (width, scheme)))
    print("ok: the status page at 1280 and 400 px, light and dark; screenshots are in", pictures)


main()
