// SPDX-License-Identifier: Apache-2.0

import CYAML
import DocumentTree

/// The events of libyaml's parser for a text (https://pyyaml.org/wiki/LibYAML).
struct YAMLEvents: ~Copyable {
    struct Event {
        enum Kind: Equatable {
            case scalar(String, isPlain: Bool)
            case alias(String)
            case sequenceStart
            case mappingStart
            /// The end of a sequence or a mapping.
            case end
            case documentStart
            case documentEnd
            case streamStart
            case streamEnd
        }

        let kind: Kind
        /// The line on which the event begins, counted from 1.
        let line: Int
        let anchor: String?
        /// The full name of an explicit tag.
        let tag: String?
    }

    private let file: String
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeMutableBufferPointer<UInt8>

    init(of text: String, file: String) {
        self.file = file
        self.text = .allocate(capacity: text.utf8.count)
        _ = self.text.initialize(from: text.utf8)
        parser = .allocate(capacity: 1)
        guard yaml_parser_initialize(parser) == 1 else { fatalError("libyaml cannot allocate a parser: out of memory") }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, self.text.baseAddress, self.text.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        text.deallocate()
    }

    /// Returns the next event. Must not be called after the end of the stream.
    func next() throws(DocumentProblems) -> Event {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw syntaxError }
        defer { yaml_event_delete(&event) }
        let data = event.data
        let line = Int(event.start_mark.line) + 1
        switch event.type {
        case YAML_SCALAR_EVENT:
            let scalar = data.scalar
            let bytes = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            let kind = Event.Kind.scalar(
                String(decoding: bytes, as: UTF8.self), isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
            return Event(kind: kind, line: line, anchor: Self.text(scalar.anchor), tag: Self.text(scalar.tag))
        case YAML_SEQUENCE_START_EVENT:
            let start = data.sequence_start
            return Event(
                kind: .sequenceStart, line: line, anchor: Self.text(start.anchor), tag: Self.text(start.tag))
        case YAML_MAPPING_START_EVENT:
            let start = data.mapping_start
            return Event(kind: .mappingStart, line: line, anchor: Self.text(start.anchor), tag: Self.text(start.tag))
        case YAML_ALIAS_EVENT: return plain(.alias(Self.text(data.alias.anchor) ?? ""), line)
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return plain(.end, line)
        case YAML_DOCUMENT_START_EVENT: return plain(.documentStart, line)
        case YAML_DOCUMENT_END_EVENT: return plain(.documentEnd, line)
        case YAML_STREAM_START_EVENT: return plain(.streamStart, line)
        default: return plain(.streamEnd, line)
        }
    }

    private func plain(_ kind: Event.Kind, _ line: Int) -> Event {
        Event(kind: kind, line: line, anchor: nil, tag: nil)
    }

    private static func text(_ characters: UnsafeMutablePointer<UInt8>?) -> String? {
        characters.map { String(cString: $0) }
    }

    /// The error at which the parser stopped.
    private var syntaxError: DocumentProblems {
        let state = parser.pointee
        let problem = state.problem.map { String(cString: $0) } ?? "no memory"
        guard state.error != YAML_READER_ERROR else {
            let before = text.prefix(state.problem_offset)
            let line = 1 + before.count { $0 == UInt8(ascii: "\n") }
            return DocumentProblems(file: file, line: line, "YAML syntax error: \(problem)")
        }
        let context = state.context.map { "\(String(cString: $0)) (line \(state.context_mark.line + 1)), " } ?? ""
        return DocumentProblems(
            file: file, line: Int(state.problem_mark.line) + 1, "YAML syntax error: \(context)\(problem)")
    }
}
