// SPDX-License-Identifier: Apache-2.0

/// A page of metrics in the Prometheus text format, parsed strictly.
public struct MetricsText {
    /// Each sample's value, by its name and labels as on the page.
    public private(set) var samples: [String: Double] = [:]
    /// Each metric's type, by its name.
    public private(set) var types: [String: String] = [:]
    /// The page's violations of the format, one a line.
    public private(set) var problems: [String] = []

    /// Parses a page.
    public init(_ text: String) {
        var labelNames: [String: [String]] = [:]
        var helped: String?
        var name = ""
        for line in text.split(separator: "\n") {
            if let help = line.wholeMatch(of: /# HELP ([a-z_]+) [A-Z0-9][^\\]+\./) {
                helped = String(help.1)
            } else if let type = line.wholeMatch(of: /# TYPE ([a-z_]+) (counter|gauge|histogram)/) {
                name = String(type.1)
                if helped != name { problems.append("no help before \(line)") }
                if types[name] != nil { problems.append("twice: \(name)") }
                if (type.2 == "counter") != name.hasSuffix("_total") {
                    problems.append("a counter and no other ends in _total: \(name)")
                }
                types[name] = String(type.2)
            } else if let sample = line.wholeMatch(
                of: /([a-z_]+)(?:\{((?:[a-z]+="[^"\\]*",?)+)\})? ([-+0-9.e]+)/)
            {
                read(sample.1, sample.2, sample.3, of: name, &labelNames)
            } else {
                problems.append("not understood: \(line)")
            }
        }
    }

    /// Returns the sum of a metric's samples; NaN if it has none.
    public func sum(of name: String) -> Double {
        let values = samples.filter { $0.key == name || $0.key.hasPrefix(name + "{") }.values
        return values.isEmpty ? .nan : values.reduce(0, +)
    }

    private mutating func read(
        _ name: Substring, _ labels: Substring?, _ value: Substring, of family: String,
        _ labelNames: inout [String: [String]]
    ) {
        let series = String(name) + (labels.map { "{\($0)}" } ?? "")
        if samples.updateValue(Double(value) ?? .nan, forKey: series) != nil { problems.append("twice: \(series)") }
        if Double(value) == nil { problems.append("no number: \(series) \(value)") }
        let suffixes = types[family] == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
        if !suffixes.contains(where: { name == family + $0 }) { problems.append("\(name) among those of \(family)") }
        let names = (labels ?? "").matches(of: /([a-z]+)="/).map { String($0.1) }
        if labelNames[String(name), default: names] != names { problems.append("other labels than before: \(series)") }
        labelNames[String(name)] = names
    }
}
