// SPDX-License-Identifier: Apache-2.0

public import Logging
public import ServiceLifecycle

/// Logs once a minute what the daemon has done since the previous summary, for operators without metrics at hand. Logs
/// a last summary when the daemon shuts down.
public struct SummaryService: Service, CustomStringConvertible {
    /// A number of a summary.
    public enum Value: Sendable {
        /// A count that only grows; its growth is logged.
        case total(UInt64)
        /// A number that goes up and down, logged as it is.
        case present(Int)
        /// A sum and the number of its summands, both of which only grow. The mean of the summands added since the
        /// previous summary is logged, if there are any.
        case mean(sum: UInt64, of: UInt64)
    }

    /// Numbers with their names, the same names in the same order every time.
    public typealias Numbers = [(name: String, value: Value)]

    /// The service's name in the log.
    public let description = "summary"

    private let interval: Duration
    private let logger: Logger
    private let numbers: @Sendable () -> Numbers

    /// Makes a service; the first summary counts from the numbers at the start of ``run()``.
    public init(interval: Duration = .seconds(60), logger: Logger, numbers: @escaping @Sendable () -> Numbers) {
        self.interval = interval
        self.logger = logger
        self.numbers = numbers
    }

    /// Logs summaries until the daemon shuts down.
    public func run() async throws {
        let first = numbers()
        await cancelWhenGracefulShutdown {
            var last = first
            repeat {
                try? await Task.sleep(for: interval)
                let next = numbers()
                logger.info("summary", metadata: Self.growth(from: last, to: next))
                last = next
            } while !Task.isCancelled
        }
    }

    static func growth(from last: Numbers, to next: Numbers) -> Logger.Metadata {
        var metadata: Logger.Metadata = [:]
        for (last, next) in zip(last, next) {
            switch (last.value, next.value) {
            case (.total(let before), .total(let now)): metadata[next.name] = "\(now &- before)"
            case (_, .present(let now)): metadata[next.name] = "\(now)"
            case (.mean(let sum, let count), .mean(let newSum, let newCount)) where newCount != count:
                metadata[next.name] = "\((newSum &- sum) / (newCount &- count))"
            default: break
            }
        }
        return metadata
    }
}
