// SPDX-License-Identifier: Apache-2.0

import Operations
import Testing

extension SettingsReader {
    fileprivate mutating func number(_ flag: String?, default defaultValue: Int? = nil) -> Int? {
        value(
            flag: flag, "--number", variable: "NUMBER", expected: "a number", default: defaultValue,
            parse: { Int($0) })
    }
}

/// The value of `--number` or `NUMBER`, and the problems.
private func read(
    flag: String? = nil, variable: String? = nil, default defaultValue: Int? = nil
) -> (value: Int?, problems: [String]) {
    var reader = SettingsReader(environment: variable.map { ["NUMBER": $0, "OTHER": "7"] } ?? ["OTHER": "7"])
    let value = reader.number(flag, default: defaultValue)
    do throws(SettingsReader.Problems) {
        try reader.check()
        return (value, [])
    } catch {
        return (value, error.lines)
    }
}

@Suite struct SettingsReaderTests {
    @Test(
        arguments: [
            ("1", "2", 3, 1), ("1", nil, nil, 1), (nil, "2", 3, 2), (nil, "2", nil, 2), (nil, nil, 3, 3),
            // As a manifest's empty value is.
            (nil, "", 3, 3),
        ] as [(String?, String?, Int?, Int)])
    func aFlagWinsOverTheEnvironmentAndThatOverTheDefault(
        flag: String?, variable: String?, defaultValue: Int?, expected: Int
    ) {
        let result = read(flag: flag, variable: variable, default: defaultValue)
        #expect(result.value == expected)
        #expect(result.problems == [])
    }

    @Test(
        arguments: [
            ("x", "2", 3, "--number: 'x' is not a number"), ("", nil, 3, "--number: '' is not a number"),
            (nil, "x y", 3, "NUMBER: 'x y' is not a number"),
            (nil, nil, nil, "NUMBER (or --number) is not set: it must be a number"),
            (nil, "", nil, "NUMBER (or --number) is not set: it must be a number"),
        ] as [(String?, String?, Int?, String)])
    func aProblemNamesItsSourceItsValueAndWhatIsAllowed(
        flag: String?, variable: String?, defaultValue: Int?, problem: String
    ) {
        #expect(read(flag: flag, variable: variable, default: defaultValue).problems == [problem])
    }

    @Test func allProblemsAreToldAtOnce() {
        var reader = SettingsReader(environment: ["A": "no", "C": "5"])
        for name in ["A", "B", "C", "D"] {
            _ = reader.value(
                flag: nil, "--\(name)", variable: name, expected: "a number", default: nil as Int?, parse: { Int($0) })
        }
        let problems = #expect(throws: SettingsReader.Problems.self) { try reader.check() }
        #expect(
            problems?.description == """
                A: 'no' is not a number
                B (or --B) is not set: it must be a number
                D (or --D) is not set: it must be a number
                """)
    }
}
