// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
internal import Dispatch
internal import FlowModel
internal import HTTPClient
internal import LocalFiles
public import Logging
internal import Retry
internal import Synchronization

/// Keeps the providers' lists up to date and reports changes.
///
/// When a list cannot be loaded, the last good one stays in use: first that of this process, then the cached one. The
/// failure is reported and the list retried; other lists are unaffected.
public final class CloudRangeCatalog: Sendable {
    private struct Published {
        var statistics = Statistics()
        var regions: [String: Set<String>] = [:]
    }

    /// The settings that ``apply(sources:namedRanges:)`` can change.
    private struct Choice: Equatable {
        var sources: [RangeProvider: Source]
        var namedRanges: [CloudRange]
    }

    private let configuration: Configuration
    private let choice: Mutex<Choice>
    private let logger: Logger
    private let onAttempt: @Sendable () -> Void
    private let onChange: @Sendable ([CloudRange]) -> Void
    private let cache: RangeCache?
    /// The sources after ``loadFromDisk()``, until ``run()`` takes them.
    private let loaded = Mutex<[ListSource]?>(nil)
    private let published: Mutex<Published>
    private let cancellation = HTTPCancellation()
    /// Wakes ``run()`` before its next scheduled attempt.
    private let woken = DispatchSemaphore(value: 0)

    /// Makes a catalog, which is idle until ``loadFromDisk()`` or ``run()``.
    ///
    /// - Parameters:
    ///   - configuration: The lists in use and how they are kept up to date.
    ///   - logger: Receives changes of a source's state.
    ///   - onAttempt: Called after each attempt to load a list, once ``statistics`` include it; on the thread of
    ///     ``run()`` or ``loadFromDisk()``.
    ///   - onChange: Called with all ranges, each prefix once, after they have changed; on the thread of ``run()`` or
    ///     ``loadFromDisk()``.
    public init(
        configuration: Configuration, logger: Logger, onAttempt: @escaping @Sendable () -> Void = {},
        onChange: @escaping @Sendable ([CloudRange]) -> Void
    ) {
        self.configuration = configuration
        choice = Mutex(Choice(sources: configuration.sources, namedRanges: configuration.namedRanges))
        self.logger = logger
        self.onAttempt = onAttempt
        self.onChange = onChange
        cache = configuration.cacheDirectory.map { RangeCache(directory: $0) }
        var published = Published()
        published.statistics.sources = RangeProvider.allCases.filter { configuration.sources[$0] != nil }
            .map(SourceStatistics.init)
        self.published = Mutex(published)
    }

    /// The present statistics of the lists.
    public var statistics: Statistics {
        var statistics = published.withLock { $0.statistics }
        let now = Self.now
        for index in statistics.sources.indices {
            statistics.sources[index].age = statistics.sources[index].confirmed.map {
                max(0, now.clampedSubtracting($0))
            }
        }
        return statistics
    }

    /// Returns the regions in a cloud's lists, without `global`. The result is empty while no list of that cloud is
    /// loaded, so an empty result does not mean that a region is invalid.
    public func regions(of cloud: String) -> Set<String> {
        published.withLock { $0.regions[cloud] ?? [] }
    }

    /// Loads everything that needs no network: the user's own ranges, files and cached lists. Call it at most once,
    /// before ``run()``, which otherwise does it itself.
    public func loadFromDisk() {
        loaded.withLock { loaded in
            guard loaded == nil else { return }
            var sources = RangeProvider.allCases.compactMap { provider in
                configuration.sources[provider].map { ListSource(provider, $0, configuration) }
            }
            for index in sources.indices { load(&sources[index]) }
            let named = configuration.namedRanges
            publish(sources, named, areChanged: sources.contains { $0.list != nil } || !named.isEmpty)
            loaded = sources
        }
    }

