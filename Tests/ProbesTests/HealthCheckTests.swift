// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Probes

@Suite struct HealthCheckTests {
    @Test("a met check reads ok, and an unmet one its problem") func whatHoldsReadsOkAndWhatDoesNotItsProblem() {
        #expect([HealthCheck]().areMet)
        #expect(
            [HealthCheck("a", problem: nil)].json(met: "ready", unmet: "not ready")
                == "{\"status\":\"ready\",\"checks\":{\"a\":\"ok\"}}\n")
        let checks = [HealthCheck("a", problem: nil), HealthCheck("b", problem: "is gone")]
        #expect(!checks.areMet)
        #expect(
            checks.json(met: "ready", unmet: "not ready")
                == "{\"status\":\"not ready\",\"checks\":{\"a\":\"ok\",\"b\":\"is gone\"}}\n")
    }

    @Test("a remark does not make a check unmet") func aRemarkTurnsNobodyAway() {
        let checks = [HealthCheck("a", problem: nil, remark: "is slow"), HealthCheck("b", problem: nil)]
        #expect(checks.areMet)
        #expect(
            checks.json(met: "ready", unmet: "not ready")
                == "{\"status\":\"ready\",\"checks\":{\"a\":\"is slow\",\"b\":\"ok\"}}\n")
    }

    @Test("any text of a check is valid JSON") func anyTextIsValidJSON() throws {
        let problem =
            String(String.UnicodeScalarView((0...0x2ff).compactMap(Unicode.Scalar.init))) + "\"\\\r\n😀\u{2028}"
        let text = [HealthCheck(problem, problem: problem)].json(met: "yes", unmet: "no")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(object["checks"] as? [String: String] == [problem: problem])
        #expect(text.filter { $0 == "\n" }.count == 1)
    }
}
