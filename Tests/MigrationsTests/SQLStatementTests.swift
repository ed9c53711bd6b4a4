// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Migrations

@Suite("statements of SQL scripts")
struct SQLStatementTests {
    @Test(
        "a script is split at its semicolons, without comments",
        arguments: [
            ("", []), ("  -- nothing\n;;/* */", []), ("SELECT 1", ["SELECT 1"]),
            ("SELECT 1;\nSELECT 2 ;", ["SELECT 1", "SELECT 2"]),
            ("SELECT ';', '--', `a;b` -- ;\n, 2", ["SELECT ';', '--', `a;b` \n, 2"]),
            (#"SELECT 'it''s \'; ' ; SELECT 2"#, [#"SELECT 'it''s \'; '"#, "SELECT 2"]),
            ("a/* ; */b", ["ab"]), ("SELECT 'open ; ", ["SELECT 'open ; '"]), ("SELECT 1 /* open ;", ["SELECT 1"]),
            (#"SELECT 'end\"#, [#"SELECT 'end\'"#]),
        ])
    func splitting(_ script: String, _ expected: [String]) {
        #expect(SQLStatement.statements(of: script).map(\.text) == expected)
    }

    @Test("words are keywords, numbers and names, quoted or not")
    func words() {
        let statement = SQLStatement.statements(of: "ALTER TABLE `a b`.c_1 ADD x DEFAULT 'no word'").first
        #expect(statement?.words == ["ALTER", "TABLE", "a b", "c_1", "ADD", "x", "DEFAULT"])
    }

    @Test("every file has statements, each ended by a semicolon or the end of the file", arguments: SchemaFile.allCases)
    func files(_ file: SchemaFile) {
        let starts: Set = ["CREATE", "ALTER", "GRANT"]
        #expect(!file.statements.isEmpty)
        #expect(file.statements.allSatisfy { starts.contains($0.words.first ?? "") })
    }

    @Test("names of tables get their database; columns, literals and qualified names stay as they are")
    func names() throws {
        let names = SchemaNames(database: "my-net", table: "flows", cluster: "prod")
        let statement = try #require(
            SQLStatement.statements(
                of: """
                    CREATE TABLE network_flows_all ON CLUSTER '{cluster}' AS network_flows_0 \
                    ENGINE = Distributed('{cluster}', 'default', 'network_flows_0')
                    """
            ).first)
        #expect(
            names.applied(to: statement).text == """
                CREATE TABLE `my-net`.`network_flows_all` ON CLUSTER 'prod' AS `my-net`.`flows` \
                ENGINE = Distributed('prod', 'my-net', 'flows')
                """)
        let other = try #require(SQLStatement.statements(of: "SELECT 'default', x.network_flows_0 FROM y").first)
        #expect(names.applied(to: other).text == other.text)
    }
}