    /// Fetches the lists and keeps them up to date until ``stop()``. It blocks its thread; call it once.
    public func run() {
        loadFromDisk()
        var sources = loaded.withLock { loaded in
            defer { loaded = [] }
            return loaded ?? []
        }
        let fetcher = RangeFetcher(configuration, cancellation: cancellation)
        var current = Choice(sources: configuration.sources, namedRanges: configuration.namedRanges)
        while !cancellation.isCancelled {
            let wanted = choice.withLock { $0 }
            if wanted != current {
                sources = changed(sources, to: wanted.sources)
                publish(sources, wanted.namedRanges, areChanged: true)
                current = wanted
            }
            for index in sources.indices where sources[index].state.isDue(at: .now) && !cancellation.isCancelled {
                let isChanged = update(&sources[index], fetcher)
                publish(sources, current.namedRanges, areChanged: isChanged)
            }
            let now = ContinuousClock.now
            guard let next = sources.compactMap({ $0.state.nextAttempt(now: now) }).min() else {
                woken.wait()
                continue
            }
            _ = woken.wait(timeout: .now() + .milliseconds(max(0, (next - now).milliseconds) + 1))
        }
    }

    /// Ends ``run()`` at once, including a fetch in flight. Callable from any thread.
    public func stop() {
        cancellation.cancel()
        woken.signal()
    }

    /// Changes the lists in use, their origins and the user's own ranges. ``run()`` applies the change as soon as it
    /// can; a list whose origin changes stays in use until it has been loaded from the new origin. Callable from any
    /// thread.
    public func apply(sources: [RangeProvider: Source], namedRanges: [CloudRange]) {
        choice.withLock { $0 = Choice(sources: sources, namedRanges: namedRanges) }
        woken.signal()
    }

    private func changed(_ sources: [ListSource], to wanted: [RangeProvider: Source]) -> [ListSource] {
        RangeProvider.allCases.compactMap { provider in
            guard let place = wanted[provider] else { return nil }
            let known = sources.first { $0.provider == provider }
            if let known, known.source == place { return known }
            var source = known?.moved(to: place, configuration) ?? ListSource(provider, place, configuration)
            if source.list == nil { load(&source) }
            return source
        }
    }

    private static var now: Int { Int(WallClock.seconds()) }

    private func publish(_ sources: [ListSource], _ named: [CloudRange], areChanged: Bool) {
        let lists = sources.compactMap(\.list)
        let merged = areChanged ? MergedRanges(lists, named: named) : nil
        published.withLock { published in
            published.statistics.sources = sources.map(\.statistics)
            guard let merged else { return }
            published.statistics.prefixes = merged.ranges.count
            published.statistics.contested = merged.contested
            published.statistics.changes += 1
            published.regions = Dictionary(
                lists.map { ($0.provider.cloud, $0.regions) }, uniquingKeysWith: { $0.union($1) })
        }
        if let merged { onChange(merged.ranges) }
        onAttempt()
    }
}

extension CloudRangeCatalog {
    /// Loads a source's list if that needs no network.
    private func load(_ source: inout ListSource) {
        switch source.source {
        case .file(let path): _ = attempt(&source) { source throws(RangeSourceError) in try read(path, for: &source) }
        case .url: loadCache(&source)
        }
    }

    /// Fetches or reads a source's list; returns whether its ranges have changed.
    private func update(_ source: inout ListSource, _ fetcher: borrowing RangeFetcher) -> Bool {
        switch source.source {
        case .file(let path):
            attempt(&source) { source throws(RangeSourceError) in try read(path, for: &source) }
        case .url(let url):
            attempt(&source) { source throws(RangeSourceError) in try fetch(url, fetcher, for: &source) }
        }
    }

    private func attempt(
        _ source: inout ListSource, _ body: (inout ListSource) throws(RangeSourceError) -> Bool
    ) -> Bool {
        var generator = SystemRandomNumberGenerator()
        source.state.begin()
        do throws(RangeSourceError) {
            let isChanged = try body(&source)
            source.statistics.lastError = nil
            source.statistics.successes += 1
            if source.state.succeed(at: .now, using: &generator) == .works {
                logger.info("address list loaded", metadata: metadata(of: source))
            }
            return isChanged
        } catch {
            guard !cancellation.isCancelled else { return false }
            source.statistics.failures += 1
            source.statistics.lastError = "\(error)"
            if source.state.fail(at: .now, retryAfter: error.retryAfter, using: &generator) == .fails {
                logger.warning(
                    source.list == nil
                        ? "cannot load an address list; its addresses have no labels until a retry succeeds"
                        : "cannot refresh an address list; the last good one stays in use",
                    metadata: metadata(of: source))
            }
            return false
        }
    }

