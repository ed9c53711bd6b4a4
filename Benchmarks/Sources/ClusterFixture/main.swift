// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubernetesTestKit
import SyntheticCluster

// ClusterFixture PODS
//
// Runs an API server with a synthetic cluster in a process of its own. Prints its address, then executes the commands
// on standard input until that ends:
//
//     churn RATE SECONDS    changes RATE pods a second for SECONDS seconds

func say(_ line: String) {
    print(line)
    fflush(nil)
}

let server = try await APIServerFixture.start()
let podCount = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 100_000
var cluster = ChurningCluster(SyntheticCluster(podCount: podCount), on: server)
say("listening at \(server.url)")
while let line = readLine() {
    let words = line.split(separator: " ")
    guard words.count == 3, words[0] == "churn", let rate = Int(words[1]), let seconds = Int(words[2]) else {
        say("not understood: \(line)")
        continue
    }
    let start = ContinuousClock.now
    for number in 0..<rate * seconds {
        try await Task.sleep(until: start + .nanoseconds(number * 1_000_000_000 / rate), tolerance: .zero)
        cluster.change()
    }
    say("changed \(rate * seconds)")
}
