// SPDX-License-Identifier: Apache-2.0

/// Reads a stream element by element, wherever its chunks are cut.
protocol StreamParser<Element> {
    associatedtype Element

    /// Looks at the bytes at hand, at least one, and takes an element off their front. If it asks for more of them, it is
    /// shown these again with what follows.
    mutating func parse(
        _ bytes: UnsafeRawBufferPointer, _ body: (Element) -> Void
    ) throws(KubernetesDecodingError) -> StreamStep
}

/// What a parser makes of the bytes that it is shown.
enum StreamStep {
    /// So many bytes are done with.
    case consumed(Int)
    /// So many bytes are needed, more than there are.
    case needs(Int)
}

/// Keeps the beginning of an element until the rest of it arrives, and no more than that.
struct StreamBuffer {
    private var kept: [UInt8] = []

    /// Whether the stream stands between two elements.
    var isEmpty: Bool { kept.isEmpty }

    /// Has the next chunk of a stream parsed.
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
