// SPDX-License-Identifier: Apache-2.0

@testable import FlowWire
import Testing

@Suite struct AgentIDTests {
    @Test("random agent ids differ") func everyProcessGetsAnotherID() {
        #expect(Set((0..<1_000).map { _ in AgentID.random() }).count == 1_000)
    }

    @Test("an agent id is printed as its bytes in order") func anIDIsItsBytesInTheirOrder() throws {
        let id = try (1...16).map { UInt8($0) }.withUnsafeBytes { try AgentID($0) }
        #expect("\(id)" == "0102030405060708090a0b0c0d0e0f10")
    }

    @Test("an agent id must have 16 bytes", arguments: [0, 1, 15, 17, 32])
    func anotherNumberOfBytesIsRefused(_ count: Int) {
        #expect(throws: WireError.badAgentID(count)) {
            try [UInt8](repeating: 0, count: count).withUnsafeBytes { try AgentID($0) }
        }
    }
}
