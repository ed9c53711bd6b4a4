// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// Which flags a connection has: a bit for ``translated``, and one for each rule of the configuration by its place.
public struct ConnectionFlags: OptionSet, Hashable, Sendable {
    /// The bits.
    public let rawValue: UInt64

    /// Makes a set of its bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The observing node has put another address in the place of the source's: replies do not go to who opened the
    /// connection.
    public static let translated = ConnectionFlags(rawValue: 1)
}

/// A flag of the column `connectionFlags`, and which connections have it: those with an end that meets every condition
/// that the rule has.
public struct ConnectionFlagRule: Equatable, Sendable {
    /// The most rules that there can be.
    public static let maximumCount = 63

    /// The name of ``ConnectionFlags/translated``, which no rule may have.
    public static let translatedName = "translated"

    /// The flag's name.
    public var name: String
    /// The end's address is in one of these blocks; no condition where empty.
    public var prefixes: [IPPrefix]
    /// The end's port is one of these; no condition where empty.
    public var ports: Set<UInt16>
    /// The end is a pod with these labels; no condition where empty.
    public var podLabels: [String: String]

    /// Makes a rule of its parts. One without conditions applies to no connection.
    public init(
        name: String, prefixes: [IPPrefix] = [], ports: Set<UInt16> = [], podLabels: [String: String] = [:]
    ) {
        self.name = name
        self.prefixes = prefixes
        self.ports = ports
        self.podLabels = podLabels
    }
}

/// The rules, ready to be asked.
struct ConnectionFlagRules: Sendable {
    private struct Rule: Sendable {
        let flag: ConnectionFlags
        let prefixes: PrefixTable<Bool>?
        let ports: Set<UInt16>
        let needsPod: Bool
    }

    /// The names of the flags in the order of their bits, those of bits that are not used empty.
    let names: [String]
    private let slots: [ConnectionFlagRule?]
    private let rules: [Rule]
    private let podRules: [(flag: ConnectionFlags, labels: [String: String])]

    /// Gives each rule a bit. A rule that was there before keeps its own, and others take bits that none had while there
    /// are such: the bits of pods that were labelled by the rules before never stand for another flag.
    init(_ rules: [ConnectionFlagRule], after previous: ConnectionFlagRules? = nil) {
        precondition(rules.count <= ConnectionFlagRule.maximumCount, "a flag is a bit of 63")
        let slots = Self.slots(rules, after: previous?.slots ?? [])
        self.slots = slots
        names = [ConnectionFlagRule.translatedName] + slots.map { $0?.name ?? "" }
        let numbered = slots.enumerated().compactMap { number, rule in
            rule.map { (flag: ConnectionFlags(rawValue: 2 << UInt64(number)), rule: $0) }
        }
        self.rules = numbered.compactMap { flag, rule in
            guard !rule.prefixes.isEmpty || !rule.ports.isEmpty || !rule.podLabels.isEmpty else { return nil }
            return Rule(
                flag: flag,
                prefixes: rule.prefixes.isEmpty
                    ? nil : PrefixTable(rule.prefixes.map { (prefix: $0, value: true) }),
                ports: rule.ports, needsPod: !rule.podLabels.isEmpty)
        }
        podRules = numbered.compactMap { flag, rule in
            rule.podLabels.isEmpty ? nil : (flag: flag, labels: rule.podLabels)
        }
    }

    private static func slots(
        _ rules: [ConnectionFlagRule], after previous: [ConnectionFlagRule?]
    ) -> [ConnectionFlagRule?] {
        var slots = [ConnectionFlagRule?](repeating: nil, count: ConnectionFlagRule.maximumCount)
        var new: [ConnectionFlagRule] = []
        for rule in rules {
            if let slot = previous.firstIndex(of: rule) { slots[slot] = rule } else { new.append(rule) }
        }
        let free = slots.indices.filter { slots[$0] == nil }
        let unused = free.filter { $0 >= previous.count || previous[$0] == nil }
        for (rule, slot) in zip(new, unused + free.filter { !unused.contains($0) }) { slots[slot] = rule }
        return Array(slots.prefix((slots.lastIndex { $0 != nil } ?? -1) + 1))
    }

    var isEmpty: Bool { rules.isEmpty }

    /// The flags whose condition on labels a pod with these labels meets.
    func flags(ofPodWith labels: [String: String]) -> ConnectionFlags {
        podRules.reduce(into: []) { flags, rule in
            if rule.labels.allSatisfy({ labels[$0.key] == $0.value }) { flags.formUnion(rule.flag) }
        }
    }

    /// The flags of which an end meets every condition.
    func flags(of end: LabeledEndpoint) -> ConnectionFlags {
        rules.reduce(into: []) { flags, rule in
            guard !rule.needsPod || end.labels.flags.contains(rule.flag),
                rule.ports.isEmpty || rule.ports.contains(end.port),
                rule.prefixes.map({ $0.value(for: end.address) != nil }) ?? true
            else { return }
            flags.formUnion(rule.flag)
        }
    }
}
