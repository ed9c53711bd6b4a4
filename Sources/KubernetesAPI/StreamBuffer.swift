// SPDX-License-Identifier: Apache-2.0

/// Reads a stream element by element, however it is split into chunks.
protocol StreamParser<Element> {
    associatedtype Element

    /// Parses one element at the front of the available bytes, at least one. If the parser needs more, it gets the same
    /// bytes again with those that follow.
    mutating func parse(
        _ bytes: UnsafeRawBufferPointer, _ body: (Element) -> Void
    ) throws(KubernetesDecodingError) -> StreamStep
}

/// The outcome of parsing the available bytes.
enum StreamStep {
    /// This many bytes are consumed.
    case consumed(Int)
    /// This many bytes are needed, more than are available.
    case needs(Int)
}

/// Buffers the beginning of an element until the rest of it arrives, and no more than that.
struct StreamBuffer {
    private var kept: [UInt8] = []

    /// Whether the stream is between two elements.
    var isEmpty: Bool { kept.isEmpty }

    /// Parses the next chunk of a stream.
    mutating func feed<Parser: StreamParser>(
        _ chunk: UnsafeRawBufferPointer, to parser: inout Parser, _ body: (Parser.Element) -> Void
    ) throws(KubernetesDecodingError) {
        var rest = chunk[...]
        while true {
            if kept.isEmpty {
                guard !rest.isEmpty else { return }
                switch try parser.parse(UnsafeRawBufferPointer(rebasing: rest), body) {
                case .consumed(let count):
                    rest = rest.dropFirst(count)
                case .needs:
                    kept.append(contentsOf: rest)
                    return
                }
            } else {
                switch try parse(with: &parser, body) {
                case .consumed(let count):
                    kept.removeFirst(count)
                case .needs(let count):
                    let missing = count - kept.count
                    kept.append(contentsOf: rest.prefix(missing))
                    guard rest.count >= missing else { return }
                    rest = rest.dropFirst(missing)
                }
            }
        }
    }

    private func parse<Parser: StreamParser>(
        with parser: inout Parser, _ body: (Parser.Element) -> Void
    ) throws(KubernetesDecodingError) -> StreamStep {
        try kept.withUnsafeBufferPointer { bytes throws(KubernetesDecodingError) in
            try parser.parse(UnsafeRawBufferPointer(bytes), body)
        }
    }
}
