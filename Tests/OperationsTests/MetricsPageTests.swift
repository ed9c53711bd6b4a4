// SPDX-License-Identifier: Apache-2.0

import Operations
import Testing

@Suite struct MetricsPageTests {
    @Test func aMetricHasItsHelpItsTypeAndItsSamples() {
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

    @Test func aHistogramHasRunningTotals() {
        var page = MetricsPage()
        let histogram = MetricsPage.Histogram(bounds: [5, 10], counts: [1, 0, 2], sum: 61)
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

    @Test(arguments: [
        ("plain", "plain"), ("", ""), ("\"", "\\\""), ("\\", "\\\\"), ("\n", "\\n"), ("a\\\"b\nc", "a\\\\\\\"b\\nc"),
        ("ü{}=,", "ü{}=,"), ("\r\n", "\r\\n"),
    ])
    func aLabelsValueIsEscaped(value: String, escaped: String) {
        var page = MetricsPage()
        page.add(.gauge, "m", "M.", label: "l", [(value, 1)])
        #expect(page.text.hasSuffix("m{l=\"\(escaped)\"} 1\n"))
    }
}
