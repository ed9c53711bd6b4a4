// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import Labeling
import Logging
import ServiceLifecycle
import Threads

/// Keeps the labeler's ranges up to date, on a thread of its own.
final class CloudRangeService: Service, CustomStringConvertible {
    let description = "cloud ranges"
    let catalog: CloudRangeCatalog

    /// The longest time that agents wait for the first attempts at all lists.
    private static let firstAttempts = Duration.seconds(15)

    private let site: Site
    private let logger: Logger

    /// Loads the lists that are available without the network.
    init(_ configuration: CloudRangeCatalog.Configuration, labeler: Labeler, site: Site, logger: Logger) {
        self.site = site
        self.logger = logger
        catalog = CloudRangeCatalog(configuration: configuration, logger: logger) { labeler.setRanges($0) }
        catalog.loadFromDisk()
    }

    /// Replaces the lists and named ranges in use.
    func apply(_ configuration: CloudRangeCatalog.Configuration) {
        catalog.apply(sources: configuration.sources, namedRanges: configuration.namedRanges)
    }

    /// Waits until every list has been loaded or has failed once, until the time limit, or until the daemon shuts down.
    func waitUntilTried() async {
        let deadline = ContinuousClock.now + Self.firstAttempts
        await cancelWhenGracefulShutdown {
            while !self.catalog.statistics.hasTriedAll, ContinuousClock.now < deadline, !Task.isCancelled {
                try? await Task.sleep(for: .milliseconds(50))
            }
        }
        warnOfUnknownRegion()
    }

    /// Warns of a region that none of its cloud's lists contain. It is most likely misspelled, and every address of the
    /// cloud would count as another region's.
    private func warnOfUnknownRegion() {
        let regions = catalog.regions(of: site.cloud)
        guard !regions.isEmpty, !regions.contains(site.region) else { return }
        logger.warning(
            "the configured region is not in its cloud's address lists, so traffic within it counts as INTER_REGION",
            metadata: [
                "cloud": "\(site.cloud)", "region": "\(site.region)",
                "known_regions": "\(regions.sorted().joined(separator: " "))",
            ])
    }

    func run() async throws {
        let thread = OwnedThread(name: "cloud-ranges")
        try await withTaskCancellationOrGracefulShutdownHandler {
            try await thread.run { self.catalog.run() }
        } onCancelOrGracefulShutdown: {
            self.catalog.stop()
        }
    }
}
