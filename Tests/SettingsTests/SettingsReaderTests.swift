// SPDX-License-Identifier: Apache-2.0

import DocumentTree
import Settings
import Testing
import YAMLParsing

/// Reads settings from flags, variables with the prefix `APP_`, and a file.
private func read<Value>(
    _ arguments: [String] = [], _ environment: [String: String] = [:], file: String? = nil,
    _ body: (inout SettingsReader) -> Value
) throws(SettingsProblems) -> (value: Value, settings: EffectiveSettings) {
    try SettingsReader.read(
        SettingsSources(
            arguments: arguments, environment: environment, variablePrefix: "APP_",
            document: file.map { text in
                Result { () throws(DocumentProblems) in try Document(text: text, file: "app.yaml") }
            },
            parse: { text, origin throws(DocumentProblems) in try Document(text: text, file: origin) }), body)
}

private func problems(
    _ arguments: [String] = [], _ environment: [String: String] = [:], file: String? = nil,
    _ body: (inout SettingsReader) -> Void
) -> [String] {
    do throws(SettingsProblems) {
        _ = try read(arguments, environment, file: file, body)
        return []
    } catch {
        return error.lines
    }
}

private func number(_ settings: inout SettingsReader) -> Int {
    settings.integer("number", in: 1...10, default: 5, "A number.")
}

private func site(_ settings: inout SettingsReader) -> String {
    settings.text("site", allowed: "a name", "Where it is.")
}

@Suite struct SettingsReaderTests {
    @Test(
        "a flag wins over a variable, that over the file, and that over the default",
        arguments: [
            (["--number", "1"], ["APP_NUMBER": "2"], "number: 3", 1, "--number"),
            (["--number=1"], [:], nil, 1, "--number"), (["--number", "2", "--number", "1"], [:], nil, 1, "--number"),
            ([], ["APP_NUMBER": "2", "NUMBER": "9"], "number: 3", 2, "APP_NUMBER"),
            ([], [:], "# text\nnumber: 3", 3, "app.yaml:2"), ([], [:], "", 5, "default"), ([], [:], nil, 5, "default"),
            // Empty values, as a manifest may have.
            ([], ["APP_NUMBER": ""], "number:", 5, "default"),
        ] as [([String], [String: String], String?, Int, String)])
    func aFlagWinsOverAVariableThatOverTheFileAndThatOverTheDefault(
        arguments: [String], environment: [String: String], file: String?, expected: Int, source: String
    ) throws {
        let result = try read(arguments, environment, file: file, number)
        #expect(result.value == expected)
        #expect(result.settings.settings.map(\.source.description) == [source])
    }

    @Test(
        "a problem is reported with its place, the value and what is allowed",
        arguments: [
            (["--number", "x"], [:], nil, "--number: 'x' is not a whole number from 1 to 10"),
            (["--number", ""], [:], nil, "--number: '' is not a whole number from 1 to 10"),
            ([], ["APP_NUMBER": "11"], nil, "APP_NUMBER: '11' is not a whole number from 1 to 10"),
            ([], [:], "\nnumber: 0", "app.yaml:2: number: '0' is not a whole number from 1 to 10"),
            ([], [:], "number: [1]", "app.yaml:1: number: expected a single value, found a list"),
            (["--number"], [:], nil, "--number: has no value"),
            (["--number", "--number=1"], [:], nil, "--number: has no value"),
            (["7"], [:], nil, "'7': is neither a flag nor a flag's value; flags are written --name value"),
            (["--nubmer", "1"], [:], nil, "--nubmer: there is no such flag; did you mean --number?"),
            (["--other=1"], [:], nil, "--other: there is no such flag; --help lists all"),
            ([], ["APP_NUMBR": "1"], nil, "APP_NUMBR: there is no such setting; did you mean APP_NUMBER?"),
            ([], [:], "numbr: 1", "app.yaml:1: unknown key 'numbr'; did you mean 'number'?"),
            (
                [], [:], "number: &a 1",
                "app.yaml:1: number: anchors and aliases are not supported; quote the value if it is text"
            ),
        ] as [([String], [String: String], String?, String)])
    func aProblemNamesItsPlaceItsValueAndWhatIsAllowed(
        arguments: [String], environment: [String: String], file: String?, problem: String
    ) {
        #expect(problems(arguments, environment, file: file) { _ = number(&$0) } == [problem])
    }

    @Test("a missing required setting is reported with all its names") func whatMustBeGivenIsMissedWithAllItsNames() {
        #expect(problems { _ = site(&$0) } == ["APP_SITE or --site: is not set: it must be a name"])
        for text in ["", "site:"] {
            let found = problems(file: text) { _ = site(&$0) }
            #expect(found.count == 1 && found[0].hasPrefix("app.yaml:1: "), "\(found)")
        }
        #expect(problems(file: "site: here") { _ = site(&$0) } == [])
    }

