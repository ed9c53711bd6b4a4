// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// The flags of a connection: a bit for ``translated``, and a bit for each rule of the configuration, in the
/// order of ``Labeler/Rules/flagNames``.
public struct ConnectionFlags: OptionSet, Hashable, Sendable {
    /// The bits.
    public let rawValue: UInt64

    /// Makes a set of its bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The observing node has replaced the source address: replies do not go to the address that opened the connection.
    public static let translated = ConnectionFlags(rawValue: 1)
}

/// A flag of the column `connectionFlags` and its conditions. A connection has the flag if one of its ends meets all
/// conditions.
public struct ConnectionFlagRule: Equatable, Sendable {
    /// Maximum number of rules.
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

    /// Makes a rule of its parts. A rule without conditions applies to no connection.
    public init(
        name: String, prefixes: [IPPrefix] = [], ports: Set<UInt16> = [], podLabels: [String: String] = [:]
    ) {
        self.name = name
        self.prefixes = prefixes
        self.ports = ports
        self.podLabels = podLabels
    }
}

/// The rules, prepared for matching.
struct ConnectionFlagRules: Sendable {
    private struct Rule: Sendable {
        let flag: ConnectionFlags
        let prefixes: PrefixTable<Bool>?
        let ports: Set<UInt16>
        let needsPod: Bool
    }

    /// The names of the flags in the order of their bits; empty for unused bits.
    let names: [String]
    private let slots: [ConnectionFlagRule?]
    private let rules: [Rule]
    private let podRules: [(flag: ConnectionFlags, labels: [String: String])]

    /// Assigns a bit to each rule. A rule from `previous` keeps its bit, and new rules take bits that had no rule while
    /// there are any, so that the flags of pods labelled by the previous rules do not stand for another rule.
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

    /// Returns the flags whose condition on pod labels is met by a pod with these labels.
    func flags(ofPodWith labels: [String: String]) -> ConnectionFlags {
        podRules.reduce(into: []) { flags, rule in
            if rule.labels.allSatisfy({ labels[$0.key] == $0.value }) { flags.formUnion(rule.flag) }
        }
    }

    /// Returns the flags whose conditions are all met by an end.
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
