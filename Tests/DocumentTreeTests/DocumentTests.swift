// SPDX-License-Identifier: Apache-2.0

import DocumentTree
import Foundation
import Testing
import YAMLParsing

private let anchors = "anchors and aliases are not supported; quote the value if it is text"
private let tags = "tags are not supported; quote the value if it is text"

private func read<Value>(_ text: String, _ body: (inout DocumentMapping) -> Value) throws(DocumentProblems) -> Value {
    try Document(text: text, file: "a.yaml").read(body)
}

/// What is wrong with `text` if `body` reads it: one line a problem.
private func problems(_ text: String, _ body: (inout DocumentMapping) -> Void = { _ in }) -> [String] {
    do {
        try read(text, body)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

@Suite struct ScalarTests {
    @Test("scalars keep their text") func scalarsAreTheTextTheyAre() throws {
        let text = """
            version: 1.10
            country: no
            quoted: "0123"
            folded: >-
              two
              lines
            """
        let values = try read(text) { root in
            [root.string("version"), root.string("country"), root.string("quoted"), root.string("folded")]
        }
        #expect(values == ["1.10", "no", "0123", "two lines"])
    }

    @Test(
        "booleans have Go's spellings",
        arguments: [
            ("true", true), ("True", true), ("TRUE", true), ("t", true), ("T", true), ("1", true), ("'true'", true),
            ("false", false), ("False", false), ("FALSE", false), ("f", false), ("F", false), ("0", false),
        ])
    func booleansHaveGoSpellings(text: String, truth: Bool) throws {
        #expect(try read("on: \(text)") { $0.bool("on") } == truth)
    }

    @Test("other spellings of booleans are rejected", arguments: ["yes", "on", "tRUE", "2"])
    func otherBooleansAreRefused(text: String) {
        #expect(problems("on: \(text)") { _ = $0.bool("on") } == ["a.yaml:1: on: '\(text)' is not true or false"])
    }

    @Test func integersHaveARange() throws {
        let text = "low: 1\nhigh: 65535"
        let ports = try read(text) { root in
            [root.integer("low", in: 1...65535), root.integer("high", in: 1...65535)]
        }
        #expect(ports == [1, 65535])
        for bad in ["0", "65536", "1.5", "0x10", "1_000", "99999999999999999999"] {
            let found = problems("port: \(bad)") { _ = $0.integer("port", in: 1...65535) }
            #expect(found == ["a.yaml:1: port: '\(bad)' is not a whole number from 1 to 65535"])
        }
    }

    @Test("a value is parsed by the caller, and the error names what is expected")
    func callersParseTheirOwnValues() throws {
        let age = { (root: inout DocumentMapping) -> Int? in
            root.value("age", as: "an age such as 5s") { $0.hasSuffix("s") ? Int($0.dropLast()) : nil }
        }
        #expect(try read("age: 5s", age) == 5)
        #expect(problems("age: 7 parsecs") { _ = age(&$0) } == ["a.yaml:1: age: '7 parsecs' is not an age such as 5s"])
    }

    @Test("a bad value is printed escaped and shortened") func badValuesArePrintable() {
        let found = problems(#"port: "\n\e[31m\#(String(repeating: "x", count: 100))""#) {
            _ = $0.integer("port", in: 1...9)
        }
        let text = #"\n\u{1B}[31m"# + String(repeating: "x", count: 74)
        #expect(found == ["a.yaml:1: port: '\(text)…' is not a whole number from 1 to 9"])
    }
}

@Suite struct AbsenceTests {
    @Test(arguments: ["", "---\n", "# nothing\n", "null\n", "{}\n", "\u{FEFF}"])
    func anEmptyDocumentIsAnEmptyMapping(text: String) {
        #expect(problems(text) { _ = $0.string("name", default: "") } == [])
        #expect(problems(text) { _ = $0.string("name") } == ["a.yaml:1: missing key 'name'"])
    }

    @Test func absentKeysHaveDefaults() throws {
        #expect(try read("") { $0.string("a", default: "b") } == "b")
        #expect(try read("") { $0.bool("a", default: true) } == true)
        #expect(try read("") { $0.integer("a", in: 1...9, default: 4) } == 4)
        #expect(try read("") { $0.value("a", required: false, as: "a number") { Int($0) } } == nil)
        #expect(try read("") { $0.values("a", required: false) { $0 } } == [])
        #expect(try read("") { $0.list("a", required: false) { $0.string("b") } } == [])
        #expect(try read("") { $0.mapping("a", required: false) { $0.string("b") } } == nil)
    }

    @Test("a byte-order mark is skipped") func aByteOrderMarkIsNoPartOfTheText() throws {
        #expect(try read("\u{FEFF}a: 1\nb: 2") { [$0.string("a"), $0.string("b")] } == ["1", "2"])
    }

    @Test(
        "a key without a value has its default, and is an error if required",
        arguments: ["a:", "a: ~", "a: null", "a: ''"])
    func aKeyWithoutValueCountsAsAbsent(text: String) throws {
        #expect(try read(text) { $0.string("a", default: "b") } == "b")
        #expect(problems(text) { _ = $0.string("a") } == ["a.yaml:1: a: has no value"])
        #expect(problems(text) { _ = $0.values("a") { $0 } } == ["a.yaml:1: a: has no value"])
    }

    @Test func missingKeysAreReportedWhereTheirMappingBegins() {
        let text = """
            pods:
              - name: a
              - node: b
            """
        let found = problems(text) { root in
            _ = root.list("pods") { pod in [pod.string("name"), pod.string("node")] }
        }
        #expect(found == ["a.yaml:2: pods[0]: missing key 'node'", "a.yaml:3: pods[1]: missing key 'name'"])
    }
}

@Suite struct KeyTests {
    @Test func unknownKeysAreReportedWithTheNearestKnownOne() {
        let text = """
            adresses: 1
            colour: 2
            """
        let found = problems(text) { root in
            _ = root.string("addresses", default: "")
            _ = root.string("name", default: "")
        }
        #expect(
            found == [
                "a.yaml:1: unknown key 'adresses'; did you mean 'addresses'?",
                "a.yaml:2: unknown key 'colour'; the keys here are addresses, name",
            ])
    }

    @Test func unknownKeysOfNestedMappingsHaveTheirPath() {
        let found = problems("a:\n  b:\n    c: 1\n    dd: 2") { root in
            _ = root.mapping("a") { $0.mapping("b") { $0.string("c") } }
        }
        #expect(found == ["a.yaml:4: a.b: unknown key 'dd'; did you mean 'c'?"])
    }

    @Test func duplicateKeysAreReportedWithAllOtherProblems() {
        let text = """
            name: a
            pods:
              - name: b
                "name": c
                port: x
              - {name: d, name: e, name: f}
            name: g
            """
        let found = problems(text) { root in
            _ = root.string("name")
            _ = root.list("pods") { pod in
                _ = pod.string("name")
                _ = pod.integer("port", in: 1...9, default: 1)
            }
        }
        #expect(
            found == [
                "a.yaml:4: pods[0]: duplicate key 'name', first on line 3",
                "a.yaml:5: pods[0].port: 'x' is not a whole number from 1 to 9",
                "a.yaml:6: pods[1]: duplicate key 'name', first on line 6",
                "a.yaml:6: pods[1]: duplicate key 'name', first on line 6",
                "a.yaml:7: duplicate key 'name', first on line 1",
            ])
    }

    @Test func duplicateKeysMayBeWrittenAsEscapes() {
        #expect(
            problems(#"{"\x61": 1, "\x61": 2}"#) { _ = $0.string("a") } == [
                "a.yaml:1: duplicate key 'a', first on line 1"
            ])
    }

    @Test("a key that is not a single value is rejected") func keysAreSingleValues() {
        #expect(
            problems("? [{? [a]: b}]\n: c\n? {d: e}\n: f\n~: g") == [
                "a.yaml:1: a key must be a single value",
                "a.yaml:3: a key must be a single value",
                "a.yaml:5: a key must be a single value",
            ])
    }
}

