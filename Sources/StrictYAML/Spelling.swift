// SPDX-License-Identifier: Apache-2.0

extension String {
    /// The candidate that is at most two edits away from this word, the nearest if there are several.
    package func nearest(among candidates: [String]) -> String? {
        candidates
            .map { (word: $0, distance: editDistance(to: $0)) }
            .filter { $0.distance <= 2 }
            .min { $0.distance < $1.distance }?
            .word
    }

    /// How many characters must be inserted, removed or replaced to turn one word into the other (Levenshtein).
    private func editDistance(to other: String) -> Int {
        let other = Array(other)
        var row = Array(0...other.count)
        for (index, character) in enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in other.indices {
                let replaced = diagonal + (character == other[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = Swift.min(replaced, diagonal + 1, row[column] + 1)
            }
        }
        return row[other.count]
    }
}
