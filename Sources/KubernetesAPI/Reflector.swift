// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
import Dispatch
import HTTPClient
public import Logging
package import Retry
import Synchronization
import Threads

/// Keeps a store in sync with a resource of the cluster, on its own thread: lists the objects, watches their changes,
/// and starts over when either fails.
public final class Reflector<Object: Sendable>: Sendable {
    /// The settings of lists and watches. The defaults suit real clusters.
    public struct Configuration: Sendable {
        /// Whether streaming lists (Kubernetes 1.32 and later) are tried first.
        package var streamsLists = true
        /// The maximum number of objects in a page of a list.
        package var pageSize = 500
        /// The duration of a watch in seconds, drawn at random for each.
        package var watchSeconds = 300...600
        /// The waits after failures.
        package var backoff = Backoff.watch
        /// The longest wait after a request that stays forbidden; the shortest is half as long.
        package var forbiddenDelay = Duration.seconds(30)
        /// The interval of the server's bookmarks: a watch that is silent for two to three intervals is given up.
        package var bookmarkInterval = Duration.seconds(60)
        /// The longest silence within a list that has begun, be it a page or a streaming list.
        package var listSilence = Duration.seconds(30)

        /// Makes a configuration with the defaults.
        public init() {}
    }

    private let resource: KubernetesResource<Object>
    private let cluster: ClusterConfiguration
    private let store: any ObjectStore<Object>
    private let configuration: Configuration
    private let logger: Logger
    private let statisticsBox: ReflectorStatisticsBox
    private let cancellation = HTTPCancellation()
    private let stopped = DispatchSemaphore(value: 0)

    /// Makes a reflector that is idle until it is started.
    ///
    /// - Parameters:
    ///   - resource: The resource to list and watch.
    ///   - cluster: The address of the API server, and the credentials for it.
    ///   - store: The store to keep in sync.
    ///   - configuration: The settings of lists and watches.
    ///   - logger: Receives the first complete set, failures and recoveries, but never a token.
    ///   - onChange: Called after each change of ``statistics``, on the reflector's thread.
    public init(
        _ resource: KubernetesResource<Object>, of cluster: ClusterConfiguration, store: any ObjectStore<Object>,
        configuration: Configuration = Configuration(), logger: Logger, onChange: @escaping @Sendable () -> Void = {}
    ) {
        self.resource = resource
        self.cluster = cluster
        self.store = store
        self.configuration = configuration
        self.logger = logger
        statisticsBox = ReflectorStatisticsBox(onChange: onChange)
    }

    /// The resource's name, such as `pods`.
    public var name: String { resource.name }

    /// The statistics of the lists and watches so far. Callable from any thread.
    public var statistics: ReflectorStatistics { statisticsBox.value }

    /// Runs on its own thread until ``stop()``.
    ///
    /// - Parameter onEnd: Called after the end, when the store is no longer used.
    public func start(onEnd: @escaping @Sendable () -> Void = {}) {
        OwnedThread.start(name: "watch-\(resource.name)") {
            self.run()
            onEnd()
        }
    }

    /// Runs on this thread until ``stop()``. Call it once.
    package func run() {
        ReflectorWorker(
            resource, KubernetesClient(cluster), store, configuration, logger, statisticsBox, cancellation, wait: wait
        ).run()
    }

    /// Stops the reflector for good, whatever it waits for. Callable from any thread; the reflector's thread ends soon
    /// after.
    public func stop() {
        cancellation.cancel()
        stopped.signal()
    }

    private func wait(_ duration: Duration) { _ = stopped.wait(timeout: .now() + duration / .seconds(1)) }
}

/// The statistics, shared between the reflector's thread and their readers.
final class ReflectorStatisticsBox: Sendable {
    private let statistics = Mutex(ReflectorStatistics())
    private let onChange: @Sendable () -> Void

    /// - Parameter onChange: Called after each update.
    init(onChange: @escaping @Sendable () -> Void = {}) { self.onChange = onChange }

    var value: ReflectorStatistics { statistics.withLock { $0 } }

    func update(_ body: (inout ReflectorStatistics) -> Void) {
        statistics.withLock { body(&$0) }
        onChange()
    }
}
