// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import Probes

@Suite struct MetricsPageTests {
    @Test("a metric has its help, its type and its samples") func aMetricHasItsHelpItsTypeAndItsSamples() {
        var page = MetricsPage()
        #expect(page.text == "")
        page.add(.counter, "a_bytes_total", "Bytes of a.", UInt64.max)
        page.add(.gauge, "b_connected", "Whether b is.", true)
        page.add(.gauge, "c_seconds", "When c was.", 1.5)
        page.add(.counter, "d_total", "D by kind.", label: "kind", [("one", 1), ("two", 0)])
        page.add(.counter, "e_total", "E by kind, none so far.", label: "kind", [(String, Int)]())
        #expect(
            page.text == """
                # HELP a_bytes_total Bytes of a.
                # TYPE a_bytes_total counter
                a_bytes_total 18446744073709551615
                # HELP b_connected Whether b is.
                # TYPE b_connected gauge
                b_connected 1
                # HELP c_seconds When c was.
                # TYPE c_seconds gauge
                c_seconds 1.5
                # HELP d_total D by kind.
                # TYPE d_total counter
                d_total{kind="one"} 1
                d_total{kind="two"} 0
                # HELP e_total E by kind, none so far.
                # TYPE e_total counter

                """)
    }

    @Test("the buckets of a histogram are cumulative") func aHistogramHasRunningTotals() {
        var page = MetricsPage()
        let histogram = Histogram(bounds: [5, 10], counts: [1, 0, 2], sum: 61)
        page.add("a_ms", "Time of a.", histogram)
        page.add("b_ms", "Time of b.", label: "kind", [("\"x\"", histogram)])
        #expect(
            page.text == """
                # HELP a_ms Time of a.
                # TYPE a_ms histogram
                a_ms_bucket{le="5"} 1
                a_ms_bucket{le="10"} 1
                a_ms_bucket{le="+Inf"} 3
                a_ms_sum 61
                a_ms_count 3
                # HELP b_ms Time of b.
                # TYPE b_ms histogram
                b_ms_bucket{kind="\\"x\\"",le="5"} 1
                b_ms_bucket{kind="\\"x\\"",le="10"} 1
                b_ms_bucket{kind="\\"x\\"",le="+Inf"} 3
                b_ms_sum{kind="\\"x\\""} 61
                b_ms_count{kind="\\"x\\""} 3

                """)
    }

    @Test(
        "the value of a label is escaped",
        arguments: [
            ("plain", "plain"), ("", ""), ("\"", "\\\""), ("\\", "\\\\"), ("\n", "\\n"),
            ("a\\\"b\nc", "a\\\\\\\"b\\nc"),
            ("ü{}=,", "ü{}=,"), ("\r\n", "\r\\n"),
        ])
    func aLabelsValueIsEscaped(value: String, escaped: String) {
        var page = MetricsPage()
        page.add(.gauge, "m", "M.", label: "l", [(value, 1)])
        #expect(page.text.hasSuffix("m{l=\"\(escaped)\"} 1\n"))
    }

    @Test("two labels are written in their order") func twoLabelsStandInTheirOrder() {
        var page = MetricsPage()
        page.add(.counter, "m_total", "M.", labels: ("a", "b"), [(("1", "x"), 5), (("1", "y"), 6)])
        #expect(page.text.hasSuffix("m_total{a=\"1\",b=\"x\"} 5\nm_total{a=\"1\",b=\"y\"} 6\n"))
    }

    @Test("OpenMetrics has counters without _total, units and an end marker")
    func openMetricsNamesCountersUnitsAndTheEnd() {
        var page = MetricsPage()
        page.add(.counter, "a_bytes_total", "Bytes of \"a\".", label: "kind", [("one", 1)])
        page.add(.gauge, "b_seconds", "Age of b.", 1.5)
        page.add("c_ms", "Time of c.", Histogram(bounds: [5, 1_000], counts: [1, 0, 2], sum: 61))
        #expect(
            page.text(as: .openMetrics) == """
                # HELP a_bytes Bytes of \\"a\\".
                # TYPE a_bytes counter
                # UNIT a_bytes bytes
                a_bytes_total{kind="one"} 1
                # HELP b_seconds Age of b.
                # TYPE b_seconds gauge
                # UNIT b_seconds seconds
                b_seconds 1.5
                # HELP c_ms Time of c.
                # TYPE c_ms histogram
                c_ms_bucket{le="5.0"} 1
                c_ms_bucket{le="1000.0"} 1
                c_ms_bucket{le="+Inf"} 3
                c_ms_sum 61
                c_ms_count 3
                # EOF

                """)
        #expect(page.text.hasPrefix("# HELP a_bytes_total Bytes of \"a\".\n"))
    }

    @Test("metrics of extreme numbers are formatted in both formats")
    func metrics() {
        var page = MetricsPage()
        page.add(.gauge, "integers", "", label: "n", EdgeNumbers.integers(Int.self).map { ("\($0)", $0) })
        page.add(.gauge, "naturals", "", label: "n", EdgeNumbers.integers(UInt64.self).map { ("\($0)", $0) })
        page.add(.gauge, "reals", "", label: "n", EdgeNumbers.doubles.map { ("\($0)", $0) })
        page.add("sizes", "", .init(bounds: [1, .max], counts: [.max, .max, .max], sum: .max))
        #expect(page.text.contains("sizes_count \(UInt64.max)\n") && page.text.contains(" +Inf\n"))
        #expect(page.text.contains(" -Inf\n") && page.text.contains(" NaN\n") && !page.text.contains(" inf\n"))
        #expect(page.text(as: .openMetrics).hasSuffix("# EOF\n"))
    }
}

@Suite struct MetricsFormatTests {
    @Test(
        "the Accept header selects the format of the metrics",
        arguments: [
            // The headers of Prometheus 3 and 2, a browser and curl, then none and other cases.
            (
                """
                application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                text/plain;version=0.0.4;q=0.3,*/*;q=0.2
                """, MetricsFormat.openMetrics
            ),
            ("application/openmetrics-text; version=1.0.0, text/plain;version=0.0.4;q=0.5", .openMetrics),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", .prometheus), ("*/*", .prometheus),
            ("", .prometheus),
            ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5", .prometheus),
            ("application/openmetrics-text;version=0.0.1", .prometheus), ("application/openmetrics-text", .openMetrics),
            ("APPLICATION/OPENMETRICS-TEXT; Version=1.0.0", .openMetrics),
            ("application/openmetrics-text;q=0", .prometheus), ("application/openmetrics-text;q=x", .prometheus),
            (";;,,q=;=", .prometheus),
        ])
    func theRequestChooses(accept: String, format: MetricsFormat) {
        #expect(MetricsFormat(accept: accept) == format)
    }
}
