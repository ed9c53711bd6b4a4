// SPDX-License-Identifier: Apache-2.0

import ClusterModel

/// The identity of a node: nodes of several clusters may have the same name.
struct NodeKey: Hashable, Sendable {
    let cluster: ClusterID
    let name: String
}
