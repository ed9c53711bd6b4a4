// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import FlowModel
import Kubernetes
import Labeling
import StrictYAML

/// Whether and how the cluster is watched.
struct KubernetesSettings: Equatable, Sendable {
    /// Whether pods, nodes and services come from the API server; nil where nothing is said: unless there is an inventory.
    var isEnabled: Bool?
    /// Whether ReplicaSets are watched too, for the names of what owns them.
    var watchesReplicaSets: Bool
}

extension ServerConfiguration {
    static func labeling(_ root: inout YAMLMapping) -> Labeler.Configuration {
        Labeler.Configuration(
            ignoreUDP: root.bool("ignore_udp", default: true),
            ignoreNodeFlows: root.bool("ignore_node_flows", default: true),
            ignoreUnknownDirection: root.bool("ignore_unknown_direction", default: true),
            privateNetworks: root.prefixes("private_networks"),
            flagRules: flagRules(&root))
    }

    private static func flagRules(_ root: inout YAMLMapping) -> [ConnectionFlagRule] {
        var names: Set<String> = []
        return root.list("connection_flags", required: false) { rule in
            let name = rule.value("name") { name throws(BadValue) in
                guard names.count < ConnectionFlagRule.maximumCount else {
                    throw BadValue("is one flag too many: there can be \(ConnectionFlagRule.maximumCount)")
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

    static func podLabels(_ root: inout YAMLMapping, kept: [String]) -> PodLabelMapping {
        var mapping = PodLabelMapping(kept: Set(kept))
        _ = root.mapping("pod_labels", required: false) { labels in
            for (key, column) in [("app", \PodLabelMapping.app), ("instance_id", \.instanceID), ("cell", \.cell)] {
                let keys = labels.values(key, required: false) { $0 }
                if !keys.isEmpty { mapping[keyPath: column] = keys }
            }
        }
        return mapping
    }

    static func kubernetes(_ root: inout YAMLMapping) -> KubernetesSettings {
        root.mapping("kubernetes", required: false) { section in
            KubernetesSettings(
                isEnabled: section.boolIfPresent("enabled"),
                watchesReplicaSets: section.bool("replica_sets", default: true))
        } ?? KubernetesSettings(isEnabled: nil, watchesReplicaSets: true)
    }

    static func cloudRanges(_ root: inout YAMLMapping) -> CloudRangeCatalog.Configuration {
        var configuration = CloudRangeCatalog.Configuration()
        configuration.namedRanges = root.namedRanges("ranges").flatMap(\.cloudRanges)
        _ = root.mapping("cloud_ranges", required: false) { section in
            let isEnabled = section.bool("enabled", default: true)
            for provider in RangeProvider.allCases {
                let form = "'off', an https:// or http:// URL, or the path of a file that begins with /"
                if let choice = section.value(provider.rawValue, required: false, as: form, RangeChoice.init) {
                    configuration.sources[provider] = choice.source
                }
            }
            if !isEnabled { configuration.sources = [:] }
            configuration.cacheDirectory = section.value("cache_directory", required: false, as: "a path") { $0 }
            configuration.refreshInterval = duration(
                &section, "refresh_interval", default: configuration.refreshInterval)
        }
        return configuration
    }

    /// Where a list is to come from; nowhere where it is switched off.
    private struct RangeChoice {
        let source: CloudRangeCatalog.Source?

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
    }
}

extension NamedRange {
    /// The range's blocks with their place.
    var cloudRanges: [CloudRange] {
        prefixes.map {
            CloudRange(prefix: $0, place: CloudPlace(cloud: cloud, region: region, service: service))
        }
    }
}
