// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A source of flows, which reads and zeroes the counters of connections, so that each byte is reported once: by a
/// collection or by the event of the connection's end.
///
/// A reader is used by one thread at a time. Its ``events`` are received by another; a collection may receive some too.
public protocol FlowReader: AnyObject {
    /// The events of ended connections.
    var events: any ConnectionEvents { get }

    /// Prepares the first collection.
    func prepare()

    /// Samples counters some time before a collection, which compares them with the counters that it reads.
    func sample() throws

    /// Reads what connections have carried since the last collection.
    ///
    /// `body` is called with each flow as it is read. The source's counters no longer hold the flow's bytes by then, so
    /// they must be reported even if the collection does not reach its end.
    ///
    /// - Parameters:
    ///   - isLast: Whether this is the last collection, which must not leave anything to a later one.
    ///   - shouldContinue: Called before more counters are read; false ends the collection.
    ///   - body: Called with each flow that has carried something.
    func collect(
        isLast: Bool, while shouldContinue: () -> Bool, _ body: (Flow) -> Void
    ) -> CollectionReport
}
