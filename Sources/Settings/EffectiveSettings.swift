// SPDX-License-Identifier: Apache-2.0

/// Every setting of a daemon with its value.
public struct EffectiveSettings: Equatable, Sendable {
    /// The settings in the order in which they were read.
    public let settings: [Setting]
    /// Warnings, such as for a setting that weakens security.
    public let warnings: [String]

    init(_ settings: [Setting], warnings: [String]) {
        self.settings = settings
        self.warnings = warnings
    }

    /// One line for each setting with its value and source, followed by the warnings. Secrets are not shown.
    public var description: String {
        let values = settings.map { "\($0.key): \($0.value ?? "<secret>")" }
        let width = min(values.map(\.count).max() ?? 0, 60)
        let lines = zip(values, settings).map { value, setting in
            value + String(repeating: " ", count: max(0, width - value.count)) + "  # \(setting.source)"
        }
        return (lines + warnings.map { "# warning: \($0)" }).joined(separator: "\n")
    }

    /// A setting whose value differs.
    public struct Change: Equatable, Sendable, CustomStringConvertible {
        /// The setting before the change.
        public let old: Setting
        /// The setting after the change.
        public let new: Setting

        /// The change as text: `port: 8884 → 9000`. Secrets are not shown.
        public var description: String {
            "\(old.key): \(old.value ?? "<secret>") → \(new.value ?? "<secret>")"
        }
    }

    /// Returns the settings whose values differ in `others`.
    public func changes(to others: EffectiveSettings) -> [Change] {
        zip(settings, others.settings).filter { $0.text != $1.text }.map { Change(old: $0, new: $1) }
    }
}
