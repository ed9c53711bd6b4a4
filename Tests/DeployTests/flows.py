# SPDX-License-Identifier: Apache-2.0
"""Rows of network_flows_0 as agents and servers write them for a few connections: every node reports its own pods' ends."""
import collections
import datetime
import json

# The value of `now()` in the tests' queries.
NOW = datetime.datetime(2026, 3, 2, 12, 0, 0)


def seconds(moment):
    """Returns a time in UTC as a number, which ClickHouse reads independently of its own time zone."""
    return int(moment.replace(tzinfo=datetime.timezone.utc).timestamp())


Pod = collections.namedtuple("Pod", "namespace name node zone address app workload instance")
Host = collections.namedtuple("Host", "node zone address")
Outside = collections.namedtuple("Outside", "address klass cloud region service zone", defaults=[""])

ZONES = {"node-1": "eu-central-1a", "node-2": "eu-central-1b", "node-3": "eu-central-1a"}


def pod(namespace, name, node, address, app, workload, instance=""):
    return Pod(namespace, name, node, ZONES[node], address, app, workload, instance)


WEB_1 = pod("shop", "web-1", "node-1", "10.0.1.11", "web", "Deployment/web")
WEB_2 = pod("shop", "web-2", "node-2", "10.0.2.12", "web", "Deployment/web")
NODE_1, NODE_2, NODE_3 = (Host(node, zone, "192.168.0.%s" % node[-1]) for node, zone in ZONES.items())
DB = pod("shop", "db-0", "node-1", "10.0.1.20", "db", "StatefulSet/db", "tenant-a")
CART = pod("shop", "cart-1", "node-3", "10.0.3.30", "cart", "Deployment/cart")
ETL = pod("batch", "etl-1", "node-2", "10.0.2.40", "etl", "CronJob/etl")
DNS = pod("kube-system", "coredns-1", "node-3", "10.0.3.53", "kube-dns", "Deployment/coredns")
CLIENT = pod("load", "client-1", "node-2", "10.0.2.50", "client", "Deployment/client")
IPV6_CLIENT = CLIENT._replace(address="2001:db8::50")
IPV6_WEB = WEB_1._replace(address="2001:db8::11")

S3_HERE = Outside("52.219.1.1", "INTRA_REGION", "aws", "eu-central-1", "s3")
S3_FAR = Outside("52.216.1.1", "INTER_REGION", "aws", "us-east-1", "s3")
API_FAR = Outside("54.239.1.1", "INTER_REGION", "aws", "us-east-1", "amazon")
STRANGER = Outside("203.0.113.7", "PUBLIC_INTERNET", "", "", "")
VISITOR = Outside("198.51.100.77", "PUBLIC_INTERNET", "", "", "")
OTHER_CLOUD = Outside("34.118.1.1", "PUBLIC_INTERNET", "gcp", "europe-west3", "googlecloud")
MACHINE = Outside("10.99.0.9", "INTRA_VPC", "aws", "eu-central-1", "")
WAREHOUSE = Outside("10.99.1.7", "INTRA_REGION", "aws", "eu-central-1", "warehouse", "eu-central-1b")
GROUP = Outside("224.0.0.251", "UNKNOWN", "", "", "")