@Suite struct ShapeTests {
    @Test func wrongShapesAreReported() {
        let text = """
            scalar: [1]
            list: 1
            items:
              - 1
              - [2]
              -
            mapping: 1
            values:
              - {a: b}
              -
            """
        let found = problems(text) { root in
            _ = root.string("scalar")
            _ = root.list("list") { $0.string("a") }
            _ = root.list("items") { $0.string("a") }
            _ = root.mapping("mapping") { $0.string("a") }
            _ = root.values("values") { $0 }
        }
        #expect(
            found == [
                "a.yaml:1: scalar: expected a single value, found a list",
                "a.yaml:2: list: expected a list, found a single value",
                "a.yaml:4: items[0]: expected a mapping, found a single value",
                "a.yaml:5: items[1]: expected a mapping, found a list",
                "a.yaml:6: items[2]: has no value",
                "a.yaml:7: mapping: expected a mapping, found a single value",
                "a.yaml:9: values[0]: expected a single value, found a mapping",
                "a.yaml:10: values[1]: has no value",
            ])
    }

    @Test("a document whose root is not a mapping is rejected") func theRootIsAMapping() {
        #expect(problems("- a") == ["a.yaml:1: expected a mapping, found a list"])
        #expect(problems("\n\na") == ["a.yaml:3: expected a mapping, found a single value"])
    }

    @Test(
        "a secret that looks like a tag or an anchor is not printed in the error",
        arguments: ["!s3cret", "&s3cret", "*s3cret", "!<s3cret> a", "&s3cret a", "[!s3cret]", "[*s3cret]"])
    func aSecretThatLooksLikeATagOrAnAnchorIsNotTold(value: String) {
        let found = problems("a: \(value)") { _ = $0.string("a") }
        #expect(!found.isEmpty && found.allSatisfy { !$0.contains("s3cret") }, "\(found)")
    }

    @Test("anchors, aliases and tags are rejected") func anchorsAliasesAndTagsAreRefused() {
        let text = """
            a: &x 1
            b: *x
            c: !!binary aGVsbG8=
            d: !mine [1]
            e: !!str 1
            """
        let found = problems(text) { root in
            for key in ["a", "b", "c", "d", "e"] { _ = root.string(key) }
        }
        #expect(
            found == [
                "a.yaml:1: a: \(anchors)",
                "a.yaml:2: b: \(anchors)",
                "a.yaml:3: c: \(tags)",
                "a.yaml:4: d: \(tags)",
            ])
    }

    @Test("nested aliases are rejected in little time", .timeLimit(.minutes(10))) func aliasBombsAreRefused() {
        var values = "a0: &a0 [x, x]\n"
        for level in 1..<15 { values += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        let found = problems(values) { root in (0..<15).forEach { _ = root.values("a\($0)") { $0 } } }
        #expect(found.count == 15)
        for level in 15..<40 { values += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        #expect(
            problems(values + "? *a39\n: x").last == "a.yaml:41: \(anchors)")
    }

    @Test("asterisks and ampersands in texts are accepted") func asterisksAndAmpersandsInTextAreHarmless() throws {
        let text = "# \(String(repeating: "*note* ", count: 100))\nname: R&D\n"
        #expect(try read("name: '*'") { $0.string("name") } == "*")
        #expect(try read(text) { $0.string("name") } == "R&D")
    }
}

