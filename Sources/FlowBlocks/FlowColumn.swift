// SPDX-License-Identifier: Apache-2.0

public import ClusterModel

/// A column that a row can fill.
public enum FlowColumn: Hashable, CaseIterable, Sendable {
    /// The end of a flow that one column of a pair describes. The raw values begin the columns' names.
    public enum End: String, CaseIterable, Sendable {
        case local, remote
    }

    case date, intervalStartTime, intervalSeconds, environment, proto, connectionClass, connectionFlags, direction
    /// A label of an end.
    case label(Label, End)
    /// The address of an end, if it is an IPv4 address.
    case ipv4(End)
    /// The address of an end, if it is an IPv6 address.
    case ipv6(End)
    /// The port of an end.
    case port(End)
    case bytes, packets
    /// The end that opened the connection.
    case opened
    /// The conntrack zone on the observing node.
    case conntrackZone

    /// All columns, in the order of the table's DDL, then those of the migrations that extend it.
    public static let allCases: [FlowColumn] = {
        var columns: [FlowColumn] = [
            .date, .intervalStartTime, .intervalSeconds, .environment, .proto, .connectionClass, .connectionFlags,
            .direction,
        ]
        for end in End.allCases { columns += columnsOfTable(end) }
        columns += [.bytes, .packets]
        for label in Label.allCases where label.definition.migration != nil { columns += Self.columns(of: label) }
        return columns + [.ipv6(.local), .ipv6(.remote), .opened, .conntrackZone]
    }()

    /// The columns of a label: of both ends, or of the remote end alone.
    public static func columns(of label: Label) -> [FlowColumn] {
        End.allCases.filter { $0 == .remote || label.definition.hasLocalColumn }.map { .label(label, $0) }
    }

    /// The columns of an end in the original table.
    private static func columnsOfTable(_ end: End) -> [FlowColumn] {
        var columns: [FlowColumn] = []
        for label in Label.allCases where label.definition.migration == nil {
            columns += Self.columns(of: label).filter { $0 == .label(label, end) }
            if label == .pod { columns += [.ipv4(end), .port(end)] }
        }
        return columns
    }

    /// The column's name in `network_flows_0`.
    public var name: String {
        switch self {
        case .date: "date"
        case .intervalStartTime: "intervalStartTime"
        case .intervalSeconds: "intervalSeconds"
        case .environment: "environment"
        case .proto: "proto"
        case .connectionClass: "connectionClass"
        case .connectionFlags: "connectionFlags"
        case .direction: "direction"
        case .label(let label, let end): end.rawValue + label.definition.column
        case .ipv4(let end): end.rawValue + "IPv4"
        case .ipv6(let end): end.rawValue + "IPv6"
        case .port(let end): end.rawValue + "Port"
        case .bytes: "bytes"
        case .packets: "packets"
        case .opened: "opened"
        case .conntrackZone: "conntrackZone"
        }
    }
}
