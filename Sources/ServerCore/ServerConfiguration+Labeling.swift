// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import ClusterModel
import DocumentTree
import FlowModel
import InventoryFile
import KubernetesAPI
import Labeling
import Operations
import Settings

/// The settings for watching the cluster.
package struct KubernetesSettings: Equatable, Sendable {
    /// Whether pods, nodes and services come from the API server; if nil, they do unless there is an inventory.
    var isEnabled: Bool?
    /// Whether ReplicaSets are watched too, for the names of their owners.
    package var watchesReplicaSets: Bool

    /// Makes settings from their values.
    package init(isEnabled: Bool?, watchesReplicaSets: Bool) {
        self.isEnabled = isEnabled
        self.watchesReplicaSets = watchesReplicaSets
    }
}

extension ServerConfiguration {
    static func labeling(_ settings: inout SettingsReader) -> Labeler.Configuration {
        Labeler.Configuration(
            ignoreUDP: settings.bool("ignore_udp", default: true, "Skip UDP flows.", .reloadable),
            ignoreNodeFlows: settings.bool(
                "ignore_node_flows", default: true, "Skip flows of nodes and host-network pods.",
                .reloadable),
            ignoreUnknownDirection: settings.bool(
                "ignore_unknown_direction", default: true,
                "Skip flows whose local end cannot be determined.", .reloadable),
            ignoreTransit: settings.bool(
                "ignore_transit", default: true,
                "Skip flows from another node's pod to the outside that only pass through the observing node.",
                .reloadable),
            privateNetworks: settings.structure(
                "private_networks", default: [], "[]", allowed: "a list of networks such as [198.51.100.0/24]",
                "Private networks besides RFC 1918, link-local, loopback and, outside ranges, 100.64.0.0/10.",
                .reloadable
            ) { $0.prefixes($1) },
            flagRules: settings.structure(
                "connection_flags", default: [], "[]",
                allowed: "a list of rules with name, cidrs, ports and pod_labels",
                "Rules that set flags in the column connectionFlags (docs/labels.md).", .reloadable, read: flagRules))
    }

    private static func flagRules(_ mapping: inout DocumentMapping, _ key: String) -> [ConnectionFlagRule] {
        var names: Set<String> = []
        return mapping.list(key) { rule in
            let name = rule.value("name") { name throws(BadValue) in
                guard names.count < ConnectionFlagRule.maximumCount else {
                    throw BadValue("is one flag too many: the limit is \(ConnectionFlagRule.maximumCount)")
                }
                guard name != ConnectionFlagRule.translatedName else {
                    throw BadValue("is reserved for the flag of flows whose source was translated")
                }
                guard names.insert(name).inserted else { throw BadValue("is the name of an earlier flag") }
                return name
            }
            let ports = rule.values("ports", required: false) { text throws(BadValue) in
                guard let port = UInt16(text), port > 0 else { throw BadValue("is not a port from 1 to 65535") }
                return port
            }
            let made = ConnectionFlagRule(
                name: name ?? "", prefixes: rule.prefixes("cidrs"), ports: Set(ports),
                podLabels: rule.texts("pod_labels"))
            if made.prefixes.isEmpty && made.ports.isEmpty && made.podLabels.isEmpty {
                rule.report("the flag is never set: give it cidrs, ports or pod_labels")
            }
            return made
        }
    }

    static func podLabels(_ settings: inout SettingsReader, kept: [String]) -> PodLabelMapping {
        var keys: [Label: [String]] = [:]
        for (label, name, defaultKeys) in Label.ofPodLabels {
            let column = label.definition.column
            keys[label] = settings.structure(
                "pod_labels.\(name)", default: defaultKeys, "[\(defaultKeys.joined(separator: ", "))]",
                allowed: "a list of label keys",
                "Pod label keys for local\(column) and remote\(column), in order of preference.", .reloadable
            ) { mapping, key in
                let labels = mapping.values(key) { $0 }
                return labels.isEmpty ? defaultKeys : labels
            }
        }
        return PodLabelMapping(keys, kept: Set(kept))
    }

    /// Warns of settings that need pod labels: pods of an inventory have none, and the inventory gives their columns
    /// itself.
    static func warnOfLabels(_ settings: inout SettingsReader, _ flagRules: [ConnectionFlagRule]) {
        for (_, key, _) in Label.ofPodLabels where settings.isGiven("pod_labels.\(key)") {
            settings.warn(
                """
                pod_labels.\(key) has no effect while the Kubernetes API is not watched: pods of an inventory have no \
                labels; set their \(key) in the inventory
                """)
        }
        for rule in flagRules where !rule.podLabels.isEmpty {
            settings.warn(
                """
                connection_flags: pod_labels of '\(rule.name)' never match while the Kubernetes API is not watched: \
                pods of an inventory have no labels
                """)
        }
    }

    static func cloudRanges(_ settings: inout SettingsReader) -> CloudRangeCatalog.Configuration {
        var configuration = CloudRangeCatalog.Configuration()
        configuration.userAgent = Daemon.userAgent("kubenetmon-server")
        configuration.namedRanges = settings.structure(
            "ranges", default: [], "[]",
            allowed: "a list of ranges with name, cidrs, cloud, region, availability_zone and service",
            "Your own address ranges with their cloud, region, zone and service (docs/labels.md).", .reloadable
        ) { $0.cloudRanges($1) }
        let isEnabled = settings.bool(
            "cloud_ranges.enabled", default: true, "Use the clouds' published address lists.", .reloadable)
        for provider in RangeProvider.allCases {
            let choice = settings.value(
                "cloud_ranges.\(provider.rawValue)",
                default: RangeChoice(source: configuration.sources[provider]),
                allowed: "'off', an https:// or http:// URL, or the path of a file that begins with /",
                "Source of the address list \(provider.rawValue).", .reloadable, .hidesCredentials, show: \.text,
                parse: RangeChoice.init)
            configuration.sources[provider] = choice.source
        }
        if !isEnabled { configuration.sources = [:] }
        configuration.cacheDirectory = settings.path(
            "cloud_ranges.cache_directory", "Directory that keeps the last good lists for the next start.")
        configuration.refreshInterval = settings.duration(
            "cloud_ranges.refresh_interval", in: .seconds(10) ... .seconds(30 * 86400),
            default: configuration.refreshInterval, "Interval between refreshes of a list.")
        return configuration
    }

    /// The origin of a list; its source is nil if the list is switched off.
    private struct RangeChoice {
        let source: CloudRangeCatalog.Source?

        init(source: CloudRangeCatalog.Source?) { self.source = source }

        init?(_ text: String) {
            if text == "off" {
                source = nil
            } else if text.hasPrefix("https://") || text.hasPrefix("http://") {
                source = .url(text)
            } else if text.hasPrefix("/") {
                source = .file(text)
            } else {
                return nil
            }
        }

        var text: String {
            switch source {
            case .url(let text), .file(let text): text
            case nil: "off"
            }
        }
    }
}

extension ServerConfiguration {
    /// The settings that depend on the labels of pods.
    struct PodRules: Equatable {
        var mapping: PodLabelMapping
        var flags: [ConnectionFlagRule]
    }

    var podRules: PodRules {
        PodRules(mapping: podLabels, flags: labeling.flagRules.filter { !$0.podLabels.isEmpty })
    }
}