@Suite struct SyntaxTests {
    @Test func syntaxErrorsHaveALine() {
        #expect(
            problems("a: 1\nb: [1, 2\nc: 3") == [
                "a.yaml:3: YAML syntax error: while parsing a flow sequence (line 2), "
                    + "did not find expected ',' or ']'"
            ])
        #expect(
            problems("a: 1\n\tb: 2") == [
                "a.yaml:2: YAML syntax error: while scanning a plain scalar (line 1), "
                    + "found a tab character that violates indentation"
            ])
        #expect(
            problems("b: *c") { _ = $0.string("b") } == ["a.yaml:1: b: \(anchors)"]
        )
        #expect(
            problems("a: 1\n---\nb: 2") == [
                "a.yaml:2: YAML syntax error: expected a single document in the stream, but found another document"
            ])
        #expect(problems("a: 1\nb: \u{7}") == ["a.yaml:2: YAML syntax error: control characters are not allowed"])
    }

    @Test("the depth of nesting is limited") func nestingIsBounded() {
        let deep = "a: " + String(repeating: "[", count: 900) + String(repeating: "]", count: 900)
        #expect(problems(deep) { _ = $0.list("a") { _ in } } == ["a.yaml:1: a[0]: expected a mapping, found a list"])
        let found = problems(String(repeating: "[", count: 100_000))
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("a.yaml:1: YAML syntax error: ") == true)
        let items = problems("a: " + String(repeating: "- ", count: 2_000) + "1")
        #expect(items.count == 1)
    }

    @Test("a rejected value is skipped as a whole") func whatIsRefusedIsPassedOverWhole() {
        let text = "a: &x [{b: 1}, [2, &y {c: 3}]]\n? [d, {e: f}]\n: {g: &z h}\ni: 1"
        let found = problems(text) { root in
            _ = root.list("a") { _ in }
            #expect(root.string("i") == "1")
        }
        #expect(
            found == [
                "a.yaml:1: a: \(anchors)",
                "a.yaml:2: a key must be a single value",
            ])
    }
}

@Suite struct FileTests {
    private func problem(ofFileHolding bytes: Data) throws -> String? {
        let path = NSTemporaryDirectory() + "strict-yaml-\(UUID()).yaml"
        try bytes.write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        do {
            _ = try Document(contentsOf: path)
            return nil
        } catch {
            return error.description.replacing(path, with: "PATH")
        }
    }

    @Test func filesAreRead() throws {
        #expect(try problem(ofFileHolding: Data("a: 1".utf8)) == nil)
        #expect(try problem(ofFileHolding: Data()) == nil)
        #expect(try problem(ofFileHolding: Data("a: }".utf8))?.hasPrefix("PATH:1: YAML syntax error: ") == true)
    }

    @Test func unreadableFilesAreReported() {
        let missing = #expect(throws: DocumentProblems.self) { try Document(contentsOf: "/no/such.yaml") }
        #expect(missing?.description == "/no/such.yaml: cannot be read: No such file or directory")
        let directory = #expect(throws: DocumentProblems.self) { try Document(contentsOf: "/tmp") }
        #expect(directory?.description == "/tmp: cannot be read: Is a directory")
    }

    @Test("files that are not UTF-8 or too large are rejected")
    func filesThatAreNoTextOrTooLargeAreReported() throws {
        #expect(try problem(ofFileHolding: Data([0x61, 0xff])) == "PATH: is not UTF-8 text")
        let largest = Data(repeating: UInt8(ascii: "\n"), count: Document.maximumSize)
        #expect(try problem(ofFileHolding: largest) == nil)
        #expect(try problem(ofFileHolding: largest + [0x0a]) == "PATH: cannot be read: it is larger than 16 MiB")
    }
}
