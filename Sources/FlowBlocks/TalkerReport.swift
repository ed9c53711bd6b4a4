// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
public import Labeling

/// The top talkers of a minute, by name.
public struct TalkerReport {
    /// The source or the destination of a line.
    public struct Side: Hashable {
        /// The workload or the pod with its namespace, else the node, else the cloud, region and service of the
        /// addresses.
        public var name: String
        /// The zone, or else the region.
        public var place: String

        init(_ labels: EndpointLabels, _ connectionClass: ConnectionClass) {
            let named = [Label.workload, .pod].lazy.map { labels[$0] }.first { !$0.isEmpty }
            if let named {
                name = "\(labels[.namespace])/\(named)"
            } else if !labels[.node].isEmpty {
                name = "node \(labels[.node])"
            } else {
                name = [Label.cloud, .region, .cloudService].map { labels[$0] }.filter { !$0.isEmpty }
                    .joined(separator: " ")
                if name.isEmpty {
                    name = connectionClass == .publicInternet ? "the internet" : "addresses without labels"
                }
                place = ""
                return
            }
            place = labels[.availabilityZone].isEmpty ? labels[.region] : labels[.availabilityZone]
        }
    }

    /// Traffic from one side to the other.
    public struct Line: Hashable {
        /// The side that sent.
        public var source: Side
        /// The side that received.
        public var destination: Side
        /// The class of the connections.
        public var connectionClass: ConnectionClass
    }

    /// The maximum number of lines.
    static let maximumLines = 20

    /// The minute, in minutes since the Unix epoch.
    public let minute: Int
    /// The second of the day, in UTC, at which the minute begins.
    public var secondOfDay: Int {
        minute % Int(FlowBlock.secondsPerDay / FlowInterval.seconds) * Int(FlowInterval.seconds)
    }
    /// Whether the minute is over.
    public let isOver: Bool
    /// The bytes of all lines, including those that are not in ``lines``.
    public let bytes: UInt64
    /// The heaviest lines, in descending order of bytes.
    public let lines: [(line: Line, bytes: UInt64)]

    /// Makes a report of the last full minute, or of the present one if no flow was recorded in the last.
    ///
    /// - Parameters:
    ///   - parts: The minutes of each event loop.
    ///   - minute: The present minute, in minutes since the Unix epoch.
    public init(_ parts: [TalkerMinutes], minute: Int) {
        isOver = parts.contains { $0.last.bytes > 0 } || !parts.contains { $0.present.bytes > 0 }
        self.minute = isOver ? minute &- 1 : minute
        let talkers = isOver ? parts.map(\.last) : parts.map(\.present)
        bytes = talkers.map(\.bytes).clampedSum
        var sums: [Line: UInt64] = [:]
        for pair in talkers.flatMap(\.pairs) {
            let line = Line(
                source: Side(pair.source, pair.connectionClass),
                destination: Side(pair.destination, pair.connectionClass), connectionClass: pair.connectionClass)
            sums[line] = (sums[line] ?? 0).clampedAdding(pair.bytes)
        }
        lines = sums.sorted { one, other in
            (other.value, one.key.source.name, one.key.destination.name, one.key.source.place)
                < (one.value, other.key.source.name, other.key.destination.name, other.key.source.place)
        }.prefix(Self.maximumLines).map { ($0.key, $0.value) }
    }
}
