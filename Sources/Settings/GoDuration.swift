// SPDX-License-Identifier: Apache-2.0

extension Duration {
    /// Parses a duration in the syntax of Go's `time.ParseDuration`, which kubenetmon's configuration uses: one or more
    /// decimal numbers, each with a unit, such as `5s`, `1m30s`, `1.5h` or `500ms`; the units are ns, us, µs, ms, s, m
    /// and h. Nil for anything else, signs included: no setting can be negative.
    public init?(goDuration text: String) {
        if text == "0" {
            self = .zero
            return
        }
        guard !text.isEmpty else { return nil }
        var rest = Substring(text)
        var nanoseconds: Int128 = 0
        while !rest.isEmpty {
            let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { !($0.isASCII && ($0.isNumber || $0 == ".")) }
            rest = rest.dropFirst(unit.count)
            guard let length = Self.nanoseconds(in: unit), let part = Self.nanoseconds(number, of: length) else {
                return nil
            }
            nanoseconds += part
            // Go's durations are limited to about 292 years.
            guard nanoseconds <= Int64.max else { return nil }
        }
        self = .nanoseconds(Int64(nanoseconds))
    }

    /// Returns `number` times `unit` in whole nanoseconds. In binary floating point, 9ms would come out slightly less
    /// than nine milliseconds.
    private static func nanoseconds(_ number: Substring, of unit: Int128) -> Int128? {
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, number.contains(where: \.isNumber),
            let whole = parts[0].isEmpty ? 0 : Int64(parts[0])
        else { return nil }
        // In millionths of a nanosecond.
        var fraction: Int128 = 0
        var place = unit * 1_000_000
        for digit in parts.dropFirst().joined() {
            place /= 10
            fraction += Int128(digit.wholeNumberValue ?? 0) * place
        }
        return Int128(whole) * unit + fraction / 1_000_000
    }

    private static func nanoseconds(in unit: Substring) -> Int128? {
        switch unit {
        case "ns": 1
        case "us", "µs", "μs": 1_000
        case "ms": 1_000_000
        case "s": 1_000_000_000
        case "m": 60_000_000_000
        case "h": 3_600_000_000_000
        default: nil
        }
    }

    /// The duration in the syntax of ``init(goDuration:)``, with as few parts as possible: `1m30s`, `500ms`, `0s`.
    package var goText: String {
        var rest = attoseconds / 1_000_000_000
        var text = ""
        for unit in ["h", "m", "s", "ms", "us", "ns"] {
            guard let length = Self.nanoseconds(in: Substring(unit)), rest >= length else { continue }
            text += "\(rest / length)\(unit)"
            rest %= length
        }
        return text.isEmpty ? "0s" : text
    }
}
