// SPDX-License-Identifier: Apache-2.0

internal import LocalFiles
internal import Retry

/// A provider's list in use, and the state needed to get the next one.
struct ListSource: Sendable {
    let provider: RangeProvider
    let source: CloudRangeCatalog.Source
    var state: RangeSourceState
    var statistics: CloudRangeCatalog.SourceStatistics
    /// The list in use.
    private(set) var list: RangeList?
    /// The validators of the document that the list in use was read from.
    private(set) var validators: RangeCache.Validators?
    /// The version of the file that was read last, and its error, if any.
    var file: (version: LocalFile.Version, error: RangeListError?)?
    private var checksum: UInt64?

    init(
        _ provider: RangeProvider, _ source: CloudRangeCatalog.Source, _ configuration: CloudRangeCatalog.Configuration
    ) {
        self.provider = provider
        self.source = source
        statistics = CloudRangeCatalog.SourceStatistics(provider: provider)
        state =
            switch source {
            case .url:
                RangeSourceState(interval: configuration.refreshInterval, backoff: configuration.backoff)
            case .file:
                RangeSourceState(
                    interval: configuration.fileCheckInterval,
                    backoff: .rangeFile(checkedEvery: configuration.fileCheckInterval))
            }
    }

    /// Returns a source of the same provider's list at another origin; the list in use stays in use until the new
    /// origin yields one.
    func moved(to source: CloudRangeCatalog.Source, _ configuration: CloudRangeCatalog.Configuration) -> ListSource {
        var moved = ListSource(provider, source, configuration)
        moved.list = list
        moved.checksum = checksum
        moved.statistics.prefixes = statistics.prefixes
        moved.statistics.skipped = statistics.skipped
        moved.statistics.origin = statistics.origin
        moved.statistics.confirmed = statistics.confirmed
        return moved
    }

    /// Puts a fetched or cached document into use; returns whether it differs from the one in use, and throws if it is
    /// not a valid list.
    mutating func take(
        _ document: [UInt8], validators: RangeCache.Validators,
        from origin: CloudRangeCatalog.SourceStatistics.Origin, at time: Int
    ) throws(RangeListError) -> Bool {
        let isNew = try take(document)
        self.validators = validators
        confirm(origin, at: time)
        return isNew
    }

    /// Puts a file into use; returns whether its content differs from the one in use, and throws if it is not a valid
    /// list.
    mutating func take(_ file: LocalFile) throws(RangeListError) -> Bool {
        do throws(RangeListError) {
            let isNew = try take(file.bytes)
            self.file = (file.version, nil)
            confirm(.file, at: file.version.seconds)
            return isNew
        } catch {
            self.file = (file.version, error)
            throw error
        }
    }

    private mutating func take(_ document: [UInt8]) throws(RangeListError) -> Bool {
        let checksum = document.checksum
        guard checksum != self.checksum else { return false }
        let list = try RangeList(document, of: provider)
        self.list = list
        self.checksum = checksum
        statistics.prefixes = list.count
        statistics.skipped = list.skipped
        return true
    }

    /// Records that the list in use is the source's present one.
    mutating func confirm(_ origin: CloudRangeCatalog.SourceStatistics.Origin, at time: Int) {
        statistics.origin = origin
        statistics.confirmed = time
    }
}
