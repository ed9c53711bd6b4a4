// SPDX-License-Identifier: Apache-2.0

import CFuzzer
import Glibc
@testable import KubernetesAPI

/// Feeds a response of the API server to the list and watch decoders of every resource, in chunks whose size is the first byte.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 2 else { return 0 }
    let chunk = Int(data[0]) + 1
    let response = UnsafeRawBufferPointer(start: data + 2, count: size - 2)
    switch data[1] % 4 {
    case 0: decode(response, chunk, .pods(labels: PodLabelMapping()))
    case 1: decode(response, chunk, .nodes)
    case 2: decode(response, chunk, .services)
    default: decode(response, chunk, .replicaSets)
    }
    return 0
}

private func decode<Object>(_ response: UnsafeRawBufferPointer, _ chunk: Int, _ resource: KubernetesResource<Object>) {
    do {
        var list = ListDecoder(resource)
        for start in stride(from: 0, to: response.count, by: chunk) {
            try list.feed(UnsafeRawBufferPointer(rebasing: response[start..<min(start + chunk, response.count)])) { _ in
            }
        }
        _ = try list.finish()
    } catch {}
    do {
        var watch = WatchDecoder(resource)
        for start in stride(from: 0, to: response.count, by: chunk) {
            try watch.feed(UnsafeRawBufferPointer(rebasing: response[start..<min(start + chunk, response.count)])) {
                _ in
            }
        }
    } catch {}
}

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(LLVMFuzzerRunDriver(&count, &arguments) { fuzz($0, $1) })
