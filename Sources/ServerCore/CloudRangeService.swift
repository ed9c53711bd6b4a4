// SPDX-License-Identifier: Apache-2.0

package import CloudRanges
package import Labeling
package import Logging
import ServiceLifecycle
import Threads

/// Keeps the labeler's ranges up to date, on a thread of its own.
package final class CloudRangeService: Service, CustomStringConvertible {
    package let description = "cloud ranges"
    package let catalog: CloudRangeCatalog

    private let site: Site
    private let logger: Logger
    /// Notified after each attempt to load a list.
    private let attempts: ChangeNotifier

    /// Loads the lists that are available without the network.
    package init(_ configuration: CloudRangeCatalog.Configuration, labeler: Labeler, site: Site, logger: Logger) {
        self.site = site
        self.logger = logger
        let attempts = ChangeNotifier()
        self.attempts = attempts
        catalog = CloudRangeCatalog(
            configuration: configuration, logger: logger, onAttempt: { attempts.notify() },
            onChange: { labeler.setRanges($0) })
        catalog.loadFromDisk()
    }

    /// Replaces the lists and named ranges in use.
    func apply(_ configuration: CloudRangeCatalog.Configuration) {
        catalog.apply(sources: configuration.sources, namedRanges: configuration.namedRanges)
    }

    /// Waits until every list has been loaded or has failed once, until the time limit, or until the daemon shuts down.
    ///
    /// - Parameter limit: The longest time that agents wait for the lists.
    package func waitUntilTried(atMost limit: Duration = .seconds(15)) async {
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await self.attempts.wait { self.catalog.statistics.hasTriedAll } }
                group.addTask { try? await Task.sleep(for: limit) }
                await group.next()
                group.cancelAll()
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
            "region is in none of its cloud's address lists, so traffic within it is INTER_REGION: correct the setting",
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
