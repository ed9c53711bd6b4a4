// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Numbers in a form for people: three digits and a unit.
package enum HumanNumber {
    /// Returns a text such as `0`, `0.4`, `999`, `1.02K` or `45.1M`: units are powers of 1000, at most five characters.
    package static func text(_ value: Double) -> String {
        var value = value
        var units = ["", "K", "M", "G", "T", "P", "E"][...]
        while value >= 999.5, units.count > 1 {
            value /= 1000
            units.removeFirst()
        }
        let isWhole = units.first == "" && value == value.rounded()
        let decimals =
            if isWhole || value >= 99.95 { 0 } else if units.first == "" || value >= 9.995 { 1 } else { 2 }
        return text(value, decimals: decimals) + (units.first ?? "")
    }

    /// Returns the text of a non-negative number, rounded to `decimals` digits after the point; 0 for NaN.
    package static func text(_ value: Double, decimals: Int) -> String {
        let power = (0..<decimals).reduce(UInt64(1)) { power, _ in power * 10 }
        let scaled = UInt64(clamping: value * Double(power))
        guard decimals > 0 else { return "\(scaled)" }
        let fraction = String(scaled % power)
        return "\(scaled / power)." + String(repeating: "0", count: decimals - fraction.count) + fraction
    }
}
