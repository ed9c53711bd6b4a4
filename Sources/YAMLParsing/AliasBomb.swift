// SPDX-License-Identifier: Apache-2.0

extension String {
    /// Whether Yams might take forever to parse this text.
    ///
    /// Yams shares an anchored value among its aliases, but compares keys with all that stands below them, and a few
    /// dozen aliases of aliases in a key stand for billions of values. This is a guess before the text is parsed: it
    /// takes what looks like an alias in a comment for one, but lets a number of them pass, since few do no harm.
    var mayHoldAliasBomb: Bool {
        names(after: "&", areAtLeast: 1) && names(after: "*", areAtLeast: 32)
    }

    private func names(after indicator: Unicode.Scalar, areAtLeast minimum: Int) -> Bool {
        let indicator = UInt8(ascii: indicator)
        var count = 0
        var bytes = utf8[...]
        while count < minimum, let index = bytes.firstIndex(of: indicator) {
            let before = bytes[..<index].last
            bytes = bytes[utf8.index(after: index)...]
            if before?.belongsToName != true, bytes.first?.belongsToName == true { count += 1 }
        }
        return count >= minimum
    }
}

extension UInt8 {
    /// Whether libyaml takes the character for a part of an anchor's name.
    fileprivate var belongsToName: Bool {
        switch Unicode.Scalar(self) {
        case "0"..."9", "A"..."Z", "a"..."z", "_", "-": true
        default: false
        }
    }
}
