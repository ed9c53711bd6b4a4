// SPDX-License-Identifier: Apache-2.0

public import ClusterModel

/// The keys of the pod labels that fill label columns, and of those that rules on pods use.
public struct PodLabelMapping: Equatable, Sendable {
    /// The keys for each label column, in order of preference: the first that the pod has, with a value, is used.
    public var keys: [Label: [String]]
    /// The keys whose values are kept for rules on pods.
    public var kept: Set<String>

    /// Makes a mapping; labels that are not in `keys` have their default keys (``Label/ofPodLabels``).
    public init(_ keys: [Label: [String]] = [:], kept: Set<String> = []) {
        self.keys = keys
        for (label, _, defaultKeys) in Label.ofPodLabels where keys[label] == nil { self.keys[label] = defaultKeys }
        self.kept = kept
    }
}
