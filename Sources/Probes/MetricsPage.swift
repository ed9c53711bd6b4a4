// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A page of metrics for one scrape: families, each with its samples.
///
/// Modules keep their own counts; a daemon copies them to a page on request.
public struct MetricsPage: Sendable {
    /// The type of a metric.
    public enum Kind: String, Sendable {
        /// A value that only grows, starting at zero with the process. The metric's name ends in `_total`.
        case counter
        /// A value that goes up and down.
        case gauge
        /// Counts of durations or sizes by range.
        case histogram
    }

    /// All samples of one metric name.
    struct Family {
        let kind: Kind
        let name: String
        let help: String
        var samples: [Sample] = []
    }

    /// A value of a family with its labels. All samples of a family have the same number of labels.
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

    /// Adds a metric with one label and a sample for each label value. The values must come from a small, fixed set.
    public mutating func add<Value: MetricValue>(
        _ kind: Kind, _ name: String, _ help: String, label: String, _ samples: [(String, Value)]
    ) {
        add(
            kind, name, help,
            samples.map { Sample(labels: [(label, $0.0)], value: .number($0.1.metricText)) })
    }

    /// Adds a metric with two labels and a sample for each pair of label values. The values must come from small, fixed
    /// sets.
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

    /// Adds a histogram with one label and a sample for each label value. The values must come from a small, fixed set.
    public mutating func add(_ name: String, _ help: String, label: String, _ samples: [(String, Histogram)]) {
        add(
            .histogram, name, help,
            samples.map { Sample(labels: [(label, $0.0)], value: .histogram($0.1)) })
    }

    private mutating func add(_ kind: Kind, _ name: String, _ help: String, _ samples: [Sample]) {
        precondition(
            (kind == .counter) == name.hasSuffix("_total"), "only the names of counters end in _total: \(name)")
        families.append(Family(kind: kind, name: name, help: help, samples: samples))
    }
}

/// A number that can be a metric's value.
public protocol MetricValue {
    /// The number as it is written on the page.
    var metricText: String { get }
}

extension Int: MetricValue {
    /// The number as it is written on the page.
    public var metricText: String { description }
}

extension UInt64: MetricValue {
    /// The number as it is written on the page.
    public var metricText: String { description }
}

extension Double: MetricValue {
    /// The number as it is written on the page. NaN and infinities are spelled as in OpenMetrics, which Prometheus
    /// reads too.
    public var metricText: String {
        if isFinite { return description }
        return isNaN ? "NaN" : self < 0 ? "-Inf" : "+Inf"
    }
}

extension Bool: MetricValue {
    /// 1 for true, 0 for false.
    public var metricText: String { self ? "1" : "0" }
}
