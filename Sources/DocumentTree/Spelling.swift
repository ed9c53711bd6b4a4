// SPDX-License-Identifier: Apache-2.0

extension String {
    /// Returns the candidate nearest to this word, at most two edits away; nil if there is none.
    package func nearest(among candidates: [String]) -> String? {
        candidates
            .map { (word: $0, distance: editDistance(to: $0)) }
            .filter { $0.distance <= 2 }
            .min { $0.distance < $1.distance }?
            .word
    }

    /// Returns the Levenshtein distance: the number of characters that must be inserted, removed or replaced to turn
    /// one word into the other.
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
