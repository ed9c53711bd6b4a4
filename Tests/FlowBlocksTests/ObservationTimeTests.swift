// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import FlowBlocks

@Suite struct ObservationTimeTests {
    private let now: UInt32 = 1_772_366_400

    @Test(
        "an observation time from a week ago to ten minutes ahead is used",
        arguments: [0, 1, -1, 599, 600, -86_400, -7 * 86_400])
    func aTimeThatCanBeTrueCounts(offset: Int64) {
        let (second, isCredible) = ObservationTime.second(of: UInt64(Int64(now) + offset) * 1000 + 999, now: now)
        #expect(Int64(second) == Int64(now) + offset && isCredible)
    }

    @Test(
        "an implausible observation time is replaced by the time of arrival",
        arguments: [0, UInt64.max, 1_772_366_400, 1_772_367_001_000, 1_771_761_599_999])
    func aTimeThatCannotGivesWay(milliseconds: UInt64) {
        let (second, isCredible) = ObservationTime.second(of: milliseconds, now: now)
        #expect(second == now && !isCredible)
    }
}
