// SPDX-License-Identifier: Apache-2.0

public import FlowBlocks
public import FlowModel
import Foundation
public import Labeling
import Synchronization

/// The last second of yesterday: the table drops rows of days long past.
public let lastSecondOfADay = UInt32(Date().timeIntervalSince1970) / 86_400 * 86_400 - 1

/// Makes the labels of a pod, all of them distinct.
public func podLabels(_ name: String) -> EndpointLabels {
    EndpointLabels([
        .cloud: "cloud \(name)", .region: "region \(name)", .cluster: "cluster \(name)", .cell: "cell \(name)",
        .availabilityZone: "zone \(name)", .node: "node \(name)", .instanceID: "instance \(name)",
        .namespace: "namespace \(name)", .pod: name, .app: "app \(name)", .cloudService: "service \(name)",
    ])
}

/// Retains labels for the life of the process, since flows do not retain them.
public func kept(_ labels: EndpointLabels) -> LabelsReference {
    keptLabels.withLock { $0.append(labels) }
    return LabelsReference(labels)
}

private let keptLabels = Mutex<[EndpointLabels]>([])

/// Makes a flow between two pods.
public func labeledFlow(
    _ local: EndpointLabels = podLabels("a"), _ remote: EndpointLabels = podLabels("b"),
    transport: TransportProtocol = .tcp, ports: (UInt16, UInt16) = (40_000, 443),
    connectionClass: ConnectionClass = .intraVPC, sent: FlowCounters = FlowCounters(packets: 1, bytes: 100),
    received: FlowCounters = FlowCounters(packets: 2, bytes: 200)
) -> LabeledFlow {
    LabeledFlow(
        transport: transport,
        local: LabeledEndpoint(labels: kept(local), address: IPAddress(v4: 0x0af4_010a), port: ports.0),
        remote: LabeledEndpoint(labels: kept(remote), address: IPAddress(v4: 0xffff_fffe), port: ports.1),
        connectionClass: connectionClass, sent: sent, received: received)
}

/// Makes a block of flows observed at the last second of a day.
public func flowBlock(_ flows: [LabeledFlow] = [labeledFlow()]) -> FlowBlock {
    var block = FlowBlock(environment: "testing", dayOf: lastSecondOfADay)
    for flow in flows { block.append(flow, observedAt: lastSecondOfADay) }
    return block
}
