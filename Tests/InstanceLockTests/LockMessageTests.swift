// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import InstanceLock

@Suite struct LockMessageTests {
    private func error(_ bytes: [UInt8]) -> LockMessage.Unreadable? {
        do throws(LockMessage.Unreadable) {
            _ = try LockMessage(bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test(
        "a message is decoded as it was encoded, with workloads of any length",
        arguments: LockMessage.Kind.allCases)
    func roundTrip(kind: LockMessage.Kind) throws {
        for workload in ["", "kubenetmon-agent/kubenetmon-agent", String(repeating: "x", count: 128)] {
            let message = LockMessage(kind, workload: workload)
            #expect(message.bytes.count == LockMessage.size)
            #expect(try LockMessage(message.bytes) == message)
        }
    }

    @Test("a message of another version is recognized, whatever its length")
    func otherVersion() {
        var bytes = LockMessage(.takeOver, workload: "a/b").bytes
        bytes[8] = 7
        #expect(error(bytes) == .otherVersion(7))
        #expect(error(Array(bytes.prefix(9))) == .otherVersion(7))
        #expect(error(bytes + bytes) == .otherVersion(7))
    }

    @Test("a message of the wrong length, of an unknown kind or not printable is rejected")
    func nonsense() {
        let good = LockMessage(.takeOver, workload: "a/b").bytes
        for length in [0, 1, 8, 9, 10, 16, good.count - 1] { #expect(error(Array(good.prefix(length))) != nil) }
        #expect(error(good + [0]) == .notAMessage)
        for (offset, byte) in [(0, 0), (9, 0), (9, 7), (9, 255), (17, 0x20), (17, 0x1b), (17, 0x80)] {
            var bytes = good
            bytes[offset] = UInt8(byte)
            #expect(error(bytes) == .notAMessage, "\(offset)")
        }
    }

    @Test("a workload name is printable, without blanks, and fits a message")
    func workloads() {
        #expect(LockConfiguration.isWorkload("") && LockConfiguration.isWorkload("a/b"))
        #expect(LockConfiguration.isWorkload(String(repeating: "x", count: 128)))
        for bad in ["a b", "a\n", "ä", String(repeating: "x", count: 129)] {
            #expect(!LockConfiguration.isWorkload(bad))
        }
    }
}
