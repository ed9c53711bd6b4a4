// SPDX-License-Identifier: Apache-2.0

/// A page for a browser: HTML only, without scripts and without external resources.
public struct HTMLPage: Sendable {
    /// The title of the browser's tab.
    public var title: String
    /// Interval in seconds at which the browser reloads the page; nil for never.
    public var refreshSeconds: Int?
    /// Style rules of this page, after those of all pages.
    public var style: HTML
    /// The content of the page's `<body>`.
    public var body: HTML

    /// Makes a page from its parts.
    public init(title: String, refreshSeconds: Int? = nil, style: HTML = "", body: HTML) {
        self.title = title
        self.refreshSeconds = refreshSeconds
        self.style = style
        self.body = body
    }

    /// Returns the header fields of the page. With them, a browser runs no script, loads nothing, sends no form, does
    /// not show the page in another page's frame, and applies only the style sheet that has the nonce.
    package static func headers(nonce: String) -> [(name: String, value: String)] {
        [
            (
                "Content-Security-Policy",
                """
                default-src 'none'; style-src 'nonce-\(nonce)'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'
                """
            ),
            ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"),
        ]
    }

    /// Returns an unpredictable word of 128 random bits.
    package static func makeNonce() -> String {
        (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }.joined()
    }

    /// Returns the page's HTML, as it is sent.
    package func text(nonce: String) -> String {
        let refresh: HTML = refreshSeconds.map { "<meta http-equiv=\"refresh\" content=\"\($0)\">\n" } ?? ""
        let page: HTML = """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            \(refresh)<title>\(title)</title>
            <style nonce="\(nonce)">
            \(Self.commonStyle)
            \(style)
            </style>
            </head>
            <body>
            \(body)
            </body>
            </html>

            """
        return page.text
    }

    /// All sizes follow the reader's font size; content too wide for a narrow window wraps or scrolls on its own.
    private static let commonStyle: HTML = """
        :root {
          color-scheme: light dark;
          --ground: #f6f7f9; --paper: #ffffff; --ink: #1b2430; --faint: #5d6b7c; --line: #dfe4ea;
          --bar: #3b7dd8; --good: #14743b; --good-ground: #dcf3e4; --bad: #a51d1d; --bad-ground: #fbe3e1;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --ground: #12161c; --paper: #1a2029; --ink: #e3e8ef; --faint: #98a5b5; --line: #2d3642;
            --bar: #5b9bf0; --good: #7fdca2; --good-ground: #17382a; --bad: #ff9d94; --bad-ground: #45201f;
          }
        }
        * { box-sizing: border-box; }
        body {
          margin: 0 auto; padding: 1.5rem clamp(0.75rem, 3vw, 2rem) 3rem; max-width: 76rem;
          background: var(--ground); color: var(--ink);
          font: 0.9375rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
          overflow-wrap: anywhere;
        }
        header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.25rem 1rem; margin-bottom: 1.25rem; }
        h1 { font-size: 1.375rem; margin: 0; letter-spacing: -0.01em; }
        h2 { font-size: 1rem; margin: 0; }
        p { margin: 0.375rem 0 0; }
        a { color: inherit; }
        small, .faint { color: var(--faint); font-size: 0.8125rem; }
        .columns { columns: 2 27rem; column-gap: 1rem; }
        .columns section { break-inside: avoid; }
        section {
          background: var(--paper); border: 1px solid var(--line); border-radius: 0.5rem;
          padding: 0.875rem 1rem 1rem; margin-bottom: 1rem; min-width: 0;
        }
        .scroll { overflow-x: auto; margin-top: 0.5rem; }
        table { border-collapse: collapse; width: 100%; }
        th, td { text-align: left; vertical-align: baseline; padding: 0.3125rem 0.75rem 0.3125rem 0; }
        th:last-child, td:last-child { padding-right: 0; }
        thead th {
          color: var(--faint); font-size: 0.75rem; font-weight: 600; border-bottom: 1px solid var(--line);
          vertical-align: bottom; overflow-wrap: normal;
        }
        tbody tr + tr > * { border-top: 1px solid var(--line); }
        tbody th { font-weight: 500; min-width: 6.5rem; }
        .facts { margin-top: 0.375rem; }
        .facts th { width: 1%; white-space: nowrap; padding-right: 1.25rem; color: var(--faint); }
        .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
        td small, th small { font-weight: 400; }
        .tag {
          display: inline-block; padding: 0 0.5rem; border-radius: 1rem; font-size: 0.8125rem; font-weight: 600;
          white-space: nowrap;
        }
        .good { color: var(--good); background: var(--good-ground); }
        .bad { color: var(--bad); background: var(--bad-ground); }
        .problem { color: var(--bad); }
        """
}
