// SPDX-License-Identifier: Apache-2.0

import FlowCollection
import Testing

private let intervals: [Duration] = [.milliseconds(1), .milliseconds(500), .seconds(5), .seconds(90), .seconds(86_400)]

/// Times since the Unix epoch: the epoch itself, times of today, and that of a wrong clock.
private let moments: [Duration] = [
    .zero, .milliseconds(1), .seconds(1_795_000_000), .seconds(1_795_000_000) + .nanoseconds(123_456_789),
    .seconds(4_102_444_800),
]

@Suite struct CollectionScheduleTests {
    @Test("the next collection is at most one interval away", arguments: intervals)
    func theNextCollectionIsAtMostAnIntervalAway(interval: Duration) {
        for number in 0..<200 {
            let schedule = CollectionSchedule(interval: interval, nodeName: "node-\(number)")
            for moment in moments {
                let delay = schedule.delay(after: moment)
                #expect(delay > .zero && delay <= interval, "node-\(number) after \(moment): \(delay)")
            }
        }
    }

    @Test("collections stay one interval apart, whatever the delay of a wake-up")
    func collectionsAreAnIntervalApart() {
        let schedule = CollectionSchedule(interval: .seconds(5), nodeName: "node-a")
        var now = Duration.seconds(1_795_000_000)
        now += schedule.delay(after: now)
        for _ in 0..<100 {
            // Waking up is never exactly on time.
            now += .microseconds(300)
            let next = now + schedule.delay(after: now)
            #expect(next - now > .milliseconds(4_999) && next - now < .seconds(5))
            now = next
        }
    }

    @Test("a node keeps its phase, and the phases of nodes are spread over the interval")
    func aNodeKeepsItsPhaseAndNodesSpread() {
        let moment = Duration.seconds(1_795_000_000)
        func delay(_ name: String) -> Duration {
            CollectionSchedule(interval: .seconds(5), nodeName: name).delay(after: moment)
        }
        #expect(delay("node-a") == delay("node-a"))
        #expect(delay("node-a") != delay("node-b"))
        // With names as clouds give them, no tenth of the interval has many more nodes than another.
        var tenths = [Int](repeating: 0, count: 10)
        for number in 0..<1_000 {
            let name = "ip-10-0-\(number / 250)-\(number % 250).eu-central-1.compute.internal"
            tenths[min(9, Int(delay(name) / .milliseconds(500)))] += 1
        }
        #expect(tenths.allSatisfy { (50...150).contains($0) }, "\(tenths)")
    }
}