    @Test("all problems are reported at once, those of the file by line")
    func allProblemsAreToldAtOnceThoseOfTheFileByTheirLines() {
        let found = problems(["--flag", "maybe"], file: "wait: 5\nnumber: x\nwrong: 1\n") { settings in
            _ = site(&settings)
            _ = number(&settings)
            _ = settings.bool("flag", default: true, "A flag.")
            _ = settings.duration("wait", in: .seconds(1) ... .seconds(9), default: .seconds(1), "A wait.")
        }
        #expect(
            found.map { $0.prefix(10) } == ["app.yaml:1", "app.yaml:1", "app.yaml:2", "app.yaml:3", "--flag: 'm"],
            "\(found)")
    }

    @Test("a file with a syntax error is not reported to lack keys") func aFileThatCannotBeReadIsNotSaidToLackKeys() {
        #expect(problems(file: "a: [", { _ = site(&$0) }).count == 1)
    }

    @Test("every kind of value is read and shown in one spelling")
    func everyKindOfValueIsReadAndShownInOneSpelling() throws {
        enum Choice: String, CaseIterable { case one, two, three }
        let (values, settings) = try read(
            ["--flag", "T", "--wait=90s"], ["APP_KIND": "two"], file: "open: 0\nfile: /a b\ncount: 2000\nname: A"
        ) { settings in
            let values: [String?] = [
                settings.bool("flag", default: false, "").description,
                settings.duration(
                    "wait", in: .seconds(1) ... .seconds(100), orZero: true, default: .zero, ""
                ).description,
                settings.choice("kind", default: Choice.one, "").rawValue,
                settings.boolIfGiven("open", default: "whenever", "")?.description,
                settings.boolIfGiven("unsaid", default: "whenever", "")?.description,
                settings.path("file", ""), settings.path("unset", ""),
                settings.integer("count", in: 1...Int.max, default: 1, unit: "bytes", "").description,
                settings.text("name", default: "b", allowed: "a name", "", transform: { $0.lowercased() }),
            ]
            return values
        }
        #expect(values == ["true", "90.0 seconds", "two", "false", nil, "/a b", nil, "2000", "a"])
        #expect(
            settings.settings.map(\.value)
                == ["true", "1m30s", "two", "false", "whenever", "/a b", "", "2000", "a"])
        #expect(settings.settings[7].allowed == "a number of bytes of at least 1")
        #expect(settings.settings[2].allowed == "one, two or three")
    }

    @Test(
        "a duration out of range is rejected with the range",
        arguments: [("99ms", false), ("100ms", true), ("1h", true), ("1h1ns", false), ("0", true), ("292000h", false)])
    func durations(text: String, isAllowed: Bool) {
        let found = problems(["--wait", text]) { settings in
            _ = settings.duration(
                "wait", in: .milliseconds(100) ... .seconds(3600), orZero: true, default: .zero, "A wait.")
        }
        let problem =
            "--wait: '\(text)' is not a duration from 100ms to 1h, or 0s, such as 5s or 1m30s"
        #expect(found == (isAllowed ? [] : [problem]))
    }

    @Test("an address setting accepts IPv4, IPv6 or nothing", arguments: ["192.0.2.1", "2001:db8::1", ""])
    func addresses(text: String) throws {
        let (address, settings) = try read([], text.isEmpty ? [:] : ["APP_AT": text]) { $0.address("at", "") }
        #expect(address?.description ?? "" == text && settings.settings[0].value == text)
        #expect(
            problems(["--at", "host\(text)"]) { _ = $0.address("at", "") }
                == ["--at: 'host\(text)' is not an IPv4 or IPv6 address"])
    }

    @Test(
        "a list is YAML in flags, variables and the file",
        arguments: [
            (["--ports", "[1, 2]"], [:], nil), ([], ["APP_PORTS": "[1, 2]"], nil), ([], [:], "ports: [1, 2]"),
            ([], [:], "ports:\n  - '1'\n  - 2"),
        ] as [([String], [String: String], String?)])
    func listsAreYAMLWhereverTheyComeFrom(arguments: [String], environment: [String: String], file: String?) throws {
        let result = try read(arguments, environment, file: file, ports)
        #expect(result.value == [1, 2])
        #expect(result.settings.settings[0].value == "[1, 2]")
    }

    private func ports(_ settings: inout SettingsReader) -> [Int] {
        settings.structure("ports", default: [80], "[80]", allowed: "a list of ports", "Ports.") { mapping, key in
            mapping.values(key) { text throws(BadValue) in
                guard let port = Int(text) else { throw BadValue("is not a port") }
                return port
            }
        }
    }

    @Test(
        "a problem in a list is reported with its place",
        arguments: [
            (["--ports", "[1, x]"], [:], nil, "--ports:1: ports[1]: 'x' is not a port"),
            ([], ["APP_PORTS": "[1"], nil, "APP_PORTS:2: YAML syntax error"),
            ([], [:], "ports:\n  - 1\n  - x", "app.yaml:3: ports[1]: 'x' is not a port"),
            ([], [:], "ports: 80", "app.yaml:1: ports: expected a list, found a single value"),
        ] as [([String], [String: String], String?, String)])
    func aProblemInAListIsNamedWithItsPlace(
        arguments: [String], environment: [String: String], file: String?, problem: String
    ) {
        let found = problems(arguments, environment, file: file) { _ = ports(&$0) }
        #expect(found.count == 1 && found[0].hasPrefix(problem), "\(found)")
    }

    @Test("a dot in a key stands for a nested mapping") func aDotStandsForAMappingInAMapping() throws {
        func side(_ settings: inout SettingsReader) -> [Int] {
            ["box.height", "box.width"].map { settings.integer($0, in: 1...9, default: 1, "A side.") }
        }
        #expect(try read(file: "box:\n  height: 2\n", side).value == [2, 1])
        #expect(try read(["--box-width", "3"], ["APP_BOX_HEIGHT": "4"], file: "box:", side).value == [4, 3])
        #expect(
            problems(file: "box:\n  heigth: 2\n  width: 0\n") { _ = side(&$0) } == [
                "app.yaml:2: box: unknown key 'heigth'; did you mean 'height'?",
                "app.yaml:3: box.width: '0' is not a whole number from 1 to 9",
            ])
        #expect(problems(file: "box: 2") { _ = side(&$0) } == ["app.yaml:1: box: expected a mapping"])
    }

    @Test("a setting may have aliases") func aSettingMayHaveOtherNames() throws {
        func port(_ settings: inout SettingsReader) -> Int {
            settings.integer(
                "port", in: 1...9, default: 1, "A port.", .alias("grpc_port"), .variable("PORT"), .flag("--listen"))
        }
        for (arguments, environment, file) in [
            (["--listen", "7"], [:], nil), (["--grpc-port", "7"], [:], "port: 2"), ([], ["PORT": "7"], nil),
            ([], ["APP_GRPC_PORT": "7"], nil), ([], [:], "grpc_port: 7"), ([], [:], "grpc_port: 2\nport: 7"),
        ] as [([String], [String: String], String?)] {
            #expect(try read(arguments, environment, file: file, port).value == 7)
        }
        #expect(problems(["--port", "7"]) { _ = port(&$0) }.count == 1)
    }

    @Test("settings that contradict each other are reported with their place")
    func settingsThatContradictEachOtherAreReportedWhereTheyStand() throws {
        func both(_ settings: inout SettingsReader) {
            _ = settings.path("key", "A key.")
            _ = settings.path("certificate", "Its certificate.")
            if settings.isGiven("key"), !settings.isGiven("certificate") {
                settings.report("key", "is given without its certificate")
            }
        }
        #expect(problems(file: "\nkey: a") { both(&$0) } == ["app.yaml:2: key: is given without its certificate"])
        #expect(problems(["--key", "a"]) { both(&$0) } == ["--key: is given without its certificate"])
        #expect(problems(["--key", "a"], file: "certificate: b") { both(&$0) } == [])
    }
}

