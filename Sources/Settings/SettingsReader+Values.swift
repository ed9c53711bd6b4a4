// SPDX-License-Identifier: Apache-2.0

import DocumentTree
public import FlowModel

extension SettingsReader {
    /// Reads a text that is not empty; required if there is no default. The stand-in is the empty text.
    ///
    /// - Parameter transform: Makes the value from the text.
    public mutating func text(
        _ key: String, default defaultValue: String? = nil, allowed: String, _ help: String, _ traits: Setting.Trait...,
        transform: (String) -> String = { $0 }
    ) -> String {
        scalar(key, default: defaultValue, standIn: defaultValue ?? "", allowed: allowed, help, traits, show: { $0 }) {
            text in
            let value = transform(text)
            return value.isEmpty ? nil : value
        }
    }

    /// Reads the path of a file or directory; nil if none is given.
    public mutating func path(_ key: String, _ help: String, _ traits: Setting.Trait...) -> String? {
        scalar(key, default: .some(nil), standIn: nil, allowed: "a path", help, traits, show: { $0 ?? "" }) { text in
            text.isEmpty ? .none : .some(text)
        }
    }

    /// Reads a Boolean in one of Go's spellings (``Swift/Bool/init(goBool:)``).
    public mutating func bool(
        _ key: String, default defaultValue: Bool, _ help: String, _ traits: Setting.Trait...
    ) -> Bool {
        scalar(
            key, default: defaultValue, standIn: defaultValue, allowed: "true or false", help, traits,
            show: \.description, parse: Bool.init(goBool:))
    }

    /// Reads an optional Boolean: nil if none is given.
    public mutating func boolIfGiven(
        _ key: String, default defaultText: String, _ help: String, _ traits: Setting.Trait...
    ) -> Bool? {
        scalar(
            key, default: .some(nil), standIn: nil, allowed: "true or false", help, traits,
            show: { $0?.description ?? defaultText }
        ) { text in Bool(goBool: text).map { .some($0) } }
    }

    /// Reads a whole number in decimal digits.
    ///
    /// - Parameter unit: The unit counted: "bytes".
    public mutating func integer(
        _ key: String, in range: ClosedRange<Int>, default defaultValue: Int, unit: String? = nil, _ help: String,
        _ traits: Setting.Trait...
    ) -> Int {
        let kind = unit.map { "a number of \($0)" } ?? "a whole number"
        let bounds =
            range.upperBound == .max
            ? "of at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
        return scalar(
            key, default: defaultValue, standIn: defaultValue, allowed: "\(kind) \(bounds)", help, traits,
            show: \.description
        ) { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// Reads a duration in Go's syntax (``Swift/Duration/init(goDuration:)``).
    ///
    /// - Parameters:
    ///   - range: The allowed values. The lower bound keeps loops from spinning; the upper bound keeps a time that far
    ///     in the future from overflowing.
    ///   - mayBeZero: Whether zero is allowed too, below the range.
    public mutating func duration(
        _ key: String, in range: ClosedRange<Duration>, orZero mayBeZero: Bool = false, default defaultValue: Duration,
        _ help: String, _ traits: Setting.Trait...
    ) -> Duration {
        let bounds = "from \(range.lowerBound.goText) to \(range.upperBound.goText)"
        return scalar(
            key, default: defaultValue, standIn: defaultValue,
            allowed: "a duration \(bounds)\(mayBeZero ? ", or 0s" : ""), such as 5s or 1m30s", help, traits,
            show: \.goText
        ) { text in
            Duration(goDuration: text).flatMap { range.contains($0) || mayBeZero && $0 == .zero ? $0 : nil }
        }
    }

    /// Reads an IP address; nil if none is given.
    public mutating func address(_ key: String, _ help: String, _ traits: Setting.Trait...) -> IPAddress? {
        scalar(
            key, default: .some(nil), standIn: nil, allowed: "an IPv4 or IPv6 address", help, traits,
            show: { $0?.description ?? "" }
        ) { text in
            text.isEmpty ? .some(.none) : IPAddress(text).map { .some($0) }
        }
    }

    /// Reads one of a fixed set of words.
    public mutating func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ key: String, default defaultValue: Choice, _ help: String, _ traits: Setting.Trait...
    ) -> Choice {
        let words = Choice.allCases.map(\.rawValue)
        let last = words.last.map { words.count > 1 ? " or \($0)" : $0 } ?? ""
        return scalar(
            key, default: defaultValue, standIn: defaultValue,
            allowed: words.dropLast().joined(separator: ", ") + last, help, traits, show: \.rawValue,
            parse: Choice.init(rawValue:))
    }
}