class Flows:
    def __init__(self, cloud="aws", region="eu-central-1", cluster="main"):
        self.site = {"Cloud": cloud, "Region": region, "Cluster": cluster}
        self.rows = []
        self.carried = 0  # bytes, each once

    def connection(self, source, destination, port, sent, received, minute, source_port, proto="tcp", service="",
                   packets=None, lost=0, flags=(), days_ago=0, entry=""):
        """Adds the rows of a connection in a minute of the day.

        `sent` and `received` are the source's bytes; of the sent `packets` (sent, received), `lost` are lost between the
        nodes. An external client is the local end only through the port of the node `entry`, which is not the pod's and
        masquerades: then only this node reports the connection.
        """
        self.carried += sent + received
        hour, past = minute
        start = NOW.replace(hour=hour, minute=past) - datetime.timedelta(days=days_ago)
        packets = packets or (sent // 1000 + 1, received // 1000 + 1)
        at_source = dict(
            opened="local", local=source, remote=destination, local_port=source_port, remote_port=port,
            out=(sent, packets[0]), into=(received, packets[1]), service=service, observer=entry,
            flags=[*flags, "translated"] if entry else flags)
        size = sent // packets[0]
        at_destination = dict(
            opened="remote", local=destination, remote=source, local_port=port, remote_port=source_port,
            out=(received, packets[1]), into=(sent - lost * size, packets[0] - lost), service="",
            observer="", flags=flags)
        sides = []
        if isinstance(source, Pod) or entry:
            sides.append(at_source)
        if isinstance(destination, Pod) and not entry and not (isinstance(source, Pod) and source.node == destination.node):
            sides.append(at_destination)
        for side in sides:
            for direction, (size, count) in (("out", side["out"]), ("in", side["into"])):
                if size or count:
                    self.rows.append(self.row(start, proto, direction, side, size, count))

    def observe(self, observer, source, destination, dialled=None, seen_as=None, node_flows=False, sent=1_000, received=9_000):
        """Adds the rows that the server writes for a node's observation of a connection, by the rules of docs/labels.md.

        The original tuple is from `source` to `dialled`, the reply tuple from `destination` to `seen_as`.
        """
        if not node_flows and (isinstance(source, Host) or isinstance(destination, Host)):
            return
        is_translated = seen_as not in (None, source)
        on_source, on_destination = node_of(source), node_of(destination)
        if observer == on_source or not on_source and not on_destination and source.klass == "INTRA_VPC":
            local_is_source = True
        elif observer == on_destination:
            local_is_source = False
        elif not on_source and on_destination and is_translated:
            local_is_source = True
        elif on_source and on_destination and is_translated and dialled not in (None, destination):
            local_is_source = True
        elif on_source and not on_destination and dialled not in (None, destination):
            local_is_source = False
        else:
            return  # transit, or unknown direction
        ends = dict(local=source, remote=destination, out=(sent, 1), into=(received, 1), local_port=50_000, remote_port=80)
        if not local_is_source:
            ends = dict(local=destination, remote=source, out=(received, 1), into=(sent, 1), local_port=80, remote_port=50_000)
        ends.update(
            opened="local" if local_is_source else "remote", service="", observer=observer,
            flags=["translated"] if is_translated else [])
        for direction, way in (("out", "out"), ("in", "into")):
            self.rows.append(self.row(NOW - datetime.timedelta(hours=1), "tcp", direction, ends, *ends[way]))

    def row(self, start, proto, direction, side, size, count):
        local, remote = side["local"], side["remote"]
        row = {
            "date": str(start.date()), "intervalStartTime": seconds(start), "intervalSeconds": 60, "environment": "prod",
            "proto": proto, "direction": direction, "opened": side["opened"],
            "connectionFlags": {flag: True for flag in side["flags"]},
            "localPort": side["local_port"], "remotePort": side["remote_port"], "remoteService": side["service"],
            "bytes": size, "packets": count,
        }
        row.update(end("local", local, self.site, side["observer"]))
        row.update(end("remote", remote, self.site))
        row["connectionClass"] = next((side.klass for side in (remote, local) if isinstance(side, Outside)), "INTRA_VPC")
        return row

    def json_lines(self):
        return "\n".join(json.dumps(row) for row in self.rows)


def node_of(end):
    return getattr(end, "node", "")


def end(side, of, site, observer=""):
    """Returns the columns of one end; an external local end has those of the `observer`, which older servers did not fill."""
    family = "IPv6" if ":" in of.address else "IPv4"
    if isinstance(of, Pod):
        labels = dict(
            site, AvailabilityZone=of.zone, Node=of.node, Namespace=of.namespace, Pod=of.name, App=of.app,
            Workload=of.workload, InstanceID=of.instance)
    elif isinstance(of, Host):
        labels = dict(site, AvailabilityZone=of.zone, Node=of.node)
    elif observer:
        labels = dict(site, AvailabilityZone=ZONES[observer], Node=observer)
    else:
        labels = {
            "Cloud": of.cloud, "Region": of.region, "Cluster": "UNKNOWN", "CloudService": of.service,
            "AvailabilityZone": of.zone}
    labels[family] = of.address
    return {side + name: value for name, value in labels.items()}


def day():
    """Two hours of a small shop, 10:00 to 12:00, and a call two days earlier. After a deployment at 11:00, web queries the
    database twice as often."""
    flows = Flows()
    call = flows.connection
    # Clients call both replicas through the service; web-1 gets three of four connections. One lasts for two minutes.
    for n in range(4):
        for minute in ((10, 10), (11, 10)):
            call(CLIENT, WEB_2 if n == 3 else WEB_1, 80, 2_000, 3_000_000, minute, 40_000 + 100 * minute[0] + n,
                 service="shop/web")
    call(CLIENT, WEB_1, 80, 1_000, 7_500_000, (11, 11), 41_100, service="shop/web")
    # The database: same node for web-1, another zone for web-2.
    for minute, count in (((10, 20), 1), ((11, 20), 2)):
        for n in range(count):
            call(WEB_1, DB, 5432, 50_000, 400_000, minute, 50_000 + 100 * minute[0] + n, service="shop/db")
            call(WEB_2, DB, 5432, 30_000, 200_000, minute, 52_000 + 100 * minute[0] + n, service="shop/db")
    # Same zone, other node.
    call(CART, DB, 5432, 10_000, 60_000, (11, 30), 53_000, service="shop/db")
    # 4 of 100 packets from node 2 to node 1 are lost.
    call(ETL, DB, 5432, 100_000, 6_000_000_000, (11, 40), 54_000, service="shop/db", packets=(100, 4_000_000), lost=4)
    # Object storage in this and another region, another service elsewhere, other clouds, the Internet in both directions.
    call(ETL, S3_HERE, 443, 40_000, 80_000_000, (11, 0), 55_000)
    call(ETL, S3_FAR, 443, 2_000_000_000, 50_000_000, (11, 1), 55_001)
    call(ETL, API_FAR, 443, 5_000, 9_000, (11, 2), 55_002)
    call(ETL, OTHER_CLOUD, 443, 600_000, 1_000, (11, 3), 55_003)
    call(ETL, STRANGER, 443, 3_000_000_000, 2_000_000, (11, 4), 55_004, flags=("nat_gateway",))
    call(CART, STRANGER, 443, 200_000_000, 100_000, (11, 5), 55_005)
    call(VISITOR, WEB_2, 443, 9_000, 500_000_000, (11, 6), 61_000)
    call(VISITOR, WEB_2, 80, 4_000, 300_000_000, (11, 7), 62_000, entry="node-1")
    # DNS: other node, other zone, one request without a response, and over TCP on the same node.
    call(CLIENT, DNS, 53, 120, 240, (11, 10), 45_000, "udp", "kube-system/kube-dns", packets=(2, 2))
    call(ETL, DNS, 53, 70, 0, (11, 40), 45_001, "udp", "kube-system/kube-dns", packets=(1, 0))
    call(CART, DNS, 53, 400, 4_000, (11, 30), 45_002, "tcp", "kube-system/kube-dns", packets=(5, 6))
    # A machine without a name, as server and as client; a multicast group.
    call(WEB_1, MACHINE, 9092, 700_000, 30_000, (11, 50), 56_000)
    call(MACHINE, DB, 5432, 1_000, 20_000, (11, 51), 57_000)
    call(CART, GROUP, 5353, 300, 0, (11, 30), 58_000, "udp", packets=(3, 0))
    # An external client in the month before.
    call(CLIENT, WEB_1, 80, 3_000, 1_000_000, (9, 0), 60_000, service="shop/web", days_ago=2)
    # IPv6 between zones.
    call(IPV6_CLIENT, IPV6_WEB, 80, 1_000, 11_000, (11, 52), 59_000, service="shop/web")
    return flows


def nights():
    """Calls of ten bytes around midnight UTC, on five consecutive days across the end of a month."""
    flows = Flows()
    for days_ago in range(5):
        for minute in ((0, 10), (11, 0), (23, 50)):
            flows.connection(CART, DB, 5432, 10, 0, minute, 50_000, days_ago=days_ago, packets=(1, 0))
    return flows


GRPC = pod("shop", "grpc-1", "node-1", "10.0.1.60", "grpc", "Deployment/grpc")
CALLER = pod("shop", "caller-1", "node-2", "10.0.2.61", "caller", "Deployment/caller")


def grpc():
    """New connections to port 50051 from ports below and above it: 20 through a service, 8 directly to another pod of the
    same kind, 6 to an external address, and 3 from external clients to the service's pod."""
    flows = Flows()
    headless = GRPC._replace(name="grpc-2", address="10.0.1.62")
    ports = [32_768 + 1_400 * n for n in range(20)]
    for n, source_port in enumerate(ports):
        flows.connection(CALLER, GRPC, 50_051, 1_000, 9_000, (11, 30), source_port, service="shop/grpc")
        if n < 8:
            flows.connection(CALLER, headless, 50_051, 100, 200, (11, 31), source_port)
        if n < 6:
            flows.connection(CALLER, STRANGER, 50_051, 10_000, 20_000, (11, 32), ports[3 * n])
        if n < 3:
            flows.connection(VISITOR, GRPC, 50_051, 7, 5, (11, 33), ports[9 * n])
    return flows


# Clouds with a region; the list of prices lacks the region of the fourth and the cloud of the fifth.
CLOUDS = [("aws", "eu-central-1"), ("azure", "westeurope"), ("gcp", "europe-west3"), ("aws", "sa-east-1"), ("hetzner", "fsn1")]


def clouds():
    """The same traffic in each cloud: 4 GiB to another zone, 2 GiB to another region, 1 GiB to and 8 GiB from the Internet."""
    gib = 2 ** 30
    for cloud, region in CLOUDS:
        flows = Flows(cloud, region, cluster=region)
        far = Outside("198.18.0.1", "INTER_REGION", cloud, "elsewhere", "")
        flows.connection(ETL, DB, 5432, 4 * gib, 0, (11, 0), 50_000)
        flows.connection(ETL, far, 443, 2 * gib, 0, (11, 1), 50_001)
        flows.connection(ETL, STRANGER, 443, gib, 8 * gib, (11, 2), 50_002)
        yield flows


Case = collections.namedtuple("Case", "name seen recorded", defaults=[(True, True)])
# Observations of a connection: the node, the source, the destination and, if they differ, the called address and the address
# to which the destination responds. `recorded`: whether rows exist with ignore_node_flows: true and with false.
ONLY_WITH_NODE_FLOWS = (False, True)
CONTAINER = Outside("172.17.0.2", "INTRA_VPC", "aws", "eu-central-1", "")
CASES = [
    Case("pod to a pod of its node", [("node-1", WEB_1, DB)]),
    Case("pod to a pod of another node", [("node-2", WEB_2, DB), ("node-1", WEB_2, DB)]),
    Case("pod to itself through a service", [("node-1", DB, DB, None, NODE_1)]),
    Case("pod to a pod elsewhere, masqueraded", [
        ("node-2", WEB_2, DB, NODE_2, NODE_2), ("node-1", NODE_2, DB)]),
    Case("pod to another node's port with its pod, masqueraded there", [
        ("node-2", WEB_2, NODE_1), ("node-1", WEB_2, DB, NODE_1, NODE_1)]),
    Case("pod to another node's port with its pod, masqueraded on both", [
        ("node-2", WEB_2, NODE_1, None, NODE_2), ("node-1", NODE_2, DB, NODE_1, NODE_1)], ONLY_WITH_NODE_FLOWS),
    Case("pod to another node's port with a third node's pod", [
        ("node-2", WEB_2, NODE_3), ("node-3", WEB_2, DB, NODE_3, NODE_3), ("node-1", NODE_3, DB)]),
    Case("visitor to a pod of the entry node", [("node-1", VISITOR, DB, NODE_1, NODE_1)]),
    Case("visitor to a pod elsewhere, masqueraded", [
        ("node-2", VISITOR, DB, NODE_2, NODE_2), ("node-1", NODE_2, DB)]),
    Case("visitor to a pod elsewhere, routed", [("node-2", VISITOR, DB, NODE_2), ("node-1", VISITOR, DB)]),
    Case("visitor of a private network to a pod elsewhere", [
        ("node-2", MACHINE, DB, NODE_2, NODE_2), ("node-1", NODE_2, DB)]),
    Case("visitor to a process of the entry node", [("node-1", VISITOR, NODE_1)], ONLY_WITH_NODE_FLOWS),
    Case("visitor to a process of another node", [
        ("node-2", VISITOR, NODE_1, NODE_2, NODE_2), ("node-1", NODE_2, NODE_1)], ONLY_WITH_NODE_FLOWS),
    Case("process to a pod of its node", [("node-1", NODE_1, DB)], ONLY_WITH_NODE_FLOWS),
    Case("process to a pod elsewhere", [("node-2", NODE_2, DB), ("node-1", NODE_2, DB)], ONLY_WITH_NODE_FLOWS),
    Case("process to a pod elsewhere, from another address of the node", [
        ("node-2", NODE_2, DB, None, NODE_2._replace(address="10.244.2.0")), ("node-1", NODE_2, DB)], ONLY_WITH_NODE_FLOWS),
    Case("pod to a process of its node", [("node-1", DB, NODE_1)], ONLY_WITH_NODE_FLOWS),
    Case("pod to a process of another node", [("node-2", WEB_2, NODE_1), ("node-1", WEB_2, NODE_1)], ONLY_WITH_NODE_FLOWS),
    Case("pod to a process of another node, masqueraded", [
        ("node-2", WEB_2, NODE_1, None, NODE_2), ("node-1", NODE_2, NODE_1)], ONLY_WITH_NODE_FLOWS),
    Case("node to a node", [("node-2", NODE_2, NODE_1), ("node-1", NODE_2, NODE_1)], ONLY_WITH_NODE_FLOWS),
    Case("node to the Internet", [("node-1", NODE_1, STRANGER)], ONLY_WITH_NODE_FLOWS),
    Case("pod to the Internet", [("node-1", DB, STRANGER, None, NODE_1)]),
    Case("pod to the Internet through an egress gateway", [
        ("node-1", DB, STRANGER), ("node-2", DB, STRANGER, None, NODE_2)]),
    Case("container behind a node to the Internet", [("node-1", CONTAINER, STRANGER, None, NODE_1)]),
    Case("container behind a node to a pod of it", [("node-1", CONTAINER, DB)]),
    Case("container behind a node to a pod elsewhere", [
        ("node-2", CONTAINER, DB, None, NODE_2), ("node-1", NODE_2, DB)]),
    Case("container behind a node to a process of another node", [
        ("node-2", CONTAINER, NODE_1, None, NODE_2), ("node-1", NODE_2, NODE_1)], ONLY_WITH_NODE_FLOWS),
    Case("pod to a container's port of another node", [
        ("node-2", WEB_2, NODE_1), ("node-1", WEB_2, CONTAINER, NODE_1)]),
    Case("pod to a container's port of another node, masqueraded", [
        ("node-2", WEB_2, NODE_1, None, NODE_2), ("node-1", NODE_2, CONTAINER, NODE_1)], ONLY_WITH_NODE_FLOWS),
]


def case(case, node_flows):
    flows = Flows()
    for observer, source, destination, *translated in case.seen:
        flows.observe(observer, source, destination, *translated, node_flows=node_flows)
    return flows


def moved(case, within_node):
    """Returns the bytes that each workload of a case sent and received; `within_node` includes both ends of one node."""
    (_, source, *_), (_, _, destination, *_) = case.seen[0], case.seen[-1]
    found = collections.defaultdict(lambda: (0, 0))
    for end, sent, received in ((source, 1_000, 9_000), (destination, 9_000, 1_000)):
        is_reported = end == source or not isinstance(source, Pod) or source.node != node_of(destination)
        if isinstance(end, Pod) and (within_node or is_reported):
            found[end.workload] = (found[end.workload][0] + sent, found[end.workload][1] + received)
    return dict(found)
