// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import FlowIngest

@Suite struct LogGateTests {
    @Test("lines beyond the limit per interval are counted instead of written")
    func moreThanSoManyLinesInAWhileAreCountedInstead() {
        var gate = LogGate(lines: 2, interval: .seconds(10))
        let start = NIODeadline.now()
        #expect((0..<5).map { gate.admit("a", now: start + .seconds($0)) } == [0, 0, nil, nil, nil])
        #expect(gate.admit("b", now: start + .seconds(5)) == 0)
        #expect(gate.admit("a", now: start + .seconds(10)) == 3)
        #expect(gate.admit("a", now: start + .seconds(11)) == 0)
        #expect(gate.admit("a", now: start + .seconds(12)) == nil)
    }
}
