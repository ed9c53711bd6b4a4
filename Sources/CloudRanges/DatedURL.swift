// SPDX-License-Identifier: Apache-2.0

/// A URL that contains the day of publication and has no permanent link leading to it, such as that of Azure's list.
/// The newest list is found by requesting one day after the other.
struct DatedURL: Equatable, Sendable {
    /// The placeholder for the day.
    static let placeholder = "YYYYMMDD"
    /// The age of the oldest list that is searched for, in days.
    static let maximumAgeDays = 30

    private let beforeDay: String
    private let afterDay: String

    /// Returns nil for a URL without the placeholder.
    init?(_ url: String) {
        let parts = url.split(separator: Self.placeholder, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        beforeDay = String(parts[0])
        afterDay = String(parts[1])
    }

    /// Returns the URLs to request in turn, newest first; `today` is in days since 1970-01-01 (UTC).
    func candidates(today: Int) -> [String] {
        (0...Self.maximumAgeDays).map { beforeDay + Self.text(ofDay: today - $0) + afterDay }
    }

    /// Formats a day as `20250127`, by the Gregorian calendar of Howard Hinnant's "chrono-Compatible Low-Level Date
    /// Algorithms".
    private static func text(ofDay day: Int) -> String {
        // Years begin in March here, so that the leap day is their last day.
        let shifted = day + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let dayOfMonth = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return String(year * 10_000 + month * 100 + dayOfMonth)
    }
}
