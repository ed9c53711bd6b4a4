// SPDX-License-Identifier: Apache-2.0

/// The number of a cluster among the configured clusters, from 0.
public struct ClusterID: RawRepresentable, Hashable, Sendable {
    /// The number.
    public let rawValue: UInt8

    /// Makes an identity of a number.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The first configured cluster; there may be no other.
    @inlinable
    public static var first: ClusterID { ClusterID(rawValue: 0) }
}

extension ObjectUID {
    /// Returns the object's identity among the objects of all clusters; that of an object of the first cluster is its
    /// UID.
    ///
    /// UIDs alone do not suffice: an inventory's objects are identified by their names, and a cluster that was restored
    /// from another cluster's backup has that cluster's UIDs.
    public func qualified(by cluster: ClusterID) -> ObjectUID {
        // An odd factor, so that no two clusters have the same product.
        ObjectUID(bits: bits ^ UInt128(cluster.rawValue) &* 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}
