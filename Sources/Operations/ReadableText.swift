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
        return "\(tenths(number)) \(unit)"
    }

    /// Returns a share of a whole in percent with one digit after the point: `12.5 %`.
    public static func share(_ part: UInt64, of whole: UInt64) -> String {
        "\(tenths(whole == 0 ? 0 : Double(part) / Double(whole) * 100)) %"
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

    private static func tenths(_ value: Double) -> String {
        let tenths = UInt64(clamping: value * 10)
        return "\(tenths / 10).\(tenths % 10)"
    }
}
