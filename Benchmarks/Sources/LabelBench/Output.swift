// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// Prints words and flushes the output.
func say(_ words: String...) {
    print(words.joined(separator: " "))
    fflush(nil)
}

/// Prints to standard error why nothing can be measured, and exits with 1.
func complain(_ problem: String) -> Never {
    FileHandle.standardError.write(Data((problem + "\n").utf8))
    exit(1)
}

/// Returns the text of a number with this many digits after the point.
func rounded(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let whole = Int((value * scale).rounded())
    let fraction = String(whole % Int(scale))
    return digits == 0
        ? "\(whole)" : "\(whole / Int(scale)).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
}
