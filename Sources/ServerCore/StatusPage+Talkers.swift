// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowModel
package import TextFormats

extension StatusPage {
    /// The style rules of bars and of the table of top talkers, which becomes a list in a narrow window.
    static let style: HTML = """
        .bar { display: block; width: 100%; min-width: 6rem; height: 0.625rem; margin-top: 0.375rem; fill: var(--bar); }
        .talkers td:nth-child(1), .talkers td:nth-child(2) { width: 27%; min-width: 8rem; }
        .talkers td:nth-child(6) { width: 18%; vertical-align: top; }
        @media (max-width: 40rem) {
          .talkers thead { display: none; }
          .talkers tr { display: grid; grid-template-columns: 1fr 6rem 3.5rem; padding: 0.5rem 0; }
          .talkers tr + tr { border-top: 1px solid var(--line); }
          .talkers td, .talkers tr + tr > * { padding: 0; border: 0; width: auto; }
          .talkers td:nth-child(-n+2), .talkers td:nth-child(6) { grid-column: 1 / -1; width: auto; }
          .talkers br { display: none; }
          .talkers small { margin-left: 0.5rem; }
          .talkers td:nth-child(2)::before { content: "to "; color: var(--faint); }
        }
        """

    /// The section of top talkers.
    var talkersSection: HTML {
        let from = ReadableText.timeOfDay(talkers.secondOfDay)
        let minute: HTML =
            talkers.isOver
            ? "in its last full minute, from \(from) UTC"
            : "in the current minute, since \(from) UTC"
        guard let heaviest = talkers.lines.first?.bytes else {
            return """
                <section id="talkers">
                <h2>Top talkers</h2>
                <p>This server labelled no flows to store \(minute).</p>
                </section>
                """
        }
        let rows: [HTML] = talkers.lines.map { line, bytes in
            """
            <tr><td>\(side(line.source))</td><td>\(side(line.destination))</td>\
            <td class="faint">\(line.connectionClass.rawValue)</td>\
            <td class="number">\(ReadableText.bytes(bytes))</td>\
            <td class="number">\(ReadableText.share(bytes, of: talkers.bytes))</td>\
            <td>\(bar(bytes, of: heaviest))</td></tr>

            """
        }
        return """
            <section id="talkers">
            <h2>Top talkers</h2>
            <p class="faint">Senders and receivers of the most bytes, out of \(ReadableText.bytes(talkers.bytes)) that \
            this server labelled \(minute). Other servers have other agents. Each byte counts once, for the side that \
            sent it.</p>
            <div class="scroll"><table class="talkers">
            <thead><tr><th>From</th><th>To</th><th>Class</th><th class="number">Bytes</th>\
            <th class="number">Share</th><th></th></tr></thead>
            <tbody>
            \(rows)</tbody></table></div>
            </section>
            """
    }

    private func side(_ side: TalkerReport.Side) -> HTML {
        side.place.isEmpty ? "\(side.name)" : "\(side.name)<br><small>\(side.place)</small>"
    }

    /// Returns a bar whose length is the part's share of the whole.
    package func bar(_ part: UInt64, of whole: UInt64) -> HTML {
        let thousandths = whole == 0 ? 0 : Int(clamping: Double(part) / Double(whole) * 1000)
        return """
            <svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">\
            <rect width="\(min(1000, thousandths))" height="10"/></svg>
            """
    }
}
