// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import Labeling
import Logging
import NIOPosix
import ServiceLifecycle

/// Keeps the labeler's ranges up to date, on a thread of its own.
struct CloudRangeService: Service, CustomStringConvertible {
    let description = "cloud ranges"
    let catalog: CloudRangeCatalog

    init(_ configuration: CloudRangeCatalog.Configuration, labeler: Labeler, site: Site, logger: Logger) {
        catalog = CloudRangeCatalog(configuration: configuration, logger: logger) { ranges in
            labeler.setRanges(ranges)
            Self.warn(of: site, among: ranges, logger)
        }
    }

    /// A region that its cloud does not have is a slip of the pen: every address of the cloud would be another region's.
    private static func warn(of site: Site, among ranges: [CloudRange], _ logger: Logger) {
        let regions = Set(ranges.lazy.map(\.place).filter { $0.cloud == site.cloud }.map(\.region))
        guard !regions.isEmpty, !regions.contains(site.region) else { return }
        logger.warning(
            "the configured region is none of its cloud's lists: traffic within it counts as INTER_REGION",
            metadata: [
                "cloud": "\(site.cloud)", "region": "\(site.region)",
                "known_regions": "\(regions.filter { !$0.isEmpty }.sorted().joined(separator: " "))",
            ])
    }

    func run() async throws {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        try await withGracefulShutdownHandler {
            try await pool.runIfActive { catalog.run() }
        } onGracefulShutdown: {
            catalog.stop()
        }
        try await pool.shutdownGracefully()
    }
}
