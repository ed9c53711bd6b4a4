// SPDX-License-Identifier: Apache-2.0

import CFuzzer
import Glibc
@testable import Conntrack
@testable import HostAddresses

/// Decodes a datagram as messages of conntrack and of rtnetlink.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let datagram = UnsafeRawBufferPointer(start: data, count: size)
    do {
        var messages = NetlinkMessages(datagram)
        while let message = try messages.next() {
            _ = try message.errorNumber()
            _ = message.doneErrorNumber
            if let attributes = message.attributes { _ = ConntrackEntry(attributes) }
        }
    } catch {}
    var addresses = AddressDump()
    try? addresses.append(datagram)
    return 0
}

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(LLVMFuzzerRunDriver(&count, &arguments) { fuzz($0, $1) })
