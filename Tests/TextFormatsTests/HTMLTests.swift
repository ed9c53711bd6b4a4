// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import TextFormats

@Suite struct HTMLTests {
    @Test(
        "interpolated text is escaped",
        arguments: [
            ("web-0", "web-0"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"), ("' onload='x", "&#39; onload=&#39;x"),
            ("&amp;", "&amp;amp;"), ("</style", "&lt;/style"), ("<!--", "&lt;!--"),
            ("a\u{0}b\u{1b}[31m", "a\u{FFFD}b\u{FFFD}[31m"), ("txt.\u{202e}exe", "txt.\u{FFFD}exe"),
            ("zwei Wörter\n日本", "zwei Wörter\n日本"), ("", ""),
            // A combining mark after a special character must not keep that character from being escaped.
            (">\u{338}", "&gt;\u{338}"),
        ])
    func whatIsPutInIsTextAndNeverMarkup(text: String, escaped: String) {
        let cell: HTML = "<td title=\"\(text)\">\(text)</td>"
        #expect(cell.text.unicodeScalars.elementsEqual("<td title=\"\(escaped)\">\(escaped)</td>".unicodeScalars))
    }

    @Test("interpolated HTML is not escaped again") func piecesAreMarkupOfTheirOwn() {
        let cells: [HTML] = ["a<b", "c"].map { "<td>\($0)</td>" }
        let row: HTML = "<tr>\(cells)\(HTML(cells))</tr>"
        #expect(row.text == "<tr><td>a&lt;b</td><td>c</td><td>a&lt;b</td><td>c</td></tr>")
        var sum: HTML = "<b>\(7)</b>"
        sum += "<i>\(UInt64.max)</i>"
        #expect(sum.text == "<b>7</b><i>18446744073709551615</i>")
    }

    @Test("a page allows the browser to load nothing") func aPageLetsTheBrowserLoadNothing() throws {
        let page = HTMLPage(title: "<title>", refreshSeconds: 30, body: "<p>\("<img src=x>")</p>")
        let text = page.text(nonce: "abc")
        #expect(text.hasPrefix("<!DOCTYPE html>\n"))
        #expect(text.contains("<title>&lt;title&gt;</title>"))
        #expect(text.contains("<meta http-equiv=\"refresh\" content=\"30\">"))
        #expect(text.contains("<style nonce=\"abc\">"))
        #expect(
            !text.contains("<img") && !text.contains("<script") && !text.contains("url(") && !text.contains("@import"))
        let policy = try #require(HTMLPage.headers(nonce: "abc").first { $0.name == "Content-Security-Policy" })
        #expect(policy.value.hasPrefix("default-src 'none'; style-src 'nonce-abc';"))
        #expect(!policy.value.contains("unsafe"))
        #expect(HTMLPage.makeNonce() != HTMLPage.makeNonce())
    }
}
