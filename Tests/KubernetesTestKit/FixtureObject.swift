// SPDX-License-Identifier: Apache-2.0

public import ClusterModel

/// An object that an ``APIServerFixture`` can hold.
public protocol FixtureObject: EncodableObject {
    /// The resource's name in paths.
    static var resource: String { get }

    /// The object's key, unique among those of its kind.
    var key: String { get }

    /// Whether the object matches the selector of the reflector's requests.
    var isSelected: Bool { get }
}

extension FixtureObject {
    /// True, except for pods.
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
