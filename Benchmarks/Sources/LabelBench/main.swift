// SPDX-License-Identifier: Apache-2.0

import SyntheticCluster

// LabelBench blocking PODS | flow PODS RANGES | ranges RANGES
//
// RANGES is a folder with the providers' lists. Prints lines that begin with BENCH.

let arguments = Array(CommandLine.arguments.dropFirst())
switch (arguments.first, arguments.dropFirst().first.flatMap { Int($0) }) {
case ("blocking", let pods?): Blocking(SyntheticCluster(podCount: pods)).run()
case ("flow", let pods?) where arguments.count == 3:
    FlowCost(SyntheticCluster(podCount: pods), lists: arguments[2]).run()
case ("ranges", _) where arguments.count == 2: RangeCost(lists: arguments[1]).run()
default:
    complain("usage: LabelBench blocking PODS | flow PODS RANGES | ranges RANGES")
}
