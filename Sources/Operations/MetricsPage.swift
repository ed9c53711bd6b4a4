// SPDX-License-Identifier: Apache-2.0

/// Metrics that are about to be told: families, each with its samples.
///
/// Modules keep their own counts; a daemon puts them on a page when it is asked.
public struct MetricsPage: Sendable {
    /// What a metric's value means.
    public enum Kind: String, Sendable {
        /// It only grows, and starts at zero with the process. Its name ends in `_total`.
        case counter
        /// It goes up and down.
        case gauge
        /// It counts durations or sizes by ranges.
        case histogram
    }

    /// A sample of a histogram.
    public struct Histogram: Sendable {
        let bounds: [UInt64]
        let counts: [UInt64]
        let sum: UInt64

        /// Makes a sample of its parts.
        ///
        /// - Parameters:
        ///   - bounds: The ranges' upper bounds, included, in ascending order.
        ///   - counts: How many values are in each range, and at last how many are above all of them.
        ///   - sum: The sum of all values.
        public init(bounds: [UInt64], counts: [UInt64], sum: UInt64) {
            precondition(counts.count == bounds.count + 1, "a count for each range")
            self.bounds = bounds
            self.counts = counts
            self.sum = sum
        }
    }

    /// All metrics of a name.
    struct Family {
        let kind: Kind
        let name: String
        let help: String
        var samples: [Sample] = []
    }

    /// A family's value under its labels, which are as many as the family has in all of its samples.
    struct Sample {
        let labels: [(name: String, value: String)]
        let value: Value

        enum Value {
            case number(String)
            case histogram(Histogram)
        }
    }

    /// In the order in which they were added.
    private(set) var families: [Family] = []

    /// Makes an empty page.
    public init() {}

    /// Adds a metric without labels.
    public mutating func add(_ kind: Kind, _ name: String, _ help: String, _ value: some MetricValue) {
        add(kind, name, help, [Sample(labels: [], value: .number(value.metricText))])
    }

    /// Adds a metric with one label, a sample for each of its values. The values must come from a small, fixed set.
    public mutating func add<Value: MetricValue>(
        _ kind: Kind, _ name: String, _ help: String, label: String, _ samples: [(String, Value)]
    ) {
        add(
            kind, name, help,
            samples.map { Sample(labels: [(label, $0.0)], value: .number($0.1.metricText)) })
    }

    /// Adds a metric with two labels, a sample for each pair of their values. The values must come from small, fixed sets.
    public mutating func add<Value: MetricValue>(
        _ kind: Kind, _ name: String, _ help: String, labels: (String, String), _ samples: [((String, String), Value)]
    ) {
        add(
            kind, name, help,
            samples.map {
                Sample(
                    labels: [(labels.0, $0.0.0), (labels.1, $0.0.1)], value: .number($0.1.metricText))
            })
    }

    /// Adds a histogram without labels.
    public mutating func add(_ name: String, _ help: String, _ histogram: Histogram) {
        add(.histogram, name, help, [Sample(labels: [], value: .histogram(histogram))])
    }

    /// Adds a histogram with one label, a sample for each of its values. The values must come from a small, fixed set.
    public mutating func add(_ name: String, _ help: String, label: String, _ samples: [(String, Histogram)]) {
        add(
            .histogram, name, help,
            samples.map { Sample(labels: [(label, $0.0)], value: .histogram($0.1)) })
    }

    private mutating func add(_ kind: Kind, _ name: String, _ help: String, _ samples: [Sample]) {
        precondition((kind == .counter) == name.hasSuffix("_total"), "counters and nothing else end in _total: \(name)")
        families.append(Family(kind: kind, name: name, help: help, samples: samples))
    }
}

/// A number that a metric may have.
public protocol MetricValue {
    /// The number as the page tells it.
    var metricText: String { get }
}

extension Int: MetricValue {
    /// The number as the page tells it.
    public var metricText: String { description }
}

extension UInt64: MetricValue {
    /// The number as the page tells it.
    public var metricText: String { description }
}

extension Double: MetricValue {
    /// The number as the page tells it; what is no finite number as OpenMetrics spells it, which Prometheus reads too.
    public var metricText: String {
        if isFinite { return description }
        return isNaN ? "NaN" : self < 0 ? "-Inf" : "+Inf"
    }
}

extension Bool: MetricValue {
    /// 1 for true, 0 for false.
    public var metricText: String { self ? "1" : "0" }
}
