// SPDX-License-Identifier: Apache-2.0

import Labeling

/// Counts of the kinds of ends of recorded flows.
public struct LabelResults: Sendable {
    /// The number of ends of each kind.
    struct Ends: Sendable {
        private var counts = InlineArray<5, UInt64>(repeating: 0)

        subscript(kind: EndpointKind) -> UInt64 { counts[Self.place(of: kind)] }

        mutating func add(_ kind: EndpointKind) { counts[Self.place(of: kind)] &+= 1 }

        static func += (left: inout Ends, right: Ends) {
            for place in left.counts.indices { left.counts[place] &+= right.counts[place] }
        }

        private static func place(of kind: EndpointKind) -> Int {
            switch kind {
            case .pod: 0
            case .node: 1
            case .range: 2
            case .private: 3
            case .unknown: 4
            }
        }
    }

    private(set) var (local, remote) = (Ends(), Ends())
    /// Flows opened to a service's address, and all others.
    private(set) var (services, others): (UInt64, UInt64) = (0, 0)

    mutating func add(_ flow: LabeledFlow) {
        local.add(flow.local.kind)
        remote.add(flow.remote.kind)
        if flow.service == nil { others &+= 1 } else { services &+= 1 }
    }

    static func += (left: inout LabelResults, right: LabelResults) {
        left.local += right.local
        left.remote += right.remote
        left.services &+= right.services
        left.others &+= right.others
    }

    /// Each count, with its end of the flow and the kind of that end.
    public var samples: [((String, String), UInt64)] {
        EndpointKind.allCases.map { (("local", $0.rawValue), local[$0]) }
            + EndpointKind.allCases.map { (("remote", $0.rawValue), remote[$0]) }
            + [(("dialled", "service"), services), (("dialled", "other"), others)]
    }
}
