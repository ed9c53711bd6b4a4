// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Labeling
import Testing

private let site = Site(environment: "production", cloud: "aws", region: "eu-central-1", cluster: "main")

@Suite struct ConnectionFlagsTests {
    private let rules = [
        ConnectionFlagRule(name: "nat", prefixes: [prefix("203.0.113.0/28"), prefix("2001:db8::/32")]),
        ConnectionFlagRule(name: "database", ports: [5432, 3306]),
        ConnectionFlagRule(name: "proxy", podLabels: ["role": "proxy"]),
        ConnectionFlagRule(name: "proxy-https", ports: [443], podLabels: ["role": "proxy", "tier": "edge"]),
        ConnectionFlagRule(name: "never"),
    ]

    private func flags(_ source: String, _ destination: String, port: UInt16) -> [String] {
        let index = ClusterIndex(site: site, flagRules: rules) { noon }
        index.add(
            Inventory(
                nodes: [Node(name: "node-a", addresses: [])],
                pods: [
                    Pod(
                        namespace: "edge", name: "proxy", node: "node-a", addresses: [address("10.0.0.1")],
                        labels: ["role": "proxy", "tier": "edge"]),
                    Pod(
                        namespace: "edge", name: "inner", node: "node-a", addresses: [address("10.0.0.2")],
                        labels: ["role": "proxy"]),
                    Pod(namespace: "shop", name: "web", node: "node-a", addresses: [address("10.0.0.3")]),
                ]))
        let labeler = Labeler(index: index, configuration: Labeler.Configuration(flagRules: rules))
        return labeler.read(observedOn: "node-a", at: noon) { reader in
            guard case .labeled(let labeled) = reader.label(flow(source, destination, ports: (40_000, port))) else {
                return ["not labelled"]
            }
            let names = labeler.rules.flagNames
            return names.indices.filter { labeled.flags.rawValue >> UInt64($0) & 1 == 1 }.map { names[$0] }
        }
    }

    @Test("a flag is set if one end meets every condition of its rule")
    func aFlagIsSetWhereAnEndMeetsEveryConditionOfItsRule() {
        #expect(flags("10.0.0.3", "192.0.2.1", port: 80) == [])
        #expect(flags("10.0.0.3", "203.0.113.9", port: 80) == ["nat"])
        #expect(flags("203.0.113.9", "10.0.0.3", port: 3306) == ["nat", "database"])
        #expect(flags("10.0.0.3", "10.0.0.2", port: 443) == ["proxy"])
        #expect(flags("10.0.0.3", "10.0.0.1", port: 443) == ["proxy", "proxy-https"])
        // The port belongs to the other end.
        #expect(flags("10.0.0.1", "10.0.0.3", port: 443) == ["proxy"])
    }

    @Test("replaced rules take effect without mixing up flags")
    func otherRulesComeIntoForceWithoutMistakingAnyFlag() {
        let index = ClusterIndex(site: site, flagRules: rules) { noon }
        let pods = [
            Pod(
                namespace: "edge", name: "proxy", node: "node-a", addresses: [address("10.0.0.1")],
                labels: ["role": "proxy", "tier": "edge"])
        ]
        index.add(Inventory(nodes: [Node(name: "node-a", addresses: [])], pods: []))
        let store = index.podStore()
        func tellPods() {
            store.beginReplacement()
            for pod in pods { store.add(pod) }
            store.commitReplacement()
        }
        tellPods()
        let labeler = Labeler(index: index, configuration: Labeler.Configuration(flagRules: rules))
        func flags(_ rules: Labeler.Rules) -> [String] {
            labeler.read(observedOn: "node-a", at: noon, by: rules) { reader in
                guard case .labeled(let labeled) = reader.label(flow("10.0.0.1", "203.0.113.9", ports: (1, 80))) else {
                    return ["not labelled"]
                }
                return rules.flagNames.indices.filter { labeled.flags.rawValue >> UInt64($0) & 1 == 1 }
                    .map { rules.flagNames[$0] }.sorted()
            }
        }
        let before = labeler.rules
        #expect(flags(before) == ["nat", "proxy"])
        // The pods are listed again later: until then, their old flags must not count for a new rule.
        labeler.apply(
            Labeler.Configuration(
                ignoreUDP: false, flagRules: [ConnectionFlagRule(name: "edge", podLabels: ["tier": "edge"]), rules[0]]))
        #expect(flags(labeler.rules) == ["nat"])
        #expect(flags(before) == ["nat", "proxy"])
        tellPods()
        #expect(flags(labeler.rules) == ["edge", "nat"])
        labeler.apply(Labeler.Configuration(ignoreNodeFlows: true))
        #expect(flags(labeler.rules) == [])
    }

    @Test("the maximum number of rules can be replaced by as many others")
    func asManyRulesAsThereCanBeCanBeReplacedByOthers() {
        let index = ClusterIndex(site: site) { noon }
        func many(_ prefix: String) -> [ConnectionFlagRule] {
            (1...ConnectionFlagRule.maximumCount).map {
                ConnectionFlagRule(name: "\(prefix)\($0)", ports: [UInt16($0)])
            }
        }
        let labeler = Labeler(index: index, configuration: Labeler.Configuration(flagRules: many("a")))
        labeler.apply(Labeler.Configuration(flagRules: many("b")))
        #expect(Set(labeler.rules.flagNames) == Set(many("b").map(\.name) + ["translated"]))
    }
}
