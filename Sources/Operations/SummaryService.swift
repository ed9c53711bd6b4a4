// SPDX-License-Identifier: Apache-2.0

public import Logging
public import ServiceLifecycle

/// Says once a minute in the log what the daemon has done since it said so last: a sign of life for those who have no
/// metrics at hand. It says so one last time when the daemon ends.
public struct SummaryService: Service, CustomStringConvertible {
    /// A number of a summary.
    public enum Value: Sendable {
        /// A count that only grows; its growth is told.
        case total(UInt64)
        /// A number that goes up and down, told as it is.
        case present(Int)
        /// A sum and what it is a sum of, both of which only grow; the mean of what has been added is told, if anything has.
        case mean(sum: UInt64, of: UInt64)
    }

    /// Numbers under their names, which are the same every time.
    public typealias Numbers = [(name: String, value: Value)]

    /// The service's name in the log.
    public let description = "summary"

    private let interval: Duration
    private let logger: Logger
    private let numbers: @Sendable () -> Numbers

    /// Makes a service that begins with what `numbers` returns when it is run.
    public init(interval: Duration = .seconds(60), logger: Logger, numbers: @escaping @Sendable () -> Numbers) {
        self.interval = interval
        self.logger = logger
        self.numbers = numbers
    }

    /// Tells until the daemon shuts down.
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
