// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import ClusterModel
import FlowModel
import KubernetesAPI
import Labeling
import Testing

import ServerCore

private let required = "environment: production\ncloud: aws\nregion: eu-central-1\ncluster: main\n"

private func configuration(_ text: String) throws -> ServerConfiguration {
    try ServerConfiguration.read(required + text).value
}

private func problems(_ text: String) -> [String] { ServerConfiguration.problems(required + text) }

@Suite struct LabelingConfigurationTests {
    @Test("by default the cluster is watched and every list is used")
    func withoutAWordTheClusterIsWatchedAndEveryListIsUsed() throws {
        let read = try configuration("")
        #expect(read.kubernetes == KubernetesSettings(isEnabled: nil, watchesReplicaSets: true))
        #expect(read.watchesCluster)
        #expect(read.podLabels == PodLabelMapping())
        #expect(read.cloudRanges.sources == CloudRangeCatalog.Configuration.published)
        #expect(read.cloudRanges.cacheDirectory == nil)
        #expect(read.labeling == Labeler.Configuration())
    }

    @Test("an inventory replaces the watches unless kubernetes.enabled is true")
    func anInventoryStandsInForTheClusterUnlessBothAreAskedFor() throws {
        #expect(try !configuration("inventory_file: /inventory.yaml").watchesCluster)
        #expect(try configuration("inventory_file: /inventory.yaml\nkubernetes: {enabled: true}").watchesCluster)
        // The flag counts like the key.
        let flagged = try ServerConfiguration.read(
            required + "kubernetes: {replica_sets: true}", arguments: ["--inventory", "/inventory.yaml"])
        #expect(!flagged.value.watchesCluster)
        #expect(try !configuration("kubernetes: {enabled: false}").watchesCluster)
        #expect(try !configuration("kubernetes: {replica_sets: false}").kubernetes.watchesReplicaSets)
    }

    @Test("pod_labels cause a warning if pods come from an inventory")
    func labelsAreAskedForInVainWhereNoPodHasAny() throws {
        func warnings(_ text: String) throws -> [String] {
            let labels = """
                pod_labels: {app: [team]}
                connection_flags: [{name: edge, pod_labels: {tier: edge}}, {name: web, ports: [443]}]

                """
            return try ServerConfiguration.read(required + labels + text).settings.warnings
                .filter { $0.contains("pod_labels") }
        }
        let inVain = try warnings("inventory_file: /inventory.yaml")
        #expect(inVain.count == 2)
        #expect(inVain.first?.hasPrefix("pod_labels.app has no effect ") == true)
        #expect(inVain.last?.hasPrefix("connection_flags: pod_labels of 'edge' never match ") == true)
        #expect(try warnings("") == [])
        #expect(try warnings("inventory_file: /inventory.yaml\nkubernetes: {enabled: true}") == [])
    }

    @Test("pod labels are mapped to columns, and those used in rules are kept")
    func labelsOfPodsFillTheColumnsThatAreNamed() throws {
        let read = try configuration(
            """
            pod_labels:
              app: [app, app.kubernetes.io/name]
              cell: [cell]
            connection_flags:
              - name: proxy
                pod_labels: {role: proxy, "example.com/tier": edge}
            """)
        #expect(
            read.podLabels
                == PodLabelMapping(
                    [.app: ["app", "app.kubernetes.io/name"], .cell: ["cell"]], kept: ["role", "example.com/tier"]))
    }

    @Test("connection flags have conditions on networks and ports") func flagsHaveConditionsOfEveryKind() throws {
        let read = try configuration(
            """
            connection_flags:
              - name: nat
                cidrs: [203.0.113.0/28, "2001:db8::/32"]
              - name: database
                ports: [5432, 3306]
            """)
        #expect(
            read.labeling.flagRules == [
                ConnectionFlagRule(
                    name: "nat", prefixes: [IPPrefix("203.0.113.0/28"), IPPrefix("2001:db8::/32")].compactMap { $0 }),
                ConnectionFlagRule(name: "database", ports: [5432, 3306]),
            ])
    }

    @Test("lists of addresses come from the configured sources") func listsComeFromWhereTheyAreSaidTo() throws {
        let read = try configuration(
            """
            ranges:
              - {name: office, cidrs: [198.51.100.0/24], cloud: office}
              - {name: db, cidrs: [10.20.1.0/24], cloud: aws, region: eu-central-1, availability_zone: eu-central-1a}
            cloud_ranges:
              aws: /ranges/aws.json
              gcp: https://mirror.example.com/cloud.json
              azure: off
              cache_directory: /var/cache/kubenetmon
              refresh_interval: 12h
            """)
        #expect(read.cloudRanges.sources[.aws] == .file("/ranges/aws.json"))
        #expect(read.cloudRanges.sources[.gcp] == .url("https://mirror.example.com/cloud.json"))
        #expect(read.cloudRanges.sources[.azure] == nil)
        #expect(read.cloudRanges.sources[.google] == CloudRangeCatalog.Configuration.published[.google])
        #expect(read.cloudRanges.cacheDirectory == "/var/cache/kubenetmon")
        #expect(read.cloudRanges.refreshInterval == .seconds(43_200))
        #expect(
            read.cloudRanges.namedRanges.map(\.place) == [
                CloudPlace(cloud: "office"),
                CloudPlace(cloud: "aws", region: "eu-central-1", availabilityZone: "eu-central-1a"),
            ])
        #expect(try configuration("cloud_ranges: {enabled: false}").cloudRanges.sources.isEmpty)
    }

    @Test("every mistake in the labeling settings is reported with its place")
    func everyMistakeIsNamedWithItsPlace() {
        let found = problems(
            """
            connection_flags:
              - name: nat
                cidrs: [203.0.113.1/28]
                ports: [0]
              - name: nat
                port: [80]
              - name: never
            cloud_ranges:
              aws: ftp://example.com
              refresh_interval: daily
            kubernetes: {enabled: perhaps}
            private_networks: [100.64.0.0/33]
            """)
        for part in [
            "connection_flags[0].cidrs[0]: '203.0.113.1/28' has host bits set; the network is 203.0.113.0/28",
            "connection_flags[0].ports[0]: '0' is not a port from 1 to 65535",
            "connection_flags[1].name: 'nat' is the name of an earlier flag",
            "connection_flags[2]: the flag is never set: give it cidrs, ports or pod_labels",
            "unknown key 'port'; did you mean 'ports'?",
            "cloud_ranges.aws: 'ftp://example.com' is not 'off', an https://",
            "cloud_ranges.refresh_interval: 'daily' is not a duration",
            "kubernetes.enabled: 'perhaps' is not true or false",
            "private_networks[0]: '100.64.0.0/33' is not a block",
        ] { #expect(found.contains { $0.contains(part) }, "\(part)\n\(found.joined(separator: "\n"))") }
    }

    @Test("more than 63 flags are rejected, and so is the built-in name translated")
    func thereAreAtMost63FlagsBesideTheOneThatIsBuiltIn() {
        let many = (0..<64).map { "  - {name: flag-\($0), ports: [\($0 + 1)]}" }.joined(separator: "\n")
        #expect(problems("connection_flags:\n" + many).map { $0.contains("one flag too many") } == [true])
        #expect(
            problems("connection_flags:\n  - {name: translated, ports: [1]}").map {
                $0.contains("'translated' is reserved for the flag of flows whose source was translated")
            } == [true])
    }
}
