# SPDX-License-Identifier: Apache-2.0
"""Rows of network_flows_0 as agents and servers make them of a few connections: every node reports its own pods' side."""
import collections
import datetime
import json

# What `now()` is in the tests' questions.
NOW = datetime.datetime(2026, 3, 2, 12, 0, 0)


def seconds(moment):
    """A moment in UTC as ClickHouse takes it whatever its own time zone is."""
    return int(moment.replace(tzinfo=datetime.timezone.utc).timestamp())


Pod = collections.namedtuple("Pod", "namespace name node zone address app workload instance")
Outside = collections.namedtuple("Outside", "address klass cloud region service")

ZONES = {"node-1": "eu-central-1a", "node-2": "eu-central-1b", "node-3": "eu-central-1a"}


def pod(namespace, name, node, address, app, workload, instance=""):
    return Pod(namespace, name, node, ZONES[node], address, app, workload, instance)


WEB_1 = pod("shop", "web-1", "node-1", "10.0.1.11", "web", "Deployment/web")
WEB_2 = pod("shop", "web-2", "node-2", "10.0.2.12", "web", "Deployment/web")
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
GROUP = Outside("224.0.0.251", "UNKNOWN", "", "", "")


class Flows:
    def __init__(self, cloud="aws", region="eu-central-1", cluster="main"):
        self.site = {"Cloud": cloud, "Region": region, "Cluster": cluster}
        self.rows = []
        self.carried = 0  # bytes, each once

    def connection(self, source, destination, port, sent, received, minute, source_port, proto="tcp", service="",
                   packets=None, lost=0, flags=(), days_ago=0, through_node=False):
        """What a connection carries in a minute of the day.

        `sent` and `received` are the source's bytes; of `packets` (sent, received) so many sent ones are `lost` between
        the nodes. A visitor from outside is never the local end, except `through_node`, the port of a node that is not the
        pod's and that masquerades: there is no other side then.
        """
        self.carried += sent + received
        hour, past = minute
        start = NOW.replace(hour=hour, minute=past) - datetime.timedelta(days=days_ago)
        packets = packets or (sent // 1000 + 1, received // 1000 + 1)
        at_source = dict(
            local=source, remote=destination, local_port=source_port, remote_port=port,
            out=(sent, packets[0]), into=(received, packets[1]), service=service)
        size = sent // packets[0]
        at_destination = dict(
            local=destination, remote=source, local_port=port, remote_port=source_port,
            out=(received, packets[1]), into=(sent - lost * size, packets[0] - lost), service="")
        sides = []
        if isinstance(source, Pod) or through_node:
            sides.append(at_source)
        if isinstance(destination, Pod) and not through_node and not (isinstance(source, Pod) and source.node == destination.node):
            sides.append(at_destination)
        for side in sides:
            for direction, (size, count) in (("out", side["out"]), ("in", side["into"])):
                if size or count:
                    self.rows.append(self.row(start, proto, flags, direction, side, size, count))

    def row(self, start, proto, flags, direction, side, size, count):
        local, remote = side["local"], side["remote"]
        row = {
            "date": str(start.date()), "intervalStartTime": seconds(start), "intervalSeconds": 60, "environment": "prod",
            "proto": proto, "direction": direction, "connectionFlags": {flag: True for flag in flags},
            "localPort": side["local_port"], "remotePort": side["remote_port"], "remoteService": side["service"],
            "bytes": size, "packets": count,
        }
        row.update(end("local", local, self.site))
        row.update(end("remote", remote, self.site))
        row["connectionClass"] = next((side.klass for side in (remote, local) if isinstance(side, Outside)), "INTRA_VPC")
        return row

    def json_lines(self):
        return "\n".join(json.dumps(row) for row in self.rows)


def end(side, of, site):
    family = "IPv6" if ":" in of.address else "IPv4"
    if isinstance(of, Pod):
        labels = dict(
            site, AvailabilityZone=of.zone, Node=of.node, Namespace=of.namespace, Pod=of.name, App=of.app,
            Workload=of.workload, InstanceID=of.instance)
    else:
        labels = {"Cloud": of.cloud, "Region": of.region, "Cluster": "UNKNOWN", "CloudService": of.service}
    labels[family] = of.address
    return {side + name: value for name, value in labels.items()}


def day():
    """Two hours of a small shop, 10:00 to 12:00, and a call two days before. Deployed at 11:00: web asks the database twice as often."""
    flows = Flows()
    call = flows.connection
    # Clients ask both replicas through the service; web-1 gets three connections of four. One lives for two minutes.
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
    # Node 2's packets to node 1 get lost: 4 of 100.
    call(ETL, DB, 5432, 100_000, 6_000_000_000, (11, 40), 54_000, service="shop/db", packets=(100, 4_000_000), lost=4)
    # Object storage here and far, another service far, other clouds, the Internet both ways.
    call(ETL, S3_HERE, 443, 40_000, 80_000_000, (11, 0), 55_000)
    call(ETL, S3_FAR, 443, 2_000_000_000, 50_000_000, (11, 1), 55_001)
    call(ETL, API_FAR, 443, 5_000, 9_000, (11, 2), 55_002)
    call(ETL, OTHER_CLOUD, 443, 600_000, 1_000, (11, 3), 55_003)
    call(ETL, STRANGER, 443, 3_000_000_000, 2_000_000, (11, 4), 55_004, flags=("nat_gateway",))
    call(CART, STRANGER, 443, 200_000_000, 100_000, (11, 5), 55_005)
    call(VISITOR, WEB_2, 443, 9_000, 500_000_000, (11, 6), 61_000)
    call(VISITOR, WEB_2, 80, 4_000, 300_000_000, (11, 7), 62_000, through_node=True)
    # DNS: other node, other zone, and one question without an answer; over TCP on the same node.
    call(CLIENT, DNS, 53, 120, 240, (11, 10), 45_000, "udp", "kube-system/kube-dns", packets=(2, 2))
    call(ETL, DNS, 53, 70, 0, (11, 40), 45_001, "udp", "kube-system/kube-dns", packets=(1, 0))
    call(CART, DNS, 53, 400, 4_000, (11, 30), 45_002, "tcp", "kube-system/kube-dns", packets=(5, 6))
    # A machine without a name, called and calling; a multicast group.
    call(WEB_1, MACHINE, 9092, 700_000, 30_000, (11, 50), 56_000)
    call(MACHINE, DB, 5432, 1_000, 20_000, (11, 51), 57_000)
    call(CART, GROUP, 5353, 300, 0, (11, 30), 58_000, "udp", packets=(3, 0))
    # A visit of the month before.
    call(CLIENT, WEB_1, 80, 3_000, 1_000_000, (9, 0), 60_000, service="shop/web", days_ago=2)
    # IPv6 between zones.
    call(IPV6_CLIENT, IPV6_WEB, 80, 1_000, 11_000, (11, 52), 59_000, service="shop/web")
    return flows


def nights():
    """Ten bytes a call around midnight in UTC, on five days in a row with the end of a month among them."""
    flows = Flows()
    for days_ago in range(5):
        for minute in ((0, 10), (11, 0), (23, 50)):
            flows.connection(CART, DB, 5432, 10, 0, minute, 50_000, days_ago=days_ago, packets=(1, 0))
    return flows


GRPC = pod("shop", "grpc-1", "node-1", "10.0.1.60", "grpc", "Deployment/grpc")
CALLER = pod("shop", "caller-1", "node-2", "10.0.2.61", "caller", "Deployment/caller")


def grpc():
    """Calls to port 50051 from ports below and above it, each of them new: 20 through a service, 8 straight to another pod
    of the kind, 6 to an address outside, and 3 visits to the service's own pod from there."""
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


# Clouds and regions of theirs; of the last two, the region or the cloud is in no list of prices.
CLOUDS = [("aws", "eu-central-1"), ("azure", "westeurope"), ("gcp", "europe-west3"), ("aws", "sa-east-1"), ("hetzner", "fsn1")]


def clouds():
    """In each cloud's region the same: 4 GiB to another zone, 2 GiB to another region, 1 GiB to the Internet and 8 GiB from there."""
    gib = 2 ** 30
    for cloud, region in CLOUDS:
        flows = Flows(cloud, region, cluster=region)
        far = Outside("198.18.0.1", "INTER_REGION", cloud, "elsewhere", "")
        flows.connection(ETL, DB, 5432, 4 * gib, 0, (11, 0), 50_000)
        flows.connection(ETL, far, 443, 2 * gib, 0, (11, 1), 50_001)
        flows.connection(ETL, STRANGER, 443, gib, 8 * gib, (11, 2), 50_002)
        yield flows
