// SPDX-License-Identifier: Apache-2.0

import NIOCore

@testable import FlowExport

extension ExportStateMachine.Action {
    /// Sends frames of batches whose clock readings are unknown, and other messages.
    static func sendFrames(_ frames: [ByteBuffer]) -> Self { .send(frames.map { OutgoingFrame($0) }) }
}
