// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Testing

@Suite struct WireErrorTests {
    @Test(
        "an error has a reason for the metrics and names what was found",
        arguments: [
            (WireError.frameTooLong(1 << 21, limit: 1 << 20), "frame_too_long", "2097152"),
            (.truncatedFrame(17), "truncated_frame", "17"),
            (.notAMessage(18), "not_a_message", "18"),
            (.tooManyFields(limit: 256), "too_many_fields", "256"),
            (.badAgentID(15), "malformed_message", "15"),
            (.badWelcome(field: "address", length: 4), "malformed_message", "address"),
            (.badToken(field: "Held.token", length: 4), "malformed_message", "Held.token"),
            (.tooManyDoubts(300), "malformed_message", "300"),
            (.columnLength(column: "reply_bytes", found: 19, expected: 20), "malformed_message", "reply_bytes"),
            (.mixedFamilies, "malformed_message", "IPv6"),
            (.valueOutOfRange(column: "source_port", value: 65_536), "malformed_message", "65536"),
            (.badTranslatedIndex(21), "malformed_message", "21"), (.badZonedIndex(23), "malformed_message", "23"),
            (.badHostAddresses(22), "malformed_message", "22"),
            (.tooManyHostAddresses(257), "malformed_message", "257"),
        ])
    func anErrorHasACounterAndSaysWhatWasFound(_ error: WireError, _ reason: String, _ found: String) {
        #expect(error.reason == reason)
        #expect(WireError.reasons.contains(reason))
        #expect("\(error)".contains(found))
    }
}
