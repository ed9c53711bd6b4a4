// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TextFormats

/// A table of connections as text: one line each, and a second one if the reply tuple is not the mirror of the original
/// (NAT).
package struct ConnectionListing {
    private static let header = ["PKTS>", "PKTS<", "BYTES>", "BYTES<", "PKT/S>", "PKT/S<", "B/S>", "B/S<"]
    /// The widest number has five characters.
    private static let numberWidths = header.map { max($0.count, 5) }

    private let observation: ConnectionObservation
    private let widths: (transport: Int, source: Int, destination: Int)
    private let seconds: Double

    /// Makes the table of an observation.
    package init(_ observation: ConnectionObservation) {
        self.observation = observation
        seconds = max(observation.elapsed / .seconds(1), 0.001)
        var widths = (transport: "PROTO".count, source: "SOURCE".count, destination: "DESTINATION".count)
        func widen(_ names: Names) {
            widths.transport = max(widths.transport, names.transport.count)
            widths.source = max(widths.source, names.source.count)
            widths.destination = max(widths.destination, names.destination.count)
        }
        for row in observation.rows { Self.names(row.flow).forEach(widen) }
        widen(Self.names(observation.totals, over: seconds))
        self.widths = widths
    }

    /// Calls `body` with each line, including its line break.
    package func forEachLine<Failure: Error>(_ body: (String) throws(Failure) -> Void) throws(Failure) {
        try body(line(("PROTO", "SOURCE", "DESTINATION"), Self.header))
        for row in observation.rows {
            let names = Self.names(row.flow)
            try body(line(names[0], numbers(row.flow.originalCounters, row.flow.replyCounters, row.gain)))
            for reply in names.dropFirst() { try body(line(reply, [])) }
        }
        let totals = observation.totals
        try body(
            line(Self.names(totals, over: seconds), numbers(totals.original, totals.reply, totals.gain)))
    }

    /// Notes on what the table does not show, one sentence each.
    package var notes: [String] {
        var notes: [String] = []
        let ignored = observation.collection.ignored
        let hidden = [
            (Int(ignored[.idle]), "idle since the last read or not counted"),
            (Int(ignored[.transport]), "of other protocols"), (Int(ignored[.loopback]), "on loopback"),
            (observation.totals.connections - observation.rows.count, "less busy"),
        ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
        if !hidden.isEmpty { notes.append("connections not shown: \(hidden.joined(separator: ", "))") }
        if observation.zeroed > 0 {
            notes.append(
                "counters of \(observation.zeroed) connections were zeroed between the reads: their rates are too low"
            )
        }
        if observation.withoutRate > 0 {
            notes.append(
                """
                \(observation.withoutRate) connections have no rates: they cannot be distinguished from others, or are \
                beyond the first \(ConnectionObservation.maximumSnapshot)
                """)
        }
        if observation.collection.isInterrupted {
            notes.append("the table changed while it was read: connections may be missing")
        }
        if observation.collection.malformedEntries > 0 {
            notes.append("\(observation.collection.malformedEntries) entries could not be read")
        }
        return notes
    }

    private typealias Names = (transport: String, source: String, destination: String)

    /// Returns the names in front of a connection's numbers, and those of the line below it if its addresses are
    /// translated.
    private static func names(_ flow: Flow) -> [Names] {
        let names = (
            flow.transport.description,
            text(flow.original.source, flow.original.sourcePort, flow.transport),
            text(flow.original.destination, flow.original.destinationPort, flow.transport)
        )
        guard flow.isTranslated else { return [names] }
        let reply = (
            "reply", text(flow.reply.source, flow.reply.sourcePort, flow.transport),
            text(flow.reply.destination, flow.reply.destinationPort, flow.transport)
        )
        return [names, reply]
    }

    private static func names(_ totals: ConnectionObservation.Totals, over seconds: Double) -> Names {
        ("total", "\(totals.connections) connections", "over \(ReadableText.decimal(seconds, decimals: 2)) s")
    }

    private static func text(_ address: IPAddress, _ port: UInt16, _ transport: TransportProtocol) -> String {
        transport.hasPorts ? address.text(port: port) : "\(address)"
    }

    private func numbers(
        _ original: FlowCounters, _ reply: FlowCounters, _ gain: ObservedConnection.Gain?
    ) -> [String] {
        let counts = [original.packets, reply.packets, original.bytes, reply.bytes]
            .map { ReadableText.short(Double($0)) }
        guard let gain else { return counts + ["-", "-", "-", "-"] }
        let gains = [gain.original.packets, gain.reply.packets, gain.original.bytes, gain.reply.bytes]
        return counts + gains.map { ReadableText.short(Double($0) / seconds) }
    }

    private func line(_ names: Names, _ numbers: [String]) -> String {
        var line = Self.pad(names.transport, widths.transport) + "  " + Self.pad(names.source, widths.source) + "  "
        line += numbers.isEmpty ? names.destination : Self.pad(names.destination, widths.destination)
        for (number, width) in zip(numbers, Self.numberWidths) {
            line += "  " + String(repeating: " ", count: max(0, width - number.utf8.count)) + number
        }
        return line + "\n"
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.utf8.count))
    }
}

extension TransportProtocol {
    /// Whether the protocol has ports; flows of other protocols have port 0.
    fileprivate var hasPorts: Bool { ![1, 47, 58].contains(rawValue) }
}
