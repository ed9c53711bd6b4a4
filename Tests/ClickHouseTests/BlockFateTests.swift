// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import ClickHouse

@Suite struct BlockFateTests {
    @Test("a fate is told only if no other reason explains the facts") func everyCase() {
        let booleans = [false, true]
        for hasMarker in booleans {
            for isOneServer in booleans {
                for hasOtherEndpoints in booleans {
                    for hasRestarted in booleans {
                        for insertsSince in [0, 99, 100, 101, .max] {
                            let fate = FenceEvidence(
                                hasMarker: hasMarker, isOneServer: isOneServer, hasOtherEndpoints: hasOtherEndpoints,
                                hasRestarted: hasRestarted, insertsSince: insertsSince, window: 100
                            ).fate
                            let isStored = !hasMarker && isOneServer && !hasRestarted
                            let isNotStored = hasMarker && isOneServer && !hasOtherEndpoints && insertsSince < 100
                            switch fate {
                            case .stored: #expect(isStored)
                            case .notStored: #expect(isNotStored)
                            case .uncertain(let reason): #expect(!isStored && !isNotStored && !reason.isEmpty)
                            }
                        }
                    }
                }
            }
        }
    }

    @Test("the reason names what explains the facts otherwise")
    func reasons() {
        func fate(_ change: (inout FenceEvidence) -> Void) -> BlockFate {
            var evidence = FenceEvidence(hasMarker: true, window: 100)
            change(&evidence)
            return evidence.fate
        }
        #expect(fate { $0.isOneServer = false } == .uncertain(reason: "another ClickHouse server answered"))
        #expect(fate { $0.hasOtherEndpoints = true } == .uncertain(reason: "another endpoint may have the block"))
        #expect(fate { $0.insertsSince = 100 } == .uncertain(reason: "the deduplication window is exceeded"))
        #expect(
            fate { ($0.hasMarker, $0.hasRestarted) = (false, true) } == .uncertain(reason: "ClickHouse has restarted"))
        #expect(fate { $0.hasRestarted = true } == .notStored)
    }

    @Test(
        "a token's text is a UUID in lower case",
        arguments: [
            (0, "00000000-0000-0000-0000-000000000000"), (.max, "ffffffff-ffff-ffff-ffff-ffffffffffff"),
            (0x0123_4567_89ab_cdef_0011_2233_4455_6677, "01234567-89ab-cdef-0011-223344556677"),
        ] as [(UInt128, String)])
    func tokenText(token: UInt128, text: String) { #expect(DeduplicationToken.text(of: token) == text) }

    @Test("two random tokens differ") func randomTokens() {
        #expect(DeduplicationToken.random() != DeduplicationToken.random())
    }
}
