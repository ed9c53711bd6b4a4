// SPDX-License-Identifier: Apache-2.0

internal import FoundationEssentials
internal import LocalFiles

/// A directory with the last good lists, so that a server that starts without Internet access knows the clouds' ranges.
///
/// Each provider has a file: a JSON line that describes the document, then the document as received. The directory
/// belongs to one server.
struct RangeCache: Sendable {
    /// The HTTP validators of a cached document, sent to the server in conditional requests.
    struct Validators: Equatable, Sendable {
        /// The URL of the document.
        var url: String
        /// The response's `ETag` field.
        var entityTag: String?
        /// The response's `Last-Modified` field.
        var lastModified: String?
    }

    /// A cached document.
    struct Entry: Equatable, Sendable {
        var validators: Validators
        /// The time of the fetch, in seconds since 1970-01-01 (UTC).
        var fetched: Int
        var document: [UInt8]
    }

    /// The reason that a list cannot be read from the cache or written to it.
    struct Failure: Error, Equatable, CustomStringConvertible {
        let path: String
        let reason: String

        var description: String { "\(path): \(reason)" }
    }

    private struct Header: Codable {
        var version = 1
        var provider: String
        var url: String
        var entityTag: String?
        var lastModified: String?
        var fetched: Int
        var bytes: Int
        var checksum: UInt64
    }

    let directory: String

    private static let maximumBytes = 128 << 20

    /// Returns the path of a provider's cached list.
    func path(of provider: RangeProvider) -> String { "\(directory)/\(provider.rawValue).ranges" }

    /// Returns the last good list; nil if there is none yet.
    func entry(of provider: RangeProvider) throws(Failure) -> Entry? {
        let path = path(of: provider)
        let bytes: [UInt8]
        do throws(LocalFile.Failure) {
            bytes = try LocalFile.read(path, maximumBytes: Self.maximumBytes)?.bytes ?? []
        } catch {
            guard !error.isMissing else { return nil }
            throw Failure(path: path, reason: error.reason)
        }
        guard let lineEnd = bytes.firstIndex(of: UInt8(ascii: "\n")),
            let header = try? JSONDecoder().decode(Header.self, from: Data(bytes[..<lineEnd])), header.version == 1,
            header.provider == provider.rawValue
        else { throw Failure(path: path, reason: "it does not begin with the header of a cached list") }
        let document = Array(bytes[(lineEnd + 1)...])
        guard document.count == header.bytes, document.checksum == header.checksum else {
            throw Failure(
                path: path, reason: "it is damaged: \(document.count) of \(header.bytes) bytes, or a wrong checksum")
        }
        return Entry(
            validators: Validators(
                url: header.url, entityTag: header.entityTag, lastModified: header.lastModified),
            fetched: header.fetched, document: document)
    }

    /// Replaces the cached list, and creates the directory if it is missing.
    func keep(_ entry: Entry, of provider: RangeProvider) throws(Failure) {
        let path = path(of: provider)
        let header = Header(
            provider: provider.rawValue, url: entry.validators.url, entityTag: entry.validators.entityTag,
            lastModified: entry.validators.lastModified, fetched: entry.fetched, bytes: entry.document.count,
            checksum: entry.document.checksum)
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try LocalFile.replace(
                path, with: [Array(JSONEncoder().encode(header)) + [UInt8(ascii: "\n")], entry.document])
        } catch let error as LocalFile.Failure {
            throw Failure(path: path, reason: error.reason)
        } catch {
            throw Failure(path: directory, reason: "cannot create the directory: \(error)")
        }
    }
}

extension [UInt8] {
    /// The 64-bit FNV-1a hash (RFC 9923): it detects damage, not tampering.
    var checksum: UInt64 {
        withUnsafeBufferPointer { bytes in
            var hash: UInt64 = 0xcbf2_9ce4_8422_2325
            for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            return hash
        }
    }
}
