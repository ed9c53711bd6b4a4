// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import CloudRanges

private let entry = RangeCache.Entry(
    validators: RangeCache.Validators(url: "https://example.org/a", entityTag: "\"1\"", lastModified: nil),
    fetched: 1_700_000_000, document: Array("{\n\"prefixes\": []}\n".utf8))

@Suite struct RangeCacheTests {
    @Test("a cached list is read back unchanged") func whatIsKeptComesBack() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let cache = RangeCache(directory: directory.path + "/made/when/missing")
        #expect(try cache.entry(of: .aws) == nil)
        try cache.keep(entry, of: .aws)
        #expect(try cache.entry(of: .aws) == entry)
        #expect(try cache.entry(of: .gcp) == nil)
        var other = entry
        other.document = Array("other".utf8)
        other.validators.lastModified = "Sat, 22 Aug 2026 15:17:05 GMT"
        try cache.keep(other, of: .aws)
        #expect(try cache.entry(of: .aws) == other)
        // No temporary file is left behind.
        #expect(try FileManager.default.contentsOfDirectory(atPath: cache.directory) == ["aws.ranges"])
    }

    @Test("a damaged cached list, or another provider's, is rejected") func aDamagedListIsNotUsed() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let cache = RangeCache(directory: directory.path)
        try cache.keep(entry, of: .aws)
        let good = try Data(contentsOf: URL(filePath: cache.path(of: .aws)))
        var flipped = good
        flipped[good.count - 3] ^= 1
        for bad in [Data(), good.prefix(10), good.dropLast(), good.dropFirst(), good + [0], flipped] {
            try bad.write(to: URL(filePath: cache.path(of: .aws)))
            #expect(throws: RangeCache.Failure.self) { try cache.entry(of: .aws) }
        }
        // A list of another provider is rejected.
        try good.write(to: URL(filePath: cache.path(of: .azure)))
        #expect(throws: RangeCache.Failure.self) { try cache.entry(of: .azure) }
        try FileManager.default.createDirectory(
            atPath: cache.path(of: .gcp), withIntermediateDirectories: false)
        #expect(throws: RangeCache.Failure.self) { try cache.entry(of: .gcp) }
    }

    @Test("a failure to cache a list has a reason and keeps the previous copy")
    func whatCannotBeKeptHasAReason() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try Data().write(to: URL(filePath: directory.path + "/file"))
        let failure = #expect(throws: RangeCache.Failure.self) {
            try RangeCache(directory: directory.path + "/file").keep(entry, of: .aws)
        }
        #expect(failure?.reason.isEmpty == false)
        // The cached list survives a failure to replace it.
        let cache = RangeCache(directory: directory.path)
        try cache.keep(entry, of: .aws)
        try FileManager.default.createDirectory(
            atPath: cache.path(of: .aws) + ".new", withIntermediateDirectories: false)
        #expect(throws: RangeCache.Failure.self) { try cache.keep(entry, of: .aws) }
        #expect(try cache.entry(of: .aws) == entry)
    }
}
