// SPDX-License-Identifier: Apache-2.0

internal import FlowModel

/// An entry of an array; if it is unreadable, the other entries are still decoded.
struct LenientEntry<Value: Decodable>: Decodable {
    /// The decoded entry; nil if it is unreadable.
    let value: Value?

    init(from decoder: any Decoder) {
        value = try? Value(from: decoder)
    }
}

/// A prefix in its text form.
struct PrefixText: Decodable {
    let prefix: IPPrefix

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let prefix = IPPrefix(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a prefix: \(text)")
        }
        self.prefix = prefix
    }
}
