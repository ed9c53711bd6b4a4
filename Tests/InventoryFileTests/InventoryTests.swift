// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import DocumentTree
import FlowModel
import InventoryFile
import Testing

private func problems(_ text: String) -> [String] {
    do {
        _ = try Inventory(text: text, file: "inventory.yaml")
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

private func address(_ text: String) throws -> IPAddress {
    try #require(IPAddress(text))
}

private func prefix(_ text: String) throws -> IPPrefix {
    try #require(IPPrefix(text))
}

@Suite struct InventoryTests {
    @Test("every key of an inventory is read") func everyKeyIsRead() throws {
        let text = """
            nodes:
              - name: node-a
                addresses: [172.18.0.2]
                zone: eu-central-1a
              - name: node-b
                addresses: [172.18.0.3, "fc00:f853:ccd:e793::3"]
            pods:
              - namespace: shop
                name: web-1
                node: node-a
                addresses: [10.244.1.10, "fd00:244:1::10"]
                app: web
                instance_id: blue
                cell: cell-1
              - namespace: kube-system
                name: kube-proxy-1
                node: node-b
                addresses: [172.18.0.3]
                host_network: true
            ranges:
              - name: s3-frankfurt
                cidrs: [198.51.100.0/24, "2001:db8::/32"]
                cloud: AWS
                region: eu-central-1
                availability_zone: eu-central-1a
                service: s3
              - name: partner
                cidrs: [203.0.113.0/24]
                cloud: Google Cloud
            """
        let frankfurt = CloudPlace(
            cloud: "aws", region: "eu-central-1", availabilityZone: "eu-central-1a", service: "s3")
        let expected = Inventory(
            nodes: [
                Node(name: "node-a", addresses: [try address("172.18.0.2")], zone: "eu-central-1a"),
                Node(
                    name: "node-b", addresses: [try address("172.18.0.3"), try address("fc00:f853:ccd:e793::3")]),
            ],
            pods: [
                Pod(
                    namespace: "shop", name: "web-1", node: "node-a",
                    addresses: [try address("10.244.1.10"), try address("fd00:244:1::10")],
                    columnLabels: [.app: "web", .instanceID: "blue", .cell: "cell-1"]),
                Pod(
                    namespace: "kube-system", name: "kube-proxy-1", node: "node-b",
                    addresses: [try address("172.18.0.3")], hostNetwork: true),
            ],
            ranges: [
                CloudRange(prefix: try prefix("198.51.100.0/24"), place: frankfurt),
                CloudRange(prefix: try prefix("2001:db8::/32"), place: frankfurt),
                CloudRange(prefix: try prefix("203.0.113.0/24"), place: CloudPlace(cloud: "googlecloud")),
            ])
        #expect(try Inventory(text: text, file: "inventory.yaml") == expected)
    }

    @Test(
        "every list of an inventory may be absent",
        arguments: ["", "nodes: []\npods: []\nranges: []", "nodes:\npods:\nranges:"])
    func everyListMayBeAbsent(text: String) throws {
        #expect(try Inventory(text: text, file: "inventory.yaml") == Inventory())
    }

    @Test("pods may be listed before their nodes") func podsMayStandBeforeTheirNodes() {
        let text = """
            pods: [{namespace: shop, name: web-1, node: node-a, addresses: [10.244.1.10]}]
            nodes: [{name: node-a, addresses: [172.18.0.2]}]
            """
        #expect(problems(text) == [])
    }

    @Test func allProblemsAreReportedAtOnce() {
        let text = """
            nodes:
              - name: node-a
                adresses: [172.18.0.2]
              - name: node-a
                addresses: [172.18.0.999]
            pods:
              - namespace: shop
                name: web-1
                node: node-z
                addresses:
                  - 10.244.1.10
                  - 10.244.1.300
                host_network: no
              - namespace: shop
                node: node-a
                addresses: 10.244.1.11
            ranges:
              - name: s3-frankfurt
                cidrs: [198.51.100.7/24, "2001:db8::1/32", 10.0.0.0/33, 10.0.0.1]
                region: eu-central-1
            podz: []
            """
        #expect(
            problems(text) == [
                "inventory.yaml:2: nodes[0]: missing key 'addresses'",
                "inventory.yaml:3: nodes[0]: unknown key 'adresses'; did you mean 'addresses'?",
                "inventory.yaml:4: nodes[1].name: 'node-a' is the name of an earlier node",
                "inventory.yaml:5: nodes[1].addresses[0]: '172.18.0.999' is not an IPv4 or IPv6 address",
                "inventory.yaml:9: pods[0].node: 'node-z' is not among the nodes",
                "inventory.yaml:12: pods[0].addresses[1]: '10.244.1.300' is not an IPv4 or IPv6 address",
                "inventory.yaml:13: pods[0].host_network: 'no' is not true or false",
                "inventory.yaml:14: pods[1]: missing key 'name'",
                "inventory.yaml:16: pods[1].addresses: expected a list, found a single value",
                "inventory.yaml:18: ranges[0]: missing key 'cloud'",
                "inventory.yaml:19: ranges[0].cidrs[0]: "
                    + "'198.51.100.7/24' has host bits set; the network is 198.51.100.0/24",
                "inventory.yaml:19: ranges[0].cidrs[1]: "
                    + "'2001:db8::1/32' has host bits set; the network is 2001:db8::/32",
                "inventory.yaml:19: ranges[0].cidrs[2]: "
                    + "'10.0.0.0/33' is not a block of addresses such as 10.0.0.0/8 or fd00::/8",
                "inventory.yaml:19: ranges[0].cidrs[3]: "
                    + "'10.0.0.1' is not a block of addresses such as 10.0.0.0/8 or fd00::/8",
                "inventory.yaml:21: unknown key 'podz'; did you mean 'pods'?",
            ])
    }

    @Test("an address of two pods outside the host network is rejected")
    func podsOutsideTheHostNetworkShareNoAddress() {
        let text = """
            nodes: [{name: node-a, addresses: [172.18.0.2]}]
            pods:
              - {namespace: shop, name: web-1, node: node-a, addresses: [10.244.1.10]}
              - {namespace: shop, name: web-2, node: node-a, addresses: [10.244.1.10]}
              - {namespace: sys, name: cni-1, node: node-a, addresses: [172.18.0.2], host_network: true}
              - {namespace: sys, name: proxy-1, node: node-a, addresses: [172.18.0.2], host_network: true}
              - {namespace: sys, name: csi-1, node: node-a, addresses: [10.244.1.10], host_network: true}
            """
        #expect(
            problems(text) == [
                "inventory.yaml:4: pods[1].addresses[0]: "
                    + "'10.244.1.10' is an address of pod shop/web-1 and of pod shop/web-2"
            ])
    }

    @Test("a block of two ranges is rejected") func rangesShareNoBlock() {
        let text = """
            ranges:
              - {name: s3, cidrs: [198.51.100.0/24], cloud: aws}
              - {name: ec2, cidrs: [198.51.100.0/25, 198.51.100.0/24], cloud: aws}
            """
        #expect(
            problems(text) == [
                "inventory.yaml:3: ranges[1].cidrs[1]: '198.51.100.0/24' is a block of range s3 and of range ec2"
            ])
    }

    @Test("a cloud without a name is rejected") func cloudsHaveAName() {
        #expect(
            problems("ranges: [{name: s3, cidrs: [], cloud: '  '}]") == [
                "inventory.yaml:1: ranges[0].cloud: '  ' is not the name of a cloud"
            ])
    }

    @Test func unreadableFilesAreReported() {
        let problems = #expect(throws: DocumentProblems.self) { try Inventory(contentsOf: "/no/inventory.yaml") }
        #expect(problems?.description == "/no/inventory.yaml: cannot be read: No such file or directory")
    }
}
