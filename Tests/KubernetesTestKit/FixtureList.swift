// SPDX-License-Identifier: Apache-2.0

/// Writes the body of a list in parts, so that a list of 100,000 objects is never in memory in one piece.
enum FixtureList {
    static func chunks(
        _ page: FixtureCluster.Page, _ encoding: FixtureCluster.Encoding
    ) -> some IteratorProtocol<[UInt8]> {
        var metadata = ProtobufWriter()
        metadata.append(1) { writer in
            writer.append(2, page.metadata.resourceVersion)
            writer.append(3, page.metadata.continueToken ?? "")
            if let count = page.metadata.remainingItemCount { writer.append(4, count) }
        }
        let length = metadata.bytes.count + page.messages.reduce(0) { $0 + prefix(2, $1.count).count + $1.count }
        var type = ProtobufWriter()
        type.append(1) { writer in
            writer.append(1, encoding.kind.apiVersion)
            writer.append(2, "\(encoding.kind.name)List")
        }
        let head = Array("k8s\0".utf8) + type.bytes + prefix(2, length) + metadata.bytes
        var rest = page.messages[...]
        var isHeadOut = false
        return AnyIterator {
            guard isHeadOut else {
                isHeadOut = true
                return head
            }
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(64) }
            return rest.prefix(64).reduce(into: []) { $0 += prefix(2, $1.count) + $1 }
        }
    }

    /// Returns the header of a field with this many bytes.
    private static func prefix(_ field: UInt8, _ length: Int) -> [UInt8] {
        var bytes = [field << 3 | 2]
        var rest = length
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }
}
