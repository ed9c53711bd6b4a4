// SPDX-License-Identifier: Apache-2.0

public import FlowModel
import Synchronization

/// A block that a server has named to the agents of its batches before it inserts it.
///
/// The block leaves the server once each of these agents has confirmed that it knows the block's token. From then on,
/// whichever server receives a batch again can find out from ClickHouse whether it is stored.
public final class BlockAnnouncement: Sendable {
    /// The deduplication token under which ClickHouse receives the block.
    public let token = UInt128.random(in: .min ... .max)
    /// The day of the block's rows, in days since the Unix epoch.
    public let day: UInt16

    private let state: Mutex<State>

    private struct State {
        var unconfirmed: Set<BatchIdentity>
        /// Whether an agent has said that it sends batches again on another connection.
        var isLeft = false
        /// Called once every batch is confirmed; nil after that.
        var confirmed: (@Sendable (_ token: UInt128) -> Void)?
    }

    /// Makes an announcement.
    ///
    /// - Parameters:
    ///   - day: The day of the block's rows, in days since the Unix epoch.
    ///   - batches: The batches whose agents confirm.
    ///   - confirmed: Called once, from any thread, when every batch is confirmed. Not called if there are none.
    init(day: UInt16, awaiting batches: Set<BatchIdentity>, confirmed: @escaping @Sendable (_ token: UInt128) -> Void) {
        self.day = day
        state = Mutex(State(unconfirmed: batches, confirmed: batches.isEmpty ? nil : confirmed))
    }

    /// The batches that are not confirmed.
    public var unconfirmed: Set<BatchIdentity> { state.withLock { $0.unconfirmed } }

    /// Whether an agent of the block has said that it sends batches of it again on another connection.
    public var isLeft: Bool { state.withLock { $0.isLeft } }

    /// Records that agents know the block of these batches.
    func confirm(_ batches: some Sequence<BatchIdentity>) {
        let confirmed = state.withLock { state -> (@Sendable (UInt128) -> Void)? in
            state.unconfirmed.subtract(batches)
            return state.unconfirmed.isEmpty ? state.confirmed.take() : nil
        }
        confirmed?(token)
    }

    /// Records that an agent sends batches of the block again on another connection.
    func leave() { state.withLock { $0.isLeft = true } }
}
