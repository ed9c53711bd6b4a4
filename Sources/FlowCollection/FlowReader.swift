// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A source of flows: it takes what connections have carried out of their counters, so that each byte is reported once, by
/// a collection or by the event of the connection's end.
///
/// One thread at a time uses a reader. Its ``events`` are received by another; a collection may receive some too.
public protocol FlowReader: AnyObject {
    /// The events of ended connections.
    var events: any ConnectionEvents { get }

    /// Prepares the first collection.
    func prepare()

    /// Looks, some time before a collection, for what that collection is to compare with.
    func sample() throws

    /// Takes what connections have carried since the last collection.
    ///
    /// `body` gets each flow as it is read. What it got has left the source's counters and must be reported even if the
    /// collection did not reach its end.
    ///
    /// - Parameters:
    ///   - isLast: True where no other collection follows; nothing is then left to it.
    ///   - shouldContinue: Asked before more counters are taken; false ends the collection.
    ///   - body: Gets each flow that has carried something.
    func collect(
        isLast: Bool, while shouldContinue: () -> Bool, _ body: (Flow) -> Void
    ) -> CollectionReport
}
