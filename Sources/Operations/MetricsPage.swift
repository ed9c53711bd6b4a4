// SPDX-License-Identifier: Apache-2.0

/// Writes metrics in the Prometheus text format, version 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/).
///
/// Modules keep their own counts; a daemon writes them down when it is asked.
public struct MetricsPage {
    /// What a metric's value means.
    public enum Kind: String, Sendable {
        /// It only grows, and starts at zero with the process.
        case counter
        /// It goes up and down.
        case gauge
        /// It counts durations or sizes by ranges.
        case histogram
    }

    /// A sample of a histogram.
    public struct Histogram {
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

    /// The page so far.
    public private(set) var text = ""

    /// Makes an empty page.
    public init() {}

    /// Adds a metric without labels.
    public mutating func add(_ kind: Kind, _ name: String, _ help: String, _ value: some MetricValue) {
        addHeader(kind, name, help)
        text += "\(name) \(value.metricText)\n"
    }

    /// Adds a metric with one label, a sample for each of its values. The values must come from a small, fixed set.
    public mutating func add<Value: MetricValue>(
        _ kind: Kind, _ name: String, _ help: String, label: String, _ samples: [(String, Value)]
    ) {
        addHeader(kind, name, help)
        for (labelValue, value) in samples {
            text += "\(name){\(label)=\"\(Self.escaped(labelValue))\"} \(value.metricText)\n"
        }
    }

    /// Adds a histogram without labels.
    public mutating func add(_ name: String, _ help: String, _ histogram: Histogram) {
        addHeader(.histogram, name, help)
        addSample(name, "", histogram)
    }

    /// Adds a histogram with one label, a sample for each of its values. The values must come from a small, fixed set.
    public mutating func add(_ name: String, _ help: String, label: String, _ samples: [(String, Histogram)]) {
        addHeader(.histogram, name, help)
        for (labelValue, histogram) in samples {
            addSample(name, "\(label)=\"\(Self.escaped(labelValue))\"", histogram)
        }
    }

    private mutating func addSample(_ name: String, _ label: String, _ histogram: Histogram) {
        var total: UInt64 = 0
        for (bound, count) in zip(histogram.bounds.map(\.description) + ["+Inf"], histogram.counts) {
            total += count
            text += "\(name)_bucket{\(label.isEmpty ? "" : label + ",")le=\"\(bound)\"} \(total)\n"
        }
        let labels = label.isEmpty ? "" : "{\(label)}"
        text += "\(name)_sum\(labels) \(histogram.sum)\n\(name)_count\(labels) \(total)\n"
    }

    private mutating func addHeader(_ kind: Kind, _ name: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    private static func escaped(_ label: String) -> String {
        var result = ""
        for character in label.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
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
    /// The number as the page tells it.
    public var metricText: String { description }
}

extension Bool: MetricValue {
    /// 1 for true, 0 for false.
    public var metricText: String { self ? "1" : "0" }
}