@Suite struct EffectiveSettingsTests {
    private func all(_ settings: inout SettingsReader) {
        _ = number(&settings)
        _ = site(&settings)
        _ = settings.text("token", default: "none", allowed: "a token", "A | token.", .secret, .reloadable)
        if settings.isGiven("token") { settings.warn("a token is used") }
    }

    @Test("values are shown with their sources, and secrets are hidden")
    func valuesAreShownWithTheirSourcesAndSecretsAreNot() throws {
        let settings = try read(["--token", "s3cret"], file: "site: \"here: there\"\n", all).settings
        #expect(
            settings.description == """
                number: 5          # default
                site: here: there  # app.yaml:1
                token: <secret>    # --token
                # warning: a token is used
                """)
        #expect(problems(["--token="], file: "site: s3cret") { all(&$0) } == ["--token: is not a token"])
    }

    @Test("changes between two readings are listed, without secrets") func whatHasChangedIsTold() throws {
        let old = try read(["--token", "s3cret"], file: "site: a", all).settings
        let same = try read(["--token", "s3cret"], file: "# nothing\nsite: a\nnumber: 5", all).settings
        #expect(old.changes(to: same) == [])
        let changes = old.changes(to: try read(["--token", "other"], file: "site: b\nnumber: 5", all).settings)
        #expect(changes.map(\.description) == ["site: a → b", "token: <secret> → <secret>"])
        #expect(changes.map(\.new.isReloadable) == [false, true])
    }

    @Test("help and reference list every setting") func helpAndReferenceNameEverything() {
        let settings = SettingsReader.declarations(variablePrefix: "APP_", all)
        #expect(
            settings.help(hasFile: true).hasPrefix(
                """
                --number [number, APP_NUMBER]
                    A number.
                    (a whole number from 1 to 10; default 5)
                --site [site, APP_SITE]
                    Where it is.
                    (a name; required)
                """))
        #expect(
            settings.markdown(hasFile: true) == """
                | key | flag | environment variable | value | default | what it does |
                |---|---|---|---|---|---|
                | `number` | `--number` | `APP_NUMBER` | a whole number from 1 to 10 | `5` | A number. |
                | `site` | `--site` | `APP_SITE` | a name | required | Where it is. |
                | `token` | `--token` | `APP_TOKEN` | a token | `none` | A \\| token. *Reloaded.* *Secret.* |
                """)
        #expect(settings.help(columns: 30, hasFile: false).split(separator: "\n").allSatisfy { $0.count <= 30 })
    }
}
