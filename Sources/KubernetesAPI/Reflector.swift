// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
import Dispatch
import HTTPClient
public import Logging
import Synchronization

/// Keeps a store in step with a resource of the cluster, on a thread of its own: lists its objects, watches how they
/// change, and begins anew when the one or the other breaks.
public final class Reflector<Object: Sendable>: Sendable {
    /// How a resource is listed and watched. The defaults are right for real clusters.
    public struct Configuration: Sendable {
        /// Whether streaming lists (Kubernetes 1.32 and later) are tried before others.
        package var streamsLists = true
        /// The most objects of a page, where pages are asked for.
        package var pageSize = 500
        /// How many seconds a watch lasts, drawn anew for each.
        package var watchSeconds = 300...600
        /// The upper bound of the first wait after a failure; it doubles with every other.
        package var initialBackoff = Duration.milliseconds(800)
        /// The upper bound of every wait after a failure.
        package var maximumBackoff = Duration.seconds(30)
        /// The longest wait after a request that stays forbidden; the shortest is half of it.
        package var forbiddenDelay = Duration.seconds(30)
        /// How often the server sends a bookmark: a watch that tells nothing for two to three of these is given up.
        package var bookmarkInterval = Duration.seconds(60)
        /// How long nothing may come of a list that has begun, be it a page or a streaming list.
        package var listSilence = Duration.seconds(30)

        /// Makes a configuration with the defaults.
        public init() {}
    }

    private let resource: KubernetesResource<Object>
    private let cluster: ClusterConfiguration
    private let store: any ObjectStore<Object>
    private let configuration: Configuration
    private let logger: Logger
    private let statisticsBox = ReflectorStatisticsBox()
    private let cancellation = HTTPCancellation()
    private let stopped = DispatchSemaphore(value: 0)

    /// Makes a reflector that does nothing yet.
    ///
    /// - Parameters:
    ///   - resource: What is listed and watched.
    ///   - cluster: How to reach the API server.
    ///   - store: What is kept in step.
    ///   - configuration: How that is done.
    ///   - logger: For the first whole set, and for failures and recoveries. It is never told a token.
    public init(
        _ resource: KubernetesResource<Object>, of cluster: ClusterConfiguration, store: any ObjectStore<Object>,
        configuration: Configuration = Configuration(), logger: Logger
    ) {
        self.resource = resource
        self.cluster = cluster
        self.store = store
        self.configuration = configuration
        self.logger = logger
    }

    /// The resource's name, such as `pods`.
    public var name: String { resource.name }

    /// What has become of the lists and watches so far. Callable from any thread.
    public var statistics: ReflectorStatistics { statisticsBox.value }

    /// Does the work on a thread of its own until ``stop()``.
    ///
    /// - Parameter onEnd: Called when the work has ended, and the store is left alone.
    public func start(onEnd: @escaping @Sendable () -> Void = {}) {
        DispatchQueue(label: "watch-\(resource.name)").async {
            self.run()
            onEnd()
        }
    }

    /// Does the work on this thread until ``stop()``. It can be called once.
    package func run() {
        ReflectorWorker(
            resource, KubernetesClient(cluster), store, configuration, logger, statisticsBox, cancellation, wait: wait
        ).run()
    }

    /// Ends the work for good, whatever it waits for. Callable from any thread; the thread that works ends soon after.
    public func stop() {
        cancellation.cancel()
        stopped.signal()
    }

    private func wait(_ duration: Duration) { _ = stopped.wait(timeout: .now() + duration / .seconds(1)) }
}

/// The statistics between the thread that works and those who ask.
final class ReflectorStatisticsBox: Sendable {
    private let statistics = Mutex(ReflectorStatistics())

    var value: ReflectorStatistics { statistics.withLock { $0 } }

    func update(_ body: (inout ReflectorStatistics) -> Void) { statistics.withLock { body(&$0) } }
}
