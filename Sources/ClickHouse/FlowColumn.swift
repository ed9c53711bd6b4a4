// SPDX-License-Identifier: Apache-2.0

import Labeling

/// The columns of `network_flows_0` that rows can fill, by their names there. The order is that of the table's DDL, then
/// that of the migration that extends it.
enum FlowColumn: String, CaseIterable {
    case date, intervalStartTime, intervalSeconds, environment, proto, connectionClass, connectionFlags, direction
    case localCloud, localRegion, localCluster, localCell, localAvailabilityZone, localNode, localInstanceID
    case localNamespace, localPod, localIPv4, localPort, localApp
    case remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone, remoteNode, remoteInstanceID
    case remoteNamespace, remotePod, remoteIPv4, remotePort, remoteApp, remoteCloudService
    case bytes, packets
    case localWorkload, remoteWorkload, remoteService, localIPv6, remoteIPv6

    /// Without these a row would say nothing.
    static let required: [FlowColumn] = [.date, .intervalStartTime, .direction, .bytes, .packets]

    /// The columns of the original's table, those of deploy/clickhouse/001_network_flows_0.sql.
    static let original = allCases.prefix { $0 != .localWorkload }

    /// Which end a label column tells of, and which label.
    var label: (isLocal: Bool, label: Label)? {
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
