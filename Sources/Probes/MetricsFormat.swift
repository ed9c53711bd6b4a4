// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The format of a page of metrics.
public enum MetricsFormat: Sendable {
    /// The Prometheus text format, version 0.0.4
    /// (https://prometheus.io/docs/instrumenting/exposition_formats/).
    case prometheus
    /// OpenMetrics, version 1.0.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/).
    case openMetrics

    /// Picks the format that a request's `Accept` header prefers (RFC 9110, section 12.5.1): OpenMetrics if the header
    /// names it and prefers nothing else to it.
    init(accept: String) {
        var (openMetrics, text) = (0.0, 0.0)
        for entry in accept.split(separator: ",") {
            let parts = entry.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
            func parameter(_ name: String) -> Substring? {
                parts.dropFirst().first { $0.hasPrefix(name + "=") }?.dropFirst(name.count + 1)
            }
            let quality = parameter("q").map { Double($0) ?? 0 } ?? 1
            switch (parts.first, parameter("version")) {
            case ("application/openmetrics-text", nil), ("application/openmetrics-text", "1.0.0"):
                openMetrics = max(openMetrics, quality)
            case ("text/plain", nil), ("text/plain", "0.0.4"), ("text/*", nil), ("*/*", nil):
                text = max(text, quality)
            default: break
            }
        }
        self = openMetrics > 0 && openMetrics >= text ? .openMetrics : .prometheus
    }

    /// The value of the header `Content-Type`.
    var contentType: String {
        switch self {
        case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }
}

extension MetricsPage {
    /// The page in the Prometheus text format.
    public var text: String { text(as: .prometheus) }

    /// Returns the page in a format.
    public func text(as format: MetricsFormat) -> String {
        var text = ""
        for family in families {
            // OpenMetrics names a counter's family without the suffix of its sample.
            let name = format == .openMetrics && family.kind == .counter ? family.baseName : family.name
            text += "# HELP \(name) \(format.escapedHelp(family.help))\n"
            text += "# TYPE \(name) \(family.kind.rawValue)\n"
            if format == .openMetrics, let unit = family.unit { text += "# UNIT \(name) \(unit)\n" }
            for sample in family.samples { sample.write(family.name, as: format, to: &text) }
        }
        return format == .openMetrics ? text + "# EOF\n" : text
    }
}

extension MetricsPage.Family {
    fileprivate var baseName: String { kind == .counter ? String(name.dropLast("_total".count)) : name }

    /// The base unit that the name ends in; nil if it ends in none.
    fileprivate var unit: String? { ["seconds", "bytes"].first { baseName.hasSuffix("_" + $0) } }
}

extension MetricsPage.Sample {
    fileprivate func write(_ name: String, as format: MetricsFormat, to text: inout String) {
        let pairs = labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }
        func line(_ suffix: String, _ pairs: [String], _ value: some CustomStringConvertible) {
            text += name + suffix + (pairs.isEmpty ? "" : "{" + pairs.joined(separator: ",") + "}") + " \(value)\n"
        }
        switch value {
        case .number(let number): line("", pairs, number)
        case .histogram(let histogram):
            var total: UInt64 = 0
            // OpenMetrics requires bounds to be written as floating-point numbers.
            let bounds = histogram.bounds.map { format == .openMetrics ? "\(Double($0))" : "\($0)" }
            for (bound, count) in zip(bounds + ["+Inf"], histogram.counts) {
                total = total.clampedAdding(count)
                line("_bucket", pairs + ["le=\"\(bound)\""], total)
            }
            line("_sum", pairs, histogram.sum)
            line("_count", pairs, total)
        }
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

extension MetricsFormat {
    /// Escapes quotes for OpenMetrics; the Prometheus format does not. Help texts are single lines without backslashes.
    fileprivate func escapedHelp(_ help: String) -> String {
        guard self == .openMetrics, help.contains("\"") else { return help }
        return help.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\\\"")
    }
}