    private func fetch(
        _ url: String, _ fetcher: borrowing RangeFetcher, for source: inout ListSource
    ) throws(RangeSourceError) -> Bool {
        source.statistics.fetches += 1
        let today = Self.now / 86_400
        var isChanged = false
        let outcome = try fetcher.fetch(url, known: source.validators, today: today) {
            document, validators throws(RangeListError) in
            isChanged = try source.take(document, validators: validators, from: .url, at: Self.now)
        }
        switch outcome {
        case .notModified:
            source.statistics.notModified += 1
            source.confirm(.url, at: Self.now)
            confirmCache(of: source)
            return false
        case .taken(let document, let validators):
            keep(RangeCache.Entry(validators: validators, fetched: Self.now, document: document), of: source)
            return isChanged
        }
    }

    private func read(_ path: String, for source: inout ListSource) throws(RangeSourceError) -> Bool {
        let file: LocalFile?
        do throws(LocalFile.Failure) {
            file = try LocalFile.read(path, unless: source.file?.version, maximumBytes: configuration.maximumBytes)
        } catch {
            source.file = nil
            throw .file(path: path, reason: error.reason)
        }
        do throws(RangeListError) {
            if let file {
                source.statistics.fetches += 1
                return try source.take(file)
            }
            if let error = source.file?.error { throw error }
            return false
        } catch {
            throw .list(error)
        }
    }

    private func loadCache(_ source: inout ListSource) {
        guard let cache else { return }
        do {
            guard let entry = try cache.entry(of: source.provider) else { return }
            _ = try source.take(entry.document, validators: entry.validators, from: .cache, at: entry.fetched)
            logger.info("cached address list in use until its source answers", metadata: metadata(of: source))
        } catch {
            logger.warning(
                "cached address list ignored",
                metadata: ["list": "\(source.provider.rawValue)", "reason": "\(error)"])
        }
    }

    /// Writes a list to the cache; a failure is only logged, because the list is in use already.
    private func keep(_ entry: RangeCache.Entry, of source: ListSource) {
        guard let cache else { return }
        do throws(RangeCache.Failure) {
            try cache.keep(entry, of: source.provider)
        } catch {
            logger.warning(
                "cannot write an address list to the cache",
                metadata: ["list": "\(source.provider.rawValue)", "reason": "\(error)"])
        }
    }

    /// Renews the timestamp of the cached list, so that its age after a restart counts from its last confirmation.
    private func confirmCache(of source: ListSource) {
        guard let cache, var entry = try? cache.entry(of: source.provider), entry.validators == source.validators
        else { return }
        entry.fetched = Self.now
        keep(entry, of: source)
    }

    private func metadata(of source: ListSource) -> Logger.Metadata {
        let statistics = source.statistics
        var metadata: Logger.Metadata = [
            "list": "\(source.provider.rawValue)", "origin": "\(statistics.origin.rawValue)",
            "prefixes": "\(statistics.prefixes)",
        ]
        if statistics.skipped > 0 { metadata["skipped"] = "\(statistics.skipped)" }
        if let missing = source.list?.missing, !missing.isEmpty {
            metadata["missing"] = "\(missing.joined(separator: ", "))"
        }
        if let error = statistics.lastError { metadata["error"] = "\(error)" }
        return metadata
    }
}

extension RangeSourceError {
    /// The wait that the server asked for (`Retry-After`).
    fileprivate var retryAfter: Duration? {
        guard case .status(_, let retryAfter) = self else { return nil }
        return retryAfter
    }
}
