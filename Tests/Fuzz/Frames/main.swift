// SPDX-License-Identifier: Apache-2.0

import CFuzzer
import Glibc
import FlowWire
import NIOCore

/// Decodes a frame's payload as an agent's message and as a server's, and reads every flow of a batch.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let frame = ByteBuffer(bytes: UnsafeBufferPointer(start: data, count: size))
    do {
        switch try AgentMessage(decoding: frame) {
        case .batch(let batch):
            var bytes: UInt64 = 0
            batch.forEach { bytes &+= $0.bytes }
        case .hello: break
        case .hostAddresses: break
        case .confirmation: break
        case .inDoubt: break
        case .leaving, .unknown: break
        }
    } catch {}
    if let message = try? ServerMessage(decoding: frame) {
        // What was decoded can be encoded again.
        _ = message.frame()
    }
    return 0
}

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(LLVMFuzzerRunDriver(&count, &arguments) { fuzz($0, $1) })
