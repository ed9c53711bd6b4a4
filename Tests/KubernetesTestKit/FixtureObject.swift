// SPDX-License-Identifier: Apache-2.0

public import ClusterModel

/// What an ``APIServerFixture`` holds.
public protocol FixtureObject: EncodableObject {
    /// The name of the resource in paths.
    static var resource: String { get }

    /// What an object is told apart by among those of its kind.
    var key: String { get }

    /// Whether the selector that is asked with lets it through.
    var isSelected: Bool { get }
}

extension FixtureObject {
    /// All are, but for pods.
    public var isSelected: Bool { true }
}

extension Pod: FixtureObject {
    /// `pods`.
    public static var resource: String { "pods" }

    /// Namespace and name.
    public var key: String { "\(namespace)/\(name)" }

    /// Whether its phase is neither `Succeeded` nor `Failed`.
    public var isSelected: Bool { !isTerminated }
}

extension Node: FixtureObject {
    /// `nodes`.
    public static var resource: String { "nodes" }

    /// The name.
    public var key: String { name }
}

extension ClusterService: FixtureObject {
    /// `services`.
    public static var resource: String { "services" }

    /// Namespace and name.
    public var key: String { "\(namespace)/\(name)" }
}

extension ReplicaSet: FixtureObject {
    /// `replicasets`.
    public static var resource: String { "replicasets" }

    /// The UID.
    public var key: String { uid.text }
}
