// SPDX-License-Identifier: Apache-2.0

package import ClusterModel
internal import FlowModel
internal import FoundationEssentials

/// A provider's list as it was read: every prefix once.
package struct RangeList: Sendable {
    /// Whose list it is.
    package let provider: RangeProvider
    /// Entries that could not be read and were left out.
    package let skipped: Int
    /// The names of arrays that are not in the document, whose prefixes are unknown.
    package let missing: [String]
    let places: [CloudPlace]
    /// Sorted; the labels are indexes of `places`.
    let prefixes: [ListedPrefix]

    /// Reads a document in the provider's own format.
    ///
    /// An entry that cannot be read is left out and counted, an array that is missing is named. What is not such a list at all, or an empty one, is an
    /// error: nobody's addresses are not an answer.
    package init(_ json: [UInt8], of provider: RangeProvider) throws(RangeListError) {
        let contents: Contents =
            switch provider {
            case .aws: try Self.aws(json)
            case .gcp: try Self.googleCloud(json)
            case .azure: try Self.azure(json)
            case .google: try Self.google(json)
            }
        guard contents.skipped <= contents.prefixes.count else {
            throw .mostlyUnreadable(skipped: contents.skipped, read: contents.prefixes.count)
        }
        guard !contents.prefixes.isEmpty else { throw .noPrefixes }
        self.provider = provider
        skipped = contents.skipped
        missing = contents.missing
        places = contents.places
        prefixes = contents.prefixes
    }

    /// How many different prefixes there are.
    package var count: Int { prefixes.count }

    /// The prefixes with their places.
    package var ranges: [CloudRange] {
        prefixes.map { CloudRange(prefix: $0.prefix, place: places[Int($0.label)]) }
    }

    /// The regions that the list names, `global` left out.
    package var regions: Set<String> {
        Set(places.map(\.region)).subtracting(["", CloudPlace.globalRegion])
    }
}

extension RangeList {
    /// What a provider's document comes down to.
    struct Contents {
        var places: [CloudPlace]
        /// Sorted, each prefix once; the labels are indexes of `places`.
        var prefixes: [ListedPrefix]
        var skipped: Int
        var missing: [String] = []
    }

    /// Decodes a document whose shape `expected` tells in words.
    static func decode<Document: Decodable>(
        _ type: Document.Type, _ json: [UInt8], expected: String
    ) throws(RangeListError) -> Document {
        // Mirrors send it unasked, with or without a Content-Encoding.
        let json = Gzip.isBeginning(of: json) ? try Gzip.unpack(json) : json
        do {
            return try json.withUnsafeBytes { bytes in
                guard let start = bytes.baseAddress else { throw RangeListError.notJSON(detail: "it is empty") }
                let data = Data(
                    bytesNoCopy: UnsafeMutableRawPointer(mutating: start), count: bytes.count, deallocator: .none)
                return try JSONDecoder().decode(type, from: data)
            }
        } catch let error as RangeListError {
            throw error
        } catch let error as DecodingError {
            throw RangeListError(error, expected: expected)
        } catch {
            throw .notJSON(detail: "\(error)")
        }
    }
}

extension RangeListError {
    init(_ error: DecodingError, expected: String) {
        self =
            switch error {
            case .dataCorrupted(let context):
                .notJSON(detail: context.underlyingError.map { "\($0)" } ?? context.debugDescription)
            case .keyNotFound(_, let context), .typeMismatch(_, let context), .valueNotFound(_, let context):
                .notTheList(expected: expected, detail: context.debugDescription)
            @unknown default: .notTheList(expected: expected, detail: "\(error)")
            }
    }
}
