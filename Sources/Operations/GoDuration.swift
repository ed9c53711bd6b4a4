// SPDX-License-Identifier: Apache-2.0

extension Duration {
    /// Reads a duration as Go's `time.ParseDuration` writes it, which is how kubenetmon's configuration does: one or more
    /// decimal numbers, each with a unit, such as `5s`, `1m30s`, `1.5h` or `500ms`; the units are ns, us, µs, ms, s, m and
    /// h. Nil for anything else, signs included: no setting can be negative.
    public init?(goDuration text: String) {
        if text == "0" {
            self = .zero
            return
        }
        guard !text.isEmpty else { return nil }
        var rest = Substring(text)
        var seconds = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { !($0.isASCII && ($0.isNumber || $0 == ".")) }
            rest = rest.dropFirst(unit.count)
            guard digits.contains(where: \.isNumber), let number = Double(digits), let length = Self.seconds(in: unit)
            else { return nil }
            seconds += number * length
        }
        // Go's durations end at about 292 years.
        guard seconds < 9_223_372_036 else { return nil }
        self = .seconds(seconds)
    }

    private static func seconds(in unit: Substring) -> Double? {
        switch unit {
        case "ns": 1e-9
        case "us", "µs", "μs": 1e-6
        case "ms": 1e-3
        case "s": 1
        case "m": 60
        case "h": 3600
        default: nil
        }
    }

    /// The duration in milliseconds, fractions dropped.
    public var milliseconds: Int {
        Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000)
    }

    /// The duration in seconds.
    public var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
