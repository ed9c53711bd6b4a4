// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import Conntrack

@Suite struct ConntrackErrorTests {
    @Test(
        "an error names the operation, the failure and the remedy",
        arguments: [
            (EPERM, ["reading: permission denied", "CAP_NET_ADMIN", "capabilities.add: [NET_ADMIN]"]),
            (EACCES, ["CAP_NET_ADMIN"]),
            (EAGAIN, ["reading: the kernel did not respond within 30 s"]),
            (EPROTONOSUPPORT, ["reading: Protocol not supported (errno 93)", "nf_conntrack_netlink"]),
            (ENOBUFS, ["(errno 105)", "the socket's receive buffer"]),
            (EINTR, ["reading: Interrupted system call (errno 4)"]),
        ])
    func anErrorSaysWhatWasAttemptedWhatHappenedAndWhatToDo(code: Int32, parts: [String]) {
        let text = "\(ConntrackError(operation: "reading", errno: code))"
        for part in parts { #expect(text.contains(part)) }
    }
}
