// SPDX-License-Identifier: Apache-2.0

import KubernetesAPI
import KubernetesTestKit
import Testing

@Suite struct KubernetesStatusTests {
    @Test("a status 401 is decoded") func aWrongTokenIsRefused() throws {
        let status = KubernetesStatus(code: 401, body: try Capture.bytes("status-401.pb"))
        #expect(status == KubernetesStatus(code: 401, reason: "Unauthorized", message: "Unauthorized"))
        #expect(status.description == "401 Unauthorized")
    }

    @Test("a status 403 names the missing right") func missingRightsAreTold() throws {
        let status = KubernetesStatus(code: 403, body: try Capture.bytes("status-403.pb"))
        #expect(status.code == 403)
        #expect(status.reason == "Forbidden")
        #expect(
            status.description == "403 Forbidden: pods is forbidden: User \"nobody\" cannot list resource \"pods\" "
                + "in API group \"\" at the cluster scope")
    }

    @Test("a status contains the delay before a retry") func theServerSaysHowLongToWait() {
        let status = KubernetesStatus(code: 429, reason: "TooManyRequests", message: "later", retryAfterSeconds: 7)
        #expect(KubernetesStatus(code: 500, body: ObjectEncoder.status(status)) == status)
    }

    @Test("a status in JSON is decoded") func jsonIsReadToo() {
        let body = """
            {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"slow down",
             "reason":"TooManyRequests","details":{"retryAfterSeconds":3},"code":429}
            """
        #expect(
            KubernetesStatus(code: 500, body: body.utf8)
                == KubernetesStatus(
                    code: 429, reason: "TooManyRequests", message: "slow down", retryAfterSeconds: 3))
    }

    @Test("a status in JSON without a code has the response's code") func jsonWithoutACodeHasTheResponsesCode() {
        #expect(
            KubernetesStatus(code: 502, body: #"{"message":"no upstream"}"#.utf8)
                == KubernetesStatus(code: 502, message: "no upstream"))
    }

    @Test("the message of another response is its beginning, shortened") func theBeginningOfATextIsKept() {
        let status = KubernetesStatus(
            code: 503, body: ("Service \n unavailable\n" + String(repeating: "-", count: 9000)).utf8)
        #expect(status.code == 503)
        #expect(status.message.hasPrefix("Service unavailable ---"))
        #expect(status.message.utf8.count <= 256)
    }

    @Test("an empty or unreadable body keeps the response's code") func bytesOfNoKindAndNoBytesAreNoTrouble() {
        #expect(KubernetesStatus(code: 500, body: []).description == "500")
        #expect(KubernetesStatus(code: 500, body: [0xff, 0xfe]).code == 500)
        #expect(KubernetesStatus(code: 500, body: "k8s\0".utf8 + [0xff]).code == 500)
        #expect(KubernetesStatus(code: 500, body: "{".utf8) == KubernetesStatus(code: 500, message: "{"))
    }
}
