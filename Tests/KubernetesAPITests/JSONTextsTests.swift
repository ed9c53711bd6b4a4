// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import KubernetesAPI

private func texts(_ json: String, _ path: JSONTexts.Path) -> (found: [String], isSound: Bool) {
    var found: [String] = []
    let isSound = Array(json.utf8).withUnsafeBytes { bytes in
        JSONTexts.forEach(in: bytes, under: path) { found.append(String(decoding: $0, as: UTF8.self)) }
    }
    return (found, isSound)
}

@Suite struct JSONTextsTests {
    @Test("strings in JSON are found by the keys above them")
    func paths() {
        let json =
            #" { "a" : {"b":["1",["2"],{"b":"x"}],"c":"y"}, "ab": {"b":"3"}, "d":[{"b":"4"}, {"b":5}], "b":"z" } "#
        #expect(texts(json, [["a"], ["b"]]) == (["1", "2"], true))
        #expect(texts(json, [nil, ["b"]]) == (["1", "2", "3", "4"], true))
        #expect(texts(json, [["a", "d"], ["b", "c"]]) == (["1", "2", "y", "4"], true))
        #expect(texts(json, [["b"]]) == (["z"], true))
        #expect(texts(json, []) == ([], true))
        #expect(texts(#"["1",{"a":"x"},[["2"]],true,null,-1.5e+9]"#, []) == (["1", "2"], true))
        #expect(texts(#"{"\u0061":"x","a":"\"}"}"#, [["a"]]) == ([#"\"}"#], true))
    }

    @Test("JSON is read up to a depth of 32 brackets", arguments: [(32, true), (33, false)])
    func depth(_ depth: Int, _ isSound: Bool) {
        let json = String(repeating: "[", count: depth) + #""x""# + String(repeating: "]", count: depth)
        #expect(texts(json, []) == (isSound ? ["x"] : [], isSound))
    }

    @Test("every string under a path is found in any document, and a truncated document is unsound")
    func anyDocument() {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<2_000 {
            var expected: [String] = []
            let json = document([["a", "b"], nil, ["c"]], depth: 0, &random, &expected)
            let read = texts(json, [["a", "b"], nil, ["c"]])
            #expect(read.found == expected && read.isSound, "\(json)")
            let isBracketed = json.hasPrefix("{") || json.hasPrefix("[")
            if isBracketed {
                let part = String(json.prefix(Int.random(in: 0..<json.count, using: &random)))
                #expect(!texts(part, [["a"]]).isSound, "\(part)")
            }
        }
    }

    /// Returns a random document, and adds its strings under a path to `expected`.
    private func document(
        _ path: JSONTexts.Path?, depth: Int, _ random: inout SeededGenerator, _ expected: inout [String]
    ) -> String {
        let blank = ["", " ", "\n\t"].randomElement(using: &random) ?? ""
        switch Int.random(in: 0..<(depth < 6 ? 5 : 2), using: &random) {
        case 0:
            let text = ["10.0.0.1", "", "]}", ",:", "\u{e9}"].randomElement(using: &random) ?? ""
            if path?.isEmpty == true { expected.append(text) }
            return "\(blank)\"\(text)\"".trimmed
        case 1: return ["0", "-1.5e9", "true", "null"].randomElement(using: &random) ?? "0"
        case 2:
            let elements = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                document(path, depth: depth + 1, &random, &expected)
            }
            return "[\(blank)\(elements.joined(separator: "\(blank),"))]"
        default:
            let members = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                let name = ["a", "b", "c", "d"].randomElement(using: &random) ?? "a"
                var below: JSONTexts.Path?
                if let path, let names = path.first, names?.contains(where: { "\($0)" == name }) ?? true {
                    below = Array(path.dropFirst())
                }
                return "\"\(name)\"\(blank):\(blank)" + document(below, depth: depth + 1, &random, &expected)
            }
            return "{\(blank)\(members.joined(separator: ","))\(blank)}"
        }
    }
}

extension String {
    /// The text without leading blanks.
    fileprivate var trimmed: String { String(drop(while: \.isWhitespace)) }
}
