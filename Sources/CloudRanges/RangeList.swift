// SPDX-License-Identifier: Apache-2.0

package import ClusterModel
internal import FlowModel
internal import FoundationEssentials

/// A provider's list after reading: every prefix once.
package struct RangeList: Sendable {
    /// The list's provider.
    package let provider: RangeProvider
    /// Entries that could not be read and were left out.
    package let skipped: Int
    /// The names of arrays missing from the document, whose prefixes are unknown.
    package let missing: [String]
    let places: [CloudPlace]
    /// The prefixes, sorted; the labels are indexes of `places`.
    let prefixes: [ListedPrefix]

    /// Reads a document in the provider's own format.
    ///
    /// Unreadable entries are left out and counted, missing arrays are named. A document that is not such a list at
    /// all, or an empty list, is an error: it must not replace a good list.
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

    /// The number of distinct prefixes.
    package var count: Int { prefixes.count }

    /// The prefixes with their places.
    package var ranges: [CloudRange] {
        prefixes.map { CloudRange(prefix: $0.prefix, place: places[Int($0.label)]) }
    }

    /// The regions in the list, without `global`.
    package var regions: Set<String> {
        Set(places.map(\.region)).subtracting(["", CloudPlace.globalRegion])
    }
}

extension RangeList {
    /// The content of a provider's document.
    struct Contents {
        var places: [CloudPlace]
        /// The prefixes, sorted, each once; the labels are indexes of `places`.
        var prefixes: [ListedPrefix]
        var skipped: Int
        var missing: [String] = []
    }

    /// Decodes a document; `expected` describes its shape for the error.
    static func decode<Document: Decodable>(
        _ type: Document.Type, _ json: [UInt8], expected: String
    ) throws(RangeListError) -> Document {
        // Mirrors send gzip unasked, with or without a Content-Encoding.
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
