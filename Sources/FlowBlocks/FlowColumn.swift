// SPDX-License-Identifier: Apache-2.0

public import ClusterModel

/// The columns that a row can fill, by their names in `network_flows_0`. The order is that of the table's DDL, then
/// that of the migration that extends it.
public enum FlowColumn: String, CaseIterable, Sendable {
    case date, intervalStartTime, intervalSeconds, environment, proto, connectionClass, connectionFlags, direction
    case localCloud, localRegion, localCluster, localCell, localAvailabilityZone, localNode, localInstanceID
    case localNamespace, localPod, localIPv4, localPort, localApp
    case remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone, remoteNode, remoteInstanceID
    case remoteNamespace, remotePod, remoteIPv4, remotePort, remoteApp, remoteCloudService
    case bytes, packets
    case localWorkload, remoteWorkload, remoteService, localIPv6, remoteIPv6

    /// The end and the label that a label column stores; nil for other columns.
    public var label: (isLocal: Bool, label: Label)? {
        switch self {
        case .localCloud: (true, .cloud)
        case .localRegion: (true, .region)
        case .localCluster: (true, .cluster)
        case .localCell: (true, .cell)
        case .localAvailabilityZone: (true, .availabilityZone)
        case .localNode: (true, .node)
        case .localInstanceID: (true, .instanceID)
        case .localNamespace: (true, .namespace)
        case .localPod: (true, .pod)
        case .localApp: (true, .app)
        case .remoteCloud: (false, .cloud)
        case .remoteRegion: (false, .region)
        case .remoteCluster: (false, .cluster)
        case .remoteCell: (false, .cell)
        case .remoteAvailabilityZone: (false, .availabilityZone)
        case .remoteNode: (false, .node)
        case .remoteInstanceID: (false, .instanceID)
        case .remoteNamespace: (false, .namespace)
        case .remotePod: (false, .pod)
        case .remoteApp: (false, .app)
        case .remoteCloudService: (false, .cloudService)
        case .localWorkload: (true, .workload)
        case .remoteWorkload: (false, .workload)
        default: nil
        }
    }
}
