// SPDX-License-Identifier: Apache-2.0

import ClusterModel

/// A value for each configured cluster.
struct PerCluster<Value> {
    private var values: [Value]

    /// Makes the collection of the values in the clusters' order.
    init(_ values: [Value]) { self.values = values }

    /// The value of a cluster.
    subscript(cluster: ClusterID) -> Value {
        // Not copied: the value may be several tables.
        _read { yield values[Int(cluster.rawValue)] }
        _modify { yield &values[Int(cluster.rawValue)] }
    }

    /// All values, in the clusters' order.
    var all: [Value] { values }

    func map<Other>(_ transform: (Value) -> Other) -> PerCluster<Other> { PerCluster<Other>(values.map(transform)) }

    /// Calls `body` with each value in turn.
    mutating func modifyEach(_ body: (inout Value) -> Void) {
        for index in values.indices { body(&values[index]) }
    }
}

extension PerCluster: Sendable where Value: Sendable {}
