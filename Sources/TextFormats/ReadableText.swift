// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Formats numbers for people. No value traps, whatever its type: the values come from peers and from clocks that can
/// be set back.
public enum ReadableText {
    /// Returns a whole number with a comma before each three digits: `1,234,567`.
    public static func count(_ value: some BinaryInteger) -> String {
        var text = ""
        for (place, digit) in "\(value.magnitude)".reversed().enumerated() {
            if place > 0, place % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return (value < 0 ? "-" : "") + String(text.reversed())
    }

    /// Returns a number of bytes in a binary unit with one digit after the point: `1.5 MiB`.
    public static func bytes(_ value: some BinaryInteger) -> String {
        var number = Double(value)
        guard number >= 1024 else { return "\(value) B" }
        var unit = ""
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] where number >= 1023.95 || unit.isEmpty {
            number /= 1024
            unit = next
        }
        return "\(decimal(number, decimals: 1)) \(unit)"
    }

    /// Returns a number with three digits and a unit, such as `0`, `0.4`, `999`, `1.02K` or `45.1M`: units are powers of
    /// 1000, and the text has at most five characters.
    public static func short(_ value: Double) -> String {
        var value = value
        var units = ["", "K", "M", "G", "T", "P", "E"][...]
        while value >= 999.5, units.count > 1 {
            value /= 1000
            units.removeFirst()
        }
        let isWhole = units.first == "" && value == value.rounded()
        let decimals =
            if isWhole || value >= 99.95 { 0 } else if units.first == "" || value >= 9.995 { 1 } else { 2 }
        return decimal(value, decimals: decimals) + (units.first ?? "")
    }

    /// Returns a non-negative number, rounded to `decimals` digits after the point; 0 for NaN.
    public static func decimal(_ value: Double, decimals: Int) -> String {
        let power = (0..<decimals).reduce(UInt64(1)) { power, _ in power * 10 }
        let scaled = UInt64(clamping: value * Double(power))
        guard decimals > 0 else { return "\(scaled)" }
        let fraction = String(scaled % power)
        return "\(scaled / power)." + String(repeating: "0", count: decimals - fraction.count) + fraction
    }

    /// Returns a share of a whole in percent with one digit after the point: `12.5 %`.
    public static func share(_ part: UInt64, of whole: UInt64) -> String {
        "\(decimal(whole == 0 ? 0 : Double(part) / Double(whole) * 100, decimals: 1)) %"
    }

    /// Returns a duration in its two largest units, or in milliseconds below a second: `2 d 3 h`, `4 min 5 s`, `6 s`,
    /// `70 ms`.
    public static func duration(_ value: Duration) -> String {
        // Not `value.components`, which traps beyond 2^63 seconds.
        let seconds = value.attoseconds / 1_000_000_000_000_000_000
        guard seconds > 0 else { return "\(max(0, value.attoseconds / 1_000_000_000_000_000)) ms" }
        let units: [(name: String, length: Int128)] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)]
        guard let first = units.firstIndex(where: { seconds >= $0.length }) else { return "" }
        var text = "\(seconds / units[first].length) \(units[first].name)"
        if first + 1 < units.count {
            let rest = seconds % units[first].length / units[first + 1].length
            if rest > 0 { text += " \(rest) \(units[first + 1].name)" }
        }
        return text
    }

    /// Returns the time of day in UTC: `14:05`.
    ///
    /// - Parameter second: Seconds since the Unix epoch.
    public static func timeOfDay(_ second: Int) -> String {
        let minute = (second % 86_400 + 86_400) % 86_400 / 60
        return "\(twoDigits(minute / 60)):\(twoDigits(minute % 60))"
    }

    private static func twoDigits(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
}
