// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import KubernetesAPI

/// The objects of a simulated cluster with the history of their changes, as in etcd and the API server's cache. Objects
/// are encoded once, when they change.
struct FixtureCluster {
    /// The present state of an object.
    struct Stored {
        let message: [UInt8]
        let isSelected: Bool
    }

    /// A change of an object.
    struct Change {
        let version: Int
        let resource: String
        let frame: [UInt8]
    }

    /// The encoding of a resource's objects in responses.
    struct Encoding {
        let kind: (name: String, apiVersion: String)
        let event: @Sendable (_ type: String, _ message: [UInt8]) -> [UInt8]
        let bookmark: @Sendable (_ version: String, _ endsInitialEvents: Bool) -> [UInt8]
    }

    /// A page of a list.
    struct Page {
        let metadata: ListMetadata
        let messages: [[UInt8]]
    }

    static let encodings: [String: Encoding] = [
        Pod.resource: encoding(Pod.self), Node.resource: encoding(Node.self),
        ClusterService.resource: encoding(ClusterService.self), ReplicaSet.resource: encoding(ReplicaSet.self),
    ]

    private static func encoding<Object: FixtureObject>(_ object: Object.Type) -> Encoding {
        Encoding(kind: Object.kind) {
            ObjectEncoder.event($0, of: Object.self, message: $1)
        } bookmark: {
            ObjectEncoder.bookmark(of: Object.self, resourceVersion: $0, endsInitialEvents: $1)
        }
    }

    /// The version of the latest change.
    private(set) var version = 100
    /// The version up to which changes are discarded.
    private(set) var compactedVersion = 100
    private var objects: [String: [String: Stored]] = [:]
    private var changes: [Change] = []
    private var snapshots: [String: [[UInt8]]] = [:]

    mutating func apply<Object: FixtureObject>(_ object: Object, padding: Int, annotations: [String: String] = [:]) {
        version += 1
        let new = Stored(
            message: object.message(resourceVersion: "\(version)", padding: padding, annotations: annotations),
            isSelected: object.isSelected)
        let old = objects[Object.resource, default: [:]].updateValue(new, forKey: object.key)
        // For a watch, an object that leaves the selector is deleted, and one that enters it is added.
        switch (old?.isSelected ?? false, new.isSelected) {
        case (false, true): note("ADDED", Object.resource, new.message)
        case (true, true): note("MODIFIED", Object.resource, new.message)
        case (true, false): note("DELETED", Object.resource, new.message)
        case (false, false): break
        }
    }

    mutating func delete<Object: FixtureObject>(_ object: Object) {
        guard let old = objects[Object.resource]?.removeValue(forKey: object.key) else { return }
        version += 1
        guard old.isSelected else { return }
        note("DELETED", Object.resource, object.message(resourceVersion: "\(version)", padding: 0))
    }

    /// Adds a message, which may be malformed, to the history, as if an object had changed.
    mutating func insert(event type: String, resource: String, message: [UInt8]) {
        version += 1
        note(type, resource, message)
    }

    private mutating func note(_ type: String, _ resource: String, _ message: [UInt8]) {
        guard let encoding = Self.encodings[resource] else { return }
        changes.append(Change(version: version, resource: resource, frame: encoding.event(type, message)))
    }

    /// Discards all changes and all lists whose pages are still being read.
    mutating func compact() {
        // A watch from the new version continues, one from any earlier version expires.
        version += 1
        compactedVersion = version
        changes = []
        snapshots = [:]
    }

    /// Sets the version back, as after a restore from a backup.
    mutating func restore(version: Int) {
        self.version = version
        compactedVersion = version
        changes = []
        snapshots = [:]
    }

    /// Returns the objects that match the selector, in the order of their keys.
    func messages(of resource: String) -> [[UInt8]] {
        (objects[resource] ?? [:]).filter(\.value.isSelected).sorted { $0.key < $1.key }.map(\.value.message)
    }

    /// Returns the page of a list for a token, or the first page; nil if the token has expired.
    mutating func page(of resource: String, limit: Int?, token: String?) -> Page? {
        guard limit != nil || token != nil else {
            return Page(metadata: ListMetadata(resourceVersion: "\(version)"), messages: messages(of: resource))
        }
        var (listed, offset) = (version, 0)
        if let token {
            let parts = token.split(separator: ".").compactMap { Int($0) }
            guard parts.count == 2 else { return nil }
            (listed, offset) = (parts[0], parts[1])
        }
        let name = "\(resource).\(listed)"
        if token == nil { snapshots[name] = messages(of: resource) }
        guard let snapshot = snapshots[name] else { return nil }
        let end = min(snapshot.count, offset + (limit ?? snapshot.count))
        let rest = snapshot.count - end
        return Page(
            metadata: ListMetadata(
                resourceVersion: "\(listed)", continueToken: rest > 0 ? "\(listed).\(end)" : nil,
                remainingItemCount: rest > 0 ? rest : nil),
            messages: Array(snapshot[offset..<end]))
    }

    /// Returns the frames of the changes after a version, and the version after them; nil if those are discarded.
    func frames(of resource: String, after version: Int) -> (frames: [[UInt8]], version: Int)? {
        guard version >= compactedVersion else { return nil }
        let start = changes.partitioningIndex { $0.version > version }
        return (changes[start...].filter { $0.resource == resource }.map(\.frame), max(version, self.version))
    }
}

extension Array {
    /// Returns the first index at which a condition holds, given that it holds for all later elements as well.
    fileprivate func partitioningIndex(where condition: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if condition(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
