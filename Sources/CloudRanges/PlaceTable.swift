// SPDX-License-Identifier: Apache-2.0

internal import ClusterModel

/// The places of a list's prefixes, each once: a list has few places for many prefixes.
struct PlaceTable: Sendable {
    private(set) var places: [CloudPlace] = []
    private var numbers: [CloudPlace: Int32] = [:]

    /// Returns the place's number; adds a place that is not in the table yet.
    mutating func number(of place: CloudPlace) -> Int32 {
        if let number = numbers[place] { return number }
        let number = Int32(places.count)
        places.append(place)
        numbers[place] = number
        return number
    }
}

extension String {
    /// The text in the form of the columns: in lower case and without blanks.
    var asLabel: String { String(lowercased().filter { !$0.isWhitespace }) }
}
