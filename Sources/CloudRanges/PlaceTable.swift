// SPDX-License-Identifier: Apache-2.0

internal import ClusterModel

/// The few places that the many prefixes of a list are in, each once.
struct PlaceTable: Sendable {
    private(set) var places: [CloudPlace] = []
    private var numbers: [CloudPlace: Int32] = [:]

    /// The place's number, a new one for a new place.
    mutating func number(of place: CloudPlace) -> Int32 {
        if let number = numbers[place] { return number }
        let number = Int32(places.count)
        places.append(place)
        numbers[place] = number
        return number
    }
}

extension String {
    /// As the columns have it: in lower case and without blanks.
    var asLabel: String { String(lowercased().filter { !$0.isWhitespace }) }
}
